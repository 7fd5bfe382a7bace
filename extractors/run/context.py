"""RunContext: what the documents of a run are processed with; and the client for the endpoint of a configuration."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extractors.call.circuit_breaker import CircuitBreaker
from extractors.call.client import ChatClient
from extractors.call.retry import Retries
from extractors.call.transport import build_client
from extractors.core.errors import ConfigurationError
from extractors.endpoint.child import child
from extractors.endpoint.extra import EndpointError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Sequence
    from concurrent.futures import Executor
    from contextlib import AsyncExitStack

    from extractors.bill import Tariff
    from extractors.call.logprobs import LogprobOption
    from extractors.call.rate_limit import RateLimiter
    from extractors.call.request import RequestTemplate
    from extractors.config.run_config import RunConfig
    from extractors.core import DocumentResult, Planned, RunInfo, Store
    from extractors.core.schema import Schema
    from extractors.record.ledger.writer import LedgerWriter
    from extractors.record.tables.writer import Tables
    from extractors.run.audit import Auditor
    from extractors.run.cascade import Cascade
    from extractors.run.hooks import RunHooks
    from extractors.run.monitors import Monitor
    from extractors.run.refusals import RefusalGuard
    from extractors.run.reparse import Reparse
    from extractors.run.reuse import Deduplicator, Replies
    from extractors.run.shutdown import Shutdown
    from extractors.run.witness.witness import Witness


@dataclass(frozen=True, slots=True)
class Services:
    """The connections, threads and files of a run.

    `readers` are threads that wait for bytes, None where reading does not wait; `admission` bounds the documents in
    progress, `refusals` the calls before the first answer. `witness` looks for values on the pages, where the job wants that.
    """

    store: Store
    template: RequestTemplate
    client: ChatClient
    writer: LedgerWriter
    tables: Tables
    threads: Executor
    readers: Executor | None
    admission: asyncio.Semaphore
    refusals: RefusalGuard
    witness: Witness | None = None


@dataclass(frozen=True, slots=True)
class AnswerPolicy:
    """What follows an answer: how often a malformed one is re-asked, and whether an accepted one is sure enough.

    `auditor` chooses accepted ones that are read again at the end; None: the job has no audit.
    """

    reasks: int
    cascade: Cascade
    auditor: Auditor | None = None


@dataclass(frozen=True, slots=True)
class Reuse:
    """What is used instead of a call; with `reparse` no call is made at all."""

    deduplicator: Deduplicator
    orphaned_replies: Replies
    reparse: Reparse | None = None


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every document of a run is processed with. `unfinished` collects the documents that the run stopped before."""

    run_info: RunInfo
    schema: Schema
    tariff: Tariff
    answers: AnswerPolicy
    services: Services
    reuse: Reuse
    monitors: Sequence[Monitor]
    shutdown: Shutdown
    hooks: RunHooks
    unfinished: list[Planned] = field(default_factory=list)

    async def examine(self, result: DocumentResult) -> DocumentResult:
        """The result with the places of its values on the pages, where the job wants a witness."""
        if self.services.witness is None:
            return result
        from extractors.run.witness.witness import find_values  # noqa: PLC0415 - only a run with a witness needs it

        return await find_values(result, self)


async def open_client(
    config: RunConfig, limiter: RateLimiter, stack: AsyncExitStack, logprobs: LogprobOption | None = None
) -> ChatClient:
    """Opens the client; the stack closes its connections, and the child process that reads with local OCR."""
    base_url = await stack.enter_async_context(_offline_endpoint()) if config.offline else config.base_url
    http = await stack.enter_async_context(build_client(config.endpoint_at(base_url)))
    settings = config.settings
    return ChatClient(
        http,
        limiter,
        Retries(settings.attempts),
        CircuitBreaker(),
        timeout=settings.timeout,
        secret=config.secret,
        masked=config.masked,
        logprobs=logprobs,
    )


@asynccontextmanager
async def _offline_endpoint() -> AsyncIterator[str]:
    """Runs the offline endpoint as a child process; it bills by the formula, as `--bill auto` plans for it."""
    try:
        async with child(reader="ocr", bill="formula") as base_url:
            yield base_url
    except EndpointError as error:
        raise ConfigurationError(str(error)) from None
