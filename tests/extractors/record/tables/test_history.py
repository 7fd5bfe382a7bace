"""history.py: what earlier runs have published decides which documents need no call."""

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

NOW = datetime(2026, 11, 20, 2, 15, 0, tzinfo=UTC)  # when documents that are made by hand end
NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
REDO = (None, "failed", "changed", "all")
LATER = datetime(2026, 11, 21, 2, 15, 0, tzinfo=UTC)


@pytest.fixture
def publish(tmp_path, model, terms):
    """Publishes one run with these ends."""

    def publish_run(*ends, by=terms):
        with Tables(FolderOutput(tmp_path), by, model) as tables:
            tables.stage(PartId(0), ends)
            tables.publish(dict.fromkeys(columns.RUNS) | {"run": by.run, "volume": 1})

    return publish_run


def name(found):
    """What an image is known by."""
    return found.uri, found.version


@pytest.fixture
def skipped(tmp_path, make, terms):
    """Under which redo an image is skipped today, of: none, failed, changed, all."""

    def answer(uri="/in/a.jpg", version="1-2048", today=terms, *, offline=False):
        past = load_history(FolderOutput(tmp_path), today, offline=offline)
        found = make.build_found(uri, version=version)
        return {redo for redo in REDO if past.skips(name(found), redo)}

    return answer


def read_offline(make, end):
    """A document that local OCR has answered about, well or badly."""
    reply = make.reply(model="offline/rapidocr")
    changes = {"attempts": (make.attempt(reply=reply),)} | ({"reply": reply} if end == "accepted" else {})
    return make.end(end, **changes)


def test_nothing_is_done_before_the_first_run(skipped):
    """An output that does not exist yet has no past."""
    assert skipped() == set()


def test_an_accepted_document_is_done(publish, skipped, make):
    """A row in results is paid for: only `all` reads it again."""
    publish(make.accept())
    assert skipped() == {None, "failed", "changed"}


@pytest.mark.parametrize(
    ("end", "seconds", "skips"),
    [("accepted", 0, True), ("failed", 0, True), ("rejected", 0, True), ("accepted", 1, False), ("failed", 1, False)],
)
def test_redo_before_skips_what_ended_at_or_after_that_instant(publish, tmp_path, make, terms, end, seconds, skips):
    """A result or a final failure, under every kind of redo that would take it."""
    publish(make.end(end))
    before = NOW + timedelta(microseconds=seconds)
    past = load_history(FolderOutput(tmp_path), terms, RedoScope("all", before=before), offline=False)
    assert past.skips(name(make.build_found()), "all") is skips


def test_redo_before_takes_a_failure_that_is_not_final(publish, tmp_path, make, terms):
    publish(make.fail(problem=Problem("timeout", "call", "no answer in 120 s", final=False)))
    past = load_history(FolderOutput(tmp_path), terms, RedoScope("all", before=NOW), offline=False)
    assert not past.skips(name(make.build_found()), "all")


def test_a_final_failure_is_done(publish, skipped, make):
    """What another try cannot cure is taken again only when failures are asked for."""
    publish(make.fail())
    assert skipped() == {None, "changed"}


def test_a_rejected_image_is_done(publish, skipped, make):
    """An image that cannot be read is not looked at every night."""
    publish(make.reject())
    assert skipped() == {None, "changed"}


@pytest.mark.parametrize(("before", "redo"), [(0, set()), (3, set()), (4, {None, "changed"}), (5, {None, "changed"})])
def test_a_failure_that_is_not_final_is_taken_five_times(publish, skipped, make, before, redo):
    """A timeout is tried again by itself in at most five runs, and after them when failures are asked for."""
    flaw = Problem("timeout", "call", "no answer in 120 s", final=False)
    publish(make.fail(problem=flaw, planned=make.plan(tries=before)))
    assert skipped() == redo


def test_the_tries_of_several_runs_are_the_most(publish, tmp_path, make, terms):
    """The next failure of a document is counted on from its last."""
    flaw = Problem("timeout", "call", "no answer in 120 s", final=False)
    publish(make.fail(problem=flaw, planned=make.plan(tries=1)))
    publish(make.fail(problem=flaw, planned=make.plan(tries=0)), by=vary(terms, run="earlier"))
    assert load_history(FolderOutput(tmp_path), terms, offline=False).tries(name(make.build_found())) == 2


def test_a_document_that_failed_and_was_accepted_later_is_done(publish, skipped, make, terms):
    """A row in results counts whatever went before it."""
    publish(make.fail(problem=Problem("timeout", "call", "no answer", final=False)))
    publish(make.accept(), by=vary(terms, run="later", started_at=LATER))
    assert skipped() == {None, "failed", "changed"}


@pytest.mark.parametrize("end", ["accepted", "failed", "rejected"])
def test_a_changed_image_is_not_done(publish, skipped, make, end):
    """Other bytes under the same name are another document."""
    publish(make.end(end))
    assert skipped(version="2-4096") == set()


def test_another_image_is_not_done(publish, skipped, make):
    """Being done is a property of one document."""
    publish(make.accept("/in/a.jpg"), make.fail("/in/b.jpg"))
    assert skipped("/in/c.jpg") == set()


@pytest.mark.parametrize("end", ["accepted", "failed"])
@pytest.mark.parametrize("schema", ["slip_v2", "sli", "caption"])
def test_another_schema_has_a_past_of_its_own(publish, skipped, make, terms, end, schema):
    """An image read as one document is not done as another."""
    publish(make.end(end))
    assert skipped(today=vary(terms, schema=schema)) == set()


@pytest.mark.parametrize("change", [{"schema_hash": "other"}, {"prompt_hash": "other"}, {"model": "maker/other"}])
@pytest.mark.parametrize(("end", "redo"), [("accepted", {None, "failed"}), ("failed", {None})])
def test_what_was_read_otherwise_is_redone_when_changed_is_asked(publish, skipped, make, terms, change, end, redo):
    """Another schema hash, prompt or requested model leaves a document done, until `changed` asks for it."""
    publish(make.end(end))
    assert skipped(today=vary(terms, **change)) == redo


def test_another_answering_model_changes_nothing(publish, skipped, make):
    """`changed` looks at the model that was asked for, not at the one that a server sent the call on to."""
    publish(make.accept(reply=make.reply(model="maker/model-3")))
    assert "changed" in skipped()


def test_a_document_read_again_as_today_is_done_under_changed(publish, skipped, make, terms):
    """After `changed` has read a document once, it is done."""
    publish(make.accept(), by=vary(terms, prompt_hash="before"))
    publish(make.accept(), by=vary(terms, run="later", started_at=LATER))
    assert skipped() == {None, "failed", "changed"}


@pytest.mark.parametrize("end", ["accepted", "failed"])
def test_what_was_read_offline_is_not_done_for_the_api(publish, skipped, make, terms, end):
    """Rows of local OCR stand in for nothing that a vision model reads."""
    local = vary(terms, model="offline/rapidocr")
    publish(read_offline(make, end), by=local)
    assert skipped() == set()


@pytest.mark.parametrize("end", ["accepted", "failed"])
def test_what_was_read_offline_is_done_for_offline_runs(publish, skipped, make, terms, end):
    """An offline run does not read its own rows again."""
    local = vary(terms, model="offline/rapidocr")
    publish(read_offline(make, end), by=local)
    assert None in skipped(today=local, offline=True)


def test_the_answering_model_tells_an_offline_row(publish, skipped, make):
    """A row that local OCR answered under a vision model's name is an offline row."""
    publish(read_offline(make, "accepted"))
    assert skipped() == set()


def test_rows_of_the_api_are_done_for_offline_runs(publish, skipped, make, terms):
    """What a vision model has read needs no local OCR."""
    publish(make.accept())
    assert None in skipped(today=vary(terms, model="offline/rapidocr"), offline=True)


@pytest.mark.parametrize(
    ("then", "redo"), [("accepted", {None, "failed", "changed"}), ("failed", {None, "failed", "changed"})]
)
def test_the_latest_end_tells_whether_a_document_changed(publish, skipped, make, terms, then, redo):
    """What was accepted otherwise and ended later as today would read it is done, whichever file holds which end."""
    publish(make.accept(), by=vary(terms, run="a-later-name", prompt_hash="before"))
    publish(make.end(then, ended_at=LATER), by=vary(terms, run="Z-first-by-name"))
    assert skipped() == redo


def test_a_document_whose_latest_end_is_of_another_prompt_has_changed(publish, skipped, make, terms):
    """What was read as today, and otherwise since, is read again under `changed`."""
    publish(make.accept(), by=vary(terms, run="z"))
    publish(make.accept(ended_at=LATER), by=vary(terms, run="a", prompt_hash="other"))
    assert skipped() == {None, "failed"}


def test_a_document_without_a_version_is_done_like_any_other(publish, skipped, make):
    """A source that knows no versions tells its documents by name alone."""
    page = make.page()
    page = replace(page, billed=replace(page.billed, found=make.build_found(version=None)))
    publish(make.accept(planned=make.plan(pages=(page,))))
    assert skipped(version=None) == {None, "failed", "changed"}
    assert skipped() == set()


def test_a_failure_whose_file_counts_no_tries_is_the_first(publish, tmp_path, make, terms):
    """A file without the columns that decide is read as one try that another may cure."""
    publish(make.fail())
    rewrite(tmp_path, "failures", lambda frame: frame.drop("tries", "final"))
    past = load_history(FolderOutput(tmp_path), terms, offline=False)
    assert past.tries(name(make.build_found())) == 1
    assert not past.skips(name(make.build_found()), None)


class End(NamedTuple):
    """One end of a document: accepted or not, as today or otherwise, for good or not, in which run, of what kind, when."""

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


ends = st.builds(
    End,
    st.sampled_from("ab"),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(1, 6),
    st.sampled_from(["timeout", "refused"]),
    st.integers(0, 9),
)


def in_order(history):
    """By time; of one time, the failure is the later."""
    return sorted(history, key=lambda end: (end.at, not end.accepted))


def expect_skip(mine, redo, kind):
    """What `skips` says, by the sentences of the contract; `mine` is in order."""
    accepted, settled = any(end.accepted for end in mine), any(end.settled for end in mine)
    if redo == "changed":
        last = [end.now for end in mine if end.accepted or end.final][-1:]
        return last == [True] or any(end.now and not end.accepted and end.tries >= 5 for end in mine)
    if redo == "failed" and kind:
        return accepted or (settled and kind != next(end.kind for end in mine[::-1] if not end.accepted))
    return {None: accepted or settled, "failed": accepted, "all": False}[redo]


def cause_by_hand(mine, redo):
    """What `cause` says of a document that is taken."""
    failures = [end for end in mine if not end.accepted]
    ended = [end for end in mine if end.accepted or end.settled]
    if redo == "changed" and ended:
        return ended[-1].differs
    if redo == "all" and any(end.accepted for end in mine):
        return "done"
    if redo != "changed" and any(end.settled for end in mine):
        return failures[-1].kind
    return "retry" if failures else "new"


def past_of(history, redo, kind):
    """The past that these ends make, as it is read for this redo."""
    rows = [
        {"key": document_key(end.document, "1"), "at": NOON + timedelta(hours=2 * end.at + (not end.accepted))}
        | {"now": end.now, "final": end.final, "tries": end.tries, "ok": end.accepted}
        | {"why": end.differs if redo == "changed" else None if end.accepted else end.kind}
        for end in history
    ]
    frame = pl.DataFrame(rows, schema=FAILURE_COLUMNS | REASON_COLUMN | {"ok": pl.Boolean()}, orient="row")
    why = REASON_COLUMN if redo else {}
    accepted = OUTCOME_COLUMNS | (REASON_COLUMN if redo == "changed" else {})
    return RunHistory(
        frame.filter("ok").select(*accepted), frame.filter(~pl.col("ok")).select(*FAILURE_COLUMNS, *why), kind
    )


@given(history=st.lists(ends, max_size=12), kind=st.sampled_from([None, "timeout"]))
def test_a_past_answers_as_the_contract_is_written(history, kind):
    """For any history and any redo, the compact past says what counting by hand says, and why."""
    for document, redo in product("ab", REDO):
        mine, past = in_order(end for end in history if end.document == document), past_of(history, redo, kind)
        assert past.skips((document, "1"), redo) == expect_skip(mine, redo, kind)
        if redo and not expect_skip(mine, redo, kind):
            assert past.reason((document, "1"), redo) == cause_by_hand(mine, redo)


def rewrite(root, table, change):
    """Makes a published file one of another generation."""
    (path,) = root.glob(f"{table}/**/*.parquet")
    change(pl.read_parquet(path, hive_partitioning=False)).write_parquet(path)


def test_files_of_another_generation_are_read_together(publish, skipped, make, terms, tmp_path):
    """A file with a field more, one less, or its columns in another order is part of the past like today's."""
    publish(make.accept("/in/old.jpg"), make.fail("/in/odd.jpg"))
    rewrite(tmp_path, "results", lambda frame: frame.drop("total", "_manifest").with_columns(extra=pl.lit(1)))
    rewrite(tmp_path, "failures", lambda frame: frame.drop("cost_usd").select(reversed(frame.drop("cost_usd").columns)))
    publish(make.accept("/in/new.jpg"), by=vary(terms, run="later", started_at=LATER))
    assert None in skipped("/in/old.jpg")
    assert None in skipped("/in/odd.jpg")
    assert None in skipped("/in/new.jpg")


def test_a_file_without_hashes_is_done_and_changed(publish, skipped, make, tmp_path):
    """Rows that do not say how they were read count as done, and as read otherwise."""
    publish(make.accept())
    rewrite(tmp_path, "results", lambda frame: frame.drop("_schema_hash", "_prompt_hash"))
    assert skipped() == {None, "failed"}


def test_parts_in_staging_are_not_done(tmp_path, skipped, make, terms, model):
    """What was never published is not there for the next run either."""
    with Tables(FolderOutput(tmp_path), terms, model) as tables:
        tables.stage(PartId(0), [make.accept()])
    assert skipped() == set()


def test_a_second_volume_counts(tmp_path, skipped, make, terms, model):
    """Every volume of a run is part of the past."""
    row = dict.fromkeys(columns.RUNS) | {"run": terms.run}
    with Tables(FolderOutput(tmp_path), terms, model) as tables:
        tables.publish(row | {"volume": 1})
        tables.stage(PartId(0), [make.accept()])
        tables.publish(row | {"volume": 2})
    assert None in skipped()
