"""bequests.py: an answer that an earlier run paid for is given to whoever asks the same, once."""

import pytest

from extractors.record.ledger.writer import LedgerWriter
from extractors.run.bequests import OrphanedReplies

pytestmark = pytest.mark.anyio
ANSWER = '{"model": "maker/model-2", "choices": [{"message": {"content": "{}"}}], "usage": {"prompt_tokens": 9}}'


@pytest.fixture
def left(ledger, make, terms):
    """Publishes a run that was answered about these documents and ended with none of them, or with all but these."""

    async def publish(*documents, left=None):
        ledger.runs.begin(terms)
        scribe = LedgerWriter(ledger.calls, terms)
        for document in documents:
            handle = await scribe.reserve(make.request(document), 1, None)
            await scribe.settle(handle, make.attempt(reply=make.reply(body=ANSWER)))
        ledger.runs.published(terms.run, 1, documents if left is None else left)
        ledger.runs.end(terms.run)

    return publish


@pytest.fixture
def bequests(ledger, terms):
    """The answers that wait for a run."""
    return lambda: OrphanedReplies(ledger.calls, terms)


async def test_an_answer_is_given_to_who_asks_the_same(left, bequests):
    """With its content and its count, as it was received."""
    await left("/in/a.jpg", "/in/b.jpg")
    waiting = bequests()
    waiting.refresh()
    reply = await waiting.reply("request-/in/b.jpg")
    assert (reply.status, reply.content, reply.model, reply.usage.prompt) == (200, "{}", "maker/model-2", 9)
    assert [call.run for call in waiting.used] == ["20261120T021500Z-3f9a"]


async def test_another_request_is_not_answered(left, bequests):
    await left("/in/a.jpg")
    waiting = bequests()
    waiting.refresh()
    assert await waiting.reply("request-/in/b.jpg") is None
    assert waiting.used == []


async def test_an_answer_is_given_once(left, bequests):
    """Also when it is looked for again in the same run."""
    await left("/in/a.jpg")
    waiting = bequests()
    waiting.refresh()
    await waiting.reply("request-/in/a.jpg")
    waiting.refresh()
    assert await waiting.reply("request-/in/a.jpg") is None


async def test_an_answer_of_a_document_that_was_ended_waits_for_nobody(left, bequests):
    await left("/in/a.jpg", left=())
    waiting = bequests()
    waiting.refresh()
    assert await waiting.reply("request-/in/a.jpg") is None


async def test_an_answer_that_another_run_has_used_is_not_given(left, bequests, ledger):
    """Between looking and asking its body has gone."""
    await left("/in/a.jpg")
    one, other = bequests(), bequests()
    one.refresh()
    other.refresh()
    await one.reply("request-/in/a.jpg")
    ledger.runs.end("one", one.used)
    assert await other.reply("request-/in/a.jpg") is None
    assert other.used == []


async def test_an_answer_that_comes_meanwhile_is_found(left, bequests):
    """A run that was killed may be published while this one is under way."""
    waiting = bequests()
    waiting.refresh()
    await left("/in/a.jpg")
    waiting.refresh()
    assert await waiting.reply("request-/in/a.jpg") is not None
