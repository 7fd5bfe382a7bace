"""The tables of the report that sum up a run: pages as sent, prompt tokens, calls, failures by kind, and fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from extractors.core.audit import AuditCounts
from extractors.core.tiles import get_rule
from extractors.record.tables import columns
from extractors.record.tables.cascade import sum_cascade
from extractors.record.tables.evidence import sum_witness
from extractors.report.cascade import list_audit, list_cascade
from extractors.report.witness import list_witness

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from extractors.report.page.runs import RunTables

MOST_FILES = 200  # failed documents named for each kind; the table failures has all of them


class SentPages(NamedTuple):
    """Pages with the same planned action; image tokens at full size by both rules, and as first sent."""

    action: str
    reason: str
    pages: int
    formula: int
    table: int
    planned: int


class PromptTokens(NamedTuple):
    """Prompt tokens of answered calls by bill rule, and the share of calls that were predicted exactly."""

    bill_rule: str
    calls: int
    estimated: int
    billed: int
    residual: int
    exact: float


class CallGroup(NamedTuple):
    """Calls with the same outcome; `seconds` is their median, `cost_usd` is None if a price was unknown."""

    outcome: str
    billed: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cost_usd: Decimal | None


class FailureKind(NamedTuple):
    """Documents that failed for the same reason, the first of them by name with their messages.

    `final` failures are not retried.
    """

    stage: str
    kind: str
    final: bool
    documents: int
    files: Sequence[tuple[str, str]] = ()


class FieldStats(NamedTuple):
    """Statistics of one schema field over all accepted rows."""

    field: str
    rows: int
    nulls: int
    distinct: int
    least: str | None
    most: str | None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class SummaryTables:
    """The sums of one run."""

    pages: Sequence[SentPages] = ()
    prompt_tokens: Sequence[PromptTokens] = ()
    calls: Sequence[CallGroup] = ()
    failures: Sequence[FailureKind] = ()
    fields: Sequence[FieldStats] = ()
    rungs: Sequence[tuple[str, str]] = ()
    witness: Sequence[tuple[str, str]] = ()


def load_summary(tables: RunTables) -> SummaryTables:
    """Sums up the tables of a run."""
    images, calls = tables.rows("images", columns.IMAGES), tables.rows("calls", columns.CALLS)
    failures, fields = tables.rows("failures", columns.FAILURES), tables.rows("fields", columns.FIELDS)
    queries = [
        _group_pages(images),
        _group_prompt_tokens(calls),
        _group_calls(calls),
        _group_failures(failures),
        _select_fields(fields),
    ]
    groups = [frame.iter_rows() for frame in pl.collect_all(queries)]
    return SummaryTables(
        pages=[SentPages(*row) for row in groups[0]],
        prompt_tokens=[PromptTokens(*row) for row in groups[1]],
        calls=[CallGroup(*row) for row in groups[2]],
        failures=[_make_failures(row) for row in groups[3]],
        fields=[FieldStats(*row) for row in groups[4]],
        rungs=_describe_rungs(tables, images, calls),
        witness=_describe_witness(tables.results()),
    )


def _describe_witness(results: pl.LazyFrame | None) -> list[tuple[str, str]]:
    """What the witness has seen; results of earlier versions lack the column."""
    if results is None or "_evidence" not in results.collect_schema():
        return []
    return [(name.strip(), value) for name, value in list_witness(sum_witness(results))]


def _describe_rungs(tables: RunTables, images: pl.LazyFrame, calls: pl.LazyFrame) -> list[tuple[str, str]]:
    """Where documents stopped, and what was saved by the run's rule; a fitted rule is not in the tables."""
    known = calls.select(pl.col("bill_rule").drop_nulls().unique().first(), pl.col("price_input").max()).collect()
    rule, price = known.row(0)
    try:
        tokens = get_rule(rule or "").tokens
    except ValueError:
        tokens = None
    cascade = list_cascade(sum_cascade(tables.results(), calls, images, tokens), price)
    return [*cascade, *list_audit(_count_audit(tables))]


def _count_audit(tables: RunTables) -> AuditCounts | None:
    """The counts of the run's audit; None for a run without one."""
    sums = tables.rows("runs", {name: columns.RUNS[name] for name in ("audited", "audit_agreed")}).sum().collect()
    known = tables.rows("runs", {"audited": columns.RUNS["audited"]}).drop_nulls().collect().height
    return AuditCounts(*sums.row(0)) if known else None


def _make_failures(row: tuple[object, ...]) -> FailureKind:
    *kind, names, messages = row
    assert isinstance(names, list)
    assert isinstance(messages, list)
    return FailureKind._make([*kind, tuple(zip(names, messages, strict=True))])


def _group_pages(images: pl.LazyFrame) -> pl.LazyFrame:
    sums = pl.col("tokens_formula", "tokens_table", "tokens_planned").sum()
    return _sort_by_count(images.group_by("action", "reason").agg(pl.len(), sums), "action", "reason")


def _group_prompt_tokens(calls: pl.LazyFrame) -> pl.LazyFrame:
    sums = pl.col("estimated_prompt_tokens", "prompt_tokens", "residual_tokens").sum()
    exact = (pl.col("residual_tokens") == 0).mean().alias("exact")
    answered = calls.filter(pl.col("residual_tokens").is_not_null())
    return _sort_by_count(answered.group_by("bill_rule").agg(pl.len(), sums, exact), "bill_rule")


def _group_calls(calls: pl.LazyFrame) -> pl.LazyFrame:
    sums = pl.col("prompt_tokens", "completion_tokens").sum()
    unpriced = ((pl.col("billed") == "yes") & pl.col("cost_usd").is_null()).any()
    cost = pl.when(unpriced).then(None).otherwise(pl.col("cost_usd").sum())
    grouped = calls.group_by("outcome", "billed").agg(
        pl.len(), sums, pl.col("seconds").median(), cost.alias("cost_usd")
    )
    return _sort_by_count(grouped, "outcome", "billed")


def _group_failures(failures: pl.LazyFrame) -> pl.LazyFrame:
    first = [pl.col(name).sort_by("document").head(MOST_FILES) for name in ("document", "message")]
    grouped = failures.group_by("stage", "kind", "final").agg(pl.len(), *first)
    return _sort_by_count(grouped, "stage", "kind", "final")


def _select_fields(fields: pl.LazyFrame) -> pl.LazyFrame:
    return fields.select("field", "rows", "nulls", "distinct", "min", "max", "mean_confidence")


def _sort_by_count(grouped: pl.LazyFrame, *names: str) -> pl.LazyFrame:
    """Sorts groups by count, then by name, so that the page is reproducible."""
    return grouped.sort("len", *names, descending=[True, *(False for _ in names)])
