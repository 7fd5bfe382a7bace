"""RunHooks: what a run asks of its caller: how a chunk is run, who is notified, and who approves its cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extractors.run.chunk import Chunk
from extractors.run.shutdown import StopSwitch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from extractors.core import Permits
    from extractors.core.call_counts import CallCounts
    from extractors.core.shards import ShardBackend
    from extractors.core.totals import RunTotals

    RunChunk = Callable[[Chunk], Awaitable[RunTotals]]
    Confirm = Callable[[str], Awaitable[bool]]  # asks a person whether a run may go on for this reason
    LeaseRate = Callable[[str, str, float | None, Callable[[str], None]], AbstractAsyncContextManager[Permits | None]]


@dataclass(frozen=True, slots=True)
class RunHooks:
    """What a run asks of its caller.

    `on_document` takes the totals of every document that ended, `on_calls` the counts of every call, `on_total` the number
    of documents to process as soon as it is known, `notify` what a person at the terminal should read at once. `permits`
    leases this run's part of the rate that workers share, given endpoint, model, the run's own limit in calls a minute, and
    whom to notify. `shards` starts parts of a plan on other workers. `confirm` asks a person to approve the cost; None where no person can be asked.
    `stop_switch` stops the run from outside.
    """

    run_chunk: RunChunk = Chunk.run
    on_document: Callable[[RunTotals], None] = lambda _: None
    on_calls: Callable[[CallCounts], None] = lambda _: None
    on_total: Callable[[int], None] = lambda _: None
    notify: Callable[[str], None] = lambda _: None
    flow_run_id: str | None = None
    permits: LeaseRate | None = None
    shards: ShardBackend | None = None
    confirm: Confirm | None = None
    stop_switch: StopSwitch = field(default_factory=StopSwitch)


NO_HOOKS = RunHooks()
