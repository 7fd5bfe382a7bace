"""recovery.py: what a killed run had done is published in its own name, wherever it was when it was killed."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from math import log

import orjson
import polars as pl
import pytest
from pydantic import BaseModel, Field
from support.runs import vary

from extractors.config.job import Job
from extractors.core import Copied, LadderStep, Problem
from extractors.core.calls import TokenLogprobs
from extractors.core.errors import OutputError
from extractors.core.schema import Schema
from extractors.core.tiles import Size
from extractors.record.output.folder import FolderOutput
from extractors.record.tables.volume import PartId
from extractors.record.tables.writer import Tables
from extractors.run.cascade import Cascade
from extractors.run.recovery import recover_abandoned, restore_answered

DONE, FAILED, SENT, FLYING, TAKEN = (f"/in/{name}.jpg" for name in ("done", "failed", "sent", "flying", "taken"))
NOW = datetime(2026, 11, 20, 2, 16, 0, tzinfo=UTC)
CHAT = {"choices": [{"message": {"content": '{"shop": "Inn", "total": "8.20"}'}}], "model": "maker/model-2"}
DOCUMENTS = (DONE, FAILED, SENT, FLYING, TAKEN)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def schema(model):
    """The schema of today, which is not the one that the killed run had."""
    return Schema("slip", model, {"title": "Slip of today"}, "")


@pytest.fixture
def today(terms, root):
    """The run that begins, which asks otherwise."""
    return vary(terms, run="today", output=str(root), schema_hash="another")


@pytest.fixture
def dead(root, ledger, ledger_writer, make, model, terms):
    """A run that was killed with two documents staged, one answered and one on its way: its tables, not yet sealed."""
    run = vary(terms, output=str(root))
    ledger.runs.begin(run)
    ledger.claims.claim(run, [make.plan(uri) for uri in DOCUMENTS])
    noting = ledger_writer()
    noting.settle(noting.reserve(document=DONE), cost_usd=Decimal("0.004"))
    noting.settle(noting.reserve(document=FAILED), outcome="refused", cost_usd=Decimal("0.002"))
    noting.settle(noting.reserve(document=SENT), cost_usd=Decimal("0.003"))
    noting.reserve(document=FLYING, reserved="0.01")
    tables = Tables(FolderOutput(root), run, model)
    tables.__enter__()
    return tables


@pytest.fixture
def staged(dead, make):
    """The same, with the chunk of its first two documents staged."""
    dead.stage(PartId(0), [make.accept(DONE), make.fail(FAILED)])
    return dead


@pytest.fixture
def taken_over(ledger, today, schema, terms):
    """Has the run's process be gone and its run taken over; gives what was said."""

    def take():
        said = []
        ledger.runs.release(terms.run)
        recover_abandoned(ledger, today, schema, "all", said.append)
        return said

    return take


def now(terms, root, schema):
    """The run that begins, which asks as the killed one did."""
    return vary(terms, run="now", output=str(root), schema_hash=schema.hash, started_at=datetime.now(UTC))


def table(root, name):
    """What is published in this table."""
    files = sorted((root / name).rglob("*.parquet"))
    return pl.read_parquet(files, hive_partitioning=False) if files else None


def whole(root, ledger, terms):
    """Whether the run is published with its four calls, two ends and one row, and the ledger knows it."""
    (row,) = table(root, "runs").rows(named=True)
    assert (row["run"], row["volume"], table(root, "calls").height) == (terms.run, 1, 4)
    assert table(root, "results")["_document"].to_list() == [DONE]
    assert table(root, "failures")["document"].to_list() == [FAILED]
    assert not (root / "staging").exists()
    assert ledger.runs.count_volumes(terms.run) == 1
    assert ledger.runs.list_abandoned(str(root), "slip") == []
    assert list(ledger.calls.iter_unpublished(terms.run)) == []
    assert list(ledger.calls.orphaned_replies(terms)) == [f"request-{SENT}"]
    return row


def seal(tables, ledger, make):
    """What the run does first when it publishes."""
    tables.stage_calls_and_fields(ledger.calls.iter_unpublished(make.run_info.run))
    tables.volume.stage("runs", PartId(0), [make.row(accepted=1, failed=1, remaining=2, calls=4, status="stopped")])


def test_a_run_killed_before_anything_was_staged_is_published(dead, root, ledger, terms, taken_over):
    """All that it has are its calls, and what was answered waits for the next run."""
    [notice] = taken_over()
    assert terms.run in notice
    assert "0 accepted documents are published now, 5 are left to this run" in notice
    row = table(root, "runs").row(0, named=True)
    assert (row["status"], row["accepted"], row["failed"], row["remaining"], row["found"]) == ("abandoned", 0, 0, 5, 5)
    assert (row["calls"], row["cost_usd"], row["cost_unknown_usd"]) == (4, Decimal("0.009"), Decimal("0.01"))
    assert table(root, "results") is None
    assert len(ledger.calls.orphaned_replies(terms)) == 3


def test_a_run_killed_before_it_sent_anything_is_published(root, ledger, terms, taken_over):
    """Its row says that it was there."""
    ledger.runs.begin(vary(terms, output=str(root)))
    taken_over()
    (row,) = table(root, "runs").rows(named=True)
    assert (row["status"], row["found"], row["calls"], row["cost_usd"]) == ("abandoned", 0, 0, 0)


def test_a_run_killed_with_staged_parts_is_published(staged, root, ledger, terms, taken_over):
    """Under its own name and day, with what adds up: documents, calls and money."""
    (said,) = taken_over()
    assert "1 accepted documents are published now, 3 are left to this run" in said
    row = whole(root, ledger, terms)
    assert (row["status"], row["source"], row["started_at"]) == ("abandoned", "/in", terms.started_at)
    assert (row["found"], row["accepted"], row["failed"], row["remaining"]) == (5, 1, 1, 3)
    assert (row["cost_usd"], row["cost_unknown_usd"]) == (Decimal("0.009"), Decimal("0.01"))
    assert row["cost_wasted_usd"] == Decimal("0.002")
    assert row["cost_usd"] == table(root, "calls").filter(pl.col("billed") == "yes")["cost_usd"].sum()
    flying = table(root, "calls").filter(pl.col("document") == FLYING).row(0, named=True)
    assert (flying["outcome"], flying["billed"]) == ("aborted", "unknown")


def test_the_copies_of_a_killed_run_are_counted_as_copies(dead, make, root, terms, taken_over):
    """Of a row and of a failure: they were not accepted and did not fail, and nothing was estimated for them."""
    rows = {name: dead.build_row(end) for name, end in ((SENT, make.accept(DONE)), (TAKEN, make.fail(FAILED)))}
    copies = [Copied(make.plan(uri), (), "key", NOW, row, uri == TAKEN) for uri, row in rows.items()]
    dead.stage(PartId(0), [make.accept(DONE), make.fail(FAILED), *copies])
    taken_over()
    row = table(root, "runs").row(0, named=True)
    counts = {name: row[name] for name in ("found", "duplicates", "accepted", "failed", "rejected", "remaining")}
    assert counts == {"found": 5, "duplicates": 2, "accepted": 1, "failed": 1, "rejected": 0, "remaining": 1}
    assert row["estimated_high_usd"] == 2 * Decimal("0.01")


def test_a_run_killed_before_it_was_sealed_is_published(staged, root, ledger, terms, taken_over):
    """Its calls had been staged already: they are staged once."""
    staged.stage_calls_and_fields(ledger.calls.iter_unpublished(terms.run))
    taken_over()
    assert whole(root, ledger, terms)["status"] == "abandoned"


def test_a_run_killed_when_it_was_sealed_is_published_as_it_wrote(staged, root, ledger, make, terms, taken_over):
    """Its own row says how it ended."""
    seal(staged, ledger, make)
    taken_over()
    assert whole(root, ledger, terms)["status"] == "stopped"


@pytest.mark.parametrize("steps", range(6))
def test_a_run_killed_half_published_is_published(staged, root, ledger, make, terms, taken_over, steps):
    """Whatever was in its place already."""
    seal(staged, ledger, make)
    for name in ("results", "replies", "failures", "images", "calls")[:steps]:
        staged.volume._publish_table(name, staged.volume.list_parts(name))
    taken_over()
    assert whole(root, ledger, terms)["status"] == "stopped"


def test_a_run_killed_before_it_cleared_is_cleared(staged, root, ledger, make, terms, taken_over):
    """It is committed: nothing is published again, and its parts go."""
    seal(staged, ledger, make)
    shutil.copytree(root / staged.volume.folder, root / "kept")
    staged.volume.publish()
    shutil.copytree(root / "kept", root / staged.volume.folder)
    shutil.rmtree(root / "kept")
    before = (root / staged.volume.published_key("runs")).stat().st_mtime_ns
    taken_over()
    assert whole(root, ledger, terms)["status"] == "stopped"
    assert (root / staged.volume.published_key("runs")).stat().st_mtime_ns == before


def test_a_run_killed_before_it_told_the_ledger_is_told(staged, root, ledger, make, terms, taken_over):
    seal(staged, ledger, make)
    staged.volume.publish()
    taken_over()
    assert whole(root, ledger, terms)["status"] == "stopped"


def test_a_run_killed_at_its_very_end_is_ended(staged, root, ledger, make, terms, taken_over):
    """All is published and told: there is no second volume."""
    seal(staged, ledger, make)
    staged.volume.publish()
    ledger.claims.mark_published(terms, [])
    ledger.runs.mark_volume_published(terms.run, 1, {SENT, FLYING})
    taken_over()
    assert whole(root, ledger, terms)["status"] == "stopped"


def test_a_run_killed_in_its_second_volume_has_two_rows(staged, root, ledger, ledger_writer, make, terms, taken_over):
    """The second has what came after the first."""
    seal(staged, ledger, make)
    staged.volume.publish()
    ledger.claims.mark_published(terms, [])
    ledger.runs.mark_volume_published(terms.run, 1, {SENT, FLYING})
    staged.volume = type(staged.volume)(FolderOutput(root), staged.volume.run_info, 2)
    noting = ledger_writer()
    noting.settle(noting.reserve(document="/in/second.jpg"), cost_usd=Decimal("0.005"))
    staged.stage(PartId(0), [make.accept("/in/second.jpg")])
    taken_over()
    rows = table(root, "runs").sort("volume").rows(named=True)
    assert [(row["volume"], row["status"], row["found"]) for row in rows] == [(1, "stopped", 0), (2, "abandoned", 1)]
    assert rows[1]["cost_usd"] == Decimal("0.005")
    assert table(root, "calls").height == 5
    assert sorted(table(root, "results")["_document"]) == [DONE, "/in/second.jpg"]
    assert ledger.runs.count_volumes(terms.run) == 2


@pytest.mark.parametrize(
    ("redo", "command"),
    [
        ("all", "tilewise run /in --schema slip --redo all --redo-before 2026-11-20T02:15:00.000000Z"),
        (None, ""),
    ],
)
def test_message_of_a_recovered_redo_names_the_command_that_goes_on(root, ledger, terms, taken_over, redo, command):
    """To the start of the recovered run; any run goes on with what no run has done, so there is nothing to name."""
    job = Job(source="/in", schema_name="slip", redo=redo)
    ledger.runs.begin(vary(terms, output=str(root), job=job.model_dump_json()))
    [message] = taken_over()
    assert message.partition("go on with: ")[2] == command


def test_taking_over_twice_changes_nothing(staged, root, taken_over):
    taken_over()
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet")}
    assert taken_over() == []
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet")} == before


def test_a_live_run_is_left_alone(staged, root, today, schema, ledger):
    said = []
    recover_abandoned(ledger, today, schema, "all", said.append)
    assert said == []
    assert table(root, "runs") is None


def test_what_another_prompt_read_is_done_for_nobody(staged, ledger, root, make, terms, taken_over):
    """The run that was killed asked otherwise: what it read is in the tables, and may be read again."""
    still = vary(terms, run="still", output=str(root), started_at=datetime.now(UTC))
    ledger.runs.begin(still)
    taken_over()
    assert ledger.claims.claim(still, [make.plan(uri) for uri in DOCUMENTS]) == ["ours"] * 5


def test_what_was_paid_for_is_done_whatever_is_to_be_done_again(answered, ledger, root, make, terms):
    """A run that reads everything again does not pay again for what the killed one had just paid for."""
    begun = now(terms, root, answered)
    ledger.runs.begin(begun)
    recover_abandoned(ledger, begun, answered, "all", [].append)
    claims = ledger.claims.claim(begun, [make.plan(uri) for uri in DOCUMENTS])
    assert dict(zip(DOCUMENTS, claims, strict=True)) == dict.fromkeys(DOCUMENTS, "ours") | {SENT: "done"}


def test_whoever_begins_afterwards_may_take_everything(staged, ledger, root, make, terms, taken_over):
    """It finds in the tables what is done, and may be asked to read it again."""
    taken_over()
    later = vary(terms, run="later", output=str(root), started_at=datetime.now(UTC))
    ledger.runs.begin(later)
    assert ledger.claims.claim(later, [make.plan(uri) for uri in DOCUMENTS]) == ["ours"] * 5


def test_a_takeover_that_cannot_write_is_taken_up_by_the_next(staged, root, ledger, terms, taken_over):
    """A disk may be full: the run is nobody's again, though the process that tried it lives."""
    shutil.rmtree(root / "calls")
    (root / "calls").write_text("in the way")
    with pytest.raises(OutputError):
        taken_over()
    (root / "calls").unlink()
    assert [each.run for each in ledger.runs.list_abandoned(str(root), "slip")] == [terms.run]
    taken_over()
    whole(root, ledger, terms)


def test_a_rejected_document_is_counted_as_rejected(dead, root, make, taken_over):
    """An image that could not be sent is no call that failed."""
    dead.stage(PartId(0), [make.reject("/in/broken.jpg", Problem("unreadable", "prepare", "broken"))])
    taken_over()
    row = table(root, "runs").row(0, named=True)
    assert (row["rejected"], row["failed"], row["remaining"], row["found"]) == (1, 0, 5, 6)


def test_an_empty_answer_is_counted_as_failed(dead, root, make, taken_over):
    """The image was sent and the answer paid for, though an empty file goes by the same name."""
    dead.stage(PartId(0), [make.fail("/in/b.jpg", problem=Problem("empty", "validate", "no answer"))])
    taken_over()
    row = table(root, "runs").row(0, named=True)
    assert (row["rejected"], row["failed"]) == (0, 1)


@pytest.fixture
def answered(root, ledger, ledger_writer, make, model, terms):
    """A run under today's schema, killed with one document answered at the second attempt and nothing staged."""
    today = Schema("slip", model, {"title": "Slip"}, "")
    run = vary(terms, output=str(root), schema_hash=today.hash)
    ledger.runs.begin(run)
    ledger.claims.claim(run, [make.plan(uri) for uri in DOCUMENTS])
    noting = ledger_writer()
    noting.settle(noting.reserve(document=SENT), outcome="off_schema", cost_usd=Decimal("0.001"))
    said = make.reply(body=orjson.dumps(CHAT).decode())
    noting.settle(noting.reserve(document=SENT), reply=said, cost_usd=Decimal("0.003"))
    ledger.runs.release(run.run)
    return today


def test_what_was_answered_is_published_without_paying(answered, root, ledger, terms):
    """Validated again, as the killed run's own result, with all that its attempts took."""
    recover_abandoned(ledger, now(terms, root, answered), answered, "all", [].append)
    result = table(root, "results").row(0, named=True)
    assert (result["_document"], result["_run"], result["shop"], result["_attempts"]) == (SENT, terms.run, "Inn", 2)
    assert (result["_cost_usd"], result["_schema_hash"]) == (Decimal("0.004"), answered.hash)
    row = table(root, "runs").row(0, named=True)
    assert (row["status"], row["found"], row["accepted"], row["remaining"]) == ("abandoned", 5, 1, 4)
    assert (row["cost_usd"], row["cost_wasted_usd"]) == (Decimal("0.004"), Decimal("0.001"))
    assert table(root, "images")["document"].to_list() == [SENT]
    assert list(ledger.calls.orphaned_replies(vary(terms, output=str(root)))) == []


def test_restored_answer_has_its_tokens(ledger, ledger_writer, answered, make, terms):
    """So its evidence is computed as that of an answer that came just now."""
    body = make.reply(body=orjson.dumps(CHAT).decode(), logprobs=make.logprobs())
    noting = ledger_writer()
    noting.settle(noting.reserve(document=FAILED), reply=body)
    planned = {uri: make.plan(uri) for uri in (FAILED, SENT)}
    restored = restore_answered(ledger.calls.iter_unpublished(terms.run), planned, answered)
    assert {each.planned.document: each.reply.logprobs for each in restored} == {FAILED: make.logprobs(), SENT: None}


def test_surest_of_several_accepted_answers_is_restored(ledger, ledger_writer, answered, make, terms):
    """A run that is over publishes it; a shard that goes on climbs from a doubtful answer below the top of the ladder."""

    def reply(confidence):
        tokens = ('{"shop": "', "Inn", '", "total": "8.20"}')
        logprobs = TokenLogprobs(tokens, (0.0, log(confidence), 0.0))
        return make.reply(body=orjson.dumps(CHAT).decode(), logprobs=logprobs)

    noting = ledger_writer()
    for step, confidence in ((LadderStep(1, Size(560, 448), 1601), 0.5), (LadderStep(3, Size(1000, 800), 6404), 0.3)):
        request = make.request(FAILED, steps=(step,))
        noting.settle(noting.reserve(document=FAILED, steps=(step,)), request=request, reply=reply(confidence))
    planned, calls = {FAILED: make.plan(FAILED)}, list(ledger.calls.iter_unpublished(terms.run))
    [restored] = restore_answered(calls, planned, answered)
    assert (restored.step.rung, round(restored.evidence.confidence, 2), len(restored.attempts)) == (1, 0.5, 2)
    [climbed] = restore_answered(calls, planned, answered, Cascade(below_all=0.9))
    assert (climbed.step.rung, len(climbed.attempts)) == (1, 2)
    first = [[call for batch in calls for call in batch if call["rung"] == 1]]
    assert list(restore_answered(first, planned, answered, Cascade(below_all=0.9))) == []
    assert len(list(restore_answered(first, planned, answered, Cascade(below_all=0.4)))) == 1


def test_a_document_of_several_pages_is_published_with_all_of_them(root, ledger, ledger_writer, make, model, terms):
    """What the ledger keeps of its plan is enough for its row and for that of every page."""
    schema = Schema("slip", model, {"title": "Slip"}, "")
    run = vary(terms, output=str(root), schema_hash=schema.hash)
    page, name = make.page("/in/a.pdf"), "/in/a.pdf#page={}"
    numbered = [replace(page.billed, found=replace(page.billed.found, page=number)) for number in (1, 2, 3)]
    planned = make.plan("/in/a.pdf", tuple(replace(page, billed=each) for each in numbered))
    ledger.runs.begin(run)
    ledger.claims.claim(run, [planned])
    noting, said = ledger_writer(), make.reply(body=orjson.dumps(CHAT).decode())
    steps = make.request().steps * 3
    noting.settle(noting.reserve(document="/in/a.pdf", steps=steps), reply=said, cost_usd=Decimal("0.003"))
    ledger.runs.release(run.run)
    recover_abandoned(ledger, now(terms, root, schema), schema, "all", [].append)
    result, images = table(root, "results").row(0, named=True), table(root, "images").sort("page")
    assert (result["_document"], result["_image"]) == ("/in/a.pdf", name.format(1))
    assert result["_pages"] == images["image"].to_list() == [name.format(number) for number in (1, 2, 3)]
    assert (result["_image_tokens_estimated"], result["_version"]) == (3 * 1601, planned.name[1])
    assert table(root, "calls")["pages"].to_list() == [3]


def test_an_answer_that_validates_no_more_is_left_to_the_next_run(answered, root, ledger, terms):
    """A validator may have changed: the document is asked about again, and nothing is published that nobody accepts."""

    class Stricter(BaseModel):
        shop: str = Field(min_length=50)

    recover_abandoned(ledger, now(terms, root, answered), replace(answered, model=Stricter), "all", [].append)
    assert table(root, "results") is None
    row = table(root, "runs").row(0, named=True)
    assert (row["accepted"], row["remaining"], row["cost_usd"]) == (0, 5, Decimal("0.004"))


def test_salvaging_again_after_a_break_changes_nothing(answered, root, ledger, terms):
    """Whoever takes over may be killed, too, when it has staged what was answered."""
    (root / "calls").mkdir(parents=True)
    (root / "calls" / "run_date=2026-11-20").write_text("in the way")
    with pytest.raises(OutputError):
        recover_abandoned(ledger, now(terms, root, answered), answered, "all", [].append)
    (root / "calls" / "run_date=2026-11-20").unlink()
    recover_abandoned(ledger, now(terms, root, answered), answered, "all", [].append)
    assert table(root, "results")["_document"].to_list() == [SENT]
    assert table(root, "images").height == 1
