"""What the page shows of the evidence: where each value stands on the picture, and what stands nowhere."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from extractors.core.evidence import MISSING_ROW, NOWHERE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_NAMED = 12  # values of one list that are named as standing nowhere
_PARTS = re.compile(r"[.\[]")


class EvidenceView(NamedTuple):
    """Of one field, with the values inside it.

    `boxes` and `missing_rows` are on the first page, whose picture is shown, as `x y width height` with a semicolon between;
    `note` says what stands nowhere, or on another page.
    """

    confidence: float | None = None
    boxes: str = ""
    missing_rows: str = ""
    note: str = ""
    unseen: int = 0
    missing: int = 0


def read_evidence(evidence: object) -> dict[str, EvidenceView]:
    """The evidence of each field, from the cell of a row."""
    groups: dict[str, list[Mapping[str, object]]] = defaultdict(list)
    for each in evidence if isinstance(evidence, list) else ():
        groups[_PARTS.split(each["field"])[0]].append(each)
    return {field: _summarize(field, group) for field, group in groups.items()}


def _summarize(field: str, group: Iterable[Mapping[str, object]]) -> EvidenceView:
    cells = [each for each in group if not str(each["field"]).endswith(MISSING_ROW)]
    missing = [each for each in group if str(each["field"]).endswith(MISSING_ROW)]
    unseen = [str(each["field"]) for each in cells if each["page"] == NOWHERE]
    own = next((each["confidence"] for each in cells if each["field"] == field), None)
    return EvidenceView(
        own if isinstance(own, float) else None,
        _list_boxes(cells),
        _list_boxes(missing),
        "; ".join(filter(None, (_name_unseen(field, unseen), _count_missing(len(missing)), _name_pages(cells)))),
        len(unseen),
        len(missing),
    )


def _list_boxes(cells: Iterable[Mapping[str, object]]) -> str:
    return ";".join(
        " ".join(str(each[name]) for name in ("x", "y", "width", "height"))
        for each in cells
        if each["page"] == 1 and each["x"] is not None
    )


def _name_unseen(field: str, unseen: list[str]) -> str:
    """Which values stand on no page: rows are counted from 1, as a reader counts them."""
    if unseen == [field]:
        return "stands on no page"
    names = [re.sub(r"\[(\d+)\]\.?", _number_row, each.removeprefix(field)).lstrip(".") for each in unseen]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"on no page: {', '.join(names[:MOST_NAMED])}{more}" if names else ""


def _number_row(match: re.Match[str]) -> str:
    return f"row {int(match[1]) + 1} "


def _count_missing(count: int) -> str:
    if not count:
        return ""
    return f"{count} {'line looks like a row that is' if count == 1 else 'lines look like rows that are'} missing"


def _name_pages(cells: Iterable[Mapping[str, object]]) -> str:
    pages = sorted({page for each in cells if isinstance(page := each["page"], int) and page > 1})
    return f"on page {', '.join(map(str, pages))}" if pages else ""
