"""writer.py: a call is durable as soon as its write returns, and concurrent writes share a transaction."""

import asyncio
from decimal import Decimal

import pytest

from extractors.core.errors import BudgetSpent, LedgerError
from extractors.record.ledger.budget import Budget
from extractors.record.ledger.writer import LedgerWriter

pytestmark = pytest.mark.anyio
SELECT_CALLS = "select call, outcome from calls order by writer, call"
CENT = Decimal("0.01")


@pytest.fixture
def writer(ledger, terms):
    """A writer over a real ledger."""
    return LedgerWriter(ledger.calls, terms)


@pytest.fixture
def budget_writer(ledger, terms):
    """A writer of a run with a budget of two cents."""
    ledger.runs.begin(terms)
    return LedgerWriter(ledger.calls, terms, Budget(run=2 * CENT))


async def test_intent_is_durable_when_reserve_returns(writer, sql, make):
    handle = await writer.reserve(make.request(), 1, Decimal(1))
    assert sql(SELECT_CALLS) == [(handle, None)]


async def test_reply_is_durable_when_settle_returns(writer, sql, make):
    handle = await writer.reserve(make.request(), 1, Decimal(1))
    await writer.settle(handle, make.attempt())
    assert sql(SELECT_CALLS) == [(handle, "accepted")]


async def test_single_write_does_not_wait_for_a_group(writer, sql, make):
    async with asyncio.timeout(5):
        await writer.reserve(make.request(), 1, None)
    assert len(sql(SELECT_CALLS)) == 1


async def test_concurrent_writes_share_one_transaction(writer, sql, make):
    """None of them is visible before all are."""

    async def reserve():
        await writer.reserve(make.request(), 1, Decimal(1))
        return len(sql(SELECT_CALLS))

    assert await asyncio.gather(*(reserve() for _ in range(20))) == [20] * 20


async def test_writes_that_arrive_during_a_commit_join_the_next_group(writer, sql, make):
    async def call(number):
        handle = await writer.reserve(make.request(f"/in/{number}.jpg"), 1, None)
        await writer.settle(handle, make.attempt())

    await asyncio.gather(*(call(number) for number in range(50)))
    assert sql("select count(*), count(outcome), count(distinct call) from calls") == [(50, 50, 50)]


async def test_cancelled_write_is_still_committed(writer, sql, make):
    """A stop between write and commit loses no call."""
    write = asyncio.ensure_future(writer.reserve(make.request(), 1, Decimal(1)))
    await asyncio.sleep(0)
    write.cancel()
    await writer.reserve(make.request("/in/b.jpg"), 1, Decimal(1))
    assert write.cancelled()
    assert len(sql(SELECT_CALLS)) == 2


async def test_failed_commit_raises_ledger_error_in_every_write_of_its_group(writer, sql, make):
    """A call that is not stored must not be sent."""
    sql("drop table calls")
    writes = (writer.reserve(make.request(), 1, Decimal(1)) for _ in range(2))
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(error) for error in results] == [LedgerError, LedgerError]


async def test_two_writers_of_one_run_number_their_calls_separately(writer, ledger, sql, make, terms):
    for ledger_writer in (writer, LedgerWriter(ledger.calls, terms)):
        await ledger_writer.settle(await ledger_writer.reserve(make.request(), 1, Decimal(1)), make.attempt())
    assert sql(SELECT_CALLS) == [(0, "accepted"), (0, "accepted")]


async def test_reserve_returns_none_while_a_call_in_flight_may_free_budget(budget_writer, sql, make):
    """The intent is not stored."""
    first = await budget_writer.reserve(make.request(), 1, 2 * CENT)
    assert await budget_writer.reserve(make.request("/in/b.jpg"), 1, CENT) is None
    assert sql(SELECT_CALLS) == [(first, None)]


async def test_settle_frees_the_unused_part_of_a_reservation(budget_writer, make):
    handle = await budget_writer.reserve(make.request(), 1, 2 * CENT)
    await budget_writer.settle(handle, make.attempt(cost_usd=CENT))
    assert await budget_writer.reserve(make.request("/in/b.jpg"), 1, CENT) is not None


async def test_settle_frees_budget_for_an_intent_of_its_own_group(budget_writer, make):
    """Settlements of a group are applied before its intents."""
    handle = await budget_writer.reserve(make.request(), 1, 2 * CENT)
    settlement = budget_writer.settle(handle, make.attempt(billed="no", cost_usd=Decimal(0)))
    handle_b, _ = await asyncio.gather(budget_writer.reserve(make.request("/in/b.jpg"), 1, 2 * CENT), settlement)
    assert handle_b is not None


async def test_spent_budget_raises_a_separate_error_in_every_write(budget_writer, make):
    """No call is in flight that could free some of the budget."""
    handle = await budget_writer.reserve(make.request(), 1, 2 * CENT)
    await budget_writer.settle(handle, make.attempt(cost_usd=2 * CENT))
    writes = (budget_writer.reserve(make.request("/in/b.jpg"), 1, CENT) for _ in range(2))
    first, second = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(first), type(second)] == [BudgetSpent, BudgetSpent]
    assert first is not second


async def test_nul_in_a_reply_is_replaced(writer, sql, make):
    """A server may send a NUL in a model name; it must not fail the group."""
    handle = await writer.reserve(make.request(), 1, None)
    await writer.settle(handle, make.attempt(reply=make.reply(model="a\0b", body='{"x": "\0"}'), error="\0"))
    assert sql("select model_returned, reply, error from calls") == [("a\ufffdb", '{"x": "\ufffd"}', "\ufffd")]


async def test_token_counts_above_32_bits_are_stored(writer, sql, make):
    usage = make.reply().usage
    reply = make.reply(usage=type(usage)(2**40 - 1, 2**40 - 1, 2**40 - 1, 2**40 - 1))
    handle = await writer.reserve(make.request(), 1, None)
    await writer.settle(handle, make.attempt(reply=reply))
    assert sql("select prompt_tokens, reasoning_tokens from calls") == [(2**40 - 1, 2**40 - 1)]
