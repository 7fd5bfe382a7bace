"""The keys by which answers are found again: of a document's content, and of one request about it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.call.request import Feedback
    from extractors.core import Found, LadderStep, Planned, RunInfo


def content_key(planned: Planned, hashes: Sequence[str], run_info: RunInfo) -> str:
    """Hashes what determines the answer: the original bytes of all pages, schema, instructions, sampling and model.

    `hashes` has the SHA-256 of each page's bytes.

    An image that is sent as a URL has no bytes here: its name and version stand for them.
    """
    found = [page.billed.found for page in planned.pages]
    pages = [_page_identity(sha256, each) for sha256, each in zip(hashes, found, strict=True)]
    parts = [*pages, run_info.schema, run_info.schema_hash, run_info.prompt_hash, run_info.model]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _page_identity(sha256: str, found: Found) -> str:
    if not sha256:
        return f"{found.name} {found.version}"
    return sha256 if found.page is None else f"{sha256}#page={found.page}"


def request_key(key: str, steps: tuple[LadderStep, ...], max_tokens: int, feedback: Feedback | None = None) -> str:
    """Hashes everything that one request's answer depends on, so that a paid answer to it can be reused."""
    sizes = " ".join(f"{step.size.width}x{step.size.height}" for step in steps)
    words = feedback.text + feedback.answer if feedback else ""
    return hashlib.sha256("\0".join((key, sizes, str(max_tokens), words)).encode()).hexdigest()[:32]
