"""Counts what is not read or not shown of the images that are sent, for the warnings of a run and of an estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.images.pdf_content import UNDRAWN

if TYPE_CHECKING:
    from extractors.core import BilledPage, Planned


@dataclass(slots=True)
class NoteCounts:
    """How many TIFF files have frames that are not read, how many frames, and how many PDF pages have undrawn text."""

    files: int = 0
    frames: int = 0
    undrawn: int = 0

    def add(self, planned: Planned, count: int = 1) -> None:
        """Count a document, or so many alike; a rejected one is not sent."""
        if planned.problem is None:
            for page in planned.pages:
                self._count(page.billed, count)

    def _count(self, billed: BilledPage, count: int) -> None:
        header = billed.header
        if header is not None and header.format == "TIFF" and header.frames > 1 and billed.found.page is None:
            self.files += count
            self.frames += count * (header.frames - 1)
        self.undrawn += count * (UNDRAWN in (billed.note or ""))

    def warnings(self) -> list[str]:
        """Describe what was counted, and what to do about it."""
        warnings = []
        if self.frames:
            warnings.append(
                f"{self.frames:,} frames of {self.files:,} TIFF files are not read, only the first of each:"
                " add --document-by frames"
            )
        if self.undrawn:
            warnings.append(
                f"{self.undrawn:,} PDF pages have {UNDRAWN}: install the fonts that images.note names, or embed them"
            )
        return warnings
