"""RunSession: a run that has begun: its configuration, ledger, lease and history, and the recovery of abandoned runs."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from extractors.call.transport import build_client, fetch_models
from extractors.config.prices import find_price
from extractors.config.run_config import prior_stats
from extractors.core.errors import ApprovalRequired, ConfigurationError, LeaseLost, LedgerError
from extractors.core.money import FREE
from extractors.record.ledger import Ledger
from extractors.record.ledger.owner import HEARTBEAT_SECONDS, LEASE_SECONDS
from extractors.record.output import open_output
from extractors.record.tables.compatibility import check_compatible
from extractors.record.tables.replies import load_history_with_replies
from extractors.run.recovery import recover_abandoned

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from types import TracebackType
    from typing import Self

    from extractors.config.run_config import PriorStats, RunConfig
    from extractors.core import RunInfo
    from extractors.core.money import Costs, Price
    from extractors.plan.apply import ApprovedPlan
    from extractors.record.output.base import Output
    from extractors.record.tables.history import RunHistory
    from extractors.record.tables.replies import StoredReplies
    from extractors.run.hooks import RunHooks
    from extractors.run.shutdown import Shutdown


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
    """A run that has its lease. `free`: local OCR answers it."""

    config: RunConfig
    run_info: RunInfo
    ledger: Ledger
    lease: Lease
    output: Output
    prior: PriorStats
    history: RunHistory
    stored_replies: StoredReplies | None
    free: bool


async def open_session(
    config: RunConfig, hooks: RunHooks, approved_plan: ApprovedPlan | None, stack: AsyncExitStack
) -> RunSession:
    """Begins a run in the ledger, and takes over what was abandoned; what has to be closed is on the stack.

    Raises ConfigurationError when it cannot begin.
    """
    job, output = config.job, open_output(config.output)
    check_compatible(output, config.schema)
    ledger = stack.enter_context(Ledger(config.settings.ledger))
    calibrated = config.calibrated(ledger.memory)
    config = replace(calibrated, rule=config.rule) if approved_plan else calibrated
    price, free = await _price(config, ledger)
    terms = config.run_info(price, hooks.flow_run_id)
    if approved_plan:
        terms = replace(terms, flow="apply", approved_by=approved_plan.by)
    prior = prior_stats(ledger.memory, terms)
    lease = await stack.enter_async_context(Lease(ledger, terms))
    await asyncio.to_thread(recover_abandoned, ledger, terms, config.schema, config.settings.keep_replies, hooks.notify)
    past, stored = await asyncio.to_thread(
        load_history_with_replies, output, terms, offline=free, redo=job.redo, kind=job.kind
    )
    return RunSession(config, terms, ledger, lease, output, prior, past, stored, free)


async def _price(config: RunConfig, ledger: Ledger) -> tuple[Price | None, bool]:
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
        listed = await fetch_models(http)
    free = config.reads_locally(listed)
    served = {model: price or FREE for model, price in listed.items() if price or free}
    if served or (listed and config.reads_locally(ledger.memory.prices(config.endpoint))):
        ledger.memory.keep_prices(config.endpoint, served)
    return _require_price(config, find_price(config, served or ledger.memory.prices(config.endpoint), free=free)), free


def _require_price(config: RunConfig, price: Price | None) -> Price | None:
    if price is None and config.budget.limits:
        raise ConfigurationError(
            f"the price of {config.model} is unknown, so no budget can be enforced: set it in TILEWISE_PRICES"
        )
    return price


def check_videos(config: RunConfig, videos: bool) -> None:  # noqa: FBT001 - whether there are any is all that is asked
    """Raises ConfigurationError where a budget is to hold what nobody can reserve for."""
    name = "--budget" if config.job.budget is not None else "TILEWISE_DAILY_BUDGET"
    limited = config.job.budget is not None or config.settings.daily_budget is not None
    if limited and videos and config.job.video_tokens is None:
        raise ConfigurationError(f"{name} needs --video-tokens: nobody knows what a video is billed before it is")


def require_approval(config: RunConfig, costs: Costs, *, videos: bool) -> None:
    """Raises NeedsYes when more may be spent than may be without being asked."""
    high, limit = costs.high, config.settings.ask_above
    if high is None and config.job.video_tokens is None and videos:
        raise ApprovalRequired(
            "nobody knows what a video is billed: name the most with --video-tokens, or go on with --yes"
        )
    if high is None:
        raise ApprovalRequired(
            f"nobody knows the price of {config.model}: name it in TILEWISE_PRICES, or go on with --yes"
        )
    if high > limit:
        raise ApprovalRequired(f"this may cost up to ${high:.2f}, above TILEWISE_ASK_ABOVE={limit}: go on with --yes")
