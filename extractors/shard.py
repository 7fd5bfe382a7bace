"""Shard: one process works on a piece of a parent's run, under its run id: it stages rows and notes money, no more.

The parent folds and publishes. A try at a shard that is begun again takes up what earlier tries have staged, or were
answered, and pays for nothing twice but what was on its way.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from typing_extensions import override

from extractors.agreed import AgreedFeed, Order, Piece
from extractors.brief import known
from extractors.copies import Copies
from extractors.errors import ConfigurationError, LeaseLost, LedgerError, RunError, Stopped
from extractors.how import DIRECTLY
from extractors.job import Job
from extractors.record.ledger import Ledger
from extractors.record.ledger.owner import LEASE_SECONDS, this_process
from extractors.record.ledger.scribe import Scribe
from extractors.record.ledger.shards import COMPLETED, Try
from extractors.record.originals import Originals
from extractors.record.planbook import Planbook
from extractors.record.root import root_of
from extractors.record.stored import history
from extractors.record.tables import Tables
from extractors.record.volume import Volume
from extractors.salvage import answered
from extractors.slice import TRY
from extractors.work import Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from extractors.brake import Brake
    from extractors.brief import Brief
    from extractors.chunk import Bench
    from extractors.how import How
    from extractors.model import Accepted, Copied, Failed, Left, Planned, Terms
    from extractors.record.ledger.shards import Told
    from extractors.record.planbook import Agreed
    from extractors.settings import Settings
    from extractors.slice import Slice

BEAT_SECONDS = 2.0  # a shard hears this soon that it is to stop, or that its parent has gone


async def work_on(piece: Slice, settings: Settings, how: How = DIRECTLY) -> Try:
    """Does a piece of a run that its parent has begun; gives how it ended, which the ledger knows then.

    Raises ConfigurationError when it cannot begin, LedgerError when another process is at it: then nothing was sent.
    """
    book = Planbook(piece.plan)
    agreed = await asyncio.to_thread(book.agreed)
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(Ledger(settings.ledger))
        terms = _terms(ledger, piece, settings)
        asked = _brief(piece, terms, agreed, settings, ledger)
        root = root_of(terms.output)
        volume = Volume(root, terms, 1)
        writer = secrets.randbits(31)
        this, earlier = await asyncio.to_thread(ledger.shards.begin, terms.run, piece.number, writer)
        tables = _Tables(root, terms, asked.schema.model, settings.keep_replies, volume)
        tables.ours = partial(ledger.shards.beat, this)
        beat = await stack.enter_async_context(_leased(ledger, this))
        writers = [each.writer for each in earlier]
        try:
            done = await asyncio.to_thread(volume.staged, piece.parts) if writers else set()
            if writers:
                found = await asyncio.to_thread(_answered, piece, book, asked, ledger, writers, done)
                await asyncio.to_thread(tables.stage, piece.part(this.attempt) + TRY - 1, found)
                done |= {each.planned.name for each in found}
            past, _ = await asyncio.to_thread(
                history, root, terms, offline=piece.offline, redo=asked.job.redo, kind=asked.job.kind
            )
            facts = known(ledger.memory, terms)
            feed = AgreedFeed(
                asked, asked.tariff(terms.price, facts), past, book, agreed, Piece(piece.first, piece.count, done)
            )
            stack.callback(feed.close)
            originals = Originals(tables, earlier=asked.job.redo in {None, "failed"}, offline=piece.offline)
            scribe = Scribe(ledger.calls, terms, asked.budget, writer)
            copies = Copies(tables, originals)
            work = Work(asked, terms, ledger, tables, feed, facts, how, copies, scribe=scribe, earlier=writers)
            this = await _worked(work, this, piece.part(this.attempt), beat)
        except RunError as error:
            this = replace(this, status=error.status, message=error.message)
        except BaseException as error:
            with suppress(LedgerError):  # then it is seen that this process has ended
                ledger.shards.finish(replace(this, status="failed", message=type(error).__name__))
            raise
        await asyncio.to_thread(ledger.shards.finish, this)
        return this


class _Tables(Tables):
    """Tables that are staged in only as long as the shard is this process's: another try may be at it by now."""

    ours: Callable[[], Told]

    @override
    def stage(self, part: int, ends: Sequence[Accepted | Copied | Failed | Left]) -> None:
        """See Tables. Raises LeaseLost."""
        if self.ours() == "lost":
            raise LeaseLost(f"run {self.volume.terms.run} has ended, or goes on without this try")
        super().stage(part, ends)


async def _worked(work: Work, this: Try, number: int, beat: _Beat) -> Try:
    """The try, ended: what became of the documents is staged."""
    async with AsyncExitStack() as stack:
        pending = await work.take()
        if not pending:
            return replace(this, status=COMPLETED)
        bench = await work.bench(stack)
        beat.pulls(bench.brake)
        tally, _ = await work.chunks(pending, bench, sys.maxsize, number)
        if wall := bench.caller.breaker.wall():
            bench.brake.stop(wall)
        await asyncio.to_thread(_remembered, work, bench)
        error = bench.brake.error
        return replace(
            this,
            status=error.status if error else COMPLETED,
            message=error.message if error else "",
            warnings=work.warnings(bench),
            accepted=tally.accepted + tally.copied,
            failed=tally.bad,
        )


def _remembered(work: Work, bench: Bench) -> None:
    """What the endpoint's next run should know; not the rate, of which a shard has had its share only."""
    work.learned(bench, alone=False)
    work.ledger.runs.use([each for each in bench.bequests.used if each.run != work.terms.run])


def _terms(ledger: Ledger, piece: Slice, settings: Settings) -> Terms:
    """The parent's terms. Raises ConfigurationError where this ledger is not the parent's."""
    found = ledger.runs.live(piece.run)
    shared = "workers on other hosts need one ledger for all: set TILEWISE_LEDGER to a postgresql+psycopg://… URL"
    alone = settings.ledger.startswith("sqlite")
    if found is None and alone:
        raise ConfigurationError(f"TILEWISE_LEDGER is SQLite here, and knows no live run {piece.run}: {shared}")
    if found is None:
        raise ConfigurationError(
            f"run {piece.run} is not live in the ledger of TILEWISE_LEDGER: it has ended, or its parent has another ledger"
        )
    terms, host = found
    if alone and host != this_process().host:
        raise ConfigurationError(
            f"TILEWISE_LEDGER is SQLite, which holds for one host, and run {piece.run} is on another: {shared}"
        )
    return terms


def _brief(piece: Slice, terms: Terms, agreed: Agreed, settings: Settings, ledger: Ledger) -> Brief:
    """The plan's job as its parent runs it. Raises ConfigurationError where this worker would do another thing."""
    job = Job.model_validate_json(terms.job)
    asked = Order(plan=piece.plan, budget=job.budget, yes=True).brief(agreed, settings)
    planned = asked.rule
    asked = replace(asked.calibrated(ledger.memory), rule=planned, output=terms.output)
    asked = replace(asked, job=asked.job.model_copy(update={"max_time": None}))  # which is the parent's to watch
    if asked.endpoint != terms.endpoint:
        raise ConfigurationError(
            f"this worker sends to {asked.endpoint}, run {terms.run} to {terms.endpoint}: set TILEWISE_BASE_URL alike"
        )
    return asked


def _answered(
    piece: Slice,
    book: Planbook,
    asked: Brief,
    ledger: Ledger,
    writers: Sequence[int],
    done: set[tuple[str, str | None]],
) -> list[Accepted]:
    """What earlier tries were answered and had not staged when they ended."""
    missing: dict[str, Planned] = {}
    for batch in book.planned(piece.first, piece.count):
        missing |= {each.document: each for each in batch if each.name not in done}
    return list(answered(ledger.calls.unpublished(piece.run, writers), missing, asked.schema))


@asynccontextmanager
async def _leased(ledger: Ledger, this: Try) -> AsyncIterator[_Beat]:
    """Renews the lease as long as it is entered."""
    beat = _Beat(ledger, this)
    beating = asyncio.create_task(beat.keep())
    try:
        yield beat
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


@dataclass(slots=True)
class _Beat:
    """Tells the brake when the parent says so, or is not there any more; also what it heard before there was a brake."""

    ledger: Ledger
    this: Try
    brake: Brake | None = None
    heard: RunError | None = None

    def pulls(self, brake: Brake) -> None:
        """From here on calls may be sent, and this brake stops them."""
        self.brake = brake
        if self.heard is not None:
            self._stop(self.heard)

    async def keep(self) -> None:
        """Renews, again and again."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                told = await asyncio.to_thread(self.ledger.shards.beat, self.this)
            except LedgerError as error:
                if loop.time() - last > LEASE_SECONDS:
                    self._stop(error)
                continue
            last = loop.time()
            if told == "stop":
                self._stop(Stopped("its run was told to stop, or its parent has gone"))
            elif told == "lost":
                self._stop(LeaseLost(f"run {self.this.run} has ended, or goes on without this try"))

    def _stop(self, error: RunError) -> None:
        self.heard = error
        if self.brake is None:
            return
        self.brake.stop(error)
        if isinstance(error, LeaseLost) and not self.brake.cutting:  # whoever publishes the run does not wait
            self.brake.cut()
