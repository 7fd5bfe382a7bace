"""budget.py: calls reserve their worst case from a budget, and concurrent runs together never exceed it."""

import asyncio
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.runs import vary

from extractors.core.errors import BudgetSpent
from extractors.record.ledger import Ledger
from extractors.record.ledger.budget import Budget
from extractors.record.ledger.owner import LEASE_SECONDS
from extractors.record.ledger.schema import CallId
from extractors.record.ledger.writer import LedgerWriter, intent_row

CENT = Decimal("0.01")
CENTS = 10_000_000  # nanodollars
RESERVED = 100  # cents, the budget that two processes share
# A process that reserves a cent per call, in eight tasks, until the budget has no room; every other call costs nothing.
RESERVE_CENTS = """
import asyncio, sys
from datetime import UTC, datetime
from decimal import Decimal
from extractors.core.errors import BudgetSpent
from extractors.core import Attempt, CallRequest, Fingerprint, RunInfo
from extractors.record.ledger.budget import Budget
from extractors.record.ledger import Ledger
from extractors.record.ledger.writer import LedgerWriter

url, run, cents = sys.argv[1:]
now = datetime.now(UTC)
terms = RunInfo(run, now, "/in", "/out", Fingerprint("https://api.example/v1", "m", "slip", "", ""), "", "table")
order = CallRequest("/in/a.jpg", "key", "asked", 0, (), 100, 2000, 128, 512)

async def reserve(writer):
    paid = 0
    while True:
        for free in (True, False):
            try:
                handle = await writer.reserve(order, 1, Decimal("0.01"))
            except BudgetSpent:
                return paid
            if handle is None:
                return paid
            if free:
                await writer.settle(handle, Attempt(order, now, 0.1, "capacity", "no", cost_usd=Decimal(0)))
            else:
                paid += 1

async def all_at_once():
    writer = LedgerWriter(ledger.calls, terms, Budget(day=Decimal(cents) / 100))
    return sum(await asyncio.gather(*(reserve(writer) for _ in range(8))))

with Ledger(url) as ledger:
    ledger.runs.begin(terms)
    print("ready", flush=True)
    sys.stdin.readline()
    print(asyncio.run(all_at_once()), flush=True)
    sys.stdin.read()
"""
# A process that begins a run, reserves for one call, and waits to be killed.
HOLD_RESERVATION = """
import asyncio, sys
from datetime import UTC, datetime
from decimal import Decimal
from extractors.core import CallRequest, Fingerprint, RunInfo
from extractors.record.ledger import Ledger
from extractors.record.ledger.writer import LedgerWriter

terms = RunInfo("other", datetime.now(UTC), "/in", "/out", Fingerprint("https://api.example/v1", "m", "slip", "", ""), "", "table")
async def reserve(writer):
    await writer.reserve(order, 1, Decimal("0.02"))

with Ledger(sys.argv[1]) as ledger:
    ledger.runs.begin(terms)
    order = CallRequest("/in/a.jpg", "key", "asked", 0, (), 100, 2000, 128, 512)
    asyncio.run(reserve(LedgerWriter(ledger.calls, terms)))
    print("holds", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def begin_run(ledger, ledger_writer, terms):
    """Returns a function that begins a run of this process and returns the writer of its calls."""

    def begin(run=terms.run, /, **budget):
        ledger.runs.begin(vary(terms, run=run))
        return ledger_writer(run, Budget(**budget))

    return begin


@pytest.fixture
def read_held(sql):
    """Returns a function that reads the sums held by all days and by all runs, in cents."""

    def read():
        ((days,),) = sql("select coalesce(sum(held_nano), 0) from days")
        ((runs,),) = sql("select coalesce(sum(held_nano), 0) from runs")
        return Decimal(days) / CENTS, Decimal(runs) / CENTS

    return read


def test_intent_holds_its_reservation_for_run_and_day(begin_run, read_held):
    """The amount is held with or without a budget."""
    begin_run().reserve("0.02")
    assert read_held() == (2, 2)


def test_call_with_unknown_bill_keeps_its_reservation(begin_run, read_held):
    """The call may have been billed, so the amount stays held for the day."""
    calls = begin_run()
    calls.lose(calls.reserve("0.02"))
    assert read_held() == (2, 2)


def test_unbilled_call_frees_its_reservation(begin_run, read_held):
    calls = begin_run()
    calls.settle(calls.reserve("0.02"), outcome="capacity", billed="no", cost_usd=Decimal(0))
    assert read_held() == (0, 0)


@pytest.mark.parametrize("cost", ["0.005", "0.03"])
def test_cost_replaces_the_reservation(begin_run, read_held, cost):
    """The cost may be less than the reservation, or, unexpectedly, more."""
    calls = begin_run()
    calls.settle(calls.reserve("0.02"), cost_usd=Decimal(cost))
    assert read_held() == (Decimal(cost) * 100, Decimal(cost) * 100)


def test_call_without_a_price_holds_nothing(begin_run, read_held):
    """Without a budget a price may be unknown."""
    calls = begin_run()
    calls.settle(calls.reserve(None), cost_usd=None)
    assert read_held() == (0, 0)


def test_budget_can_be_spent_to_the_last_cent(begin_run):
    """After that, even a nanodollar is refused."""
    calls = begin_run(run=2 * CENT)
    calls.settle(calls.reserve("0.01"), cost_usd=CENT)
    calls.settle(calls.reserve("0.01"), cost_usd=CENT)
    with pytest.raises(BudgetSpent):
        calls.reserve("0.000000001")


def test_budget_of_zero_admits_free_calls(begin_run):
    calls = begin_run(run=Decimal(0))
    assert calls.reserve("0") is not None
    calls.settle(calls.reserve("0"), cost_usd=Decimal(0))


def test_intent_waits_while_a_call_of_its_run_is_in_flight(begin_run, read_held):
    """The reply of that call may free enough; meanwhile nothing more is held."""
    calls = begin_run(run=2 * CENT)
    handle = calls.reserve("0.02")
    assert calls.reserve() is None
    assert read_held() == (2, 2)
    calls.settle(handle, cost_usd=CENT)
    assert calls.reserve() is not None


def test_intent_waits_while_a_call_of_another_live_run_is_in_flight(begin_run):
    """Runs share the day's budget, and the other run may not need all that it reserved."""
    other, mine = begin_run("other", day=2 * CENT), begin_run(day=2 * CENT)
    handle = other.reserve("0.02")
    assert mine.reserve() is None
    other.settle(handle, cost_usd=CENT)
    assert mine.reserve() is not None


def test_run_budget_ignores_other_runs(begin_run):
    """Another run's costs do not count, and its call in flight frees nothing."""
    other, mine = begin_run("other", run=2 * CENT), begin_run(run=2 * CENT)
    other.reserve("0.02")
    mine.settle(mine.reserve("0.02"), cost_usd=2 * CENT)
    with pytest.raises(BudgetSpent, match="the run's budget"):
        mine.reserve()


def test_spent_run_budget_does_not_wait_for_other_runs(begin_run):
    """The day's budget has no room either, but another run's call in flight cannot free any of the run's budget."""
    other, mine = begin_run("other", day=4 * CENT), begin_run(run=2 * CENT, day=4 * CENT)
    mine.settle(mine.reserve("0.02"), cost_usd=2 * CENT)
    other.reserve("0.02")
    with pytest.raises(BudgetSpent, match="the run's budget"):
        mine.reserve()


def test_intent_does_not_wait_for_the_call_of_a_dead_process(ledger, ledger_writer, spawn, url, begin_run):
    """While the other process lives, its call may free some budget; once it is killed, the day's budget is spent."""
    process = spawn(HOLD_RESERVATION, url)
    assert process.stdout.readline() == "holds\n"
    mine = begin_run(day=2 * CENT)
    assert mine.reserve() is None
    process.kill()
    process.wait(20)
    with pytest.raises(BudgetSpent, match="the day's budget"):
        mine.reserve()


def test_intent_does_not_wait_for_a_call_of_another_host_after_its_lease(begin_run, sql):
    """A run on another host counts as live until its lease expires."""
    other, mine = begin_run("other"), begin_run(day=2 * CENT)
    other.reserve("0.02")
    move_run = "update runs set host = 'elsewhere', lease_until = :until where run = 'other'"
    sql(move_run, until=time.time() + LEASE_SECONDS)
    assert mine.reserve() is None
    sql(move_run, until=time.time() - 1)
    with pytest.raises(BudgetSpent):
        mine.reserve()


def test_intent_does_not_wait_for_a_call_of_a_published_run(begin_run, ledger):
    """A call without a reply keeps its reservation for the day once its run is published."""
    other, mine = begin_run("other"), begin_run(day=2 * CENT)
    other.reserve("0.02")
    ledger.runs.mark_volume_published("other", 1, ())
    ledger.runs.finish("other")
    with pytest.raises(BudgetSpent):
        mine.reserve()


def test_amounts_of_another_day_do_not_limit_today(begin_run, sql):
    """The day is the UTC day of the intent, whether its call is in flight or not."""
    calls = begin_run(day=2 * CENT)
    calls.reserve("0.02")
    sql("update days set day = '2020-01-01'")
    sql("update calls set started_at = '2020-01-01T23:59:59+00:00'")
    assert calls.reserve("0.02") is not None


def test_group_over_midnight_is_held_against_both_days(begin_run, ledger, make, sql, terms):
    """Each intent counts for its own day: yesterday's budget is spent, and today's is not."""
    begin_run(day=2 * CENT)
    instants = ("2020-01-01T23:59:59.999999+00:00", "2020-01-02T00:00:00+00:00")
    sql("insert into days values ('2020-01-01', :held)", held=2 * CENTS)
    rows = [
        intent_row(CallId(terms.run, 1, number), terms, make.request(), 1, CENT) | {"started_at": instant}
        for number, instant in enumerate(instants)
    ]
    before, after = ledger.calls.write(terms.run, rows, [], [], Budget(day=2 * CENT))
    assert isinstance(before, BudgetSpent)
    assert after is True
    assert sql("select day, held_nano from days order by day") == [("2020-01-01", 2 * CENTS), ("2020-01-02", CENTS)]


def test_spent_run_budget_error_names_amounts_and_the_flag(begin_run):
    """The message gives the budget, the amount held and the amount needed."""
    calls = begin_run(run=Decimal("0.025"))
    calls.lose(calls.reserve("0.02"))
    with pytest.raises(BudgetSpent) as caught:
        calls.reserve("0.0061")
    assert caught.value.message == (
        "the run's budget of $0.025 is spent: $0.02 are paid or reserved, and the next call may cost up to"
        " $0.0061; raise --budget"
    )
    assert (caught.value.status, caught.value.exit_code) == ("budget_spent", 3)


def test_spent_daily_budget_error_says_when_it_is_free_again(begin_run):
    calls = begin_run(day=Decimal(100))
    calls.lose(calls.reserve("100"))
    with pytest.raises(BudgetSpent) as caught:
        calls.reserve()
    assert caught.value.message == (
        "the day's budget (TILEWISE_DAILY_BUDGET) of $100.00 is spent: $100.00 are paid or reserved, and the next"
        " call may cost up to $0.01; it is free again tomorrow (UTC)"
    )


def watch_held(processes, read):
    """Returns the maximum that the day holds until each process has printed its reservations, and their sum."""
    reserved, samples = [], []

    def listen():
        reserved.extend(int(process.stdout.readline()) for process in processes)

    listener = threading.Thread(target=listen)
    listener.start()
    while listener.is_alive():
        samples.append(read())
        listener.join(0.001)
    return max(samples), sum(reserved)


def test_two_processes_spend_the_daily_budget_and_never_exceed_it(ledger, url, spawn, read_held):
    """Both reserve as fast as they can: the amount held is never above the budget, and equals it at the end."""
    processes = [spawn(RESERVE_CENTS, url, run, str(RESERVED)) for run in ("one", "two")]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    [print(file=process.stdin, flush=True) for process in processes]
    most, reserved = watch_held(processes, lambda: read_held()[0])
    assert most <= RESERVED
    assert reserved == RESERVED
    assert read_held() == (RESERVED, RESERVED)


@pytest.mark.postgres
def test_first_calls_of_a_day_share_its_budget(postgres, terms, make):
    """Two runs that reserve at the same instant, before the day has a row, see each other's reservation."""
    url, results = postgres(), []
    engine = sa.create_engine(url)

    def reserve(run):
        with Ledger(url) as ledger:
            row = intent_row(CallId(run, 1, 0), terms, make.request(), 1, 2 * CENT)
            results.extend(ledger.calls.write(run, [row], [], [], Budget(day=2 * CENT)))

    with Ledger(url) as ledger:
        runs = [vary(terms, run=run) for run in ("one", "two")]
        [ledger.runs.begin(info) for info in runs]
    threads = [threading.Thread(target=reserve, args=(info.run,)) for info in runs]
    with engine.begin() as barrier:
        barrier.execute(sa.text("lock table calls in exclusive mode"))
        [thread.start() for thread in threads]
        wait_for_lock_waiters(engine, 2)
    [thread.join(20) for thread in threads]
    engine.dispose()
    assert sorted(results, key=str) == [False, True]


def wait_for_lock_waiters(engine, count):
    """Returns when this many sessions wait for locks."""
    deadline = time.monotonic() + 20
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.execute(sa.text("select count(*) from pg_locks where not granted")).scalar_one() < count:
            assert time.monotonic() < deadline


endings = st.sampled_from(["open", "yes", "no", "unknown"])
rounds = st.lists(st.lists(st.tuples(endings, st.integers(0, 5), st.integers(0, 7)), max_size=5), max_size=4)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(notes=rounds, limit=st.one_of(st.none(), st.integers(0, 20)))
def test_held_amount_is_the_sum_of_costs_and_reservations(ledger, sql, make, terms, notes, limit):
    """Days and runs always hold the sum over their calls: the cost if billed, otherwise the reservation."""
    [sql(f"delete from {table}") for table in ("calls", "days", "runs")]
    budget = Budget(day=None if limit is None else limit * CENT)
    runs = [vary(terms, run=run, started_at=datetime.now(UTC)) for run in ("one", "two")]
    [ledger.runs.begin(info) for info in runs]
    writers = [LedgerWriter(ledger.calls, info, budget) for info in runs]

    async def call(writer, ending, reserved, cost):
        try:
            handle = await writer.reserve(make.request(), 1, reserved * CENT)
        except BudgetSpent:
            return
        if handle is not None and ending != "open":
            cost_usd = {"yes": cost * CENT, "no": Decimal(0), "unknown": None}[ending]
            await writer.settle(handle, make.attempt(billed=ending, cost_usd=cost_usd))

    async def all_rounds():
        for group in notes:
            await asyncio.gather(*(call(writers[number % 2], *note) for number, note in enumerate(group)))

    asyncio.run(all_rounds())
    of_call = "case billed when 'yes' then cost_nano when 'no' then 0 else reserved_nano end"
    summed = f"select coalesce(sum(coalesce({of_call}, reserved_nano)), 0) from calls"
    assert sql(f"{summed} where run = 'one'") == sql("select held_nano from runs where run = 'one'")
    assert sql(f"{summed} where run = 'two'") == sql("select held_nano from runs where run = 'two'")
    assert sql(summed) == sql("select coalesce(sum(held_nano), 0) from days")
