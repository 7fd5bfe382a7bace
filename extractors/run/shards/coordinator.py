"""Watch: the shards of a run from the parent's side: which wait, which are under way, which are to be begun again.

A shard that ends without having done its piece is begun again, until three tries in a row have got nothing done.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import tenacity

from extractors.core.errors import BudgetSpent, ConfigurationError, Failing, LedgerError, Refused, RunError
from extractors.core.totals import RunTotals, since
from extractors.record.ledger.owner import LEASE_SECONDS
from extractors.record.ledger.shards import COMPLETED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from extractors.core.shards import ShardBackend, ShardExit, ShardSpec
    from extractors.record.ledger.shards import ShardAttempt
    from extractors.run.hooks import RunHooks
    from extractors.run.session import RunSession
    from extractors.run.shutdown import Shutdown

T = TypeVar("T")

MOST_TRIES = 3  # at one shard, of which none gets anything done
SETTLE = 4.0  # seconds that a dismissed shard is given to hear of it, and to finish what it is staging
QUIET = 60.0  # seconds without a shard at work, after which a person is told
STOPPING: dict[str, type[RunError]] = {each.status: each for each in (Refused, Failing, BudgetSpent)}  # all shards


@dataclass(slots=True)
class ShardCoordinator:
    """The shards of a run: which wait, which are under way by what name, and how often each was begun in vain."""

    session: RunSession
    backend: ShardBackend
    shutdown: Shutdown
    hooks: RunHooks
    waiting: deque[ShardSpec]
    under_way: dict[int, tuple[ShardSpec, str]] = field(default_factory=dict)
    seen: Counter[int] = field(default_factory=Counter)  # the tries at each that are judged
    starts: Counter[int] = field(default_factory=Counter)  # since one got something done
    warnings: list[str] = field(default_factory=list)
    skipped: dict[int, int] = field(default_factory=dict)  # documents of each that were done already
    shown: RunTotals = field(default_factory=RunTotals)
    heard_at: float = field(default_factory=time.monotonic)  # when a shard was at work last, or a person was told
    torn: list[ShardSpec] = field(default_factory=list)  # whose last try did not end in order
    told: bool = False

    async def all_ended(self) -> None:
        """Returns when every shard has ended, or nobody waits for those that have not: the brake says why."""
        shards = self.session.ledger.shards
        at_work: set[int] = set()
        unbegun: list[str] = []
        while self.waiting or self.under_way:
            if self.shutdown.error is not None:
                self.torn += [piece for piece in self.waiting if self.starts[piece.number]]
                self.waiting.clear()
                if not self.told:
                    await self._known(shards.request_stop)
                    self.told = True
                if self.shutdown.cutting:
                    break
            await self._start()
            over = await self.backend.over([name for _, name in self.under_way.values()])
            tries = await self._known(shards.list_attempts)  # after that: who is over has said here how it ended
            latest = {each.number: each for each in tries}
            at_work = {number for number, last in latest.items() if last.status is None and last.live}
            for number, (piece, name) in list(self.under_way.items()):
                await self._judge(piece, name, latest.get(number), over)
            if self.told:
                unbegun += [self.under_way.pop(each)[1] for each in self.under_way.keys() - at_work]
            await self._show(tries, busy=bool(at_work))
            if self.waiting or self.under_way:
                await asyncio.sleep(self.backend.poll)
        await self._known(shards.release_all)
        left = dict(self.under_way)
        self.torn += [piece for piece, _ in left.values()]
        unbegun += [name for _, name in left.values()]
        await asyncio.gather(self._settled(left.keys() & at_work), self._given_up(unbegun))

    async def _settled(self, numbers: Collection[int]) -> None:
        """Waits for shards that were at work when they were dismissed: they stage no more once they have said so."""
        end = time.monotonic() + SETTLE
        while numbers and time.monotonic() < end:
            await asyncio.sleep(self.backend.poll / 4)
            latest = {each.number: each for each in await self._known(self.session.ledger.shards.list_attempts)}
            numbers = [each for each in numbers if latest[each].status is None]

    async def _given_up(self, names: Sequence[str]) -> None:
        """Nobody waits for these any more."""
        if names:
            await self.backend.give_up(names)

    async def _known(self, ask: Callable[[str], T]) -> T:
        """What the ledger says of the run; it may be away as long as a lease lasts. Raises LedgerError after that."""
        riding = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(LedgerError),
            stop=tenacity.stop_after_delay(LEASE_SECONDS),
            wait=tenacity.wait_fixed(self.backend.poll),
            reraise=True,
        )
        return await riding(asyncio.to_thread, ask, self.session.run_info.run)

    async def _start(self) -> None:
        while self.waiting and self.shutdown.error is None:
            try:
                name = await self.backend.start(self.waiting[0])
            except ConfigurationError as error:  # what others have done is kept
                self.shutdown.stop(RunError(error.message))
                return
            if name is None:  # nobody answers: once more at the next look
                return
            piece = self.waiting.popleft()
            self.starts[piece.number] += 1
            self.under_way[piece.number] = piece, name

    async def _judge(
        self, shard: ShardSpec, name: str, latest: ShardAttempt | None, over: Mapping[str, ShardExit]
    ) -> None:
        """Looks at one shard that is under way: whether it has ended, and whether it is to be begun again."""
        new = latest is not None and latest.attempt >= self.seen[shard.number]
        if latest is not None and new and latest.accepted + latest.failed:
            self.starts[shard.number] = 1
        if latest is not None and new and latest.status is not None:
            self._ended(shard, latest)
        elif latest is not None and new and not latest.live:
            await self._known(lambda _: self.session.ledger.shards.expire(latest))
            await self._given_up([name])
            self._lost(shard, "its process has ended without a word")
        elif not new and name in over:
            if over[name].refused:
                self.shutdown.stop(RunError(f"shard {shard.number} could not begin: {over[name].words}"))
                del self.under_way[shard.number]
            else:
                await self._given_up([name])
                self._lost(shard, over[name].words)
        if latest is not None and shard.number not in self.under_way:
            self.seen[shard.number] = latest.attempt + 1

    async def _show(self, tries: Sequence[ShardAttempt], *, busy: bool) -> None:
        """Tells how far all shards are together, what is paid or reserved, and whether nobody takes any."""
        held = await self._known(self.session.ledger.shards.held_usd)
        now = RunTotals(
            accepted=sum(each.accepted for each in tries),
            failed=sum(each.failed for each in tries),
            cost_usd=None if self.session.run_info.price is None else held,
        )
        if now != self.shown:
            self.hooks.on_document(since(self.shown, now))
            self.shown = now
        if busy or not self.under_way:
            self.heard_at = time.monotonic()
        elif time.monotonic() - self.heard_at > QUIET:
            self.heard_at = time.monotonic()
            self.hooks.notify(f"no worker is at any of {len(self.under_way)} shards that wait: {self.backend.hint}")

    def _ended(self, shard: ShardSpec, last: ShardAttempt) -> None:
        self.warnings += [each for each in last.warnings if each not in self.warnings]
        self.skipped[shard.number] = last.skipped
        if last.status == COMPLETED or self.told:
            del self.under_way[shard.number]
        elif kind := STOPPING.get(last.status or ""):
            self.shutdown.stop(kind(last.message))
            del self.under_way[shard.number]
        else:
            self._lost(shard, last.message)

    def _lost(self, shard: ShardSpec, words: str) -> None:
        """A try has not done its piece."""
        del self.under_way[shard.number]
        if self.shutdown.error is not None:
            self.torn.append(shard)
            return
        tries = self.starts[shard.number]
        if tries < MOST_TRIES:
            self.hooks.notify(f"shard {shard.number} is begun again: {words}")
            self.waiting.append(shard)
        else:
            self.torn.append(shard)
            self.shutdown.stop(RunError(f"shard {shard.number} was begun {tries} times and got nothing done: {words}"))
