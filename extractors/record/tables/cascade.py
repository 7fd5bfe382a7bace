"""Where the documents of a run stopped, and what their rungs cost, from its tables: for shards, recovery and the page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from extractors.core.money import sum_known
from extractors.core.tiles import Size
from extractors.core.totals import CascadeTotals
from extractors.record.tables import columns

if TYPE_CHECKING:
    from collections.abc import Callable

CALL_COLUMNS = (
    "run",
    "document",
    "started_at",
    "outcome",
    "billed",
    "rung",
    "sent_width",
    "estimated_image_tokens",
    "cost_usd",
)
IMAGE_COLUMNS = ("document", "action", "width", "height", "tokens_planned")


def sum_cascade(
    results: pl.LazyFrame | None, calls: pl.LazyFrame, images: pl.LazyFrame, tokens: Callable[[Size], int] | None
) -> CascadeTotals:
    """The totals of these rows of a run; `tokens` bills a size by its rule: None where the rule is unknown.

    Blocks: call it in a thread.
    """
    stopped = _count_stops(results)
    sent = images.filter(pl.col("action") != "reject").select(IMAGE_COLUMNS).collect()
    faithful = _bill_whole(sent, tokens).alias("faithful")
    planned = sent.with_columns(faithful).group_by("document").agg(pl.col("tokens_planned", "faithful").sum())
    paid = calls.filter(pl.col("billed") == "yes").select(CALL_COLUMNS).collect().join(planned, on="document")
    billed = paid.filter(~columns.AUDIT_CALL)
    above = billed.filter(pl.col("estimated_image_tokens") != pl.col("tokens_planned"))
    return CascadeTotals(
        stopped,
        climbed=above["document"].n_unique(),
        climb_usd=sum_known(above["cost_usd"]),
        sent_tokens=_count_rungs(billed),
        climb_tokens=_count_rungs(above),
        faithful_tokens=_sum(billed.unique("document"), "faithful") if tokens else _count_rungs(billed),
    )


def select_superseded(results: pl.LazyFrame | None, calls: pl.LazyFrame) -> pl.DataFrame:
    """The billed calls whose answer was accepted and is not the one that is published: by the rungs of both, or an audit's.

    Of two calls on the published rung the later one counts as published.
    """
    key = ["run", "document"]
    accepted = calls.filter(pl.col("billed") == "yes", pl.col("outcome") == "accepted")
    audit = accepted.filter(columns.AUDIT_CALL)  # of documents of earlier volumes, too
    if results is None:
        return audit.collect()
    rows = results.filter(pl.col("_copied_from").is_null()).select(
        run=pl.col("_run"), document=pl.col("_document"), published=pl.col("_rung")
    )
    joined = accepted.filter(~columns.AUDIT_CALL).join(rows, on=key)
    joined = joined.with_columns(fits=pl.col("rung").eq_missing(pl.col("published")))
    last = pl.col("started_at").filter(pl.col("fits")).max().over(key)
    others = joined.filter(~(pl.col("fits") & (pl.col("started_at") == last))).drop("published", "fits")
    return pl.concat([audit, others]).collect()


def _count_stops(results: pl.LazyFrame | None) -> Counter[int]:
    if results is None:
        return Counter()
    own = results.filter(pl.col("_copied_from").is_null(), pl.col("_rung").is_not_null())
    return Counter(dict(own.group_by("_rung").len().collect().iter_rows()))


def _bill_whole(images: pl.DataFrame, tokens: Callable[[Size], int] | None) -> pl.Series:
    """The tokens of each image with every pixel; as planned where it has no size or the rule is unknown."""
    if tokens is None:
        return images["tokens_planned"]
    sizes = images.select("width", "height", "tokens_planned").iter_rows()
    whole = [tokens(Size(width, height)) if width and height else planned for width, height, planned in sizes]
    return pl.Series(whole, dtype=pl.Int64)


def _count_rungs(calls: pl.DataFrame) -> int:
    """The image tokens of these calls, those of each rung of a document once."""
    return _sum(calls.unique(["document", "estimated_image_tokens"]), "estimated_image_tokens")


def _sum(frame: pl.DataFrame, column: str) -> int:
    return int(frame[column].sum() or 0)
