"""The lines about the cascade in the summary of a run: on the terminal, on the page and in Prefect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extractors.core.money import MILLION, NANO, dollars

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from extractors.core.audit import AuditCounts
    from extractors.core.totals import CascadeTotals


def list_cascade(cascade: CascadeTotals, input_price: Decimal | None) -> Iterator[tuple[str, str]]:
    """Where documents stopped, what climbing cost and what was saved, as names and values.

    Nothing for a run of whole images. `input_price` is in dollars a million tokens; None: unknown, or not one price.
    """
    if not cascade.climbed and cascade.sent_tokens == cascade.faithful_tokens:
        return
    for rung, count in sorted(cascade.stopped_at_rung.items()):
        yield f"stopped at {rung:,} image tokens a page", _count(count)
    if cascade.climbed:
        cost = f", {dollars(cascade.climb_usd)}" if cascade.climb_usd is not None else ""
        yield "climbed", f"{_count(cascade.climbed)}, {cascade.climb_tokens:,} image tokens{cost}"
    if cascade.faithful_tokens:
        yield "saved against --policy faithful", _describe_saving(cascade, input_price)


def list_audit(audit: AuditCounts | None) -> Iterator[tuple[str, str]]:
    """How many documents of the audit differ, as name and value; nothing for a run without an audit."""
    if audit is not None:
        yield "audit: read again at the top rung", audit.words


def _describe_saving(cascade: CascadeTotals, input_price: Decimal | None) -> str:
    """What was saved; less than nothing where climbs cost more than the first rungs saved."""
    saved = cascade.saved_tokens
    share = f"{saved:,} image tokens ({100 * saved / cascade.faithful_tokens:.1f} %)"
    return share if input_price is None else f"{share}, {dollars((saved * input_price / MILLION).quantize(NANO))}"


def _count(documents: int) -> str:
    return f"{documents:,} document" + ("" if documents == 1 else "s")
