"""RunSession: a run that has begun: its configuration, ledger, lease and history, and the recovery of abandoned runs."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from extractors.call.model_list import fetch_models
from extractors.call.transport import build_client
from extractors.config.prices import find_price
from extractors.config.run_config import prior_stats
from extractors.core.errors import ConfigurationError, LeaseLost, LedgerError
from extractors.core.money import FREE
from extractors.plan.estimate import EstimateInputs
from extractors.record.ledger import Ledger
from extractors.record.ledger.owner import HEARTBEAT_SECONDS, LEASE_SECONDS
from extractors.record.output import open_output
from extractors.record.tables.compatibility import check_compatible
from extractors.record.tables.replies import load_history_with_replies
from extractors.run.cascade import build_cascade

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from types import TracebackType
    from typing import Self

    from extractors.config.run_config import PriorStats, RunConfig
    from extractors.core import RunInfo
    from extractors.core.money import Price
    from extractors.plan.apply import ApprovedPlan
    from extractors.record.output.base import Output
    from extractors.record.tables.history import RunHistory
    from extractors.record.tables.replies import StoredReplies
    from extractors.run.hooks import RunHooks
    from extractors.run.shutdown import Shutdown


class RunLease(Protocol):
    """The right of this process to work on a run, or on a shard of one."""

    def begin_calls(self, shutdown: Shutdown) -> None:
        """From here on calls may be sent; a lost lease stops them by this shutdown."""

    async def renew(self) -> None:
        """Renews the lease. Raises LeaseLost when it is lost."""


class Lease:
    """The lease of a run, renewed while it is entered; an async context manager.

    Left by an error before calls may be sent, the run is removed from the ledger; left by one after that, the next run
    may recover it.
    """

    def __init__(self, ledger: Ledger, run_info: RunInfo) -> None:
        """Nothing is written yet."""
        self._ledger, self._run, self._run_info = ledger, run_info.run, run_info
        self._shutdown: Shutdown | None = None
        self._lost: LedgerError | None = None
        self._calls_begun = False

    async def __aenter__(self) -> Self:
        """Adds the run to the ledger and starts to renew the lease."""
        await asyncio.to_thread(self._ledger.runs.begin, self._run_info)
        self._renewing = asyncio.create_task(self._renew_regularly())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Releases the lease."""
        self._renewing.cancel()
        with suppress(asyncio.CancelledError):
            await self._renewing
        if error is None:
            return
        with suppress(LedgerError):  # then the next run sees that this process has ended
            if self._calls_begun:
                self._ledger.runs.release(self._run)
            else:
                self._ledger.runs.forget(self._run)

    def begin_calls(self, shutdown: Shutdown | None = None) -> None:
        """From here on calls may be sent; a lost lease stops the run by this shutdown."""
        self._calls_begun, self._shutdown = True, shutdown
        if shutdown is not None and self._lost is not None:
            shutdown.stop(self._lost)

    async def renew(self) -> None:
        """Renews the lease. Raises LeaseLost when another process has taken the run over."""
        if not await asyncio.to_thread(self._ledger.runs.heartbeat, self._run):
            raise LeaseLost(
                f"run {self._run} was taken over by another process, as no heartbeat came from this one for"
                f" {LEASE_SECONDS:g} s: it is published there"
            )

    async def _renew_regularly(self) -> None:
        last = time.monotonic()
        while self._lost is None:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self.renew()
            except LedgerError as error:
                if isinstance(error, LeaseLost) or time.monotonic() - last > LEASE_SECONDS:
                    self._lose(error)
            else:
                last = time.monotonic()

    def _lose(self, error: LedgerError) -> None:
        self._lost = error
        if self._shutdown is not None:
            self._shutdown.stop(error)


@dataclass(frozen=True, slots=True)
class RunSession:
    """A run, or a shard of one, that has its lease. `offline`: local OCR answers it."""

    config: RunConfig
    run_info: RunInfo
    ledger: Ledger
    lease: RunLease
    output: Output
    prior: PriorStats
    history: RunHistory
    stored_replies: StoredReplies | None = None
    offline: bool = False
    approved_plan: ApprovedPlan | None = None

    @property
    def estimate_inputs(self) -> EstimateInputs:
        """What an estimate, a plan and a feed of this run are made from."""
        return EstimateInputs(self.config, self.run_info.price, self.history, self.prior)


async def open_session(
    config: RunConfig, hooks: RunHooks, approved_plan: ApprovedPlan | None, stack: AsyncExitStack
) -> RunSession:
    """Adds the run to the ledger, recovers abandoned runs, and reads what is done; the stack closes what is opened.

    Raises ConfigurationError when the run cannot begin.
    """
    job, output = config.job, open_output(config.output)
    check_compatible(output, config.schema)
    ledger = stack.enter_context(Ledger(config.settings.ledger))
    calibrated = config.with_calibration(ledger.memory)
    config = replace(calibrated, rule=config.rule) if approved_plan else calibrated.with_stored_tuning(ledger.memory)
    if config.tuning.description:
        hooks.notify(config.tuning.description)
    price, offline = await _read_price(config, ledger)
    run_info = config.run_info(price, hooks.flow_run_id)
    if approved_plan:
        run_info = replace(run_info, flow="apply", approved_by=approved_plan.approved_by)
    prior = prior_stats(ledger.memory, run_info.fingerprint)
    # The lease comes before the history: a document that another run publishes in between is claimed as done.
    lease = await stack.enter_async_context(Lease(ledger, run_info))
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(_recover, config, ledger, run_info, hooks, loop)
    history, stored_replies = await asyncio.to_thread(
        load_history_with_replies, output, run_info.fingerprint, job.redo_scope, offline=offline
    )
    return RunSession(config, run_info, ledger, lease, output, prior, history, stored_replies, offline, approved_plan)


def _recover(
    config: RunConfig, ledger: Ledger, run_info: RunInfo, hooks: RunHooks, loop: asyncio.AbstractEventLoop
) -> None:
    """Publishes what abandoned runs completed, if there are any. Blocks; the loop is that of the run."""
    if not ledger.runs.list_abandoned(run_info.output, run_info.schema):
        return
    from extractors.run.recovery import RestoreOptions, recover_abandoned  # noqa: PLC0415 - few runs have any
    from extractors.run.witness.recovery import RestoredWitness  # noqa: PLC0415 - as above

    keep, witness = config.settings.keep_replies, RestoredWitness(config, ledger, hooks.notify, loop)
    options = RestoreOptions(build_cascade(config), witness.examine)
    recover_abandoned(ledger, run_info, config.schema, keep, hooks.notify, options)


async def _read_price(config: RunConfig, ledger: Ledger) -> tuple[Price | None, bool]:
    """The price, and whether local OCR answers. Under `reparse` no server is asked, not even for its models."""
    if config.job.redo == "reparse":
        return FREE, config.reads_locally(ledger.memory.prices(config.endpoint))
    return await price_in_force(config, ledger)


async def price_in_force(config: RunConfig, ledger: Ledger) -> tuple[Price | None, bool]:
    """The price, and whether the endpoint reads with local OCR, as its list of models shows.

    Raises ConfigurationError when the endpoint cannot be reached, or there is a budget and the price is unknown.
    """
    if config.offline:
        return _require_price(config, find_price(config, {}, free=True)), True
    async with build_client(config.endpoint_at(config.base_url)) as http:
        listed = await fetch_models(http, config.profile)
    free = config.reads_locally(listed)
    served = {model: price or FREE for model, price in listed.items() if price or free}
    if listed:
        ledger.memory.keep_prices(config.endpoint, served)
    prices = served if listed else ledger.memory.prices(config.endpoint)
    return _require_price(config, find_price(config, prices, free=free)), free


def _require_price(config: RunConfig, price: Price | None) -> Price | None:
    if price is None and config.budget.limits:
        raise ConfigurationError(
            f"the price of {config.model} is unknown, so no budget can be enforced: set it in TILEWISE_PRICES"
        )
    return price


def check_videos(config: RunConfig, *, videos: bool) -> None:
    """Raises ConfigurationError where a budget is to hold for videos whose cost is unknown."""
    name = "--budget" if config.job.budget is not None else "TILEWISE_DAILY_BUDGET"
    limited = config.job.budget is not None or config.settings.daily_budget is not None
    if limited and videos and config.job.video_tokens is None:
        raise ConfigurationError(f"{name} needs --video-tokens: the cost of a video is unknown before it is billed")
