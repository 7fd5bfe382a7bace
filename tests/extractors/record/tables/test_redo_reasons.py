"""history.py: the reason for which `--redo` takes a document."""

from datetime import UTC, datetime

import polars as pl
import pytest
from support.runs import vary

from extractors.core import Problem, RedoScope
from extractors.record.output.folder import FolderOutput
from extractors.record.tables import columns
from extractors.record.tables.history import load_history
from extractors.record.tables.volume import PartId
from extractors.record.tables.writer import Tables

REDO = (None, "failed", "changed", "all", "reparse")
LATER = datetime(2026, 11, 21, 2, 15, 0, tzinfo=UTC)
TIMEOUT = Problem("timeout", "call", "no answer in 120 s", final=False)
UNREADABLE = Problem("unreadable", "prepare", "cannot be decoded")


@pytest.fixture
def publish(tmp_path, model, terms):
    """Returns a function that publishes a run with these documents."""

    def publish_run(*ends, by=terms):
        with Tables(FolderOutput(tmp_path), by, model) as tables:
            tables.stage(PartId(0), ends)
            tables.publish(dict.fromkeys(columns.RUNS) | {"run": by.run, "volume": 1})

    return publish_run


@pytest.fixture
def find_reason(tmp_path, make, terms):
    """Returns a function that gives the reason for which an image is taken under a redo; None if it is skipped."""

    def answer(redo, kind=None, uri="/in/a.jpg", today=terms):
        history = load_history(FolderOutput(tmp_path), today, RedoScope(redo, kind), offline=False)
        name = (uri, make.build_found(uri).version)
        return None if history.skips(name, redo) else history.reason(name, redo)

    return answer


@pytest.mark.parametrize("redo", REDO)
def test_document_without_a_row_is_new(publish, find_reason, make, redo):
    publish(make.accept("/in/b.jpg"), make.fail("/in/c.jpg"))
    assert find_reason(redo) == "new"


@pytest.mark.parametrize("redo", REDO)
def test_failure_that_is_not_final_has_the_reason_retry(publish, find_reason, make, redo):
    """It is taken without `--redo` too."""
    publish(make.fail(problem=TIMEOUT))
    assert find_reason(redo) == "retry"


@pytest.mark.parametrize(("redo", "cause"), [("failed", "refused"), ("changed", None), ("all", "refused")])
def test_final_failure_has_its_kind_as_reason(publish, find_reason, make, redo, cause):
    """Under `changed` it is skipped."""
    publish(make.fail())
    assert find_reason(redo) == cause


def test_failure_after_five_tries_has_its_kind_as_reason(publish, find_reason, make):
    """Without `--redo` it is skipped."""
    publish(make.fail(problem=TIMEOUT, planned=make.plan(tries=4)))
    assert find_reason("failed") == "timeout"


def test_reason_is_the_kind_of_the_latest_failure(publish, find_reason, make, terms):
    """The order of run ids does not matter."""
    publish(make.fail(problem=UNREADABLE, ended_at=LATER), by=vary(terms, run="a"))
    publish(make.fail(), by=vary(terms, run="b"))
    assert find_reason("failed") == "unreadable"
    assert find_reason("failed", kind="refused") is None


@pytest.mark.parametrize(("kind", "cause"), [("refused", "refused"), ("timeout", None), ("unreadable", None)])
def test_redo_kind_takes_final_failures_of_that_kind_only(publish, find_reason, make, kind, cause):
    publish(make.fail())
    assert find_reason("failed", kind=kind) == cause


def test_redo_kind_takes_retries_and_new_documents(publish, find_reason, make):
    """Their kind does not matter."""
    publish(make.fail(problem=TIMEOUT))
    assert find_reason("failed", kind="refused") == "retry"
    assert find_reason("failed", kind="refused", uri="/in/new.jpg") == "new"


def test_redo_kind_skips_documents_accepted_later(publish, find_reason, make, terms):
    publish(make.fail())
    publish(make.accept(ended_at=LATER), by=vary(terms, run="later"))
    assert find_reason("failed", kind="refused") is None


@pytest.mark.parametrize("end", ["accepted", "failed"])
@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"schema_hash": "other"}, "schema"),
        ({"prompt_hash": "other"}, "prompt"),
        ({"model": "maker/other"}, "model"),
        ({"prompt_hash": "other", "model": "maker/other"}, "prompt"),
        ({"schema_hash": "other", "prompt_hash": "other", "model": "maker/other"}, "schema"),
    ],
)
def test_redo_changed_has_the_first_difference_as_reason(publish, find_reason, make, terms, end, changes, cause):
    """Schema comes before prompt, and prompt before model, for accepted and for failed documents."""
    publish(make.end(end))
    assert find_reason("changed", today=vary(terms, **changes)) == cause


def test_redo_all_has_the_reason_done_for_accepted_documents(publish, find_reason, make, terms):
    """An earlier failure does not matter."""
    publish(make.fail(), by=vary(terms, run="a"))
    publish(make.accept(ended_at=LATER), by=vary(terms, run="b"))
    assert find_reason("all") == "done"


def test_failure_without_a_kind_column_has_the_reason_unknown(publish, find_reason, make, tmp_path):
    """A file of an older version may lack the column."""
    publish(make.fail())
    drop_columns(tmp_path, "failures", "kind")
    assert find_reason("failed") == "unknown"


def test_result_without_hash_columns_has_the_reason_schema(publish, find_reason, make, tmp_path):
    publish(make.accept())
    drop_columns(tmp_path, "results", "_schema_hash", "_prompt_hash")
    assert find_reason("changed") == "schema"


def drop_columns(root, table, *names):
    """Removes columns from a published file, like that of an older version."""
    (path,) = root.glob(f"{table}/**/*.parquet")
    pl.read_parquet(path, hive_partitioning=False).drop(names).write_parquet(path)
