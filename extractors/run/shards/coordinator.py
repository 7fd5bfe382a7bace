"""ShardCoordinator: runs the shards of a run on other workers: starts them, watches them, and starts failed ones again.

The run plans, has its shards started, folds what they staged, and commits once. What shards have staged or were answered
is not done again. A coordinator that is killed is recovered by the next run, like any run.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

import tenacity

from extractors.call.rate_limit import RateLimiter
from extractors.core.call_counts import CallCounts
from extractors.core.errors import BudgetSpent, ConfigurationError, Failing, LedgerError, Refused, RunError
from extractors.core.money import FREE
from extractors.core.shards import split_plan
from extractors.core.totals import RunTotals, since
from extractors.plan.apply import ApprovedPlan
from extractors.plan.feed import may_hold_videos
from extractors.plan.stored_plan import StoredPlan, write_plan
from extractors.record.ledger.owner import LEASE_SECONDS
from extractors.record.ledger.shards import COMPLETED
from extractors.record.output.base import reading
from extractors.record.tables.writer import Tables
from extractors.run.approval import require_approval, require_plan_approval
from extractors.run.result import RunCounts
from extractors.run.session import check_videos
from extractors.run.shards.audit import ShardAudit
from extractors.run.shards.fold import ShardFold, ShardsOutcome, count_done, publish_nothing
from extractors.run.shutdown import Shutdown
from extractors.scan import Listing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AsyncExitStack

    from extractors.config.run_config import RunConfig
    from extractors.core.shards import ShardBackend, ShardExit, ShardSpec
    from extractors.record.ledger.shards import ShardAttempt
    from extractors.run.hooks import RunHooks
    from extractors.run.result import RunResult
    from extractors.run.session import RunSession

T = TypeVar("T")

EXTRA_DRAIN = 4.0  # seconds more than a shard has: a shard hears late that it is to stop
MAX_STARTS = 3  # of a shard of which no attempt gets anything done
SETTLE_SECONDS = 4.0  # for a released shard to hear of it, and to finish what it is staging
QUIET_SECONDS = 60.0  # without a shard at work, after which a person is notified
STOPPING: dict[str, type[RunError]] = {each.status: each for each in (Refused, Failing, BudgetSpent)}  # all shards


async def require_backend(config: RunConfig, hooks: RunHooks) -> ShardBackend:
    """Returns the backend that starts shards. Raises ConfigurationError when no shard could be started."""
    if hooks.shards is None:
        raise ConfigurationError(
            f"--shard-size {config.job.shard_size} needs a Prefect server with the deployment shard, and workers: set"
            " PREFECT_API_URL, and run it with --prefect, or leave it out"
        )
    await hooks.shards.ready()
    return hooks.shards


async def coordinate(session: RunSession, backend: ShardBackend, hooks: RunHooks, stack: AsyncExitStack) -> RunResult:
    """Processes all documents on other workers. Raises as `pipeline.run` does."""
    config, run_info = session.config, session.run_info
    plan, skipped, listing = await _plan(session, hooks)
    tables = stack.enter_context(Tables(session.output, run_info, config.schema.model, config.settings.keep_replies))
    if plan is None:
        return await publish_nothing(session, tables, skipped, listing)
    documents = plan.info.documents
    done = await asyncio.to_thread(_count_done, session, plan) if session.approved_plan else 0
    hooks.on_total(documents - done)
    size = config.job.shard_size or documents
    specs = split_plan(plan.stored_plan.url, run_info.run, documents, size, offline=session.offline)
    shutdown = stack.enter_context(
        Shutdown(
            RateLimiter(config.limits),
            drain=config.settings.drain + EXTRA_DRAIN,
            max_time=config.job.max_time,
            say=hooks.notify,
        )
    )
    session.lease.begin_calls(shutdown)
    hooks.stop_switch.connect(shutdown)
    states = {spec.number: ShardState(spec) for spec in specs}
    outcome = await ShardCoordinator(session, backend, shutdown, hooks, states).run()
    audit = await ShardAudit(session, tables, plan, shutdown, hooks).run()
    outcome = replace(outcome, audit=audit, error=shutdown.error)
    return await ShardFold(session, tables, plan, outcome, listing, done, skipped).publish()


async def _plan(session: RunSession, hooks: RunHooks) -> tuple[ApprovedPlan | None, RunCounts, Listing]:
    """Stores a plan, unless there is an approved one, and has its cost approved; None when there is nothing to do.

    Also counts the documents that are done and not in the plan, and returns the record of the listing.
    """
    config = session.config
    needs_approval = session.run_info.price != FREE
    if plan := session.approved_plan:
        if needs_approval:
            await require_plan_approval(session, plan, hooks)
        return plan, RunCounts(), Listing()
    videos = may_hold_videos(config)
    check_videos(config, videos=videos)
    estimated, url = await asyncio.to_thread(write_plan, session.estimate_inputs, session.run_info)
    skipped = RunCounts(estimated.skipped, skipped_failed=estimated.skipped_failed)
    if estimated.causes:
        hooks.notify(estimated.causes.sentence)
    if estimated.audit:
        hooks.notify(estimated.audit.words)
    if url is None:
        return None, skipped, estimated.listing
    if needs_approval:
        documents = estimated.documents - estimated.rejected
        await require_approval(config, estimated.costs, hooks.confirm, documents=documents, videos=videos)
    stored_plan = StoredPlan(url)
    info = await asyncio.to_thread(stored_plan.read_info)
    return ApprovedPlan(config, stored_plan, info, None), skipped, estimated.listing


def _count_done(session: RunSession, plan: ApprovedPlan) -> int:
    """Counts the documents of an approved plan that are done already. Blocks."""
    with reading(session.output):
        names = plan.stored_plan.names().collect()
    return count_done(session.history, session, plan.info, names.iter_rows())


@dataclass(slots=True)
class ShardState:
    """One shard of a run: whether it waits for a start, runs, or has ended.

    `name` is what the backend calls its running attempt; `starts` counts since an attempt got something done;
    `next_attempt` is the first attempt that is not judged yet; `cut_off`: its last attempt was cut off.
    """

    spec: ShardSpec
    phase: Literal["waiting", "running", "ended"] = "waiting"
    name: str = ""
    starts: int = 0
    next_attempt: int = 0
    skipped: int = 0
    cut_off: bool = False


@dataclass(slots=True)
class ShardCoordinator:
    """Starts the shards of a run and watches them. `stopping`: all shards were told to stop."""

    session: RunSession
    backend: ShardBackend
    shutdown: Shutdown
    hooks: RunHooks
    shards: dict[int, ShardState]
    warnings: list[str] = field(default_factory=list)
    reported: RunTotals = field(default_factory=RunTotals)
    reported_calls: CallCounts = field(default_factory=CallCounts)
    active_at: float = field(default_factory=time.monotonic)  # when a shard was at work last, or a person was notified
    stopping: bool = False

    async def run(self) -> ShardsOutcome:
        """Returns when every shard has ended, or the shutdown cancels those that have not."""
        ledger_shards = self.session.ledger.shards
        at_work: set[int] = set()
        unstarted: list[str] = []
        while self._in("waiting", "running"):
            if self.shutdown.error is not None:
                await self._stop_shards()
                if self.shutdown.cancelling:
                    break
            await self._start_waiting()
            exits = await self.backend.over([shard.name for shard in self._in("running")])
            attempts = await self._ask_ledger(
                ledger_shards.list_attempts
            )  # after that: an attempt records first how it ended
            latest = {each.number: each for each in attempts}
            at_work = {number for number, last in latest.items() if last.status is None and last.live}
            for shard in self._in("running"):
                await self._judge(shard, latest.get(shard.spec.number), exits)
            if self.stopping:
                unstarted += self._end_unstarted(at_work)
            await self._report(attempts, busy=bool(at_work))
            if self._in("waiting", "running"):
                await asyncio.sleep(self.backend.poll)
        await self._ask_ledger(ledger_shards.release_all)
        cut_off = self._in("running")
        for shard in cut_off:
            shard.cut_off = True
            unstarted.append(shard.name)
        await asyncio.gather(self._settle({shard.spec.number for shard in cut_off} & at_work), self._give_up(unstarted))
        shards = self.shards.values()
        return ShardsOutcome(
            cut_off=[shard.spec for shard in shards if shard.cut_off],
            skipped=sum(shard.skipped for shard in shards),
            warnings=self.warnings,
            error=self.shutdown.error,
        )

    def _in(self, *phases: str) -> list[ShardState]:
        return [shard for shard in self.shards.values() if shard.phase in phases]

    async def _stop_shards(self) -> None:
        """Starts no further shard, and tells those that run to stop."""
        for shard in self._in("waiting"):
            shard.phase, shard.cut_off = "ended", shard.cut_off or shard.starts > 0
        if not self.stopping:
            await self._ask_ledger(self.session.ledger.shards.request_stop)
            self.stopping = True

    def _end_unstarted(self, at_work: Collection[int]) -> list[str]:
        """Ends the shards that no worker has begun; returns their names."""
        unstarted = [shard for shard in self._in("running") if shard.spec.number not in at_work]
        for shard in unstarted:
            shard.phase = "ended"
        return [shard.name for shard in unstarted]

    async def _settle(self, numbers: Collection[int]) -> None:
        """Waits for shards that were at work when they were released: once they have ended, they stage no more."""
        end = time.monotonic() + SETTLE_SECONDS
        while numbers and time.monotonic() < end:
            await asyncio.sleep(self.backend.poll / 4)
            attempts = await self._ask_ledger(self.session.ledger.shards.list_attempts)
            latest = {each.number: each for each in attempts}
            numbers = [number for number in numbers if latest[number].status is None]

    async def _give_up(self, names: Sequence[str]) -> None:
        if names:
            await self.backend.give_up(names)

    async def _ask_ledger(self, query: Callable[[str], T]) -> T:
        """Queries the ledger about the run, and retries for as long as a lease lasts. Raises LedgerError after that."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(LedgerError),
            stop=tenacity.stop_after_delay(LEASE_SECONDS),
            wait=tenacity.wait_fixed(self.backend.poll),
            reraise=True,
        )
        return await retrying(asyncio.to_thread, query, self.session.run_info.run)

    async def _start_waiting(self) -> None:
        for shard in self._in("waiting"):
            if self.shutdown.error is not None:
                return
            try:
                name = await self.backend.start(shard.spec)
            except ConfigurationError as error:  # what other shards have done is kept
                self.shutdown.stop(RunError(error.message))
                return
            if name is None:  # the backend does not answer: retried at the next look
                return
            shard.phase, shard.name = "running", name
            shard.starts += 1

    async def _judge(self, shard: ShardState, latest: ShardAttempt | None, exits: Mapping[str, ShardExit]) -> None:
        """Looks at a running shard: whether its attempt has ended, and whether it is to be started again."""
        attempt = latest if latest is not None and latest.attempt >= shard.next_attempt else None
        if attempt and attempt.accepted + attempt.failed:
            shard.starts = 1
        if attempt and attempt.status is not None:
            self._end(shard, attempt)
        elif attempt and not attempt.live:
            await self._ask_ledger(lambda _: self.session.ledger.shards.expire(attempt))
            await self._give_up([shard.name])
            self._restart(shard, "its process ended without reporting")
        elif attempt is None and shard.name in exits:
            await self._judge_exit(shard, exits[shard.name])
        if latest is not None and shard.phase != "running":
            shard.next_attempt = latest.attempt + 1

    async def _judge_exit(self, shard: ShardState, exit_: ShardExit) -> None:
        """Judges a shard that is over by its backend and has recorded nothing in the ledger."""
        if exit_.refused:
            self.shutdown.stop(RunError(f"shard {shard.spec.number} could not begin: {exit_.words}"))
            shard.phase = "ended"
        else:
            await self._give_up([shard.name])
            self._restart(shard, exit_.words)

    def _end(self, shard: ShardState, last: ShardAttempt) -> None:
        """Takes over what the last attempt at a shard recorded."""
        self.warnings += [each for each in last.warnings if each not in self.warnings]
        shard.skipped = last.skipped
        if last.status == COMPLETED or self.stopping:
            shard.phase = "ended"
        elif kind := STOPPING.get(last.status or ""):
            self.shutdown.stop(kind(last.message))
            shard.phase = "ended"
        else:
            self._restart(shard, last.message)

    def _restart(self, shard: ShardState, reason: str) -> None:
        """Has a shard started again that has not completed its documents; ends it after too many starts."""
        number = shard.spec.number
        if self.shutdown.error is None and shard.starts < MAX_STARTS:
            self.hooks.notify(f"shard {number} is started again: {reason}")
            shard.phase = "waiting"
            return
        shard.phase, shard.cut_off = "ended", True
        if self.shutdown.error is None:
            self.shutdown.stop(
                RunError(f"shard {number} was started {shard.starts} times and made no progress: {reason}")
            )

    async def _report(self, attempts: Sequence[ShardAttempt], *, busy: bool) -> None:
        """Reports the progress of all shards, or that no shard makes progress."""
        held = await self._ask_ledger(self.session.ledger.shards.held_usd)
        kinds = sum((each.kinds for each in attempts), Counter[str]())
        totals = RunTotals(
            accepted=sum(each.accepted for each in attempts),
            failed=sum(each.failed for each in attempts),
            cost_usd=None if self.session.run_info.price is None else held,
            kinds=Counter({("", kind, False): count for kind, count in kinds.items()}),
        )
        if totals != self.reported:
            self.hooks.on_document(since(self.reported, totals))
            self.reported = totals
        calls = replace(sum((each.calls for each in attempts), CallCounts()), cost_usd=totals.cost_usd)
        if calls != self.reported_calls:
            self.hooks.on_calls(calls.since(self.reported_calls))
            self.reported_calls = calls
        self._notify_when_quiet(busy=busy)

    def _notify_when_quiet(self, *, busy: bool) -> None:
        """Notifies a person when no worker has taken any running shard for a while."""
        running = self._in("running")
        if busy or not running:
            self.active_at = time.monotonic()
        elif time.monotonic() - self.active_at > QUIET_SECONDS:
            self.active_at = time.monotonic()
            self.hooks.notify(f"{len(running)} shards are waiting and no worker has started one: {self.backend.hint}")
