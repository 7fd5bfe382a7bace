"""What `tilewise doctor` prints: every setting with its origin, and a line for each thing that a run needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from extractors.doctor import Finding, examine
from extractors.errors import shown
from extractors.settings import origins
from flows.configured import prefect_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.settings import Settings

SECONDS = 5.0


def lines(settings: Settings, source: str | None) -> tuple[list[str], bool]:
    """What is found, a line each, and whether a run can begin."""
    findings = [*asyncio.run(examine(settings, source)), _prefect()]
    told = [f"{each.name} = {each.value}  ({each.place})" for each in origins(settings)]
    return [*told, "", *_aligned(findings)], all(each.verdict != "fails" for each in findings)


def _aligned(findings: list[Finding]) -> Iterator[str]:
    width = max(len(each.name) for each in findings)
    return (f"{each.verdict:5}  {each.name:{width}}  {each.words}" for each in findings)


def _prefect() -> Finding:
    """Whether the configured server answers; none need be configured."""
    url = prefect_url()
    if url is None:
        return Finding("prefect", "ok", "not configured: runs go directly, or with --prefect on a temporary server")
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding("prefect", "fails", f"PREFECT_API_URL={shown(url)} cannot be reached: {type(error).__name__}")
    if not answer.is_success:
        return Finding("prefect", "fails", f"PREFECT_API_URL={shown(url)} answers {answer.status_code}")
    return Finding("prefect", "ok", f"{shown(url)} answers")
