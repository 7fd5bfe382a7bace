"""history.py: why a document is taken, when something is done again."""

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
    """Publishes one run with these ends."""

    def publish_run(*ends, by=terms):
        with Tables(FolderOutput(tmp_path), by, model) as tables:
            tables.stage(PartId(0), ends)
            tables.publish(dict.fromkeys(columns.RUNS) | {"run": by.run, "volume": 1})

    return publish_run


@pytest.fixture
def again(tmp_path, make, terms):
    """Why an image is taken today under a redo; None when it is not."""

    def answer(redo, kind=None, uri="/in/a.jpg", today=terms):
        past = load_history(FolderOutput(tmp_path), today, RedoScope(redo, kind), offline=False)
        named = (uri, make.build_found(uri).version)
        return None if past.skips(named, redo) else past.reason(named, redo)

    return answer


@pytest.mark.parametrize("redo", REDO)
def test_what_never_ended_is_new(publish, again, make, redo):
    """Whatever is done again beside it."""
    publish(make.accept("/in/b.jpg"), make.fail("/in/c.jpg"))
    assert again(redo) == "new"


@pytest.mark.parametrize("redo", REDO)
def test_what_failed_not_for_good_is_tried_again(publish, again, make, redo):
    """It would have been taken without being asked for."""
    publish(make.fail(problem=TIMEOUT))
    assert again(redo) == "retry"


@pytest.mark.parametrize(("redo", "cause"), [("failed", "refused"), ("changed", None), ("all", "refused")])
def test_a_failure_is_taken_for_its_kind(publish, again, make, redo, cause):
    """As the table of failures has it."""
    publish(make.fail())
    assert again(redo) == cause


def test_a_failure_that_was_tried_too_often_is_taken_for_its_kind(publish, again, make):
    """It is not taken again without being asked."""
    publish(make.fail(problem=TIMEOUT, planned=make.plan(tries=4)))
    assert again("failed") == "timeout"


def test_the_latest_failure_is_the_cause(publish, again, make, terms):
    """Whichever file holds it."""
    publish(make.fail(problem=UNREADABLE, ended_at=LATER), by=vary(terms, run="a"))
    publish(make.fail(), by=vary(terms, run="b"))
    assert again("failed") == "unreadable"
    assert again("failed", kind="refused") is None


@pytest.mark.parametrize(("kind", "cause"), [("refused", "refused"), ("timeout", None), ("unreadable", None)])
def test_a_kind_takes_final_failures_of_that_kind_alone(publish, again, make, kind, cause):
    """Others stay done."""
    publish(make.fail())
    assert again("failed", kind=kind) == cause


def test_a_kind_takes_what_is_taken_anyway(publish, again, make):
    """What is new, and what failed not for good, of whatever kind."""
    publish(make.fail(problem=TIMEOUT))
    assert again("failed", kind="refused") == "retry"
    assert again("failed", kind="refused", uri="/in/new.jpg") == "new"


def test_a_kind_takes_nothing_that_was_accepted(publish, again, make, terms):
    """Its failure is past."""
    publish(make.fail())
    publish(make.accept(ended_at=LATER), by=vary(terms, run="later"))
    assert again("failed", kind="refused") is None


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
def test_what_changed_is_taken_for_the_first_that_differs(publish, again, make, terms, end, changes, cause):
    """Schema before prompt before model, whether it was accepted or failed for good."""
    publish(make.end(end))
    assert again("changed", today=vary(terms, **changes)) == cause


def test_what_was_accepted_is_taken_as_done(publish, again, make, terms):
    """Under `all`, whatever it failed of before or since."""
    publish(make.fail(), by=vary(terms, run="a"))
    publish(make.accept(ended_at=LATER), by=vary(terms, run="b"))
    assert again("all") == "done"


def test_a_failure_without_a_kind_is_unknown(publish, again, make, tmp_path):
    """A file of an older version may lack the column."""
    publish(make.fail())
    drop(tmp_path, "failures", "kind")
    assert again("failed") == "unknown"


def test_a_file_without_hashes_was_read_by_another_schema(publish, again, make, tmp_path):
    """What does not say how it was read was read otherwise."""
    publish(make.accept())
    drop(tmp_path, "results", "_schema_hash", "_prompt_hash")
    assert again("changed") == "schema"


def drop(root, table, *names):
    """Makes a published file one of an older version, which has no such columns."""
    (path,) = root.glob(f"{table}/**/*.parquet")
    pl.read_parquet(path, hive_partitioning=False).drop(names).write_parquet(path)
