"""scribe.py: what is noted is durable when it is said to be, and many notes share a transaction."""

import asyncio
import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest

from extractors.errors import LedgerError
from extractors.record.ledger import Ledger
from extractors.record.scribe import GROUP_MOST, Scribe

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def scribe(path, terms):
    """A scribe over a real ledger."""
    with Ledger(f"sqlite:///{path}") as ledger:
        yield Scribe(ledger, terms)


def noted(path):
    """What anybody else sees in the file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("select call, outcome from calls order by call").fetchall()


async def test_an_intent_is_durable_when_it_is_said_to_be(scribe, path, nouns):
    """Another reader sees it the moment that the wait is over."""
    scribe.intend(nouns.order(), 1, Decimal(1))
    await scribe.written()
    assert noted(path) == [(0, None)]


async def test_a_reply_is_durable_when_it_is_said_to_be(scribe, path, nouns):
    handle = scribe.intend(nouns.order(), 1, Decimal(1))
    await scribe.written()
    scribe.settle(handle, nouns.attempt())
    await scribe.written()
    assert noted(path) == [(0, "accepted")]


async def test_an_intent_and_its_reply_may_share_a_group(scribe, path, nouns):
    scribe.settle(scribe.intend(nouns.order(), 1, Decimal(1)), nouns.attempt())
    await scribe.written()
    assert noted(path) == [(0, "accepted")]


async def test_many_notes_are_one_transaction(scribe, path, nouns):
    """Calls that are noted together wait together: none is visible before all are."""

    async def note():
        scribe.intend(nouns.order(), 1, Decimal(1))
        await scribe.written()
        return len(noted(path))

    assert await asyncio.gather(*(note() for _ in range(20))) == [20] * 20


async def test_a_large_group_does_not_wait(scribe, path, nouns):
    """A full group is written at once, in the call that fills it."""
    [scribe.intend(nouns.order(), 1, None) for _ in range(GROUP_MOST)]
    waiting = asyncio.ensure_future(scribe.written())
    await asyncio.sleep(0)
    assert len(noted(path)) == GROUP_MOST
    await waiting


async def test_who_is_cancelled_leaves_the_note(scribe, path, nouns):
    """A stop between note and commit loses nothing."""
    scribe.intend(nouns.order(), 1, Decimal(1))
    waiting = asyncio.ensure_future(scribe.written())
    await asyncio.sleep(0)
    waiting.cancel()
    scribe.flush()
    assert noted(path) == [(0, None)]


async def test_everybody_is_told_of_a_ledger_that_breaks(scribe, path, nouns):
    """Nothing may be sent that the ledger does not know of: each who waits raises."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("drop table calls")
    scribe.intend(nouns.order(), 1, Decimal(1))
    ended = await asyncio.gather(scribe.written(), scribe.written(), return_exceptions=True)
    assert [type(error) for error in ended] == [LedgerError, LedgerError]


async def test_two_scribes_of_one_run_do_not_meet(scribe, path, nouns, terms):
    """Each process numbers its own calls."""
    other = Scribe(scribe.ledger, terms)
    for each in (scribe, other):
        each.settle(each.intend(nouns.order(), 1, Decimal(1)), nouns.attempt())
        await each.written()
    assert noted(path) == [(0, "accepted"), (0, "accepted")]
