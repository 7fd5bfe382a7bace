"""Charts of the report, as inline SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from markupsafe import Markup


class Chart(NamedTuple):
    """A drawing with its title and what it shows."""

    title: str
    note: str
    svg: Markup
