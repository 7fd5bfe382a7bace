"""reuse.py: documents of the same content share one answer, and replies paid by earlier runs are used once."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from extractors.core import Copied, Unfinished
from extractors.core.errors import OutputError
from extractors.core.evidence import Box, Sighting, Sightings
from extractors.record.ledger.writer import LedgerWriter
from extractors.record.output.folder import FolderOutput
from extractors.record.tables.row_index import RowIndex
from extractors.record.tables.volume import PartId
from extractors.record.tables.writer import Tables
from extractors.run.reuse import Deduplicator, OrphanedReplies

pytestmark = pytest.mark.anyio

KEY = "5c" * 32
OTHER = "9a" * 32
ANSWER = '{"model": "maker/model-2", "choices": [{"message": {"content": "{}"}}], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}'
NOW = datetime(2026, 11, 20, 2, 15, 0, tzinfo=UTC)


@pytest.fixture
def tables(tmp_path, terms, model):
    """The open tables of a run."""
    with Tables(FolderOutput(tmp_path), terms, model) as entered:
        yield entered


@pytest.fixture
def deduplicator(tables):
    """The deduplicator of a run, without the rows of earlier runs."""
    return Deduplicator(tables, RowIndex(tables, earlier=False, offline=False))


class GatedCall:
    """A call that counts how often it is made, and answers once its gate is open."""

    def __init__(self, end):
        """`end` is the result of every call, or a function that returns it."""
        self.end, self.count, self.gate = end, 0, asyncio.Event()

    async def __call__(self):
        """Counts the call and waits for the gate."""
        self.count += 1
        await self.gate.wait()
        return self.end() if callable(self.end) else self.end


async def start_tasks(*coroutines):
    """Starts tasks and lets each run until it waits."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


async def test_second_document_waits_for_the_first_and_copies_it(deduplicator, make):
    """One call is made for three documents of the same content; two rows are copies."""
    call = GatedCall(make.accept())
    tasks = await start_tasks(*(deduplicator.run_once(make.plan(f"/in/{name}.jpg"), KEY, call) for name in "abc"))
    assert not any(task.done() for task in tasks)
    call.gate.set()
    first, *others = await asyncio.gather(*tasks)
    assert (call.count, first.value.shop) == (1, "Inn")
    assert [(type(end), end.failed, end.row["_document"]) for end in others] == [(Copied, False, "/in/a.jpg")] * 2
    assert [end.planned.document for end in others] == ["/in/b.jpg", "/in/c.jpg"]


async def test_documents_of_different_content_do_not_wait(deduplicator, make):
    """Two calls are made at once."""
    call = GatedCall(make.accept())
    tasks = await start_tasks(*(deduplicator.run_once(make.plan(), key, call) for key in (KEY, OTHER)))
    assert call.count == 2
    call.gate.set()
    await asyncio.gather(*tasks)


async def test_failure_is_copied(deduplicator, make):
    """The copy has the failure's kind, and saves what the failure cost."""
    call = GatedCall(make.fail())
    call.gate.set()
    await deduplicator.run_once(make.plan(), KEY, call)
    copy = await deduplicator.run_once(make.plan("/in/b.jpg"), KEY, call)
    assert (copy.failed, copy.row["kind"], call.count) == (True, "refused", 1)
    assert copy.saved_usd == make.fail().cost_usd


async def test_missing_image_is_no_source_of_copies(deduplicator, make):
    """When the first image cannot be read again for its next rung, the next document makes its own call."""
    call = GatedCall(make.reject())
    call.gate.set()
    ends = [await deduplicator.run_once(make.plan(), KEY, call) for _ in range(2)]
    assert (ends, call.count) == ([call.end] * 2, 2)


async def test_next_document_calls_when_the_first_is_unfinished(deduplicator, make):
    """One of the waiting documents makes the call in its place."""
    ends = iter([make.leave(), make.accept("/in/b.jpg")])
    call = GatedCall(lambda: next(ends))
    tasks = await start_tasks(*(deduplicator.run_once(make.plan(f"/in/{name}.jpg"), KEY, call) for name in "abc"))
    call.gate.set()
    first, second, third = await asyncio.gather(*tasks)
    assert call.count == 2
    assert isinstance(first, Unfinished)
    assert second.planned.document == "/in/b.jpg"
    assert third.row["_document"] == "/in/b.jpg"


async def test_next_document_calls_when_the_first_is_cancelled(deduplicator, make):
    call = GatedCall(make.accept())
    tasks = await start_tasks(*(deduplicator.run_once(make.plan(f"/in/{name}.jpg"), KEY, call) for name in "ab"))
    tasks[0].cancel()
    call.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert (call.count, results[1].value.shop) == (2, "Inn")


async def test_cancelled_waiter_does_not_cancel_the_first(deduplicator, make):
    """The first document and the other waiting documents go on."""
    call = GatedCall(make.accept())
    tasks = await start_tasks(*(deduplicator.run_once(make.plan(f"/in/{name}.jpg"), KEY, call) for name in "abc"))
    tasks[1].cancel()
    await asyncio.sleep(0)
    call.gate.set()
    first, cancelled, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert first.value.shop == "Inn"
    assert isinstance(cancelled, asyncio.CancelledError)
    assert isinstance(third, Copied)


@pytest.mark.parametrize("published", [False, True])
async def test_staged_result_is_copied_from_its_row(deduplicator, tables, make, published):
    """No result is held once its chunk is staged; its row is found in its part, published or not."""
    keys = [f"{number:x}" * 64 for number in range(1, 7)]
    ends = [make.fail, make.accept, make.accept, make.fail, make.accept, make.accept]
    for number, (key, end) in enumerate(zip(keys, ends, strict=True)):
        call = GatedCall(end(f"/in/{number}.jpg"))
        call.gate.set()
        results = [await deduplicator.run_once(make.plan(f"/in/{number}.jpg"), key, call)]
        results += [
            await deduplicator.run_once(make.plan(f"/in/{number}-copy.jpg"), key, call),
            make.leave("/in/left.jpg"),
        ]
        tables.stage(PartId(5 - number), results)  # parts in another order than the documents
        deduplicator.note_staged(PartId(5 - number), results)
    if published:
        tables.publish(make.row())
    assert deduplicator._unstaged == {}
    copies = [await deduplicator.run_once(make.plan("/in/late.jpg"), key, None) for key in keys]
    names = [end.row["document" if end.failed else "_document"] for end in copies]
    assert names == [f"/in/{number}.jpg" for number in range(6)]
    assert [end.failed for end in copies] == [True, False, False, True, False, False]


async def test_unreadable_output_stops_the_run(tables, make, tmp_path):
    """The rows of earlier runs cannot be looked up, so no call is made."""
    folder = tmp_path / "results" / "schema=slip" / "run_date=2026-11-19"
    folder.mkdir(parents=True)
    (folder / "broken.parquet").write_bytes(b"PAR1")
    deduplicator = Deduplicator(tables, RowIndex(tables, earlier=True, offline=False))
    with pytest.raises(OutputError, match="cannot be read"):
        await deduplicator.run_once(make.plan(), KEY, None)


@pytest.fixture
def publish_unfinished(ledger, make, terms):
    """Publishes a run with answers for these documents, and with those in `unfinished` (by default all) not ended."""

    async def publish(*documents, unfinished=None):
        ledger.runs.begin(terms)
        writer = LedgerWriter(ledger.calls, terms)
        for document in documents:
            handle = await writer.reserve(make.request(document), 1, None)
            await writer.settle(handle, make.attempt(reply=make.reply(body=ANSWER, logprobs=make.logprobs())))
        ledger.runs.mark_volume_published(terms.run, 1, documents if unfinished is None else unfinished)
        ledger.runs.finish(terms.run)

    return publish


@pytest.fixture
def make_replies(ledger, terms):
    """Makes the orphaned replies that a new run can use."""
    return lambda: OrphanedReplies(ledger.calls, terms)


async def test_orphaned_reply_answers_the_same_request(publish_unfinished, make_replies, make):
    """It has the content, the usage and the log probabilities that were received."""
    await publish_unfinished("/in/a.jpg", "/in/b.jpg")
    replies = make_replies()
    replies.refresh()
    reply = await replies.reply("request-/in/b.jpg")
    assert (reply.status, reply.content, reply.model, reply.usage.prompt) == (200, "{}", "maker/model-2", 9)
    assert reply.logprobs == make.logprobs()
    assert [call.run for call in replies.used] == ["20261120T021500Z-3f9a"]


async def test_orphaned_reply_does_not_answer_another_request(publish_unfinished, make_replies):
    await publish_unfinished("/in/a.jpg")
    replies = make_replies()
    replies.refresh()
    assert await replies.reply("request-/in/b.jpg") is None
    assert replies.used == []


async def test_orphaned_reply_is_used_once(publish_unfinished, make_replies):
    """A refresh in the same run does not bring it back."""
    await publish_unfinished("/in/a.jpg")
    replies = make_replies()
    replies.refresh()
    await replies.reply("request-/in/a.jpg")
    replies.refresh()
    assert await replies.reply("request-/in/a.jpg") is None


async def test_reply_of_an_ended_document_is_not_orphaned(publish_unfinished, make_replies):
    await publish_unfinished("/in/a.jpg", unfinished=())
    replies = make_replies()
    replies.refresh()
    assert await replies.reply("request-/in/a.jpg") is None


async def test_reply_used_by_another_run_is_not_used_again(publish_unfinished, make_replies, ledger):
    """The other run published between this run's refresh and its request."""
    await publish_unfinished("/in/a.jpg")
    one, other = make_replies(), make_replies()
    one.refresh()
    other.refresh()
    await one.reply("request-/in/a.jpg")
    ledger.runs.finish("one", one.used)
    assert await other.reply("request-/in/a.jpg") is None
    assert other.used == []


async def test_refresh_finds_replies_orphaned_meanwhile(publish_unfinished, make_replies):
    """A killed run may be published while this run is in progress."""
    replies = make_replies()
    replies.refresh()
    await publish_unfinished("/in/a.jpg")
    replies.refresh()
    assert await replies.reply("request-/in/a.jpg") is not None


async def test_examined_result_is_the_one_that_is_staged(deduplicator, make):
    """The witness replaces a held result; its row is found after staging, and it is no longer held."""
    result = await deduplicator.run_once(make.plan(), KEY, lambda: answer_with(make.accept()))
    examined = replace(result, sightings=Sightings(()))
    assert await deduplicator.hold_examined(result, answer_with(examined)) is examined
    deduplicator.note_staged(PartId(0), [examined])
    assert deduplicator._unstaged == {}
    assert deduplicator.row_index.find(KEY) is not None


async def test_copy_waits_for_the_examination_of_its_original(deduplicator, make):
    """It gets the places that the witness found; a copy made after the examination has them at once."""
    result = await deduplicator.run_once(make.plan(), KEY, lambda: answer_with(make.accept()))
    examined = replace(result, sightings=Sightings((Sighting("shop", 1, Box(1, 2, 3, 4)),)))
    witness = GatedCall(examined)
    [examination] = await start_tasks(deduplicator.hold_examined(result, witness()))
    copy = await deduplicator.run_once(make.plan("/in/b.jpg"), KEY, witness)
    [completion] = await start_tasks(deduplicator.complete_copy(copy))
    assert (copy.row["_evidence"], completion.done()) == (None, False)
    witness.gate.set()
    assert await examination is examined
    evidence = deduplicator.tables.build_row(examined)["_evidence"]
    assert (await completion).row["_evidence"] == evidence
    later_copy = await deduplicator.run_once(make.plan("/in/c.jpg"), KEY, witness)
    assert (await deduplicator.complete_copy(later_copy)).row["_evidence"] == evidence


async def answer_with(result):
    return result
