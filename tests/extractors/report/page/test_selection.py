"""page.selection and page.runs: the documents of a page, their order, and the run that is shown."""

import polars as pl
import pytest

from extractors.core.errors import ConfigurationError
from extractors.record.output import open_output
from extractors.record.tables import columns
from extractors.report.page.runs import RunTables, open_run
from extractors.report.page.selection import select_documents

RUN = "20261120T021500Z-3f9a"


@pytest.fixture
def tables(tmp_path):
    """Returns a function that writes the tables of a run; columns that are not given are null."""

    def write(results=(), failures=(), calls=()):
        schemas = {"results": columns.RESULTS | {"_confidence": columns.REAL}, "failures": columns.FAILURES}
        rows = {"results": results, "failures": failures, "calls": calls}
        for name, table_rows in rows.items():
            schema = schemas.get(name, columns.CALLS)
            full_rows = [dict.fromkeys(schema) | row for row in table_rows]
            pl.DataFrame(full_rows, schema=schema, orient="row").write_parquet(tmp_path / f"{name}.parquet")
        files = {name: [f"{name}.parquet"] for name in rows}
        return RunTables(open_output(str(tmp_path)), RUN, files)

    return write


def build_result(name, attempts=1, confidence=None):
    """A row of results."""
    return {"_document": name, "_attempts": attempts, "_confidence": confidence}


def test_documents_with_unseen_values_come_before_other_doubtful_ones(tables):
    """Then come documents with missing rows, then those with a low confidence."""
    evidence = dict.fromkeys(columns.EVIDENCE)
    unseen_evidence = [evidence | {"field": "total", "page": 0}, evidence | {"field": "date", "page": 1}]
    missing_evidence = [evidence | {"field": "items[?]", "page": 1}]
    seen_evidence = [evidence | {"field": "total", "page": 1}]
    run = tables(
        results=[
            build_result("low", confidence=0.4),
            build_result("missing") | {"_evidence": missing_evidence},
            build_result("a") | {"_evidence": seen_evidence},
            build_result("unseen", confidence=0.99) | {"_evidence": unseen_evidence},
        ],
        failures=[{"document": "bad", "attempts": 1}],
    )
    selection = select_documents(run)
    assert list_names(selection) == ["bad", "unseen", "missing", "low", "a"]
    assert selection.total == (1, 3, 1)


def list_names(selection):
    """The selected documents in their order."""
    return selection.documents["document"].to_list()


def test_failed_and_doubtful_documents_come_first(tables):
    """The order is: failures, low confidence, several rungs, several attempts, then the others by name."""
    run = tables(
        results=[
            build_result("b"),
            build_result("a"),
            build_result("low", confidence=0.4),
            build_result("again", 3),
            build_result("up", 2),
        ],
        failures=[{"document": "bad", "attempts": 1}, {"document": "worse", "attempts": 4}],
        calls=[{"document": "up", "rung": rung} for rung in (100, 400)]
        + [{"document": "again", "rung": 100} for _ in range(3)],
    )
    selection = select_documents(run)
    assert list_names(selection) == ["worse", "bad", "low", "up", "again", "a", "b"]
    assert (selection.shown, selection.total) == ((2, 3, 2), (2, 3, 2))
    assert not selection.is_partial


def test_audit_call_is_not_a_climb(tables):
    """Its rung is 0, so the document was read on one rung only."""
    run = tables(
        results=[build_result("audited"), build_result("up")],
        calls=[
            {"document": name, "rung": rung}
            for name, rung in (("audited", 100), ("audited", 0), ("up", 100), ("up", 400))
        ],
    )
    climbed = select_documents(run).documents.filter(pl.col("climbed"))
    assert climbed["document"].to_list() == ["up"]


def test_large_selection_has_all_failures_doubtful_documents_and_a_sample(tables):
    """The sample is the same each time, in the order of names."""
    run = tables(
        results=[build_result(f"d{number:03}", 2) for number in range(4)]
        + [build_result(f"s{number:03}") for number in range(90)],
        failures=[{"document": f"f{number}", "attempts": 1} for number in range(6)],
    )
    selection = select_documents(run, 20)
    assert (selection.shown, selection.total) == ((6, 4, 10), (6, 4, 90))
    assert list_names(selection) == list_names(select_documents(run, 20))
    assert list_names(selection)[10:] == sorted(list_names(selection)[10:]) != [f"s{number:03}" for number in range(10)]
    assert select_documents(run, 3).shown == (6, 0, 0)


def test_open_run_opens_the_last_run_that_read_documents(tmp_path):
    """Runs that skipped all documents are ignored; if there are only such runs, an error says so."""
    folder = tmp_path / "runs" / "run_date=2026-11-20"
    folder.mkdir(parents=True)
    for run, accepted in (("20261120T021500Z-0001", 0), ("20261120T021600Z-0002", 0)):
        row = dict.fromkeys(columns.RUNS) | {"run": run, "accepted": accepted, "skipped": 5}
        pl.DataFrame([row], schema=columns.RUNS, orient="row").write_parquet(folder / f"{run}.parquet")
    output = open_output(str(tmp_path))
    with pytest.raises(ConfigurationError, match="none of them read a document"):
        open_run(output, None)
    row = dict.fromkeys(columns.RUNS) | {"run": "20261120T021500Z-0001", "failed": 1}
    pl.DataFrame([row], schema=columns.RUNS, orient="row").write_parquet(folder / "20261120T021500Z-0001.parquet")
    assert open_run(output, None).run == "20261120T021500Z-0001"
