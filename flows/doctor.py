"""The lines of `tilewise doctor`: the verdict, one finding per requirement of a run, every setting with its origin."""

from __future__ import annotations

import asyncio
import shutil
import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

from extractors.config.doctor import Finding, examine
from extractors.config.settings import list_origins
from extractors.core.errors import ConfigurationError
from flows.adapters.prefect_api import find_prefect_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extractors.config.settings import Settings


def run_doctor(settings: Settings, source: str | None) -> tuple[list[str], bool]:
    """The lines to print, and whether a run can start."""
    findings = asyncio.run(_collect_findings(settings, source))
    settings_lines = [f"{each.name} = {each.value}  ({each.place})" for each in list_origins(settings)]
    lines = [describe_verdict(findings), *_align(findings), "", *settings_lines]
    return lines, all(each.verdict != "fails" for each in findings)


def describe_verdict(findings: Sequence[Finding]) -> str:
    """Whether a run can start, and what is missing."""
    missing = ", ".join(each.name for each in findings if each.verdict == "fails")
    if missing:
        return f"not ready: a run needs first: {missing}"
    notes = ", ".join(each.name for each in findings if each.verdict == "note")
    return f"ready: a run can start; note: {notes}" if notes else "ready: a run can start"


def _align(findings: Sequence[Finding]) -> Iterator[str]:
    """A line each; on a terminal, long ones go on below their beginning."""
    width, columns = max(len(each.name) for each in findings), shutil.get_terminal_size().columns - 1
    for each in findings:
        line = f"{each.verdict:5}  {each.name:{width}}  {each.words}"
        indent = " " * (width + 9)
        wraps = sys.stdout.isatty() and columns > 2 * len(indent)
        yield textwrap.fill(line, columns, subsequent_indent=indent, break_on_hyphens=False) if wraps else line


async def _collect_findings(settings: Settings, source: str | None) -> list[Finding]:
    """All findings. If the environment has no key, the key of the Prefect block is checked, which flow runs use."""
    try:
        url = find_prefect_url()
    except ConfigurationError as error:
        return [*await examine(settings, source), Finding("prefect", "fails", error.message)]
    if url is None:
        words = "not configured: runs start directly, or on a temporary server with --prefect"
        return [*await examine(settings, source), Finding("prefect", "ok", words)]
    from flows.adapters.checks import check_server  # noqa: PLC0415 - imports Prefect, which takes a second

    check = await check_server(settings)
    examined = await examine(settings.with_key(check.key) if check.key else settings, source)
    keyed = [
        replace(each, words=f"{each.words}; {check.key_note}") if each.name == "key" and check.key_note else each
        for each in examined
    ]
    return [*keyed, *check.findings]
