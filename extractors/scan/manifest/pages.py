"""Pages that a manifest chooses of a file: `1-3,7`, in its column `pages` or behind `file.pdf#page=`."""

from __future__ import annotations

import re

MAX_PAGES = 10_000
# What stands behind `#page=` is a choice of pages where a URL has a fragment, and where the file may have pages.
PAGED = r"^((?i:https?)://[^#]*|.*\.(?i:pdf|tiff?))#page=([0-9][0-9, -]*)$"
_RANGE = re.compile(r"([1-9][0-9]{0,6})(?:-([1-9][0-9]{0,6}))?", re.ASCII)


def parse_pages(text: str) -> tuple[int, ...]:
    """Return the numbers of the pages in order, each once. Raises ValueError for anything but `3` or `1-3,7`."""
    numbers: dict[int, None] = {}
    for part in re.sub(r"\s", "", text).removesuffix(".0").split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError("use 3 or 1-3,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= MAX_PAGES:
            raise ValueError(f"a range goes upwards and over at most {MAX_PAGES:,} pages")
        numbers.update(dict.fromkeys(range(first, last + 1)))
    return tuple(numbers)
