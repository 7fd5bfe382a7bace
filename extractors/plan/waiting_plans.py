"""The stored plans of an output that wait for approval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from extractors.plan.plan_url import SUFFIX
from extractors.plan.stored_plan import StoredPlan
from extractors.record.output.base import reading
from extractors.record.tables import columns

if TYPE_CHECKING:
    from extractors.plan.stored_plan import PlanInfo
    from extractors.record.output.base import Output

MOST_PLANS = 50  # the newest
RUN: columns.Columns = {
    name: columns.RUNS[name] for name in ("run", "flow", "source", "schema", "status", "started_at")
}


def list_waiting_plans(output: Output) -> list[tuple[str, PlanInfo]]:
    """The URL and content of each plan that waits, the newest first.

    A plan does not wait if it belongs to a run in shards, or if a plan of its source and schema was applied completely
    since. Blocks. Raises ConfigurationError if the output cannot be read.
    """
    with reading(output):
        names = sorted((key.rpartition("/")[2] for key in output.list_files("plans", f"*{SUFFIX}")), reverse=True)
        files = output.list_files("runs", f"run_date=*/*{SUFFIX}")
        runs = output.scan(files, RUN).collect() if files else pl.DataFrame(schema=RUN)
    own = set(runs["run"])
    plans = [name for name in names if name.removesuffix(SUFFIX) not in own][:MOST_PLANS]
    urls = [output.full_name(f"plans/{name}") for name in plans]
    infos = [(url, StoredPlan(url).read_info()) for url in urls]
    return [(url, info) for url, info in infos if not _was_applied(info, runs)]


def _was_applied(info: PlanInfo, runs: pl.DataFrame) -> bool:
    applied = (pl.col("flow") == "apply") & (pl.col("status") == "completed") & (pl.col("started_at") > info.planned_at)
    return not runs.filter(applied, source=info.source, schema=info.schema).is_empty()
