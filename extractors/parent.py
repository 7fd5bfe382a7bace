"""Parent: a run whose documents are worked on elsewhere: it plans, has shards started, folds what they staged, commits once.

A shard that ends without having done its piece is begun again, until three tries in a row have got nothing done; what was
staged or answered is not done again. A parent that is killed is taken over by the next run, as any run is.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import tenacity

from extractors.brake import Brake
from extractors.call.traffic import Traffic
from extractors.closing import Account, Closing, Counts
from extractors.drift import drifted
from extractors.errors import BudgetSpent, ConfigurationError, Failing, LedgerError, Refused, RunError
from extractors.feed import Feed
from extractors.money import FREE
from extractors.outset import ask, check_videos, outset
from extractors.planning import store_plan
from extractors.reach import old_price
from extractors.record.ledger.owner import LEASE_SECONDS
from extractors.record.ledger.shards import COMPLETED
from extractors.record.planbook import Planbook
from extractors.record.root import reading, writing
from extractors.record.shape import past_shapes
from extractors.record.tables import Tables
from extractors.recount import recount
from extractors.slice import cut
from extractors.tally import Tally, since

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from extractors.agreed import Approved
    from extractors.brief import Brief
    from extractors.how import How
    from extractors.model import Name
    from extractors.outset import Outset
    from extractors.record.ledger.shards import Try
    from extractors.slice import Over, Slice, Starter

T = TypeVar("T")

LATE = 4.0  # seconds more than a shard has: it hears late that it is to stop
MOST_TRIES = 3  # at one shard, of which none gets anything done
QUIET = 60.0  # seconds without a shard at work, after which a person is told
STOPPING: dict[str, type[RunError]] = {each.status: each for each in (Refused, Failing, BudgetSpent)}  # all shards
REMAIN = "have changed since they were planned, or are left to another run"


async def sharded(asked: Brief, how: How, approved: Approved | None = None) -> Closing:
    """Does what `pipeline.run` does, on as many workers as there are. Raises as that does."""
    size = asked.job.shard_size
    if how.shards is None or size is None:
        raise ConfigurationError(
            f"--shard-size {size} needs a Prefect server with the deployment shard, and workers: set PREFECT_API_URL, and"
            " run it with --prefect, or leave it out"
        )
    await how.shards.ready()
    async with AsyncExitStack() as stack:
        begun = await outset(asked, how, approved, stack)
        skipped, videos = 0, False
        if approved is None:
            videos = _videos(begun)
            check_videos(begun.brief, videos)
            estimated, url = await asyncio.to_thread(store_plan, begun.brief)
            if estimated.causes:
                how.say(estimated.causes.sentence)
            skipped, costs = estimated.skipped, estimated.costs
            book = Planbook(url) if url else None
            agreed = await asyncio.to_thread(book.agreed) if book else None
        else:
            book, agreed, costs = approved.book, approved.agreed, approved.agreed.costs
        job = asked.job
        if agreed and not job.yes and begun.terms.price != FREE and job.budget is None:
            ask(begun.brief, costs, videos=videos)
        tables = stack.enter_context(Tables(begun.root, begun.terms, asked.schema.model, asked.settings.keep_replies))
        if book is None or agreed is None:
            return await _Fold(begun, tables, book).published(Counts(skipped), None, ())
        done = await asyncio.to_thread(_done, begun, book, approved)
        pieces = cut(book.url, begun.terms.run, agreed.documents, size, offline=begun.free)
        how.expect(agreed.documents - done)
        brake = stack.enter_context(
            Brake(
                Traffic(begun.brief.limits),
                drain=asked.settings.drain + LATE,
                max_time=job.max_time,
                say=how.say,
            )
        )
        begun.lease.begins(brake)
        watch = _Watch(begun, how.shards, brake, how, deque(pieces))
        await watch.all_ended()
        done += sum(watch.skipped.values())
        counts = Counts(skipped + done, Tally(remaining=agreed.documents - done))
        return await _Fold(begun, tables, book).published(counts, brake.error, watch.warnings)


def _videos(begun: Outset) -> bool:
    """Whether the source may hold videos that are to be sent."""
    feed = Feed(begun.brief, begun.brief.tariff(begun.terms.price, begun.known))
    feed.close()
    return feed.videos


def _done(begun: Outset, book: Planbook, approved: Approved | None) -> int:
    """How many documents of the plan were done since it was made, or are done as the plan's job counts."""
    if approved is None:
        return 0
    past, redo, at = begun.past, begun.brief.job.redo, approved.agreed.planned_at
    with reading(begun.root):
        names = book.names().collect()
    return sum(past.skips(name, redo) or past.ended(name, at) for name in names.iter_rows())


@dataclass(slots=True)
class _Watch:
    """The shards of a run: which wait, which are under way by what name, and how often each was begun in vain."""

    begun: Outset
    starter: Starter
    brake: Brake
    how: How
    waiting: deque[Slice]
    under_way: dict[int, tuple[Slice, str]] = field(default_factory=dict)
    seen: Counter[int] = field(default_factory=Counter)  # the tries at each that are judged
    starts: Counter[int] = field(default_factory=Counter)  # since one got something done
    warnings: list[str] = field(default_factory=list)
    skipped: dict[int, int] = field(default_factory=dict)  # documents of each that were done already
    shown: Tally = field(default_factory=Tally)
    heard_at: float = field(default_factory=time.monotonic)  # when a shard was at work last, or a person was told
    told: bool = False

    async def all_ended(self) -> None:
        """Returns when every shard has ended, or nobody waits for those that have not: the brake says why."""
        shards = self.begun.ledger.shards
        while self.waiting or self.under_way:
            if self.brake.error is not None:
                self.waiting.clear()
                if not self.told:
                    await self._known(shards.tell)
                    self.told = True
                if self.brake.cutting:
                    break
            await self._start()
            over = await self.starter.over([name for _, name in self.under_way.values()])
            tries = await self._known(shards.tries)  # after that: who is over has said here how it ended
            latest = {each.number: each for each in tries}
            for number, (piece, name) in list(self.under_way.items()):
                await self._judge(piece, name, latest.get(number), over)
            if self.told:
                await self._give_up([each for each in self.under_way if not self._at_work(latest.get(each))])
            await self._show(tries)
            if self.waiting or self.under_way:
                await asyncio.sleep(self.starter.poll)
        await self._give_up(list(self.under_way))
        await self._known(shards.dismiss)

    async def _known(self, ask: Callable[[str], T]) -> T:
        """What the ledger says of the run; it may be away as long as a lease lasts. Raises LedgerError after that."""
        riding = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(LedgerError),
            stop=tenacity.stop_after_delay(LEASE_SECONDS),
            wait=tenacity.wait_fixed(self.starter.poll),
            reraise=True,
        )
        return await riding(asyncio.to_thread, ask, self.begun.terms.run)

    async def _start(self) -> None:
        while self.waiting and self.brake.error is None:
            try:
                name = await self.starter.start(self.waiting[0])
            except ConfigurationError as error:  # what others have done is kept
                self.brake.stop(RunError(error.message))
                return
            if name is None:  # nobody answers: once more at the next look
                return
            piece = self.waiting.popleft()
            self.starts[piece.number] += 1
            self.under_way[piece.number] = piece, name

    async def _judge(self, piece: Slice, name: str, latest: Try | None, over: Mapping[str, Over]) -> None:
        """Looks at one shard that is under way: whether it has ended, and whether it is to be begun again."""
        new = latest is not None and latest.attempt >= self.seen[piece.number]
        if latest is not None and new and latest.accepted + latest.failed:
            self.starts[piece.number] = 1
        if latest is not None and new and latest.status is not None:
            self._ended(piece, latest)
        elif latest is not None and new and not latest.live:
            await self._known(lambda _: self.begun.ledger.shards.bury(latest))
            await self.starter.give_up([name])
            self._lost(piece, "its process has ended without a word")
        elif not new and name in over:
            if over[name].refused:
                self.brake.stop(RunError(f"shard {piece.number} could not begin: {over[name].words}"))
                del self.under_way[piece.number]
            else:
                await self.starter.give_up([name])
                self._lost(piece, over[name].words)
        if latest is not None and piece.number not in self.under_way:
            self.seen[piece.number] = latest.attempt + 1

    def _at_work(self, latest: Try | None) -> bool:
        """Whether somebody works on the shard of this try now."""
        return latest is not None and latest.status is None and latest.live

    async def _give_up(self, numbers: Sequence[int]) -> None:
        """Nobody waits for these shards any more."""
        if numbers:
            await self.starter.give_up([self.under_way.pop(each)[1] for each in numbers])

    async def _show(self, tries: Sequence[Try]) -> None:
        """Tells how far all shards are together, what is paid or reserved, and whether nobody takes any."""
        held = await self._known(self.begun.ledger.shards.held)
        now = Tally(
            accepted=sum(each.accepted for each in tries),
            failed=sum(each.failed for each in tries),
            cost_usd=None if self.begun.terms.price is None else held,
        )
        if now != self.shown:
            self.how.tell(since(self.shown, now))
            self.shown = now
        if any(map(self._at_work, tries)) or not self.under_way:
            self.heard_at = time.monotonic()
        elif time.monotonic() - self.heard_at > QUIET:
            self.heard_at = time.monotonic()
            self.how.say(f"no worker is at any of {len(self.under_way)} shards that wait: {self.starter.hint}")

    def _ended(self, piece: Slice, last: Try) -> None:
        self.warnings += [each for each in last.warnings if each not in self.warnings]
        self.skipped[piece.number] = last.skipped
        if last.status == COMPLETED or self.told:
            del self.under_way[piece.number]
        elif kind := STOPPING.get(last.status or ""):
            self.brake.stop(kind(last.message))
            del self.under_way[piece.number]
        else:
            self._lost(piece, last.message)

    def _lost(self, piece: Slice, words: str) -> None:
        """A try has not done its piece."""
        del self.under_way[piece.number]
        if self.brake.error is not None:
            return
        tries = self.starts[piece.number]
        if tries < MOST_TRIES:
            self.how.say(f"shard {piece.number} is begun again: {words}")
            self.waiting.append(piece)
        else:
            self.brake.stop(RunError(f"shard {piece.number} was begun {tries} times and got nothing done: {words}"))


@dataclass(frozen=True, slots=True)
class _Fold:
    """Everything that shards have staged and noted, as one volume."""

    begun: Outset
    tables: Tables
    book: Planbook | None

    async def published(
        self, planned: Counts, error: RunError | None, warnings: tuple[str, ...] | list[str]
    ) -> Closing:
        """Publishes it. `planned` counts as remaining what the tables do not say the end of."""
        await self.begun.lease.renew()
        return await asyncio.to_thread(self._published, planned, error, tuple(warnings))

    def _published(self, planned: Counts, error: RunError | None, warnings: tuple[str, ...]) -> Closing:
        begun, tables, volume = self.begun, self.tables, self.tables.volume
        ledger, terms = begun.ledger, begun.terms
        tables.gather(ledger.calls.unpublished(terms.run))
        with writing(begun.root):
            tally = recount(volume, remaining=0)
            left = volume.left()
            waiting = self._waiting() if self.book else []
        tally += Tally(remaining=planned.tally.remaining - tally.done)
        now = tables.shape(accepted=tally.accepted, failed=tally.failed, cost_usd=tally.cost_usd)
        drift = drifted(now, past_shapes(begun.root, terms.source, terms.schema, before=terms.run))
        said = dict.fromkeys(
            each for each in (old_price(terms), *warnings, *drift) if each
        )  # shards say some of them, too
        account = Account(terms, begun.brief.job.fail_above, error, tuple(said), REMAIN)
        counts = replace(planned, tally=tally)
        tables.publish(account.row(counts, 1))
        ledger.marks.free(terms, waiting)
        ledger.marks.published(terms, ())
        ledger.runs.published(terms.run, 1, left)
        ledger.runs.end(terms.run)
        return Closing(account, counts, tables.results)

    def _waiting(self) -> list[Name]:
        """The documents of the plan with which no shard has come to an end: whoever comes next may take them."""
        assert self.book is not None
        ends = self.tables.volume.ends()
        return self.book.names().join(ends, on=["document", "version"], how="anti", nulls_equal=True).collect().rows()
