"""A parking ticket: the document of the schema that docs/schemas.md describes as a user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import camera
from paper import GAP, RULE, Row, Style, centre, pair, sheet

if TYPE_CHECKING:
    from pathlib import Path

PLATE, DAY = "KLX4827", "2026-03-14"
ROWS: list[Row] = [
    centre("HARBOUR CITY COUNCIL", 1.2, bold=True),
    centre("PARKING TICKET", 1.6, bold=True),
    RULE,
    pair("Plate:", PLATE, bold=True),
    pair("Date:", DAY),
    pair("Time:", "10:42"),
    pair("Street:", "Mill Lane"),
    RULE,
    pair("Fine:", "EUR 35.00", 1.2, bold=True),
    GAP,
    centre("Pay within 14 days"),
]


def render(folder: Path) -> list[dict[str, object]]:
    """Write the ticket into the folder, and give the truth about it."""
    random = camera.seeded("parking.jpg")
    paper = sheet(ROWS, Style(width=560, size=26, margin=36, pitch=0.58))
    camera.noise(camera.blur(paper, 0.5), random, 3).save(folder / "parking.jpg", quality=80)
    return [{"image": "parking.jpg", "plate": PLATE, "day": DAY}]
