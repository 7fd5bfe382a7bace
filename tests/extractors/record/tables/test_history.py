"""history.py: the published tables of earlier runs decide which documents are skipped."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.runs import vary

from extractors.core import Problem, RedoScope
from extractors.record.output.folder import FolderOutput
from extractors.record.tables import columns
from extractors.record.tables.history import (
    FAILURE_COLUMNS,
    OUTCOME_COLUMNS,
    REASON_COLUMN,
    RunHistory,
    document_key,
    load_history,
)
from extractors.record.tables.volume import PartId
from extractors.record.tables.writer import Tables

NOW = datetime(2026, 11, 20, 2, 15, 0, tzinfo=UTC)  # when the documents of `make` end
NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
REDO = (None, "failed", "changed", "all")
LATER = datetime(2026, 11, 21, 2, 15, 0, tzinfo=UTC)


@pytest.fixture
def publish(tmp_path, model, terms):
    """Returns a function that publishes a run with these documents."""

    def publish_run(*ends, by=terms):
        with Tables(FolderOutput(tmp_path), by, model) as tables:
            tables.stage(PartId(0), ends)
            tables.publish(dict.fromkeys(columns.RUNS) | {"run": by.run, "volume": 1})

    return publish_run


def name_of(image):
    """The name of an image in the history: its URI and version."""
    return image.uri, image.version


@pytest.fixture
def list_skips(tmp_path, make, terms):
    """Returns a function that lists the values of `--redo`, or None, under which an image is skipped."""

    def list_skipping(uri="/in/a.jpg", version="1-2048", today=terms, *, offline=False):
        history = load_history(FolderOutput(tmp_path), today, offline=offline)
        image = make.build_found(uri, version=version)
        return {redo for redo in REDO if history.skips(name_of(image), redo)}

    return list_skipping


def build_offline(make, end):
    """A document that local OCR has read, accepted or not."""
    reply = make.reply(model="offline/rapidocr")
    changes = {"attempts": (make.attempt(reply=reply),)} | ({"reply": reply} if end == "accepted" else {})
    return make.end(end, **changes)


def test_missing_output_skips_no_document(list_skips):
    assert list_skips() == set()


def test_accepted_document_is_skipped(publish, list_skips, make):
    """Only `--redo all` reads it again."""
    publish(make.accept())
    assert list_skips() == {None, "failed", "changed"}


@pytest.mark.parametrize(
    ("end", "seconds", "skips"),
    [("accepted", 0, True), ("failed", 0, True), ("rejected", 0, True), ("accepted", 1, False), ("failed", 1, False)],
)
def test_redo_before_skips_documents_that_ended_at_or_after_the_instant(
    publish, tmp_path, make, terms, end, seconds, skips
):
    """This holds for results and for final failures."""
    publish(make.end(end))
    before = NOW + timedelta(microseconds=seconds)
    history = load_history(FolderOutput(tmp_path), terms, RedoScope("all", before=before), offline=False)
    assert history.skips(name_of(make.build_found()), "all") is skips


def test_redo_before_retries_a_failure_that_is_not_final(publish, tmp_path, make, terms):
    publish(make.fail(problem=Problem("timeout", "call", "no answer in 120 s", final=False)))
    history = load_history(FolderOutput(tmp_path), terms, RedoScope("all", before=NOW), offline=False)
    assert not history.skips(name_of(make.build_found()), "all")


def test_final_failure_is_skipped(publish, list_skips, make):
    """Only `--redo failed` and `--redo all` read it again."""
    publish(make.fail())
    assert list_skips() == {None, "changed"}


def test_rejected_image_is_skipped(publish, list_skips, make):
    """Only `--redo failed` and `--redo all` read it again."""
    publish(make.reject())
    assert list_skips() == {None, "changed"}


@pytest.mark.parametrize(("before", "redo"), [(0, set()), (3, set()), (4, {None, "changed"}), (5, {None, "changed"})])
def test_failure_that_is_not_final_is_retried_in_five_runs(publish, list_skips, make, before, redo):
    """After the fifth run it is skipped like a final failure."""
    problem = Problem("timeout", "call", "no answer in 120 s", final=False)
    publish(make.fail(problem=problem, planned=make.plan(tries=before)))
    assert list_skips() == redo


def test_tries_is_the_maximum_of_all_runs(publish, tmp_path, make, terms):
    """The next failure is counted from there."""
    problem = Problem("timeout", "call", "no answer in 120 s", final=False)
    publish(make.fail(problem=problem, planned=make.plan(tries=1)))
    publish(make.fail(problem=problem, planned=make.plan(tries=0)), by=vary(terms, run="earlier"))
    assert load_history(FolderOutput(tmp_path), terms, offline=False).tries(name_of(make.build_found())) == 2


def test_document_accepted_after_a_failure_is_skipped(publish, list_skips, make, terms):
    publish(make.fail(problem=Problem("timeout", "call", "no answer", final=False)))
    publish(make.accept(), by=vary(terms, run="later", started_at=LATER))
    assert list_skips() == {None, "failed", "changed"}


@pytest.mark.parametrize("end", ["accepted", "failed", "rejected"])
def test_changed_image_is_not_skipped(publish, list_skips, make, end):
    """The same name with another version is another document."""
    publish(make.end(end))
    assert list_skips(version="2-4096") == set()


def test_image_without_a_row_is_not_skipped(publish, list_skips, make):
    publish(make.accept("/in/a.jpg"), make.fail("/in/b.jpg"))
    assert list_skips("/in/c.jpg") == set()


@pytest.mark.parametrize("end", ["accepted", "failed"])
@pytest.mark.parametrize("schema", ["slip_v2", "sli", "caption"])
def test_history_of_another_schema_is_ignored(publish, list_skips, make, terms, end, schema):
    publish(make.end(end))
    assert list_skips(today=vary(terms, schema=schema)) == set()


@pytest.mark.parametrize("change", [{"schema_hash": "other"}, {"prompt_hash": "other"}, {"model": "maker/other"}])
@pytest.mark.parametrize(("end", "redo"), [("accepted", {None, "failed"}), ("failed", {None})])
def test_redo_changed_takes_documents_of_another_schema_prompt_or_model(
    publish, list_skips, make, terms, change, end, redo
):
    """Without `--redo changed`, another schema hash, prompt or requested model does not matter."""
    publish(make.end(end))
    assert list_skips(today=vary(terms, **change)) == redo


def test_redo_changed_ignores_the_model_that_answered(publish, list_skips, make):
    """It compares the requested model, not the one to which a server routed the call."""
    publish(make.accept(reply=make.reply(model="maker/model-3")))
    assert "changed" in list_skips()


def test_redo_changed_skips_a_document_after_it_was_read_again(publish, list_skips, make, terms):
    publish(make.accept(), by=vary(terms, prompt_hash="before"))
    publish(make.accept(), by=vary(terms, run="later", started_at=LATER))
    assert list_skips() == {None, "failed", "changed"}


@pytest.mark.parametrize("end", ["accepted", "failed"])
def test_rows_read_offline_are_ignored_by_api_runs(publish, list_skips, make, terms, end):
    """A result of local OCR does not replace that of a vision model."""
    local = vary(terms, model="offline/rapidocr")
    publish(build_offline(make, end), by=local)
    assert list_skips() == set()


@pytest.mark.parametrize("end", ["accepted", "failed"])
def test_rows_read_offline_are_skipped_by_offline_runs(publish, list_skips, make, terms, end):
    local = vary(terms, model="offline/rapidocr")
    publish(build_offline(make, end), by=local)
    assert None in list_skips(today=local, offline=True)


def test_model_that_answered_marks_a_row_as_offline(publish, list_skips, make):
    """This holds even if a vision model was requested."""
    publish(build_offline(make, "accepted"))
    assert list_skips() == set()


def test_rows_of_the_api_are_skipped_by_offline_runs(publish, list_skips, make, terms):
    publish(make.accept())
    assert None in list_skips(today=vary(terms, model="offline/rapidocr"), offline=True)


@pytest.mark.parametrize(
    ("latest_end", "redo"), [("accepted", {None, "failed", "changed"}), ("failed", {None, "failed", "changed"})]
)
def test_redo_changed_skips_a_document_whose_latest_row_has_todays_prompt(
    publish, list_skips, make, terms, latest_end, redo
):
    """The order of run ids and files does not matter."""
    publish(make.accept(), by=vary(terms, run="a-later-name", prompt_hash="before"))
    publish(make.end(latest_end, ended_at=LATER), by=vary(terms, run="Z-first-by-name"))
    assert list_skips() == redo


def test_redo_changed_takes_a_document_whose_latest_row_has_another_prompt(publish, list_skips, make, terms):
    """An earlier row with today's prompt does not matter."""
    publish(make.accept(), by=vary(terms, run="z"))
    publish(make.accept(ended_at=LATER), by=vary(terms, run="a", prompt_hash="other"))
    assert list_skips() == {None, "failed"}


def test_document_without_a_version_is_skipped_by_its_name(publish, list_skips, make):
    """Some sources have no versions."""
    page = make.page()
    page = replace(page, billed=replace(page.billed, found=make.build_found(version=None)))
    publish(make.accept(planned=make.plan(pages=(page,))))
    assert list_skips(version=None) == {None, "failed", "changed"}
    assert list_skips() == set()


def test_failure_without_the_tries_column_counts_as_one_try(publish, tmp_path, make, terms):
    """Without the column `final` it counts as not final."""
    publish(make.fail())
    rewrite(tmp_path, "failures", lambda frame: frame.drop("tries", "final"))
    history = load_history(FolderOutput(tmp_path), terms, offline=False)
    assert history.tries(name_of(make.build_found())) == 1
    assert not history.skips(name_of(make.build_found()), None)


class End(NamedTuple):
    """A result or failure of a document: `now` means read as today, `at` its time."""

    document: str
    accepted: bool
    now: bool
    final: bool
    tries: int
    kind: str
    at: int

    @property
    def settled(self):
        return not self.accepted and (self.final or self.tries >= 5)

    @property
    def differs(self):
        return None if self.now else "prompt"


end_strategy = st.builds(
    End,
    st.sampled_from("ab"),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(1, 6),
    st.sampled_from(["timeout", "refused"]),
    st.integers(0, 9),
)


def sort_ends(ends):
    """Sorts by time; of two ends of one time, the failure is the later."""
    return sorted(ends, key=lambda end: (end.at, not end.accepted))


def expect_skip(ends, redo, kind):
    """What `skips` must return; `ends` are sorted."""
    accepted, settled = any(end.accepted for end in ends), any(end.settled for end in ends)
    if redo == "changed":
        last = [end.now for end in ends if end.accepted or end.final][-1:]
        return last == [True] or any(end.now and not end.accepted and end.tries >= 5 for end in ends)
    if redo == "failed" and kind:
        return accepted or (settled and kind != next(end.kind for end in ends[::-1] if not end.accepted))
    return {None: accepted or settled, "failed": accepted, "all": False}[redo]


def expect_reason(ends, redo):
    """What `reason` must return for a document that is not skipped."""
    failures = [end for end in ends if not end.accepted]
    settled_ends = [end for end in ends if end.accepted or end.settled]
    if redo == "changed" and settled_ends:
        return settled_ends[-1].differs
    if redo == "all" and any(end.accepted for end in ends):
        return "done"
    if redo != "changed" and any(end.settled for end in ends):
        return failures[-1].kind
    return "retry" if failures else "new"


def build_history(ends, redo, kind):
    """The history of these ends, as it is loaded for this redo."""
    rows = [
        {"key": document_key(end.document, "1"), "at": NOON + timedelta(hours=2 * end.at + (not end.accepted))}
        | {"now": end.now, "final": end.final, "tries": end.tries, "ok": end.accepted}
        | {"why": end.differs if redo == "changed" else None if end.accepted else end.kind}
        for end in ends
    ]
    frame = pl.DataFrame(rows, schema=FAILURE_COLUMNS | REASON_COLUMN | {"ok": pl.Boolean()}, orient="row")
    why = REASON_COLUMN if redo else {}
    accepted = OUTCOME_COLUMNS | (REASON_COLUMN if redo == "changed" else {})
    return RunHistory(
        frame.filter("ok").select(*accepted), frame.filter(~pl.col("ok")).select(*FAILURE_COLUMNS, *why), kind
    )


@given(all_ends=st.lists(end_strategy, max_size=12), kind=st.sampled_from([None, "timeout"]))
def test_history_skips_documents_as_a_plain_count_does(all_ends, kind):
    """For any history and any redo, `skips` and `reason` agree with a count over the list of ends."""
    for document, redo in product("ab", REDO):
        own_ends, history = (
            sort_ends(end for end in all_ends if end.document == document),
            build_history(all_ends, redo, kind),
        )
        assert history.skips((document, "1"), redo) == expect_skip(own_ends, redo, kind)
        if redo and not expect_skip(own_ends, redo, kind):
            assert history.reason((document, "1"), redo) == expect_reason(own_ends, redo)


def rewrite(root, table, change):
    """Replaces a published file by a changed one, like that of another version."""
    (path,) = root.glob(f"{table}/**/*.parquet")
    change(pl.read_parquet(path, hive_partitioning=False)).write_parquet(path)


def test_files_with_other_columns_are_read_together(publish, list_skips, make, terms, tmp_path):
    """A file may have an additional column, lack one, or have another order."""
    publish(make.accept("/in/old.jpg"), make.fail("/in/odd.jpg"))
    rewrite(tmp_path, "results", lambda frame: frame.drop("total", "_manifest").with_columns(extra=pl.lit(1)))
    rewrite(tmp_path, "failures", lambda frame: frame.drop("cost_usd").select(reversed(frame.drop("cost_usd").columns)))
    publish(make.accept("/in/new.jpg"), by=vary(terms, run="later", started_at=LATER))
    assert None in list_skips("/in/old.jpg")
    assert None in list_skips("/in/odd.jpg")
    assert None in list_skips("/in/new.jpg")


def test_redo_changed_takes_rows_without_hashes(publish, list_skips, make, tmp_path):
    """Without `--redo`, they are skipped."""
    publish(make.accept())
    rewrite(tmp_path, "results", lambda frame: frame.drop("_schema_hash", "_prompt_hash"))
    assert list_skips() == {None, "failed"}


def test_staged_documents_are_not_skipped(tmp_path, list_skips, make, terms, model):
    with Tables(FolderOutput(tmp_path), terms, model) as tables:
        tables.stage(PartId(0), [make.accept()])
    assert list_skips() == set()


def test_second_volume_of_a_run_is_read(tmp_path, list_skips, make, terms, model):
    row = dict.fromkeys(columns.RUNS) | {"run": terms.run}
    with Tables(FolderOutput(tmp_path), terms, model) as tables:
        tables.publish(row | {"volume": 1})
        tables.stage(PartId(0), [make.accept()])
        tables.publish(row | {"volume": 2})
    assert None in list_skips()
