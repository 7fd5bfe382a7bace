"""Which rows are read of the published files, and what corrections change in them."""

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from extractors.core.errors import ConfigurationError
from extractors.record.output import open_output
from extractors.record.tables import columns
from extractors.record.tables.truth import TruthLine
from extractors.report import rows as report_rows
from extractors.report.rows import RowFilter, open_rows

FIRST, SECOND, OFFLINE = "20261119T021500Z-0001", "20261120T021500Z-0002", "20261121T021500Z-0003"
FIELDS = {"day": pl.Date(), "total": pl.Decimal(38, 6), "tags": pl.List(pl.String())}


def publish(output, run, totals, *, volume="", schema="receipt", model="maker/model", fields=FIELDS):
    """A published file of results with these documents and totals."""
    at = datetime.strptime(run[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    whole = fields | columns.RESULTS
    rows = [
        dict.fromkeys(whole)
        | {"total": Decimal(total), "day": date(2026, 1, 1), "tags": ["a"]}
        | {"_document": f"s3://scans/{name}", "_run": run, "_extracted_at": at, "_model": model}
        for name, total in totals.items()
    ]
    key = f"results/schema={schema}/run_date={at:%Y-%m-%d}/{run}{volume}.parquet"
    output.write(key, pl.DataFrame([{name: row[name] for name in whole} for row in rows], schema=whole, orient="row"))


@pytest.fixture
def output(tmp_path):
    """An output with two nights, the second in two volumes, and a later offline run; `a.jpg` was read in all of them."""
    root = open_output(str(tmp_path))
    older = {"total": FIELDS["total"], "day": FIELDS["day"]}
    publish(root, FIRST, {"a.jpg": 1, "b.jpg": 2}, fields=older)
    publish(root, SECOND, {"a.jpg": 3, "2026/d.jpg": 4})
    publish(root, SECOND, {"c.jpg": 5}, volume="-2")
    publish(root, OFFLINE, {"a.jpg": 9}, model="offline/rapidocr")
    return root


def totals(chosen):
    """The file names and totals of the chosen rows."""
    whole = pl.concat(list(chosen.frames(["_document", "total"])))
    return [(name.rpartition("/")[2], int(total)) for name, total in whole.rows()]


def test_current_rows_come_newest_run_first(output):
    """A redo replaces the older row; a row of local OCR does not; a field that older files lack is null there."""
    chosen = open_rows(output, None, RowFilter())
    assert totals(chosen) == [("a.jpg", 3), ("d.jpg", 4), ("c.jpg", 5), ("b.jpg", 2)]
    assert chosen.count() == 4
    assert pl.concat(list(chosen.frames(["tags"])))["tags"].to_list()[-1] is None


def test_all_shows_every_row_and_limit_the_first(output, monkeypatch):
    """Also where the rows of a file are read in several blocks."""
    monkeypatch.setattr(report_rows, "BLOCK", 1)
    whole = open_rows(output, "receipt", RowFilter(every=True))
    assert totals(whole) == [("a.jpg", 9), ("a.jpg", 3), ("d.jpg", 4), ("c.jpg", 5), ("a.jpg", 1), ("b.jpg", 2)]
    assert whole.count() == 6
    assert totals(open_rows(output, "receipt", RowFilter(every=True, limit=3))) == totals(whole)[:3]
    assert totals(open_rows(output, "receipt", RowFilter(limit=2))) == [("a.jpg", 3), ("d.jpg", 4)]


def test_rows_of_one_run_are_those_that_it_wrote(output):
    """Of all its volumes, also where a later run has replaced them."""
    assert totals(open_rows(output, None, RowFilter(run=FIRST))) == [("a.jpg", 1), ("b.jpg", 2)]
    assert totals(open_rows(output, None, RowFilter(run=SECOND))) == [("a.jpg", 3), ("d.jpg", 4), ("c.jpg", 5)]


def test_run_names_its_schema(output):
    """With rows of two schemas, a run's rows need no schema; all others do."""
    publish(output, "20261122T021500Z-0004", {"x.jpg": 7}, schema="invoice")
    assert open_rows(output, None, RowFilter(run=FIRST)).schema == "receipt"
    with pytest.raises(ConfigurationError, match="has rows of invoice, receipt: name one"):
        open_rows(output, None, RowFilter())


def test_corrections_replace_values_of_the_current_row(output):
    """By whole name or by the end of the path; what has no row is returned; other columns stay."""
    chosen = open_rows(output, None, RowFilter())
    lines = [
        TruthLine("s3://scans/a.jpg", {"total": "3.5"}, "f, line 1"),
        TruthLine("2026/d.jpg", {"total": None, "day": "2026-02-03", "tags": ["x", "y"]}, "f, line 2"),
        TruthLine("nowhere.jpg", {"total": 1}, "f, line 3"),
        TruthLine("s3://scans/a.jpg", {"total": "3.25"}, "f, line 4"),
    ]
    assert chosen.correct(lines) == ["nowhere.jpg"]
    frame = pl.concat(list(chosen.frames(["total", "day", "tags"])))
    assert frame["total"].to_list() == [Decimal("3.25"), None, 5, 2]
    assert frame["day"].to_list()[:2] == [date(2026, 1, 1), date(2026, 2, 3)]
    assert frame["tags"].to_list()[:2] == [["a"], ["x", "y"]]


def test_name_that_fits_two_documents_is_refused(output):
    """A correction is never applied to a document that was not meant."""
    publish(output, "20261122T021500Z-0004", {"other/a.jpg": 7})
    with pytest.raises(ConfigurationError, match=r"'a\.jpg' names several documents"):
        open_rows(output, None, RowFilter()).correct([TruthLine("a.jpg", {"total": 1}, "f, line 1")])


def test_rows_are_read_from_a_bucket(bucket):
    """The same rows as from a folder."""
    output = open_output(f"{bucket.url}/tables")
    publish(output, FIRST, {"a.jpg": 1, "b.jpg": 2})
    publish(output, SECOND, {"a.jpg": 3})
    chosen = open_rows(output, None, RowFilter())
    assert (totals(chosen), chosen.count()) == ([("a.jpg", 3), ("b.jpg", 2)], 2)
