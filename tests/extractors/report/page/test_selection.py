"""page.selection and page.runs: which documents a page shows, in which order, and of which run."""

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
    """Writes tables of a run from the columns that matter; the others are null."""

    def write(results=(), failures=(), calls=()):
        schemas = {"results": columns.RESULTS | {"_confidence": columns.REAL}, "failures": columns.FAILURES}
        rows = {"results": results, "failures": failures, "calls": calls}
        for name, given in rows.items():
            schema = schemas.get(name, columns.CALLS)
            full = [dict.fromkeys(schema) | each for each in given]
            pl.DataFrame(full, schema=schema, orient="row").write_parquet(tmp_path / f"{name}.parquet")
        files = {name: [f"{name}.parquet"] for name in rows}
        return RunTables(open_output(str(tmp_path)), RUN, files)

    return write


def result(name, attempts=1, confidence=None):
    """A row of results."""
    return {"_document": name, "_attempts": attempts, "_confidence": confidence}


def test_documents_with_values_on_no_page_come_before_other_doubtful_ones(tables):
    """Then those with missing rows, then those of low confidence."""
    evidence = dict.fromkeys(columns.EVIDENCE)
    unseen = [evidence | {"field": "total", "page": 0}, evidence | {"field": "date", "page": 1}]
    missing = [evidence | {"field": "items[?]", "page": 1}]
    seen = [evidence | {"field": "total", "page": 1}]
    run = tables(
        results=[
            result("low", confidence=0.4),
            result("missing") | {"_evidence": missing},
            result("a") | {"_evidence": seen},
            result("unseen", confidence=0.99) | {"_evidence": unseen},
        ],
        failures=[{"document": "bad", "attempts": 1}],
    )
    selection = select_documents(run)
    assert names(selection) == ["bad", "unseen", "missing", "low", "a"]
    assert selection.total == (1, 3, 1)


def names(selection):
    """The selected documents in their order."""
    return selection.documents["document"].to_list()


def test_worst_documents_come_first(tables):
    """Failures, then those of low confidence, on several rungs, with several attempts; then the others by name."""
    run = tables(
        results=[result("b"), result("a"), result("low", confidence=0.4), result("again", 3), result("up", 2)],
        failures=[{"document": "bad", "attempts": 1}, {"document": "worse", "attempts": 4}],
        calls=[{"document": "up", "rung": rung} for rung in (100, 400)]
        + [{"document": "again", "rung": 100} for _ in range(3)],
    )
    selection = select_documents(run)
    assert names(selection) == ["worse", "bad", "low", "up", "again", "a", "b"]
    assert (selection.shown, selection.total) == ((2, 3, 2), (2, 3, 2))
    assert not selection.is_partial


def test_a_call_of_an_audit_is_no_climb(tables):
    """Its rung is 0: the document was read on one rung of its ladder."""
    run = tables(
        results=[result("audited"), result("up")],
        calls=[
            {"document": name, "rung": rung}
            for name, rung in (("audited", 100), ("audited", 0), ("up", 100), ("up", 400))
        ],
    )
    climbed = select_documents(run).documents.filter(pl.col("climbed"))
    assert climbed["document"].to_list() == ["up"]


def test_too_many_documents_are_every_failure_then_the_doubtful_and_a_sample(tables):
    """The sample is the same each time, and in the order of names."""
    run = tables(
        results=[result(f"d{number:03}", 2) for number in range(4)] + [result(f"s{number:03}") for number in range(90)],
        failures=[{"document": f"f{number}", "attempts": 1} for number in range(6)],
    )
    selection = select_documents(run, 20)
    assert (selection.shown, selection.total) == ((6, 4, 10), (6, 4, 90))
    assert names(selection) == names(select_documents(run, 20))
    assert names(selection)[10:] == sorted(names(selection)[10:]) != [f"s{number:03}" for number in range(10)]
    assert select_documents(run, 3).shown == (6, 0, 0)


def test_last_run_is_the_last_one_that_read_documents(tmp_path):
    """Runs that skipped everything are passed over; without any other, the message says so."""
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
