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
    """The tables of a run that has begun."""
    with Tables(FolderOutput(tmp_path), terms, model) as entered:
        yield entered


@pytest.fixture
def copies(tables):
    """A run's copies, without those of earlier runs."""
    return Deduplicator(tables, RowIndex(tables, earlier=False, offline=False))


class Asked:
    """Answers when it is told to; counts who asks."""

    def __init__(self, end):
        """`end` is what every answer comes to."""
        self.end, self.count, self.go = end, 0, asyncio.Event()

    async def __call__(self):
        """One more asks."""
        self.count += 1
        await self.go.wait()
        return self.end() if callable(self.end) else self.end


async def start_tasks(*coroutines):
    """Tasks that have come as far as they can alone."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


async def test_second_document_waits_for_the_first_and_copies_it(copies, make):
    """One asks, however many come; the others copy its row."""
    asked = Asked(make.accept())
    tasks = await start_tasks(*(copies.run_once(make.plan(f"/in/{name}.jpg"), KEY, asked) for name in "abc"))
    assert not any(task.done() for task in tasks)
    asked.go.set()
    first, *others = await asyncio.gather(*tasks)
    assert (asked.count, first.value.shop) == (1, "Inn")
    assert [(type(end), end.failed, end.row["_document"]) for end in others] == [(Copied, False, "/in/a.jpg")] * 2
    assert [end.planned.document for end in others] == ["/in/b.jpg", "/in/c.jpg"]


async def test_documents_of_different_content_do_not_wait(copies, make):
    """Both ask at once."""
    asked = Asked(make.accept())
    tasks = await start_tasks(*(copies.run_once(make.plan(), key, asked) for key in (KEY, OTHER)))
    assert asked.count == 2
    asked.go.set()
    await asyncio.gather(*tasks)


async def test_failure_is_copied(copies, make):
    """With its reasons, and what it cost is what was saved."""
    asked = Asked(make.fail())
    asked.go.set()
    await copies.run_once(make.plan(), KEY, asked)
    copy = await copies.run_once(make.plan("/in/b.jpg"), KEY, asked)
    assert (copy.failed, copy.row["kind"], asked.count) == (True, "refused", 1)
    assert copy.saved_usd == make.fail().cost_usd


async def test_missing_image_is_no_source_of_copies(copies, make):
    """A first that could not be read again, for its next rung, is no source: the next one asks."""
    asked = Asked(make.reject())
    asked.go.set()
    ends = [await copies.run_once(make.plan(), KEY, asked) for _ in range(2)]
    assert (ends, asked.count) == ([asked.end] * 2, 2)


async def test_next_document_calls_when_the_first_is_unfinished(copies, make):
    """The next of those who wait asks in its place."""
    ends = iter([make.leave(), make.accept("/in/b.jpg")])
    asked = Asked(lambda: next(ends))
    tasks = await start_tasks(*(copies.run_once(make.plan(f"/in/{name}.jpg"), KEY, asked) for name in "abc"))
    asked.go.set()
    first, second, third = await asyncio.gather(*tasks)
    assert asked.count == 2
    assert isinstance(first, Unfinished)
    assert second.planned.document == "/in/b.jpg"
    assert third.row["_document"] == "/in/b.jpg"


async def test_next_document_calls_when_the_first_is_cancelled(copies, make):
    """Being cancelled or an error of its own keeps nobody waiting."""
    asked = Asked(make.accept())
    tasks = await start_tasks(*(copies.run_once(make.plan(f"/in/{name}.jpg"), KEY, asked) for name in "ab"))
    tasks[0].cancel()
    asked.go.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert (asked.count, ended[1].value.shop) == (2, "Inn")


async def test_cancelled_waiter_does_not_cancel_the_first(copies, make):
    """The first goes on, and so do the others that wait."""
    asked = Asked(make.accept())
    tasks = await start_tasks(*(copies.run_once(make.plan(f"/in/{name}.jpg"), KEY, asked) for name in "abc"))
    tasks[1].cancel()
    await asyncio.sleep(0)
    asked.go.set()
    first, cut, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert first.value.shop == "Inn"
    assert isinstance(cut, asyncio.CancelledError)
    assert isinstance(third, Copied)


@pytest.mark.parametrize("published", [False, True])
async def test_staged_result_is_copied_from_its_row(copies, tables, make, published):
    """No end is held once its chunk is staged, and each row is found among the others of its part, published or not."""
    keys = [f"{number:x}" * 64 for number in range(1, 7)]
    ends = [make.fail, make.accept, make.accept, make.fail, make.accept, make.accept]
    for number, (key, end) in enumerate(zip(keys, ends, strict=True)):
        asked = Asked(end(f"/in/{number}.jpg"))
        asked.go.set()
        done = [await copies.run_once(make.plan(f"/in/{number}.jpg"), key, asked)]
        done += [await copies.run_once(make.plan(f"/in/{number}-copy.jpg"), key, asked), make.leave("/in/left.jpg")]
        tables.stage(PartId(5 - number), done)  # in another order than they are named
        copies.note_staged(PartId(5 - number), done)
    if published:
        tables.publish(make.row())
    assert copies._unstaged == {}
    found = [await copies.run_once(make.plan("/in/late.jpg"), key, None) for key in keys]
    names = [end.row["document" if end.failed else "_document"] for end in found]
    assert names == [f"/in/{number}.jpg" for number in range(6)]
    assert [end.failed for end in found] == [True, False, False, True, False, False]


async def test_unreadable_output_stops_the_run(tables, make, tmp_path):
    """What earlier runs have published cannot be looked up: nothing is sent."""
    folder = tmp_path / "results" / "schema=slip" / "run_date=2026-11-19"
    folder.mkdir(parents=True)
    (folder / "broken.parquet").write_bytes(b"PAR1")
    copies = Deduplicator(tables, RowIndex(tables, earlier=True, offline=False))
    with pytest.raises(OutputError, match="cannot be read"):
        await copies.run_once(make.plan(), KEY, None)


@pytest.fixture
def left(ledger, make, terms):
    """Publishes a run that was answered about these documents and ended with none of them, or with all but these."""

    async def publish(*documents, left=None):
        ledger.runs.begin(terms)
        writer = LedgerWriter(ledger.calls, terms)
        for document in documents:
            handle = await writer.reserve(make.request(document), 1, None)
            await writer.settle(handle, make.attempt(reply=make.reply(body=ANSWER, logprobs=make.logprobs())))
        ledger.runs.mark_volume_published(terms.run, 1, documents if left is None else left)
        ledger.runs.finish(terms.run)

    return publish


@pytest.fixture
def orphaned(ledger, terms):
    """Makes the orphaned replies of a run."""
    return lambda: OrphanedReplies(ledger.calls, terms)


async def test_orphaned_reply_answers_the_same_request(left, orphaned, make):
    """It has the content, the usage and the tokens that were received."""
    await left("/in/a.jpg", "/in/b.jpg")
    replies = orphaned()
    replies.refresh()
    reply = await replies.reply("request-/in/b.jpg")
    assert (reply.status, reply.content, reply.model, reply.usage.prompt) == (200, "{}", "maker/model-2", 9)
    assert reply.logprobs == make.logprobs()
    assert [call.run for call in replies.used] == ["20261120T021500Z-3f9a"]


async def test_orphaned_reply_does_not_answer_another_request(left, orphaned):
    await left("/in/a.jpg")
    replies = orphaned()
    replies.refresh()
    assert await replies.reply("request-/in/b.jpg") is None
    assert replies.used == []


async def test_orphaned_reply_is_used_once(left, orphaned):
    """Also after a refresh in the same run."""
    await left("/in/a.jpg")
    replies = orphaned()
    replies.refresh()
    await replies.reply("request-/in/a.jpg")
    replies.refresh()
    assert await replies.reply("request-/in/a.jpg") is None


async def test_reply_of_an_ended_document_is_not_orphaned(left, orphaned):
    await left("/in/a.jpg", left=())
    replies = orphaned()
    replies.refresh()
    assert await replies.reply("request-/in/a.jpg") is None


async def test_reply_used_by_another_run_is_not_used_again(left, orphaned, ledger):
    """Between looking and asking its body has gone."""
    await left("/in/a.jpg")
    one, other = orphaned(), orphaned()
    one.refresh()
    other.refresh()
    await one.reply("request-/in/a.jpg")
    ledger.runs.finish("one", one.used)
    assert await other.reply("request-/in/a.jpg") is None
    assert other.used == []


async def test_refresh_finds_replies_orphaned_meanwhile(left, orphaned):
    """A run that was killed may be published while this one is under way."""
    replies = orphaned()
    replies.refresh()
    await left("/in/a.jpg")
    replies.refresh()
    assert await replies.reply("request-/in/a.jpg") is not None


async def test_examined_result_is_the_one_that_is_staged(copies, make):
    """The witness adds to a result that is held: its row is found all the same, and it is held no longer."""
    result = await copies.run_once(make.plan(), KEY, lambda: answer_with(make.accept()))
    examined = replace(result, sightings=Sightings(()))
    assert await copies.hold_examined(result, answer_with(examined)) is examined
    copies.note_staged(PartId(0), [examined])
    assert copies._unstaged == {}
    assert copies.row_index.find(KEY) is not None


async def test_copy_waits_for_the_examination_of_its_original(copies, make):
    """It has the places that the witness has found meanwhile; where that is over, it has them at once."""
    result = await copies.run_once(make.plan(), KEY, lambda: answer_with(make.accept()))
    seen = replace(result, sightings=Sightings((Sighting("shop", 1, Box(1, 2, 3, 4)),)))
    witness = Asked(seen)
    [looking] = await start_tasks(copies.hold_examined(result, witness()))
    copy = await copies.run_once(make.plan("/in/b.jpg"), KEY, witness)
    [waiting] = await start_tasks(copies.complete_copy(copy))
    assert (copy.row["_evidence"], waiting.done()) == (None, False)
    witness.go.set()
    assert await looking is seen
    places = copies.tables.build_row(seen)["_evidence"]
    assert (await waiting).row["_evidence"] == places
    later = await copies.run_once(make.plan("/in/c.jpg"), KEY, witness)
    assert (await copies.complete_copy(later)).row["_evidence"] == places


async def answer_with(result):
    return result
