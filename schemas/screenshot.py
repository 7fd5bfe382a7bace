"""A screenshot or a mock-up of a user interface, described closely enough to build it again."""

from typing import Literal

from pydantic import Field

from schemas._values import Document, Many, Text, Words

INSTRUCTIONS = """\
Look as a designer who hands the picture to a developer that cannot see it. Go from top to bottom and leave no part out.
Quote text exactly as shown. Give colours as #rrggbb, as close as you can tell.
"""

Kind = Literal[
    "header", "navigation", "sidebar", "tab", "heading", "text", "link", "button", "input", "select", "checkbox", "toggle",
    "table", "list", "card", "column", "image", "icon", "chart", "dialog", "banner", "badge", "footer", "other",
]  # fmt: skip


class UiElement(Document):
    """One part of the interface."""

    kind: Kind = Field(description="What sort of part it is; `other` if none of the words fits")
    text: Text = Field(default=None, description="The text on it, quoted exactly; null if it has none")
    description: str = Field(description="Where it is and how it looks: place, size, colours, borders, spacing, state")


class Screenshot(Document):
    """What a user interface is for, how it is laid out, and every part of it."""

    project_name: Text = Field(
        default=None,
        description="The name of the project, board, document or application that is shown; null if none is",
    )
    purpose: Words = Field(description="What a user does here, in one sentence")
    layout: Words = Field(description="The regions from top to bottom and left to right, with their rough proportions")
    column_count: int | None = Field(
        default=None,
        ge=0,
        lt=1000,
        description="The number of columns of a board or of the main area; null if it has no columns",
    )
    background_color: Text = Field(default=None, description="The background's main colour, as #rrggbb")
    color_scheme: Many[str] = Field(
        default_factory=list, description="The other colours in use, as #rrggbb, most used first"
    )
    typography: Text = Field(default=None, description="Kind of typeface, sizes and weights, in one sentence")
    elements: Many[UiElement] = Field(default_factory=list, description="Every visible part, from top to bottom")
    text: Many[str] = Field(default_factory=list, description="All text in reading order, one entry a line or label")
