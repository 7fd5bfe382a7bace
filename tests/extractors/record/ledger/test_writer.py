"""writer.py: what is noted is durable when it is said to be, and many notes share a transaction."""

import asyncio
from decimal import Decimal

import pytest

from extractors.core.errors import BudgetSpent, LedgerError
from extractors.record.ledger.budget import Budget
from extractors.record.ledger.writer import LedgerWriter

pytestmark = pytest.mark.anyio
NOTED = "select call, outcome from calls order by writer, call"
CENT = Decimal("0.01")


@pytest.fixture
def writer(ledger, terms):
    """A writer over a real ledger."""
    return LedgerWriter(ledger.calls, terms)


@pytest.fixture
def thrifty(ledger, terms):
    """A writer of a run that began, and that may spend two cents."""
    ledger.runs.begin(terms)
    return LedgerWriter(ledger.calls, terms, Budget(run=2 * CENT))


async def test_an_intent_is_durable_when_it_is_said_to_be(writer, sql, make):
    """Another reader sees it the moment that the wait is over."""
    handle = await writer.reserve(make.request(), 1, Decimal(1))
    assert sql(NOTED) == [(handle, None)]


async def test_a_reply_is_durable_when_it_is_said_to_be(writer, sql, make):
    handle = await writer.reserve(make.request(), 1, Decimal(1))
    await writer.settle(handle, make.attempt())
    assert sql(NOTED) == [(handle, "accepted")]


async def test_a_first_note_does_not_wait_for_others(writer, sql, make):
    """Who notes something after a rest is not kept waiting for company."""
    async with asyncio.timeout(5):
        await writer.reserve(make.request(), 1, None)
    assert len(sql(NOTED)) == 1


async def test_many_notes_are_one_transaction(writer, sql, make):
    """Calls that are noted together wait together: none is visible before all are."""

    async def note():
        await writer.reserve(make.request(), 1, Decimal(1))
        return len(sql(NOTED))

    assert await asyncio.gather(*(note() for _ in range(20))) == [20] * 20


async def test_notes_that_come_while_a_group_is_written_are_in_the_next(writer, sql, make):
    """Nothing waits for ever, whenever it comes."""

    async def call(number):
        handle = await writer.reserve(make.request(f"/in/{number}.jpg"), 1, None)
        await writer.settle(handle, make.attempt())

    await asyncio.gather(*(call(number) for number in range(50)))
    assert sql("select count(*), count(outcome), count(distinct call) from calls") == [(50, 50, 50)]


async def test_who_is_cancelled_leaves_the_note(writer, sql, make):
    """A stop between note and commit loses nothing."""
    waiting = asyncio.ensure_future(writer.reserve(make.request(), 1, Decimal(1)))
    await asyncio.sleep(0)
    waiting.cancel()
    await writer.reserve(make.request("/in/b.jpg"), 1, Decimal(1))
    assert waiting.cancelled()
    assert len(sql(NOTED)) == 2


async def test_everybody_is_told_of_a_ledger_that_breaks(writer, sql, make):
    """Nothing may be sent that the ledger does not know of: each who waits raises."""
    sql("drop table calls")
    notes = (writer.reserve(make.request(), 1, Decimal(1)) for _ in range(2))
    ended = await asyncio.gather(*notes, return_exceptions=True)
    assert [type(error) for error in ended] == [LedgerError, LedgerError]


async def test_two_scribes_of_one_run_do_not_meet(writer, ledger, sql, make, terms):
    """Each process numbers its own calls."""
    for each in (writer, LedgerWriter(ledger.calls, terms)):
        await each.settle(await each.reserve(make.request(), 1, Decimal(1)), make.attempt())
    assert sql(NOTED) == [(0, "accepted"), (0, "accepted")]


async def test_an_intent_without_room_waits_and_is_not_noted(thrifty, sql, make):
    """While a call on its way may still free some, there is neither a handle nor an error."""
    first = await thrifty.reserve(make.request(), 1, 2 * CENT)
    assert await thrifty.reserve(make.request("/in/b.jpg"), 1, CENT) is None
    assert sql(NOTED) == [(first, None)]


async def test_a_reply_makes_room(thrifty, make):
    """What was reserved and not spent is there for the next call."""
    handle = await thrifty.reserve(make.request(), 1, 2 * CENT)
    await thrifty.settle(handle, make.attempt(cost_usd=CENT))
    assert await thrifty.reserve(make.request("/in/b.jpg"), 1, CENT) is not None


async def test_a_reply_makes_room_for_an_intent_of_its_own_group(thrifty, make):
    """Notes that share a transaction are taken in the order in which they help each other."""
    handle = await thrifty.reserve(make.request(), 1, 2 * CENT)
    settling = thrifty.settle(handle, make.attempt(billed="no", cost_usd=Decimal(0)))
    granted, _ = await asyncio.gather(thrifty.reserve(make.request("/in/b.jpg"), 1, 2 * CENT), settling)
    assert granted is not None


async def test_a_spent_budget_is_said(thrifty, make):
    """With nothing on its way that could free some, each who asks is told, with an error of its own."""
    handle = await thrifty.reserve(make.request(), 1, 2 * CENT)
    await thrifty.settle(handle, make.attempt(cost_usd=2 * CENT))
    notes = (thrifty.reserve(make.request("/in/b.jpg"), 1, CENT) for _ in range(2))
    one, other = await asyncio.gather(*notes, return_exceptions=True)
    assert [type(one), type(other)] == [BudgetSpent, BudgetSpent]
    assert one is not other


async def test_text_that_no_database_takes_is_noted_all_the_same(writer, sql, make):
    """A server may name a model with a NUL in it: that breaks no group."""
    handle = await writer.reserve(make.request(), 1, None)
    await writer.settle(handle, make.attempt(reply=make.reply(model="a\0b", body='{"x": "\0"}'), error="\0"))
    assert sql("select model_returned, reply, error from calls") == [("a\ufffdb", '{"x": "\ufffd"}', "\ufffd")]


async def test_a_count_beyond_all_reason_is_noted_all_the_same(writer, sql, make):
    """A server may count more tokens than fit into 32 bits."""
    usage = make.reply().usage
    reply = make.reply(usage=type(usage)(2**40 - 1, 2**40 - 1, 2**40 - 1, 2**40 - 1))
    handle = await writer.reserve(make.request(), 1, None)
    await writer.settle(handle, make.attempt(reply=reply))
    assert sql("select prompt_tokens, reasoning_tokens from calls") == [(2**40 - 1, 2**40 - 1)]
