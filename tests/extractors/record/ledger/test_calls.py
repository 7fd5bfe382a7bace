"""calls.py: stored calls are exact, visible to all readers at once, and survive the process that stored them."""

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
# A process that stores an intent, prints "noted", and waits to be killed.
STORE_INTENT = """
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


def test_intent_is_visible_before_its_call_ends(ledger_writer, sql, terms):
    """A second reader sees all columns that are known before the call."""
    handle = ledger_writer().reserve("0.002512")
    columns = (
        "call, run, document, key, request, attempt, schema, endpoint, model_requested, bill_rule, rung, pages,"
        " payload_bytes, sent_width, sent_height, estimated_image_tokens, estimated_prompt_tokens, reserved_nano"
    )
    identity = (handle, terms.run, "/in/a.jpg", "key-/in/a.jpg", "request-/in/a.jpg", 1, "slip", terms.endpoint)
    estimates = ("maker/model", "table", 1, 1, 300, 560, 448, 1601, 1701, 2_512_000)
    assert sql(f"select {columns} from calls") == [identity + estimates]


def test_intent_without_a_reply_has_null_columns(ledger_writer, sql):
    """Unknown amounts are null, never 0."""
    ledger_writer().reserve(None)
    assert sql(f"select reserved_nano, volume, {ADDED_BY_REPLY} from calls") == [(None,) * 16]


def test_intent_time_is_utc(ledger_writer, sql):
    """The day of an intent is the UTC day in every time zone of the host."""
    before = datetime.now(UTC)
    ledger_writer().reserve()
    ((started_at,),) = sql("select started_at from calls")
    assert before <= datetime.fromisoformat(started_at) <= datetime.now(UTC)
    assert started_at.endswith("+00:00")


def test_reply_does_not_change_the_start_time(ledger_writer, sql):
    """The amount is held for the day of the intent, even if the clock was set meanwhile."""
    calls = ledger_writer()
    handle = calls.reserve()
    before = sql("select started_at from calls")
    calls.settle(handle, started_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert sql("select started_at from calls") == before


def test_settled_call_has_its_amounts_and_body(ledger_writer, sql):
    calls = ledger_writer()
    calls.settle(calls.reserve())
    reply_columns = ("stop", "req-1", None, '{"raw": 1}')
    assert sql(f"select {ADDED_BY_REPLY} from calls") == [
        (1.5, 200, "accepted", "yes", "maker/model-2", 1750, 64, 40, 8, 935_000, *reply_columns)
    ]


def test_timeout_has_an_outcome_and_an_error_but_no_reply(ledger_writer, sql):
    """Its bill and its cost are unknown."""
    calls = ledger_writer()
    calls.lose(calls.reserve())
    query = "select outcome, billed, reply, cost_nano, error from calls"
    assert sql(query) == [("timeout", "unknown", None, None, "read timeout")]


def test_settle_changes_only_the_call_of_its_handle(ledger_writer, sql):
    calls = ledger_writer()
    calls.reserve(document="/in/a.jpg")
    calls.settle(calls.reserve(document="/in/b.jpg"))
    assert sql("select document, outcome from calls order by call") == [("/in/a.jpg", None), ("/in/b.jpg", "accepted")]


@pytest.mark.parametrize(
    ("amount", "nano"),
    [("0", 0), ("0.000000001", 1), ("0.1", 100_000_000), ("1234567.123456789", 1_234_567_123_456_789)],
)
def test_amounts_are_exact_to_the_nanodollar(ledger_writer, sql, amount, nano):
    """Amounts are stored as whole nanodollars, because not every database has decimals."""
    calls = ledger_writer()
    calls.settle(calls.reserve(amount), cost_usd=Decimal(amount))
    assert sql("select reserved_nano, cost_nano from calls") == [(nano, nano)]


def test_two_ledgers_write_to_one_database(ledger_writer, url, sql, terms):
    """No call of either run is lost."""
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


def test_intent_survives_the_kill_of_its_process(ledger, url, sql, spawn):
    process = spawn(STORE_INTENT, url)
    assert process.stdout.readline() == "noted\n"
    process.kill()
    assert process.wait(20) == -signal.SIGKILL
    assert sql("select document, reserved_nano, outcome from calls") == [("/in/a.jpg", 250_000_000, None)]
    assert sql("select pid, published_at from runs where run = 'killed'") == [(process.pid, None)]
    assert process.pid != os.getpid()


def test_reserve_raises_ledger_error_without_its_table(ledger, ledger_writer, sql):
    """The error says what is kept: a call that cannot be stored must not be sent."""
    sql("drop table calls")
    with pytest.raises(LedgerError, match="calls already answered are kept in it") as caught:
        ledger_writer().reserve()
    assert "\n" not in caught.value.message


def test_group_of_writes_is_rolled_back_as_a_whole(ledger, make, sql, terms):
    """After a refused row, no call is stored and no amount is held."""
    ledger.runs.begin(terms)
    row = intent_row(CallId(terms.run, 1, 0), terms, make.request(), 1, Decimal(1))
    with pytest.raises(LedgerError):
        ledger.calls.write(terms.run, [row, row], [], [], Budget())
    assert sql("select count(*) from calls") == [(0,)]
    assert sql("select * from days") == []
    assert sql("select held_nano from runs") == [(0,)]


def test_refused_write_leaves_the_ledger_usable(ledger, ledger_writer, sql, terms):
    """It holds no lock, so the next write succeeds."""
    ledger.runs.begin(terms)
    with pytest.raises(LedgerError):
        ledger.runs.begin(terms)
    ledger_writer().reserve()
    assert sql("select count(*) from calls") == [(1,)]


def test_iter_unpublished_gives_ordered_batches_of_one_run(ledger, ledger_writer, make, terms):
    count = BATCH_ROWS + 1
    numbers = reversed(range(count))
    rows = [intent_row(CallId(terms.run, 1, number), terms, make.request(), 1, None) for number in numbers]
    ledger.calls.write(terms.run, rows, [], [], Budget())
    ledger_writer("other").reserve()
    batches = list(ledger.calls.iter_unpublished(terms.run))
    assert [len(batch) for batch in batches] == [BATCH_ROWS, 1]
    assert [row["call"] for batch in batches for row in batch] == list(range(count))


def test_iter_unpublished_skips_calls_of_published_volumes(ledger, ledger_writer, sql, terms):
    ledger.runs.begin(terms)
    calls = ledger_writer()
    calls.settle(calls.reserve(document="/in/a.jpg"))
    ledger.runs.mark_volume_published(terms.run, 1, ())
    calls.settle(calls.reserve(document="/in/b.jpg"))
    assert [[row["document"] for row in batch] for batch in ledger.calls.iter_unpublished(terms.run)] == [["/in/b.jpg"]]


def test_orphaned_reply_is_found_by_its_request(ledger, ledger_writer, make, terms):
    """A reply whose document was not published is stored with its body and its tokens."""
    ledger.runs.begin(terms)
    calls = ledger_writer()
    calls.settle(calls.reserve(document="/in/a.jpg"))
    calls.settle(calls.reserve(document="/in/b.jpg"), reply=make.reply(logprobs=make.logprobs()))
    ledger.runs.mark_volume_published(terms.run, 1, {"/in/b.jpg"})
    ledger.runs.finish(terms.run)
    orphans = ledger.calls.orphaned_replies(terms)
    assert list(orphans) == ["request-/in/b.jpg"]
    assert ledger.calls.stored_reply(orphans["request-/in/b.jpg"]) == ('{"raw": 1}', make.logprobs())


@pytest.mark.parametrize("other", [{"endpoint": "offline"}, {"model": "maker/other"}, {"schema": "caption"}])
def test_orphaned_reply_is_not_used_for_another_fingerprint(ledger, ledger_writer, terms, other):
    """Another endpoint, model or schema would have given another reply."""
    ledger.runs.begin(terms)
    calls = ledger_writer()
    calls.settle(calls.reserve())
    ledger.runs.mark_volume_published(terms.run, 1, {"/in/a.jpg"})
    ledger.runs.finish(terms.run)
    assert ledger.calls.orphaned_replies(vary(terms, **other)) == {}


@pytest.mark.parametrize("outcome", ["rate_limited", "capacity", "server_error", "client_error", "timeout"])
def test_call_without_an_answer_is_not_an_orphaned_reply(ledger, ledger_writer, terms, outcome):
    ledger.runs.begin(terms)
    calls = ledger_writer()
    calls.settle(calls.reserve(), outcome=outcome, billed="no", cost_usd=Decimal(0))
    ledger.runs.mark_volume_published(terms.run, 1, {"/in/a.jpg"})
    ledger.runs.finish(terms.run)
    assert ledger.calls.orphaned_replies(terms) == {}
