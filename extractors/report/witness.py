"""The lines about the witness in the summary of a run: on the terminal, on the page and in Prefect."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.core.totals import WitnessTotals


def list_witness(totals: WitnessTotals) -> Iterator[tuple[str, str]]:
    """What the witness has looked at, and what it did not see, as names and values; nothing without a witness."""
    if totals.documents:
        yield "documents looked at by the witness", f"{totals.documents:,}"
        yield "  values that stand on no page", f"{totals.unseen:,}"
        yield "  lines that look like missing rows", f"{totals.missing_rows:,}"
