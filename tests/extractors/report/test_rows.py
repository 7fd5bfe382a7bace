"""rows.py: the rows that are selected from the published files, and how corrections change them."""

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
    """Writes a published file of results with these documents and totals."""
    started_at = datetime.strptime(run[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    columns_of_file = fields | columns.RESULTS
    rows = [
        dict.fromkeys(columns_of_file)
        | {"total": Decimal(total), "day": date(2026, 1, 1), "tags": ["a"]}
        | {"_document": f"s3://scans/{name}", "_run": run, "_extracted_at": started_at, "_model": model}
        for name, total in totals.items()
    ]
    key = f"results/schema={schema}/run_date={started_at:%Y-%m-%d}/{run}{volume}.parquet"
    output.write(
        key,
        pl.DataFrame(
            [{name: row[name] for name in columns_of_file} for row in rows], schema=columns_of_file, orient="row"
        ),
    )


@pytest.fixture
def output(tmp_path):
    """Two runs, the second in two volumes, and a later offline run; `a.jpg` was read in all of them."""
    root = open_output(str(tmp_path))
    older_fields = {"total": FIELDS["total"], "day": FIELDS["day"]}
    publish(root, FIRST, {"a.jpg": 1, "b.jpg": 2}, fields=older_fields)
    publish(root, SECOND, {"a.jpg": 3, "2026/d.jpg": 4})
    publish(root, SECOND, {"c.jpg": 5}, volume="-2")
    publish(root, OFFLINE, {"a.jpg": 9}, model="offline/rapidocr")
    return root


def read_totals(rows):
    """The file names and totals of the selected rows."""
    frame = pl.concat(list(rows.frames(["_document", "total"])))
    return [(name.rpartition("/")[2], int(total)) for name, total in frame.rows()]


def test_current_rows_come_newest_run_first(output):
    """A redo replaces the older row, a row of local OCR does not; a field that older files lack is null."""
    rows = open_rows(output, None, RowFilter())
    assert read_totals(rows) == [("a.jpg", 3), ("d.jpg", 4), ("c.jpg", 5), ("b.jpg", 2)]
    assert rows.count() == 4
    assert pl.concat(list(rows.frames(["tags"])))["tags"].to_list()[-1] is None


def test_filter_all_returns_every_row_and_limit_the_first_ones(output, monkeypatch):
    """The rows of a file may be read in several blocks."""
    monkeypatch.setattr(report_rows, "BLOCK", 1)
    rows = open_rows(output, "receipt", RowFilter(every=True))
    assert read_totals(rows) == [("a.jpg", 9), ("a.jpg", 3), ("d.jpg", 4), ("c.jpg", 5), ("a.jpg", 1), ("b.jpg", 2)]
    assert rows.count() == 6
    assert read_totals(open_rows(output, "receipt", RowFilter(every=True, limit=3))) == read_totals(rows)[:3]
    assert read_totals(open_rows(output, "receipt", RowFilter(limit=2))) == [("a.jpg", 3), ("d.jpg", 4)]


def test_rows_of_a_run_are_those_of_all_its_volumes(output):
    """Rows that a later run has replaced are included."""
    assert read_totals(open_rows(output, None, RowFilter(run=FIRST))) == [("a.jpg", 1), ("b.jpg", 2)]
    assert read_totals(open_rows(output, None, RowFilter(run=SECOND))) == [("a.jpg", 3), ("d.jpg", 4), ("c.jpg", 5)]


def test_schema_is_needed_for_several_schemas_without_a_run(output):
    publish(output, "20261122T021500Z-0004", {"x.jpg": 7}, schema="invoice")
    assert open_rows(output, None, RowFilter(run=FIRST)).schema == "receipt"
    with pytest.raises(ConfigurationError, match="has rows of invoice, receipt: name one"):
        open_rows(output, None, RowFilter())


def test_corrections_replace_values_of_the_current_row(output):
    """A document is named by its full name or the end of its path; names without a row are returned."""
    rows = open_rows(output, None, RowFilter())
    lines = [
        TruthLine("s3://scans/a.jpg", {"total": "3.5"}, "f, line 1"),
        TruthLine("2026/d.jpg", {"total": None, "day": "2026-02-03", "tags": ["x", "y"]}, "f, line 2"),
        TruthLine("nowhere.jpg", {"total": 1}, "f, line 3"),
        TruthLine("s3://scans/a.jpg", {"total": "3.25"}, "f, line 4"),
    ]
    assert rows.correct(lines) == ["nowhere.jpg"]
    frame = pl.concat(list(rows.frames(["total", "day", "tags"])))
    assert frame["total"].to_list() == [Decimal("3.25"), None, 5, 2]
    assert frame["day"].to_list()[:2] == [date(2026, 1, 1), date(2026, 2, 3)]
    assert frame["tags"].to_list()[:2] == [["a"], ["x", "y"]]


def test_correction_with_an_ambiguous_name_is_refused(output):
    publish(output, "20261122T021500Z-0004", {"other/a.jpg": 7})
    with pytest.raises(ConfigurationError, match=r"'a\.jpg' names several documents"):
        open_rows(output, None, RowFilter()).correct([TruthLine("a.jpg", {"total": 1}, "f, line 1")])


def test_rows_are_read_from_a_bucket(bucket):
    output = open_output(f"{bucket.url}/tables")
    publish(output, FIRST, {"a.jpg": 1, "b.jpg": 2})
    publish(output, SECOND, {"a.jpg": 3})
    rows = open_rows(output, None, RowFilter())
    assert (read_totals(rows), rows.count()) == ([("a.jpg", 3), ("b.jpg", 2)], 2)
