"""A stored plan: what a run would do with each document and in which configuration, so that a later run does the same.

plans/<plan>.parquet: a row a document, with its plan as JSON beside readable columns; the configuration in every row
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from extractors.core.errors import ConfigurationError, format_value
from extractors.core.money import Costs, dollars, sum_known
from extractors.plan.estimate import estimate, read_inputs
from extractors.plan.plan_url import SUFFIX, missing_plan, split_plan_url
from extractors.record.ledger.plan_json import dump_plan, load_plan
from extractors.record.output import open_output
from extractors.record.output.base import reading, writing
from extractors.record.tables import columns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from extractors.config.run_config import RunConfig
    from extractors.core import Name, Planned, RunInfo
    from extractors.plan.estimate import Estimate, EstimateInputs
    from extractors.record.output.base import Output
    from extractors.record.tables.rows import Row

DOCUMENTS: columns.Columns = {
    "document": columns.TEXT,
    "version": columns.TEXT,
    "pages": columns.INT,
    "action": columns.TEXT,
    "reason": columns.TEXT,
    "rung": columns.INT,
    "tokens_planned": columns.INT,
    "cost_low_usd": columns.MONEY,
    "cost_expected_usd": columns.MONEY,
    "cost_high_usd": columns.MONEY,
    "plan": columns.TEXT,
}
INFO: columns.Columns = {
    "planned_at": columns.TIME,
    "source": columns.TEXT,
    "schema": columns.TEXT,
    "schema_hash": columns.TEXT,
    "prompt_hash": columns.TEXT,
    "model": columns.TEXT,
    "endpoint": columns.TEXT,
    "policy": columns.TEXT,
    "bill_rule": columns.TEXT,
    "job": columns.TEXT,
    "tuning": columns.TEXT,
}
NAMES: columns.Columns = {"document": columns.TEXT, "version": columns.TEXT}


@dataclass(frozen=True, slots=True)
class PlanInfo:
    """What a plan is about and what it costs. `bill_rule` is the rule's text, `tuning` the stored tuning as JSON, if any."""

    planned_at: datetime
    source: str
    schema: str
    schema_hash: str
    prompt_hash: str
    model: str
    endpoint: str
    policy: str
    bill_rule: str
    job: str
    tuning: str | None
    documents: int
    costs: Costs

    @property
    def high_cost(self) -> str:
        """The most that the plan costs; its audit is estimated when it is approved."""
        size = json.loads(self.job).get("audit")
        return dollars(self.costs.high) + (f" without an audit of up to {size:,} documents" if size else "")


class StoredPlan:
    """One stored plan. Every method raises ConfigurationError when it cannot be read."""

    def __init__(self, url: str) -> None:
        """`url` is the path or the URL of the file."""
        folder, name = split_plan_url(url)
        self.url, self._output, self._key = url, open_output(folder), name

    def read_info(self) -> PlanInfo:
        """Reads what the plan is about, and sums up all documents."""
        with reading(self._output):
            if not self._output.exists(self._key):
                raise missing_plan(self.url)
            rows = self._output.scan([self._key], DOCUMENTS | INFO)
            first = rows.head(1).collect().to_dicts()
            money = rows.select("action", *(f"cost_{name}_usd" for name in ("low", "expected", "high"))).collect()
        if not first or first[0]["planned_at"] is None:
            raise ConfigurationError(
                f"plan {format_value(self.url)} was not written by tilewise: `run --plan-only` stores a plan"
            )
        sent = money.filter(pl.col("action") != "reject")
        costs = Costs(*(sum_known(sent[f"cost_{name}_usd"]) for name in ("low", "expected", "high")))
        return PlanInfo(**{name: first[0][name] for name in INFO}, documents=len(money), costs=costs)

    def iter_documents(self, first: int = 0, count: int | None = None, *, batch: int = 500) -> Iterator[list[Planned]]:
        """Yields `count` planned documents from the one of number `first` on, a batch at a time."""
        end = first + count if count is not None else None
        while True:
            size = batch if end is None else min(batch, end - first)
            with reading(self._output):
                texts = self._output.scan([self._key], {"plan": columns.TEXT}).slice(first, size).collect()["plan"]
            if size > 0 and len(texts):
                yield [load_plan(text) for text in texts]
            if size <= 0 or len(texts) < size:
                return
            first += size

    def find_documents(self, names: Collection[Name]) -> dict[Name, Planned]:
        """The planned documents of these names."""
        wanted = pl.col("document").is_in([document for document, _ in names])
        with reading(self._output):
            rows = self._output.scan([self._key], NAMES | {"plan": columns.TEXT}).filter(wanted).collect()
        found = {(document, version): text for document, version, text in rows.iter_rows()}
        return {name: load_plan(found[name]) for name in names if name in found}

    def names(self) -> pl.LazyFrame:
        """All documents with their versions."""
        return self._output.scan([self._key], NAMES)


class PlanWriter:
    """Writes a plan: batches are staged as parts, and `finish` joins them. Raises OutputError."""

    def __init__(self, output: Output, name: str) -> None:
        """Nothing is written yet."""
        self._output, self._name, self._parts = output, name, list[str]()
        self._staging = f"staging/{name}"

    def add(self, documents: Sequence[Planned]) -> None:
        """Stages the next documents of the plan."""
        part = f"{self._staging}/plan-{len(self._parts):06d}{SUFFIX}"
        rows = [_row(each) for each in documents]
        with writing(self._output):
            self._output.write(part, pl.DataFrame(rows, schema=DOCUMENTS, orient="row"))
        self._parts.append(part)

    def discard(self) -> None:
        """Removes what was staged: no plan is stored."""
        with writing(self._output):
            self._output.remove_folder(self._staging)

    def finish(self, run_info: RunInfo, config: RunConfig) -> str | None:
        """Stores the plan and returns its URL; None when it has no documents."""
        if not self._parts:
            return None
        key = f"plans/{self._name}{SUFFIX}"
        info = {column: pl.lit(value, dtype=INFO[column]) for column, value in _info_row(run_info, config).items()}
        with writing(self._output):
            self._output.write(key, self._output.scan(self._parts).with_columns(**info))
            self._output.remove_folder(self._staging)
        return self._output.full_name(key)


def store_plan(config: RunConfig) -> tuple[Estimate, str | None]:
    """Plans every document that is not done, and stores the plan of a source that was listed to its end.

    Raises as `estimate_job` and `write_plan` do.
    """
    inputs = read_inputs(config, done=True)
    return write_plan(inputs, inputs.config.run_info(None), incomplete=False)


def write_plan(inputs: EstimateInputs, run_info: RunInfo, *, incomplete: bool = True) -> tuple[Estimate, str | None]:
    """Plans and stores every document under the id of a run; returns the plan's URL, None when the plan is empty.

    Without `incomplete`, the plan of a source that could not be listed to its end is not stored.

    Raises ConfigurationError when the source cannot be read, OutputError when the plan cannot be written.
    """
    writer = PlanWriter(open_output(inputs.config.output), run_info.run)
    estimated = estimate(inputs, keep=writer.add)
    if estimated.listing.incomplete and not incomplete:
        writer.discard()
        return estimated, None
    return estimated, writer.finish(run_info, inputs.config)


def _row(planned: Planned) -> Row:
    first, costs = planned.first, planned.costs
    sent = bool(first.ladder) and planned.problem is None
    return {
        "document": planned.document,
        "version": planned.name[1],
        "pages": len(planned.pages),
        "action": "reject" if planned.problem else first.action,
        "reason": planned.problem.kind if planned.problem else first.reason,
        "rung": first.ladder[0].rung if sent else None,
        "tokens_planned": sum(step.tokens for step in planned.steps(0)) if sent else None,
        "cost_low_usd": costs.low if sent else None,
        "cost_expected_usd": costs.expected if sent else None,
        "cost_high_usd": costs.high if sent else None,
        "plan": dump_plan(planned),
    }


def _info_row(run_info: RunInfo, config: RunConfig) -> Row:
    tuning = config.tuning.tuning
    return {
        "planned_at": run_info.started_at,
        "source": run_info.source,
        "schema": run_info.schema,
        "schema_hash": run_info.schema_hash,
        "prompt_hash": run_info.prompt_hash,
        "model": run_info.model,
        "endpoint": run_info.endpoint,
        "policy": run_info.policy,
        "bill_rule": config.rule.text,
        "job": run_info.job,
        "tuning": tuning.model_dump_json() if tuning else None,
    }
