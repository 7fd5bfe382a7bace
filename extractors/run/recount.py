"""Recount: what a run came to, by the rows that it has staged or published, where nobody is left who counted along."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from extractors.core import REJECT_REASONS, UNSENT
from extractors.core.money import Costs, total
from extractors.core.totals import RunTotals

if TYPE_CHECKING:
    from collections.abc import Collection
    from decimal import Decimal

    from extractors.record.tables.volume import Volume

_OF_CALLS = (
    "outcome",
    "billed",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "residual_tokens",
    "reserved_usd",
    "cost_usd",
)


def totals_from_tables(volume: Volume, remaining: int) -> RunTotals:
    """What the volume's rows add up to, beside the documents that remain. Meant for a thread."""
    calls = volume.frame("calls").select(_OF_CALLS).collect()
    failures = volume.frame("failures").select("document", "stage", "kind", "final", "attempts").collect()
    ends = volume.ends().select(pl.len()).collect().item()
    unsent, reason = pl.col("stage").is_in(list(UNSENT)), pl.col("kind").is_in(list(REJECT_REASONS))
    rejected = len(failures.filter(unsent & reason))
    copied = volume.copied()
    copied_failed = _copied(volume, failures.filter(~pl.col("stage").is_in(list(UNSENT)) & (pl.col("attempts") == 0)))
    copies = {document for document, _ in copied} | set(copied_failed["document"])
    billed = calls.filter(pl.col("billed") == "yes")
    return RunTotals(
        rejected=rejected,
        accepted=ends - len(failures) - len(copied),
        failed=len(failures) - rejected - len(copied_failed),
        remaining=remaining,
        copied=len(copied),
        copied_failed=len(copied_failed),
        calls=len(calls),
        prompt_tokens=_sum(calls, "prompt_tokens"),
        cached_tokens=_sum(calls, "cached_tokens"),
        completion_tokens=_sum(calls, "completion_tokens"),
        reasoning_tokens=_sum(calls, "reasoning_tokens"),
        residual_tokens=_sum(calls, "residual_tokens"),
        estimated=_estimated(volume, copies),
        cost_usd=_total(billed["cost_usd"]),
        wasted_usd=_total(billed.filter(pl.col("outcome") != "accepted")["cost_usd"]),
        kinds=_kinds(failures),
        unknown_usd=_total(calls.filter(pl.col("billed") == "unknown")["reserved_usd"]),
    )


def _copied(volume: Volume, untried: pl.DataFrame) -> pl.DataFrame:
    """Those of these failures that are copies: of a document that the run did not call at all.

    One that was called has no attempts where a later try at a shard has looked at its answer again. A bequeathed answer
    that was not accepted is taken for a copy.
    """
    called = volume.frame("calls").select("document")
    return untried.lazy().join(called, on="document", how="anti").collect()


def _estimated(volume: Volume, copies: Collection[str]) -> Costs:
    """The estimate of the documents that were sent and came to an end."""
    sent = (pl.col("action") != "reject") & ~pl.col("document").is_in(list(copies))
    images = volume.frame("images").filter(sent).select(pl.col("^cost_.*_usd$")).collect()
    return Costs(*(_total(images[f"cost_{name}_usd"]) for name in ("low", "expected", "high")))


def _kinds(failures: pl.DataFrame) -> Counter[tuple[str, str, bool]]:
    kinds = failures.group_by("stage", "kind", "final").len()
    return Counter({(stage, kind, final): count for stage, kind, final, count in kinds.rows()})


def _sum(frame: pl.DataFrame, column: str) -> int:
    return int(frame[column].sum() or 0)


def _total(amounts: pl.Series) -> Decimal | None:
    """The sum, None when one is unknown."""
    return total(amounts)
