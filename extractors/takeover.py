"""Takeover: what a killed run had done and paid for is published in its own name, before the next run looks what is new."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import polars as pl

from extractors.closing import Account, Counts
from extractors.errors import Abandoned, LedgerError
from extractors.model import REJECT_REASONS
from extractors.money import Costs, total
from extractors.record.volume import Volume, volumes
from extractors.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from pathlib import Path

    from extractors.model import Terms
    from extractors.record.ledger import Ledger
    from extractors.record.rows import Keep


def take_over(ledger: Ledger, root: Path, schema: str, keep: Keep, say: Callable[[str], None]) -> None:
    """Publishes every abandoned run of this output and schema; safe to be killed, and to be done by two at once."""
    for terms in ledger.runs.abandoned(str(root), schema):
        if ledger.runs.adopt(terms.run):
            try:
                tally = _finish(ledger, root, terms, keep)
            except BaseException:
                with suppress(LedgerError):  # then it is seen that this process has ended
                    ledger.runs.release(terms.run)
                raise
            kept = f"{tally.accepted} accepted documents are published, {tally.remaining} are taken again"
            say(f"run {terms.run} had ended without publishing: {kept}, and answers already paid for are used")


def _finish(ledger: Ledger, root: Path, terms: Terms, keep: Keep) -> Tally:
    """Brings one run to its end, wherever it was."""
    volume = Volume(root, terms, ledger.runs.volumes(terms.run) + 1)
    for staged in volumes(root, terms):
        if staged.committed:
            staged.clear()
    whole = volume.sealed or volume.committed
    if not whole:
        volume.stage_calls(ledger.calls.unpublished(terms.run), keep)
    tally, left = _tally(volume)
    if whole or tally.calls or volume.number == 1 or volume.folder.exists():
        if not whole:
            error = Abandoned("its process ended before it was done")
            volume.stage("runs", 0, [Account(terms, error=error).row(Counts(0, tally), volume.number)])
        if not volume.committed:
            volume.publish()
        ledger.runs.published(terms.run, volume.number, left)
    ledger.marks.keep(terms, set().union(*(Volume(root, terms, each).ended() for each in range(1, volume.number + 1))))
    ledger.runs.end(terms.run)
    return tally


def _tally(volume: Volume) -> tuple[Tally, set[str]]:
    """What the volume's rows add up to, and the documents that were sent and did not come to an end."""
    accepted = volume.documents()
    failures = volume.frame("failures").select("document", "kind").collect()
    calls = volume.frame("calls").collect()
    rejected = failures.filter(pl.col("kind").is_in(list(REJECT_REASONS)))["document"]
    left = set(calls["document"]) - accepted - set(failures["document"])
    billed = calls.filter(pl.col("billed") == "yes")
    tally = Tally(
        rejected=len(rejected),
        accepted=len(accepted),
        failed=len(failures) - len(rejected),
        remaining=len(left),
        calls=len(calls),
        prompt_tokens=_sum(calls, "prompt_tokens"),
        cached_tokens=_sum(calls, "cached_tokens"),
        completion_tokens=_sum(calls, "completion_tokens"),
        reasoning_tokens=_sum(calls, "reasoning_tokens"),
        residual_tokens=_sum(calls, "residual_tokens"),
        estimated=_estimated(volume),
        cost_usd=_total(billed["cost_usd"]),
        wasted_usd=_total(billed.filter(pl.col("outcome") != "accepted")["cost_usd"]),
        unknown_usd=_total(calls.filter(pl.col("billed") == "unknown")["reserved_usd"]),
    )
    return tally, left


def _estimated(volume: Volume) -> Costs:
    """The estimate of the documents that were sent and came to an end."""
    images = volume.frame("images").filter(pl.col("action") != "reject").collect()
    return Costs(*(_total(images[f"cost_{name}_usd"]) for name in ("low", "expected", "high")))


def _sum(frame: pl.DataFrame, column: str) -> int:
    return int(frame[column].sum() or 0)


def _total(amounts: pl.Series) -> Decimal | None:
    """The sum, None when one is unknown."""
    return total(amounts)
