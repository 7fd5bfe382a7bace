"""budget.py: a budget is held by reservation, and runs at the same time never pass it together."""

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
RESERVED = 100  # cents that two processes share
# A process that reserves a cent a call, eight calls at a time, until there is no room; every other call costs nothing.
RESERVES = """
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
HOLDS = """
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
def begun(ledger, ledger_writer, terms):
    """Begins a run of this process, and gives the writer of its calls."""

    def begin(named=terms.run, /, **budget):
        ledger.runs.begin(vary(terms, run=named))
        return ledger_writer(named, Budget(**budget))

    return begin


@pytest.fixture
def held(sql):
    """What all days and what all runs hold, in cents."""

    def look():
        ((days,),) = sql("select coalesce(sum(held_nano), 0) from days")
        ((runs,),) = sql("select coalesce(sum(held_nano), 0) from runs")
        return Decimal(days) / CENTS, Decimal(runs) / CENTS

    return look


def test_an_intent_holds_its_worst_case(begun, held):
    """For its run and its day, with or without a budget."""
    begun().reserve("0.02")
    assert held() == (2, 2)


def test_what_nobody_knows_keeps_its_reservation(begun, held):
    """It may have been billed, so it is held for the day."""
    noting = begun()
    noting.lose(noting.reserve("0.02"))
    assert held() == (2, 2)


def test_what_was_not_billed_is_free_again(begun, held):
    noting = begun()
    noting.settle(noting.reserve("0.02"), outcome="capacity", billed="no", cost_usd=Decimal(0))
    assert held() == (0, 0)


@pytest.mark.parametrize("cost", ["0.005", "0.03"])
def test_a_cost_takes_the_place_of_its_reservation(begun, held, cost):
    """Whether it is less than was thought possible, or against all rules more."""
    noting = begun()
    noting.settle(noting.reserve("0.02"), cost_usd=Decimal(cost))
    assert held() == (Decimal(cost) * 100, Decimal(cost) * 100)


def test_a_call_without_a_price_holds_nothing(begun, held):
    """Without a budget a price may be unknown."""
    noting = begun()
    noting.settle(noting.reserve(None), cost_usd=None)
    assert held() == (0, 0)


def test_a_budget_can_be_used_to_its_end(begun):
    """The last cent is there to be spent."""
    noting = begun(run=2 * CENT)
    noting.settle(noting.reserve("0.01"), cost_usd=CENT)
    noting.settle(noting.reserve("0.01"), cost_usd=CENT)
    with pytest.raises(BudgetSpent):
        noting.reserve("0.000000001")


def test_a_budget_of_nothing_lets_nothing_through_but_what_is_free(begun):
    noting = begun(run=Decimal(0))
    assert noting.reserve("0") is not None
    noting.settle(noting.reserve("0"), cost_usd=Decimal(0))


def test_who_has_no_room_waits_while_an_own_call_is_open(begun, held):
    """Its reply may free what it needs; meanwhile nothing more is held."""
    noting = begun(run=2 * CENT)
    handle = noting.reserve("0.02")
    assert noting.reserve() is None
    assert held() == (2, 2)
    noting.settle(handle, cost_usd=CENT)
    assert noting.reserve() is not None


def test_who_has_no_room_waits_while_another_live_runs_call_is_open(begun):
    """Runs share the day's budget: what the other reserved it may not need."""
    other, mine = begun("other", day=2 * CENT), begun(day=2 * CENT)
    handle = other.reserve("0.02")
    assert mine.reserve() is None
    other.settle(handle, cost_usd=CENT)
    assert mine.reserve() is not None


def test_the_budget_of_a_run_is_its_own(begun):
    """What another run spends is not taken from it, and another run's open call frees nothing of it."""
    other, mine = begun("other", run=2 * CENT), begun(run=2 * CENT)
    other.reserve("0.02")
    mine.settle(mine.reserve("0.02"), cost_usd=2 * CENT)
    with pytest.raises(BudgetSpent, match="the run's budget"):
        mine.reserve()


def test_a_runs_spent_budget_waits_for_nobody(begun):
    """Where the day is short as well: whatever another run's open call frees of the day, the run's budget is spent."""
    other, mine = begun("other", day=4 * CENT), begun(run=2 * CENT, day=4 * CENT)
    mine.settle(mine.reserve("0.02"), cost_usd=2 * CENT)
    other.reserve("0.02")
    with pytest.raises(BudgetSpent, match="the run's budget"):
        mine.reserve()


def test_nobody_waits_for_the_call_of_a_dead_process(ledger, ledger_writer, spawn, url, begun):
    """While the other process lives, its call may free some; once it is killed, the day is spent."""
    process = spawn(HOLDS, url)
    assert process.stdout.readline() == "holds\n"
    mine = begun(day=2 * CENT)
    assert mine.reserve() is None
    process.kill()
    process.wait(20)
    with pytest.raises(BudgetSpent, match="the day's budget"):
        mine.reserve()


def test_nobody_waits_for_the_call_of_a_silent_host(begun, sql):
    """A run on another machine counts for as long as its lease lasts."""
    other, mine = begun("other"), begun(day=2 * CENT)
    other.reserve("0.02")
    elsewhere = "update runs set host = 'elsewhere', lease_until = :until where run = 'other'"
    sql(elsewhere, until=time.time() + LEASE_SECONDS)
    assert mine.reserve() is None
    sql(elsewhere, until=time.time() - 1)
    with pytest.raises(BudgetSpent):
        mine.reserve()


def test_nobody_waits_for_the_lost_call_of_a_published_run(begun, ledger):
    """Its intent without a reply keeps its reservation for the day, and nobody will ever free it."""
    other, mine = begun("other"), begun(day=2 * CENT)
    other.reserve("0.02")
    ledger.runs.mark_volume_published("other", 1, ())
    ledger.runs.finish("other")
    with pytest.raises(BudgetSpent):
        mine.reserve()


def test_yesterdays_calls_are_not_todays(begun, sql):
    """The day is the UTC day of the intent: what is held for another day limits nothing, open or not."""
    noting = begun(day=2 * CENT)
    noting.reserve("0.02")
    sql("update days set day = '2020-01-01'")
    sql("update calls set started_at = '2020-01-01T23:59:59+00:00'")
    assert noting.reserve("0.02") is not None


def test_a_group_over_midnight_is_held_against_both_days(begun, ledger, make, sql, terms):
    """Each intent is held against the budget of its own day: here yesterday's is spent, and today's is not."""
    begun(day=2 * CENT)
    days = ("2020-01-01T23:59:59.999999+00:00", "2020-01-02T00:00:00+00:00")
    sql("insert into days values ('2020-01-01', :held)", held=2 * CENTS)
    rows = [
        intent_row(CallId(terms.run, 1, number), terms, make.request(), 1, CENT) | {"started_at": at}
        for number, at in enumerate(days)
    ]
    before, after = ledger.calls.write(terms.run, rows, [], [], Budget(day=2 * CENT))
    assert isinstance(before, BudgetSpent)
    assert after is True
    assert sql("select day, held_nano from days order by day") == [("2020-01-01", 2 * CENTS), ("2020-01-02", CENTS)]


def test_a_spent_runs_budget_says_what_to_do(begun):
    """The message names the budget, what is held of it and what was needed."""
    noting = begun(run=Decimal("0.025"))
    noting.lose(noting.reserve("0.02"))
    with pytest.raises(BudgetSpent) as caught:
        noting.reserve("0.0061")
    assert caught.value.message == (
        "the run's budget of $0.025 is spent: $0.02 are paid or reserved, and the next call may cost up to"
        " $0.0061; raise --budget"
    )
    assert (caught.value.status, caught.value.exit_code) == ("budget_spent", 3)


def test_a_spent_day_says_when_it_is_free_again(begun):
    noting = begun(day=Decimal(100))
    noting.lose(noting.reserve("100"))
    with pytest.raises(BudgetSpent) as caught:
        noting.reserve()
    assert caught.value.message == (
        "the day's budget (TILEWISE_DAILY_BUDGET) of $100.00 is spent: $100.00 are paid or reserved, and the next"
        " call may cost up to $0.01; it is free again tomorrow (UTC)"
    )


def most_held(processes, look):
    """Looks at what the day holds until each process has said how much it reserved: the most ever seen, and their sum."""
    said, seen = [], []

    def listen():
        said.extend(int(process.stdout.readline()) for process in processes)

    listening = threading.Thread(target=listen)
    listening.start()
    while listening.is_alive():
        seen.append(look())
        listening.join(0.001)
    return max(seen), sum(said)


def test_two_processes_never_pass_the_days_budget_and_use_all_of_it(ledger, url, spawn, held):
    """Both reserve as fast as they can: nobody ever sees more held than there is, and in the end it is all held."""
    processes = [spawn(RESERVES, url, run, str(RESERVED)) for run in ("one", "two")]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    [print(file=process.stdin, flush=True) for process in processes]
    most, reserved = most_held(processes, lambda: held()[0])
    assert most <= RESERVED
    assert reserved == RESERVED
    assert held() == (RESERVED, RESERVED)


@pytest.mark.postgres
def test_the_first_calls_of_a_day_share_its_budget(postgres, terms, make):
    """Two runs that reserve in the same instant, before anything is held for the day, both see what the other does."""
    url, grants = postgres(), []
    engine = sa.create_engine(url)

    def reserve(run):
        with Ledger(url) as ledger:
            row = intent_row(CallId(run, 1, 0), terms, make.request(), 1, 2 * CENT)
            grants.extend(ledger.calls.write(run, [row], [], [], Budget(day=2 * CENT)))

    with Ledger(url) as ledger:
        runs = [vary(terms, run=run) for run in ("one", "two")]
        [ledger.runs.begin(each) for each in runs]
    threads = [threading.Thread(target=reserve, args=(each.run,)) for each in runs]
    with engine.begin() as barrier:
        barrier.execute(sa.text("lock table calls in exclusive mode"))
        [thread.start() for thread in threads]
        waiting(engine, 2)
    [thread.join(20) for thread in threads]
    engine.dispose()
    assert sorted(grants, key=str) == [False, True]


def waiting(engine, count):
    """Returns when so many sessions wait for locks."""
    end = time.monotonic() + 20
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.execute(sa.text("select count(*) from pg_locks where not granted")).scalar_one() < count:
            assert time.monotonic() < end


endings = st.sampled_from(["open", "yes", "no", "unknown"])
rounds = st.lists(st.lists(st.tuples(endings, st.integers(0, 5), st.integers(0, 7)), max_size=5), max_size=4)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(notes=rounds, limit=st.one_of(st.none(), st.integers(0, 20)))
def test_what_is_held_is_what_calls_cost_or_may_cost(ledger, sql, make, terms, notes, limit):
    """Days and runs always hold the sum over their calls: the cost of what was billed, else what was reserved."""
    [sql(f"delete from {table}") for table in ("calls", "days", "runs")]
    budget = Budget(day=None if limit is None else limit * CENT)
    runs = [vary(terms, run=run, started_at=datetime.now(UTC)) for run in ("one", "two")]
    [ledger.runs.begin(each) for each in runs]
    writers = [LedgerWriter(ledger.calls, each, budget) for each in runs]

    async def call(writer, ending, reserved, cost):
        try:
            handle = await writer.reserve(make.request(), 1, reserved * CENT)
        except BudgetSpent:
            return
        if handle is not None and ending != "open":
            cost_usd = {"yes": cost * CENT, "no": Decimal(0), "unknown": None}[ending]
            await writer.settle(handle, make.attempt(billed=ending, cost_usd=cost_usd))

    async def all_rounds():
        for each in notes:
            await asyncio.gather(*(call(writers[number % 2], *note) for number, note in enumerate(each)))

    asyncio.run(all_rounds())
    of_call = "case billed when 'yes' then cost_nano when 'no' then 0 else reserved_nano end"
    summed = f"select coalesce(sum(coalesce({of_call}, reserved_nano)), 0) from calls"
    assert sql(f"{summed} where run = 'one'") == sql("select held_nano from runs where run = 'one'")
    assert sql(f"{summed} where run = 'two'") == sql("select held_nano from runs where run = 'two'")
    assert sql(summed) == sql("select coalesce(sum(held_nano), 0) from days")
