"""recovery.py: a new run publishes what a killed run had done under the killed run's name, wherever it was killed."""

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
    """The schema of the new run, which differs from that of the killed run."""
    return Schema("slip", model, {"title": "Slip of today"}, "")


@pytest.fixture
def new_run(terms, root):
    """The new run, whose schema differs from that of the killed run."""
    return vary(terms, run="today", output=str(root), schema_hash="another")


@pytest.fixture
def killed_tables(root, ledger, ledger_writer, make, model, terms):
    """Unsealed tables of a run that was killed with two documents settled, one answered and one in flight."""
    run = vary(terms, output=str(root))
    ledger.runs.begin(run)
    ledger.claims.claim(run, [make.plan(uri) for uri in DOCUMENTS])
    writer = ledger_writer()
    writer.settle(writer.reserve(document=DONE), cost_usd=Decimal("0.004"))
    writer.settle(writer.reserve(document=FAILED), outcome="refused", cost_usd=Decimal("0.002"))
    writer.settle(writer.reserve(document=SENT), cost_usd=Decimal("0.003"))
    writer.reserve(document=FLYING, reserved="0.01")
    tables = Tables(FolderOutput(root), run, model)
    tables.__enter__()
    return tables


@pytest.fixture
def staged_tables(killed_tables, make):
    """The tables of the killed run, with the chunk of its first two documents staged."""
    killed_tables.stage(PartId(0), [make.accept(DONE), make.fail(FAILED)])
    return killed_tables


@pytest.fixture
def recover_killed(ledger, new_run, schema, terms):
    """Releases the killed run, recovers it, and returns the notices."""

    def recover():
        notices = []
        ledger.runs.release(terms.run)
        recover_abandoned(ledger, new_run, schema, "all", notices.append)
        return notices

    return recover


def build_same_run(terms, root, schema):
    """A new run of the same schema as the killed run."""
    return vary(terms, run="now", output=str(root), schema_hash=schema.hash, started_at=datetime.now(UTC))


def read_table(root, name):
    """All published rows of a table; None if it has none."""
    files = sorted((root / name).rglob("*.parquet"))
    return pl.read_parquet(files, hive_partitioning=False) if files else None


def check_published(root, ledger, terms):
    """Checks that the run is published with four calls, two documents and one row, and returns the row."""
    (row,) = read_table(root, "runs").rows(named=True)
    assert (row["run"], row["volume"], read_table(root, "calls").height) == (terms.run, 1, 4)
    assert read_table(root, "results")["_document"].to_list() == [DONE]
    assert read_table(root, "failures")["document"].to_list() == [FAILED]
    assert not (root / "staging").exists()
    assert ledger.runs.count_volumes(terms.run) == 1
    assert ledger.runs.list_abandoned(str(root), "slip") == []
    assert list(ledger.calls.iter_unpublished(terms.run)) == []
    assert list(ledger.calls.orphaned_replies(terms)) == [f"request-{SENT}"]
    return row


def seal_run(tables, ledger, make):
    """Stages the calls and the row of the run, as the first step of publishing."""
    tables.stage_calls_and_fields(ledger.calls.iter_unpublished(make.run_info.run))
    tables.volume.stage("runs", PartId(0), [make.row(accepted=1, failed=1, remaining=2, calls=4, status="stopped")])


def test_run_killed_before_staging_is_published_with_its_calls(killed_tables, root, ledger, terms, recover_killed):
    """Its answers are left to the next run."""
    [notice] = recover_killed()
    assert terms.run in notice
    assert "0 accepted documents are published now, 5 are left to this run" in notice
    row = read_table(root, "runs").row(0, named=True)
    assert (row["status"], row["accepted"], row["failed"], row["remaining"], row["found"]) == ("abandoned", 0, 0, 5, 5)
    assert (row["calls"], row["cost_usd"], row["cost_unknown_usd"]) == (4, Decimal("0.009"), Decimal("0.01"))
    assert read_table(root, "results") is None
    assert len(ledger.calls.orphaned_replies(terms)) == 3


def test_run_killed_before_its_first_call_is_published_as_abandoned(root, ledger, terms, recover_killed):
    ledger.runs.begin(vary(terms, output=str(root)))
    recover_killed()
    (row,) = read_table(root, "runs").rows(named=True)
    assert (row["status"], row["found"], row["calls"], row["cost_usd"]) == ("abandoned", 0, 0, 0)


def test_run_killed_with_staged_parts_is_published(staged_tables, root, ledger, terms, recover_killed):
    """Its row has its own name and day, and the counts of documents, calls and dollars add up."""
    (notice,) = recover_killed()
    assert "1 accepted documents are published now, 3 are left to this run" in notice
    row = check_published(root, ledger, terms)
    assert (row["status"], row["source"], row["started_at"]) == ("abandoned", "/in", terms.started_at)
    assert (row["found"], row["accepted"], row["failed"], row["remaining"]) == (5, 1, 1, 3)
    assert (row["cost_usd"], row["cost_unknown_usd"]) == (Decimal("0.009"), Decimal("0.01"))
    assert row["cost_wasted_usd"] == Decimal("0.002")
    assert row["cost_usd"] == read_table(root, "calls").filter(pl.col("billed") == "yes")["cost_usd"].sum()
    flying = read_table(root, "calls").filter(pl.col("document") == FLYING).row(0, named=True)
    assert (flying["outcome"], flying["billed"]) == ("aborted", "unknown")


def test_copies_of_a_killed_run_are_counted_as_duplicates(killed_tables, make, root, terms, recover_killed):
    """Copies of a row and of a failure are neither accepted nor failed, and have no estimate."""
    rows = {name: killed_tables.build_row(end) for name, end in ((SENT, make.accept(DONE)), (TAKEN, make.fail(FAILED)))}
    copies = [Copied(make.plan(uri), (), "key", NOW, row, uri == TAKEN) for uri, row in rows.items()]
    killed_tables.stage(PartId(0), [make.accept(DONE), make.fail(FAILED), *copies])
    recover_killed()
    row = read_table(root, "runs").row(0, named=True)
    counts = {name: row[name] for name in ("found", "duplicates", "accepted", "failed", "rejected", "remaining")}
    assert counts == {"found": 5, "duplicates": 2, "accepted": 1, "failed": 1, "rejected": 0, "remaining": 1}
    assert row["estimated_high_usd"] == 2 * Decimal("0.01")


def test_run_killed_with_staged_calls_is_published_with_each_call_once(
    staged_tables, root, ledger, terms, recover_killed
):
    staged_tables.stage_calls_and_fields(ledger.calls.iter_unpublished(terms.run))
    recover_killed()
    assert check_published(root, ledger, terms)["status"] == "abandoned"


def test_run_killed_after_sealing_is_published_with_its_own_row(
    staged_tables, root, ledger, make, terms, recover_killed
):
    """Its row has the status with which the run ended."""
    seal_run(staged_tables, ledger, make)
    recover_killed()
    assert check_published(root, ledger, terms)["status"] == "stopped"


@pytest.mark.parametrize("tables_published", range(6))
def test_run_killed_while_publishing_is_published(
    staged_tables, root, ledger, make, terms, recover_killed, tables_published
):
    """It does not matter how many of its tables were published."""
    seal_run(staged_tables, ledger, make)
    for name in ("results", "replies", "failures", "images", "calls")[:tables_published]:
        staged_tables.volume._publish_table(name, staged_tables.volume.list_parts(name))
    recover_killed()
    assert check_published(root, ledger, terms)["status"] == "stopped"


def test_staged_parts_of_a_committed_run_are_deleted(staged_tables, root, ledger, make, terms, recover_killed):
    """Nothing is published again."""
    seal_run(staged_tables, ledger, make)
    shutil.copytree(root / staged_tables.volume.folder, root / "kept")
    staged_tables.volume.publish()
    shutil.copytree(root / "kept", root / staged_tables.volume.folder)
    shutil.rmtree(root / "kept")
    before = (root / staged_tables.volume.published_key("runs")).stat().st_mtime_ns
    recover_killed()
    assert check_published(root, ledger, terms)["status"] == "stopped"
    assert (root / staged_tables.volume.published_key("runs")).stat().st_mtime_ns == before


def test_published_volume_that_the_ledger_does_not_have_is_recorded(
    staged_tables, root, ledger, make, terms, recover_killed
):
    seal_run(staged_tables, ledger, make)
    staged_tables.volume.publish()
    recover_killed()
    assert check_published(root, ledger, terms)["status"] == "stopped"


def test_run_killed_after_its_last_step_is_finished(staged_tables, root, ledger, make, terms, recover_killed):
    """No second volume is published."""
    seal_run(staged_tables, ledger, make)
    staged_tables.volume.publish()
    ledger.claims.mark_published(terms, [])
    ledger.runs.mark_volume_published(terms.run, 1, {SENT, FLYING})
    recover_killed()
    assert check_published(root, ledger, terms)["status"] == "stopped"


def test_run_killed_in_its_second_volume_has_two_rows(
    staged_tables, root, ledger, ledger_writer, make, terms, recover_killed
):
    """The second row counts only what came after the first volume."""
    seal_run(staged_tables, ledger, make)
    staged_tables.volume.publish()
    ledger.claims.mark_published(terms, [])
    ledger.runs.mark_volume_published(terms.run, 1, {SENT, FLYING})
    staged_tables.volume = type(staged_tables.volume)(FolderOutput(root), staged_tables.volume.run_info, 2)
    writer = ledger_writer()
    writer.settle(writer.reserve(document="/in/second.jpg"), cost_usd=Decimal("0.005"))
    staged_tables.stage(PartId(0), [make.accept("/in/second.jpg")])
    recover_killed()
    rows = read_table(root, "runs").sort("volume").rows(named=True)
    assert [(row["volume"], row["status"], row["found"]) for row in rows] == [(1, "stopped", 0), (2, "abandoned", 1)]
    assert rows[1]["cost_usd"] == Decimal("0.005")
    assert read_table(root, "calls").height == 5
    assert sorted(read_table(root, "results")["_document"]) == [DONE, "/in/second.jpg"]
    assert ledger.runs.count_volumes(terms.run) == 2


@pytest.mark.parametrize(
    ("redo", "command"),
    [
        ("all", "tilewise run /in --schema slip --redo all --redo-before 2026-11-20T02:15:00.000000Z"),
        (None, ""),
    ],
)
def test_notice_of_a_recovered_redo_has_the_command_that_continues_it(
    root, ledger, terms, recover_killed, redo, command
):
    """Its --redo-before is the start of the killed run; a run without --redo needs no command."""
    job = Job(source="/in", schema_name="slip", redo=redo)
    ledger.runs.begin(vary(terms, output=str(root), job=job.model_dump_json()))
    [message] = recover_killed()
    assert message.partition("go on with: ")[2] == command


def test_second_recovery_changes_nothing(staged_tables, root, recover_killed):
    recover_killed()
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet")}
    assert recover_killed() == []
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet")} == before


def test_live_run_is_not_recovered(staged_tables, root, new_run, schema, ledger):
    notices = []
    recover_abandoned(ledger, new_run, schema, "all", notices.append)
    assert notices == []
    assert read_table(root, "runs") is None


def test_documents_recovered_by_a_run_of_another_schema_can_be_claimed(
    staged_tables, ledger, root, make, terms, recover_killed
):
    """The killed run has another schema than the run that recovers it, so its rows count as done for no run."""
    live_run = vary(terms, run="still", output=str(root), started_at=datetime.now(UTC))
    ledger.runs.begin(live_run)
    recover_killed()
    assert ledger.claims.claim(live_run, [make.plan(uri) for uri in DOCUMENTS]) == ["ours"] * 5


def test_recovered_document_counts_as_done_for_the_run_that_recovers_it(answered_schema, ledger, root, make, terms):
    """A redo does not pay again for an answer of the killed run."""
    same_run = build_same_run(terms, root, answered_schema)
    ledger.runs.begin(same_run)
    recover_abandoned(ledger, same_run, answered_schema, "all", [].append)
    claims = ledger.claims.claim(same_run, [make.plan(uri) for uri in DOCUMENTS])
    assert dict(zip(DOCUMENTS, claims, strict=True)) == dict.fromkeys(DOCUMENTS, "ours") | {SENT: "done"}


def test_run_after_a_recovery_can_claim_all_documents(staged_tables, ledger, root, make, terms, recover_killed):
    """The tables say which documents are done, and a redo may read them again."""
    recover_killed()
    later_run = vary(terms, run="later", output=str(root), started_at=datetime.now(UTC))
    ledger.runs.begin(later_run)
    assert ledger.claims.claim(later_run, [make.plan(uri) for uri in DOCUMENTS]) == ["ours"] * 5


def test_failed_recovery_is_repeated_by_the_next_run(staged_tables, root, ledger, terms, recover_killed):
    """After a full disk the run is listed as abandoned again, though the process that tried to recover it is live."""
    shutil.rmtree(root / "calls")
    (root / "calls").write_text("in the way")
    with pytest.raises(OutputError):
        recover_killed()
    (root / "calls").unlink()
    assert [run_info.run for run_info in ledger.runs.list_abandoned(str(root), "slip")] == [terms.run]
    recover_killed()
    check_published(root, ledger, terms)


def test_rejected_document_of_a_killed_run_is_counted_as_rejected(killed_tables, root, make, recover_killed):
    """An image that could not be sent is not a failed call."""
    killed_tables.stage(PartId(0), [make.reject("/in/broken.jpg", Problem("unreadable", "prepare", "broken"))])
    recover_killed()
    row = read_table(root, "runs").row(0, named=True)
    assert (row["rejected"], row["failed"], row["remaining"], row["found"]) == (1, 0, 5, 6)


def test_empty_answer_of_a_killed_run_is_counted_as_failed(killed_tables, root, make, recover_killed):
    """The call was paid for, though an empty file is a rejection of the same kind."""
    killed_tables.stage(PartId(0), [make.fail("/in/b.jpg", problem=Problem("empty", "validate", "no answer"))])
    recover_killed()
    row = read_table(root, "runs").row(0, named=True)
    assert (row["rejected"], row["failed"]) == (0, 1)


@pytest.fixture
def answered_schema(root, ledger, ledger_writer, make, model, terms):
    """The schema of a killed run with one document answered at the second attempt and nothing staged."""
    schema = Schema("slip", model, {"title": "Slip"}, "")
    run = vary(terms, output=str(root), schema_hash=schema.hash)
    ledger.runs.begin(run)
    ledger.claims.claim(run, [make.plan(uri) for uri in DOCUMENTS])
    writer = ledger_writer()
    writer.settle(writer.reserve(document=SENT), outcome="off_schema", cost_usd=Decimal("0.001"))
    reply = make.reply(body=orjson.dumps(CHAT).decode())
    writer.settle(writer.reserve(document=SENT), reply=reply, cost_usd=Decimal("0.003"))
    ledger.runs.release(run.run)
    return schema


def test_answer_of_a_killed_run_is_published_without_a_call(answered_schema, root, ledger, terms):
    """It is validated again, and published as the killed run's result with the cost of both attempts."""
    recover_abandoned(ledger, build_same_run(terms, root, answered_schema), answered_schema, "all", [].append)
    result = read_table(root, "results").row(0, named=True)
    assert (result["_document"], result["_run"], result["shop"], result["_attempts"]) == (SENT, terms.run, "Inn", 2)
    assert (result["_cost_usd"], result["_schema_hash"]) == (Decimal("0.004"), answered_schema.hash)
    row = read_table(root, "runs").row(0, named=True)
    assert (row["status"], row["found"], row["accepted"], row["remaining"]) == ("abandoned", 5, 1, 4)
    assert (row["cost_usd"], row["cost_wasted_usd"]) == (Decimal("0.004"), Decimal("0.001"))
    assert read_table(root, "images")["document"].to_list() == [SENT]
    assert list(ledger.calls.orphaned_replies(vary(terms, output=str(root)))) == []


def test_restored_answer_has_its_log_probabilities(ledger, ledger_writer, answered_schema, make, terms):
    """Its evidence is computed like that of a new answer."""
    body = make.reply(body=orjson.dumps(CHAT).decode(), logprobs=make.logprobs())
    writer = ledger_writer()
    writer.settle(writer.reserve(document=FAILED), reply=body)
    planned = {uri: make.plan(uri) for uri in (FAILED, SENT)}
    restored = restore_answered(ledger.calls.iter_unpublished(terms.run), planned, answered_schema)
    assert {result.planned.document: result.reply.logprobs for result in restored} == {
        FAILED: make.logprobs(),
        SENT: None,
    }


def test_surest_of_several_accepted_answers_is_restored(ledger, ledger_writer, answered_schema, make, terms):
    """An abandoned run publishes it; a restarted shard climbs from a doubtful answer below the top of the ladder."""

    def reply(confidence):
        tokens = ('{"shop": "', "Inn", '", "total": "8.20"}')
        logprobs = TokenLogprobs(tokens, (0.0, log(confidence), 0.0))
        return make.reply(body=orjson.dumps(CHAT).decode(), logprobs=logprobs)

    writer = ledger_writer()
    for step, confidence in ((LadderStep(1, Size(560, 448), 1601), 0.5), (LadderStep(3, Size(1000, 800), 6404), 0.3)):
        request = make.request(FAILED, steps=(step,))
        writer.settle(writer.reserve(document=FAILED, steps=(step,)), request=request, reply=reply(confidence))
    planned, calls = {FAILED: make.plan(FAILED)}, list(ledger.calls.iter_unpublished(terms.run))
    [restored] = restore_answered(calls, planned, answered_schema)
    assert (restored.step.rung, round(restored.evidence.confidence, 2), len(restored.attempts)) == (1, 0.5, 2)
    [climbed] = restore_answered(calls, planned, answered_schema, Cascade(below_all=0.9))
    assert (climbed.step.rung, len(climbed.attempts)) == (1, 2)
    first_call = [[call for batch in calls for call in batch if call["rung"] == 1]]
    assert list(restore_answered(first_call, planned, answered_schema, Cascade(below_all=0.9))) == []
    assert len(list(restore_answered(first_call, planned, answered_schema, Cascade(below_all=0.4)))) == 1


def test_recovered_document_of_several_pages_has_all_its_pages(root, ledger, ledger_writer, make, model, terms):
    """Its row and one row of images a page are built from its plan in the ledger."""
    schema = Schema("slip", model, {"title": "Slip"}, "")
    run = vary(terms, output=str(root), schema_hash=schema.hash)
    page, name = make.page("/in/a.pdf"), "/in/a.pdf#page={}"
    numbered = [replace(page.billed, found=replace(page.billed.found, page=number)) for number in (1, 2, 3)]
    planned = make.plan("/in/a.pdf", tuple(replace(page, billed=billed) for billed in numbered))
    ledger.runs.begin(run)
    ledger.claims.claim(run, [planned])
    writer, reply = ledger_writer(), make.reply(body=orjson.dumps(CHAT).decode())
    steps = make.request().steps * 3
    writer.settle(writer.reserve(document="/in/a.pdf", steps=steps), reply=reply, cost_usd=Decimal("0.003"))
    ledger.runs.release(run.run)
    recover_abandoned(ledger, build_same_run(terms, root, schema), schema, "all", [].append)
    result, images = read_table(root, "results").row(0, named=True), read_table(root, "images").sort("page")
    assert (result["_document"], result["_image"]) == ("/in/a.pdf", name.format(1))
    assert result["_pages"] == images["image"].to_list() == [name.format(number) for number in (1, 2, 3)]
    assert (result["_image_tokens_estimated"], result["_version"]) == (3 * 1601, planned.name[1])
    assert read_table(root, "calls")["pages"].to_list() == [3]


def test_answer_that_fails_the_new_validator_is_left_to_the_next_run(answered_schema, root, ledger, terms):
    """It is not published, and its document remains."""

    class Stricter(BaseModel):
        shop: str = Field(min_length=50)

    recover_abandoned(
        ledger, build_same_run(terms, root, answered_schema), replace(answered_schema, model=Stricter), "all", [].append
    )
    assert read_table(root, "results") is None
    row = read_table(root, "runs").row(0, named=True)
    assert (row["accepted"], row["remaining"], row["cost_usd"]) == (0, 5, Decimal("0.004"))


def test_interrupted_recovery_of_an_answer_publishes_it_once(answered_schema, root, ledger, terms):
    """The first recovery fails after it has staged the answer."""
    (root / "calls").mkdir(parents=True)
    (root / "calls" / "run_date=2026-11-20").write_text("in the way")
    with pytest.raises(OutputError):
        recover_abandoned(ledger, build_same_run(terms, root, answered_schema), answered_schema, "all", [].append)
    (root / "calls" / "run_date=2026-11-20").unlink()
    recover_abandoned(ledger, build_same_run(terms, root, answered_schema), answered_schema, "all", [].append)
    assert read_table(root, "results")["_document"].to_list() == [SENT]
    assert read_table(root, "images").height == 1
