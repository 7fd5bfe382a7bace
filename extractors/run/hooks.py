"""How: by whom a run is run, and who is told; the engine knows of an orchestrator what is said here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.run.chunk import Chunk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from extractors.core import Permits
    from extractors.core.shards import ShardBackend
    from extractors.core.totals import RunTotals

    RunChunk = Callable[[Chunk], Awaitable[RunTotals]]
    Leasing = Callable[[str, str, float | None, Callable[[str], None]], AbstractAsyncContextManager[Permits | None]]


@dataclass(frozen=True, slots=True)
class RunHooks:
    """By whom a run is run: how a chunk is run, who is told, the orchestrator's id for the run.

    `tell` hears of every document that ended, `expect` how many are to be done as soon as that is known, `say` what a
    person at the terminal should know at once. `permits` leases what workers share of an endpoint's and a model's rate,
    given the run's own ceiling in calls a minute and whom to tell. `shards` starts the pieces of a plan elsewhere.
    """

    run_chunk: RunChunk = Chunk.run
    on_document: Callable[[RunTotals], None] = lambda _: None
    on_total: Callable[[int], None] = lambda _: None
    notify: Callable[[str], None] = lambda _: None
    flow_run_id: str | None = None
    permits: Leasing | None = None
    shards: ShardBackend | None = None


NO_HOOKS = RunHooks()
