"""calls.py: what is noted of a call is there for everybody at once, exact, and outlives the process that noted it."""

import os
import signal
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from support.runs import vary

from extractors.core.errors import LedgerError
from extractors.record.ledger import Ledger
from extractors.record.ledger.budget import Budget
from extractors.record.ledger.calls import BATCH_ROWS
from extractors.record.ledger.schema import CallId
from extractors.record.ledger.writer import intent_row

ADDED_BY_REPLY = (
    "seconds, http_status, outcome, billed, model_returned, prompt_tokens, cached_tokens, completion_tokens,"
    " reasoning_tokens, cost_nano, finish_reason, request_id, error, reply"
)
# A process that notes an intent, says so, and then waits to be killed.
INTENDS = """
import asyncio, sys
from datetime import UTC, datetime
from decimal import Decimal
from extractors.core import CallRequest, LadderStep, Fingerprint, RunInfo
from extractors.record.ledger import Ledger
from extractors.record.ledger.writer import LedgerWriter
from extractors.core.tiles import Size

async def reserve(writer, order):
    await writer.reserve(order, 1, Decimal("0.25"))

terms = RunInfo("killed", datetime.now(UTC), "/in", "/out", Fingerprint("https://api.example/v1", "m", "slip", "", ""), "", "table")
with Ledger(sys.argv[1]) as ledger:
    ledger.runs.begin(terms)
    order = CallRequest("/in/a.jpg", "key", "asked", 0, (LadderStep(1, Size(560, 448), 1601),), 100, 2000, 128, 512)
    asyncio.run(reserve(LedgerWriter(ledger.calls, terms), order))
    print("noted", flush=True)
    sys.stdin.read()
"""


def test_an_intent_is_there_before_its_call(ledger_writer, sql, terms):
    """As soon as an intent is noted, a second reader sees all that is known of it."""
    handle = ledger_writer().reserve("0.002512")
    known = (
        "call, run, document, key, request, attempt, schema, endpoint, model_requested, bill_rule, rung, pages,"
        " payload_bytes, sent_width, sent_height, estimated_image_tokens, estimated_prompt_tokens, reserved_nano"
    )
    named = (handle, terms.run, "/in/a.jpg", "key-/in/a.jpg", "request-/in/a.jpg", 1, "slip", terms.endpoint)
    asked = ("maker/model", "table", 1, 1, 300, 560, 448, 1601, 1701, 2_512_000)
    assert sql(f"select {known} from calls") == [named + asked]


def test_an_intent_without_a_reply_keeps_its_nulls(ledger_writer, sql):
    """What nobody knows yet is null, never 0."""
    ledger_writer().reserve(None)
    assert sql(f"select reserved_nano, volume, {ADDED_BY_REPLY} from calls") == [(None,) * 16]


def test_an_intents_time_is_utc(ledger_writer, sql):
    """The day of an intent is the UTC day, whatever the machine's zone."""
    before = datetime.now(UTC)
    ledger_writer().reserve()
    ((noted,),) = sql("select started_at from calls")
    assert before <= datetime.fromisoformat(noted) <= datetime.now(UTC)
    assert noted.endswith("+00:00")


def test_a_calls_day_is_that_of_its_intent(ledger_writer, sql):
    """A reply does not move a call to the day of a clock that was set meanwhile: its money is held for its day."""
    noting = ledger_writer()
    handle = noting.reserve()
    intended = sql("select started_at from calls")
    noting.settle(handle, started_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert sql("select started_at from calls") == intended


def test_a_reply_is_there_the_moment_it_arrived(ledger_writer, sql):
    """A settled call has its amounts and its whole body, for every reader."""
    noting = ledger_writer()
    noting.settle(noting.reserve())
    said = ("stop", "req-1", None, '{"raw": 1}')
    assert sql(f"select {ADDED_BY_REPLY} from calls") == [
        (1.5, 200, "accepted", "yes", "maker/model-2", 1750, 64, 40, 8, 935_000, *said)
    ]


def test_a_call_that_ended_without_a_reply_says_so(ledger_writer, sql):
    """A timeout has an outcome, an unknown bill and its words, and no reply."""
    noting = ledger_writer()
    noting.lose(noting.reserve())
    query = "select outcome, billed, reply, cost_nano, error from calls"
    assert sql(query) == [("timeout", "unknown", None, None, "read timeout")]


def test_a_reply_settles_its_own_call_alone(ledger_writer, sql):
    """Of two calls under way each is settled by its handle."""
    noting = ledger_writer()
    noting.reserve(document="/in/a.jpg")
    noting.settle(noting.reserve(document="/in/b.jpg"))
    assert sql("select document, outcome from calls order by call") == [("/in/a.jpg", None), ("/in/b.jpg", "accepted")]


@pytest.mark.parametrize(
    ("amount", "nano"),
    [("0", 0), ("0.000000001", 1), ("0.1", 100_000_000), ("1234567.123456789", 1_234_567_123_456_789)],
)
def test_money_is_exact_to_the_nanodollar(ledger_writer, sql, amount, nano):
    """Amounts are whole nanodollars: nothing is lost on the way through a database without decimals."""
    noting = ledger_writer()
    noting.settle(noting.reserve(amount), cost_usd=Decimal(amount))
    assert sql("select reserved_nano, cost_nano from calls") == [(nano, nano)]


def test_two_ledgers_share_one_database(ledger_writer, url, sql, terms):
    """Two runs note their calls in one database, and none is lost."""
    with Ledger(url) as other:
        mine, theirs = ledger_writer(), ledger_writer("other", calls=other.calls)
        mine.reserve()
        theirs.settle(theirs.reserve())
        mine.reserve(number=2)
    assert sorted(sql("select run, attempt, outcome from calls")) == [
        (terms.run, 1, None),
        (terms.run, 2, None),
        ("other", 1, "accepted"),
    ]


def test_a_killed_process_has_its_intent_in_the_ledger(ledger, url, sql, spawn):
    """What was noted before SIGKILL is there after it."""
    process = spawn(INTENDS, url)
    assert process.stdout.readline() == "noted\n"
    process.kill()
    assert process.wait(20) == -signal.SIGKILL
    assert sql("select document, reserved_nano, outcome from calls") == [("/in/a.jpg", 250_000_000, None)]
    assert sql("select pid, published_at from runs where run = 'killed'") == [(process.pid, None)]
    assert process.pid != os.getpid()


def test_a_ledger_that_breaks_stops_the_run(ledger, ledger_writer, sql):
    """Nothing may be sent that the ledger would not know of: the error names it and what is kept."""
    sql("drop table calls")
    with pytest.raises(LedgerError, match="calls already answered are kept in it") as caught:
        ledger_writer().reserve()
    assert "\n" not in caught.value.message


def test_a_group_is_written_whole_or_not_at_all(ledger, make, sql, terms):
    """A note that is refused takes the whole group back: no money is held for what was not noted."""
    ledger.runs.begin(terms)
    row = intent_row(CallId(terms.run, 1, 0), terms, make.request(), 1, Decimal(1))
    with pytest.raises(LedgerError):
        ledger.calls.write(terms.run, [row, row], [], [], Budget())
    assert sql("select count(*) from calls") == [(0,)]
    assert sql("select * from days") == []
    assert sql("select held_nano from runs") == [(0,)]


def test_a_broken_note_leaves_the_ledger_usable(ledger, ledger_writer, sql, terms):
    """A note that was refused holds no lock: the next one is written."""
    ledger.runs.begin(terms)
    with pytest.raises(LedgerError):
        ledger.runs.begin(terms)
    ledger_writer().reserve()
    assert sql("select count(*) from calls") == [(1,)]


def test_the_calls_of_a_run_come_in_order_and_in_batches(ledger, ledger_writer, make, terms):
    """However many there are; another run's are not among them."""
    count = BATCH_ROWS + 1
    numbers = reversed(range(count))
    rows = [intent_row(CallId(terms.run, 1, number), terms, make.request(), 1, None) for number in numbers]
    ledger.calls.write(terms.run, rows, [], [], Budget())
    ledger_writer("other").reserve()
    batches = list(ledger.calls.iter_unpublished(terms.run))
    assert [len(batch) for batch in batches] == [BATCH_ROWS, 1]
    assert [row["call"] for batch in batches for row in batch] == list(range(count))


def test_what_a_volume_has_published_is_not_published_again(ledger, ledger_writer, sql, terms):
    """The next volume has the calls that came after it."""
    ledger.runs.begin(terms)
    noting = ledger_writer()
    noting.settle(noting.reserve(document="/in/a.jpg"))
    ledger.runs.mark_volume_published(terms.run, 1, ())
    noting.settle(noting.reserve(document="/in/b.jpg"))
    assert [[row["document"] for row in batch] for batch in ledger.calls.iter_unpublished(terms.run)] == [["/in/b.jpg"]]


def test_an_answer_waits_for_the_same_request(ledger, ledger_writer, make, terms):
    """What was paid for and published no document is found by its request, with its body and its tokens."""
    ledger.runs.begin(terms)
    noting = ledger_writer()
    noting.settle(noting.reserve(document="/in/a.jpg"))
    noting.settle(noting.reserve(document="/in/b.jpg"), reply=make.reply(logprobs=make.logprobs()))
    ledger.runs.mark_volume_published(terms.run, 1, {"/in/b.jpg"})
    ledger.runs.finish(terms.run)
    waiting = ledger.calls.orphaned_replies(terms)
    assert list(waiting) == ["request-/in/b.jpg"]
    assert ledger.calls.stored_reply(waiting["request-/in/b.jpg"]) == ('{"raw": 1}', make.logprobs())


@pytest.mark.parametrize("other", [{"endpoint": "offline"}, {"model": "maker/other"}, {"schema": "caption"}])
def test_an_answer_waits_for_nobody_else(ledger, ledger_writer, terms, other):
    """Another endpoint, model or schema would have been answered otherwise."""
    ledger.runs.begin(terms)
    noting = ledger_writer()
    noting.settle(noting.reserve())
    ledger.runs.mark_volume_published(terms.run, 1, {"/in/a.jpg"})
    ledger.runs.finish(terms.run)
    assert ledger.calls.orphaned_replies(vary(terms, **other)) == {}


@pytest.mark.parametrize("outcome", ["rate_limited", "capacity", "server_error", "client_error", "timeout"])
def test_a_refusal_is_no_answer(ledger, ledger_writer, terms, outcome):
    """Who was not answered asks again."""
    ledger.runs.begin(terms)
    noting = ledger_writer()
    noting.settle(noting.reserve(), outcome=outcome, billed="no", cost_usd=Decimal(0))
    ledger.runs.mark_volume_published(terms.run, 1, {"/in/a.jpg"})
    ledger.runs.finish(terms.run)
    assert ledger.calls.orphaned_replies(terms) == {}
