"""pipeline: scan, bill, plan, chunks, publish; written once, for the command and for the flow.

It is told how to run a chunk (directly, or as a task of an orchestrator) and whom to tell what became of each document.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from extractors.agreed import Approved
from extractors.bequests import Bequests
from extractors.brake import Brake
from extractors.brief import CORES, Brief, Known, brief, known
from extractors.call.request import Form
from extractors.call.traffic import Traffic
from extractors.chunk import Bench, Chunk
from extractors.closing import Account, Closing, Counts
from extractors.copies import Copies
from extractors.drift import drifted
from extractors.errors import ConfigurationError, NeedsYes, RunError
from extractors.estimate import estimate
from extractors.feed import Feed
from extractors.lease import Lease
from extractors.money import FREE
from extractors.pilot import Pilot
from extractors.reach import caller, old_price, price_in_force
from extractors.record.generation import check_generation
from extractors.record.ledger import Ledger
from extractors.record.ledger.scribe import Scribe
from extractors.record.originals import Originals
from extractors.record.planbook import Planbook
from extractors.record.root import root_of
from extractors.record.shape import past_shapes
from extractors.record.stored import history
from extractors.record.tables import Tables
from extractors.reparse import Reparse
from extractors.returned import Returned
from extractors.sample import REMOTE
from extractors.schema import ASK
from extractors.sentinel import Sentinel
from extractors.takeover import take_over
from extractors.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from extractors.agreed import AgreedFeed, Order
    from extractors.job import Job
    from extractors.model import Permits, Planned, Store, Terms
    from extractors.money import Costs, Price
    from extractors.record.stored import Stored
    from extractors.settings import Settings

    RunChunk = Callable[[Chunk], Awaitable[Tally]]
    Leasing = Callable[[str, str, float | None, Callable[[str], None]], AbstractAsyncContextManager[Permits | None]]

NOTHING = Tally()
WAITING = {  # what keeps a document of the feed waiting, beside another run that is at it
    "reparse": "have no stored answer and are not done: run without --redo",
    "apply": "have changed since they were planned, or are left to another run: plan anew",
}
WINDOW = 3  # chunks under way: the next ones fill the rate while the slow tail of one ends, and memory stays flat


@dataclass(frozen=True, slots=True)
class How:
    """By whom a run is run: how a chunk is run, who is told, the orchestrator's id for the run.

    `tell` hears of every document that ended, `expect` how many are to be done as soon as that is known, `say` what a
    person at the terminal should know at once. `permits` leases what workers share of an endpoint's and a model's rate,
    given the run's own ceiling in calls a minute and whom to tell.
    """

    run_chunk: RunChunk = Chunk.run
    tell: Callable[[Tally], None] = lambda _: None
    expect: Callable[[int], None] = lambda _: None
    say: Callable[[str], None] = lambda _: None
    flow_run_id: str | None = None
    permits: Leasing | None = None


DIRECTLY = How()


async def run(job: Job, settings: Settings, how: How = DIRECTLY) -> Closing:
    """Does the whole job: scan, bill and plan feed chunks, which are published volume by volume.

    Raises ConfigurationError when it cannot begin: then nothing was sent and no table was written. Raises a RunError when
    what was done could not be published: the next run does that.
    """
    return await _run(brief(job, settings), how)


async def apply(order: Order, settings: Settings, how: How = DIRECTLY) -> Closing:
    """Does exactly what a stored plan says, and leaves out what has changed since. Raises as `run` does."""
    book = Planbook(order.url)
    agreed = await asyncio.to_thread(book.agreed)
    return await _run(order.brief(agreed, settings), how, Approved(book, agreed, order.approved_by))


async def _run(asked: Brief, how: How, approved: Approved | None = None) -> Closing:
    job, settings = asked.job, asked.settings
    root = root_of(asked.output)
    check_generation(root, asked.schema)
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(Ledger(settings.ledger))
        calibrated = asked.calibrated(ledger.memory)
        asked = replace(calibrated, rule=asked.rule) if approved else calibrated
        price, free = await _price(asked, ledger)
        terms = asked.terms(price, how.flow_run_id)
        if approved:
            terms = replace(terms, flow="apply", approved_by=approved.by)
        facts = known(ledger.memory, terms)
        lease = await stack.enter_async_context(Lease(ledger, terms))
        await asyncio.to_thread(take_over, ledger, terms, asked.schema, settings.keep_replies, how.say)
        past, stored = await asyncio.to_thread(history, root, terms, offline=free, redo=job.redo, kind=job.kind)
        tariff = asked.tariff(price, facts)
        feed = approved.feed(asked, tariff, past) if approved else Feed(asked, tariff, past)
        stack.callback(feed.close)
        _check_videos(asked, feed.videos)
        tables = Tables(root, terms, asked.schema.model, settings.keep_replies)
        copies = Copies(tables, Originals(tables, earlier=job.redo in {None, "failed"}, offline=free))
        work = _Work(asked, terms, ledger, lease, tables, feed, facts, how, copies, stored)
        first = await work.take()
        asks = not job.yes and price != FREE and job.budget is None
        if approved and asks:
            _ask(asked, approved.agreed.costs, videos=feed.videos)
        elif first and (asks or job.redo):
            estimated = await asyncio.to_thread(estimate, asked, price, past, facts, REMOTE)
            if estimated.causes:
                how.say(estimated.causes.sentence)
            if asks:
                _ask(asked, estimated.costs, videos=feed.videos)
        stack.enter_context(tables)
        return await work.all_volumes(first)


async def _price(asked: Brief, ledger: Ledger) -> tuple[Price | None, bool]:
    """The price, and whether local OCR answers. Under `reparse` nobody is asked, not even for a list of models."""
    if asked.job.redo == "reparse":
        return FREE, asked.reads_locally(ledger.memory.prices(asked.endpoint))
    return await price_in_force(asked, ledger)


@dataclass(slots=True)
class _Work:
    """A run that has begun. `theirs` counts the documents that are left to another run, which is at them.

    `waited` counts those of the feed that wait and are in a row of `runs` already.
    """

    brief: Brief
    terms: Terms
    ledger: Ledger
    lease: Lease
    tables: Tables
    feed: Feed | AgreedFeed
    known: Known
    how: How
    copies: Copies
    stored: Stored | None = None
    theirs: int = 0
    waited: int = 0
    permits: Permits | None = None

    async def take(self) -> list[Planned]:
        """The next documents that are this run's to do; none at the end."""
        while pulled := await asyncio.to_thread(self.feed.take, self.brief.settings.chunk):
            claims = await asyncio.to_thread(self.ledger.marks.claim, self.terms, pulled)
            self.feed.skip(claims.count("done"))
            self.theirs += claims.count("theirs")
            if ours := [each for each, claim in zip(pulled, claims, strict=True) if claim == "ours"]:
                return ours
        return []

    async def all_volumes(self, pending: list[Planned]) -> Closing:
        """Chunks and publishes until the feed is empty; `pending` are the documents pulled first."""
        async with AsyncExitStack() as stack:
            if not pending:
                return await self._ended(await self._published(1, Counts(self.feed.skipped), None))
            bench = await self._bench(stack)
            counting = asyncio.ensure_future(asyncio.to_thread(self.feed.count))
            stack.callback(counting.cancel)
            counting.add_done_callback(self._expected)
            return await self._ended(await self._worked(pending, bench), bench)

    async def _worked(self, pending: list[Planned], bench: Bench) -> Closing:
        """Volume after volume, each published whole."""
        total, volume, skipped = Counts(), 1, 0
        while True:
            tally, pending = await self._volume(pending, bench)
            if wall := bench.caller.breaker.wall():
                bench.brake.stop(wall)
            counts = Counts(self.feed.skipped - skipped, tally)
            closing = await self._published(volume, counts, bench, total.tally, pending)
            total, volume, skipped = total + closing.counts, volume + 1, self.feed.skipped
            if not pending:
                break
        return replace(closing, counts=total)

    async def _published(
        self,
        volume: int,
        counts: Counts,
        bench: Bench | None,
        before: Tally = NOTHING,
        ahead: Sequence[Planned] = (),
    ) -> Closing:
        """Publishes a volume, and then tells the ledger.

        `before` is what became of the documents in earlier volumes, `ahead` are those pulled for the next one.
        """
        await self.lease.renew()
        error, left = (bench.brake.error, bench.left) if bench else (None, [])
        waiting = self.feed.waiting - self.waited
        self.waited += waiting
        counts += Counts(0, Tally(remaining=self.theirs + waiting))
        drift = await asyncio.to_thread(self._gather, before + counts.tally)
        account = Account(self.terms, self.brief.job.fail_above, error, (*self._warnings(bench), *drift))
        if remain := WAITING.get("reparse" if self.stored is not None else self.terms.flow):
            account = replace(account, remain=remain)
        await asyncio.to_thread(self._publish, volume, account.row(counts, volume), left, ahead)
        self.theirs = 0
        left.clear()
        return Closing(account, counts, self.tables.results)

    def _gather(self, total: Tally) -> list[str]:
        """Stages what else the volume has; says where the run's answers differ from those of the runs before it."""
        terms = self.terms
        self.tables.gather(self.ledger.calls.unpublished(terms.run))
        now = self.tables.shape(accepted=total.accepted, failed=total.failed, cost_usd=total.cost_usd)
        if self.stored is not None:  # nothing was asked: what it cost and how often it climbed says nothing
            return []
        return drifted(now, past_shapes(self.tables.root, terms.source, terms.schema, before=terms.run))

    def _publish(self, volume: int, row: dict[str, object], left: Sequence[Planned], ahead: Sequence[Planned]) -> None:
        self.tables.publish(row)
        self.ledger.marks.free(self.terms, [each.name for each in left])
        self.ledger.marks.published(self.terms, ahead)
        self.ledger.runs.published(self.terms.run, volume, {each.document for each in left})

    async def _ended(self, closing: Closing, bench: Bench | None = None) -> Closing:
        """Nothing is left to publish: what the run has learned is remembered."""
        if bench:
            await asyncio.to_thread(self._learned, bench)
        await asyncio.to_thread(self.ledger.runs.end, self.terms.run, bench.bequests.used if bench else ())
        return closing

    def _learned(self, bench: Bench) -> None:
        memory, stopped = self.ledger.memory, bench.returned.stops and bench.returned.warning()
        if rate := bench.caller.traffic.sustained:
            memory.keep_rate(self.terms, rate)
        if baseline := bench.sentinel.baseline:
            memory.keep_text(self.terms, baseline)
        if bench.returned.names and not stopped:  # who stopped at another model stops again until told otherwise
            memory.keep_returned(self.terms, bench.returned.names)

    def _expected(self, counting: asyncio.Future[int]) -> None:
        if not counting.cancelled() and counting.exception() is None:
            self.how.expect(counting.result())

    async def _volume(self, pending: list[Planned], bench: Bench) -> tuple[Tally, list[Planned]]:
        """One volume's documents in a window of chunks: what became of them, and what was pulled beyond the volume."""
        tally, number, running, failed = Tally(), 0, set[asyncio.Future[Tally]](), None
        room = self.brief.settings.volume
        try:
            while running or (pending and room):
                while pending and room and len(running) < WINDOW:
                    now, pending = pending[:room], pending[room:]
                    running.add(asyncio.ensure_future(self.how.run_chunk(Chunk(number, now, bench))))
                    room, number = room - len(now), number + 1
                    if not pending and bench.brake.error is None:
                        pending = await self.take()
                        await asyncio.to_thread(bench.bequests.refresh)
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    if isinstance(error := task.exception(), RunError):  # calls on their way are still noted
                        bench.brake.stop(error)
                        failed = failed or error
                    else:
                        tally += task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if failed:
            raise failed
        if bench.brake.error is not None and not bench.brake.hurried:
            tally += Tally(remaining=await asyncio.to_thread(self.feed.rest))
        return tally, pending

    async def _bench(self, stack: AsyncExitStack) -> Bench:
        """Everything that the chunks work with; what has to be closed is on the stack."""
        asked, settings, memory, tariff = self.brief, self.brief.settings, self.ledger.memory, self.feed.tariff
        if self.how.permits and not asked.offline and self.stored is None:  # else nothing is sent that others share
            leasing = self.how.permits(asked.endpoint, asked.model, asked.limits.rpm, self.how.say)
            self.permits = await stack.enter_async_context(leasing)
        traffic = Traffic(asked.limits, memory.rate(self.terms), permits=self.permits)
        brake = Brake(traffic, drain=settings.drain, max_time=asked.job.max_time, say=self.how.say)
        bequests = Bequests(self.ledger.calls, self.terms)
        await asyncio.to_thread(bequests.refresh)
        bench = Bench(
            terms=self.terms,
            schema=asked.schema,
            tariff=tariff,
            store=self.feed.store,
            form=Form(asked.schema, ask=ASK, model=asked.model, profile=asked.profile, style=asked.style),
            caller=await caller(asked if self.stored is None else replace(asked, offline=False), traffic, stack),
            scribe=Scribe(self.ledger.calls, self.terms, asked.budget),
            tables=self.tables,
            threads=stack.enter_context(ThreadPoolExecutor(CORES, thread_name_prefix="prepare")),
            readers=_readers(self.feed.store, stack),
            admitted=asyncio.Semaphore(asked.concurrency + 2 * CORES),
            reasks=settings.reasks,
            tell=self.how.tell,
            brake=stack.enter_context(brake),
            pilot=Pilot(asked.job.fail_above),
            sentinel=Sentinel(
                asked.rule, tariff.text_bytes, tariff.text_tokens, measured=self.known.text_tokens is not None
            ),
            returned=Returned(asked.model, memory.returned(self.terms), stops=settings.on_model_change == "stop"),
            bequests=bequests,
            copies=self.copies,
            reparse=Reparse(self.stored).ends if self.stored is not None else None,
        )
        self.lease.begins(brake)
        return bench

    def _warnings(self, bench: Bench | None) -> tuple[str, ...]:
        """What a person should know of a run that went well."""
        others = f"{self.theirs} documents are left to another run, which is reading them" if self.theirs else None
        unstored = self.feed.skipped + self.feed.waiting if self.stored is not None else 0
        stored = (
            f"{unstored} documents have no stored answer, of which {self.feed.skipped} are done" if unstored else None
        )
        said = [old_price(self.terms), others, stored]
        if bench:
            said += [bench.sentinel.warning(), bench.returned.warning()]
        if self.permits:
            said.append(self.permits.warning())
        return tuple(warning for warning in said if warning)


def _readers(store: Store, stack: AsyncExitStack) -> ThreadPoolExecutor | None:
    """Threads that wait for bytes, where reading is waiting."""
    if store.readers == 1:
        return None
    return stack.enter_context(ThreadPoolExecutor(store.readers, thread_name_prefix="read"))


def _check_videos(asked: Brief, videos: bool) -> None:  # noqa: FBT001 - whether there are any is all that is asked
    """Raises ConfigurationError where a budget is to hold what nobody can reserve for."""
    name = "--budget" if asked.job.budget is not None else "TILEWISE_DAILY_BUDGET"
    limited = asked.job.budget is not None or asked.settings.daily_budget is not None
    if limited and videos and asked.job.video_tokens is None:
        raise ConfigurationError(f"{name} needs --video-tokens: nobody knows what a video is billed before it is")


def _ask(asked: Brief, costs: Costs, *, videos: bool) -> None:
    """Raises NeedsYes when more may be spent than may be without being asked."""
    high, limit = costs.high, asked.settings.ask_above
    if high is None and asked.job.video_tokens is None and videos:
        raise NeedsYes("nobody knows what a video is billed: name the most with --video-tokens, or go on with --yes")
    if high is None:
        raise NeedsYes(f"nobody knows the price of {asked.model}: name it in TILEWISE_PRICES, or go on with --yes")
    if high > limit:
        raise NeedsYes(f"this may cost up to ${high:.2f}, above TILEWISE_ASK_ABOVE={limit}: go on with --yes")
