"""What a flow run is called, what its state says, and how words of others are put into Markdown."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prefect.runtime import flow_run

from extractors.plan.apply import ApplyRequest

if TYPE_CHECKING:
    from extractors.config.job import Job
    from extractors.run.result import RunResult

MAX_NAME_LENGTH = 60  # characters of a name that are shown


def flow_run_name() -> str:
    """The name of the flow run that is running."""
    asked, due = flow_run.parameters, flow_run.scheduled_start_time
    return format_run_name(asked.get("job") or asked.get("order") or asked.get("model"), due)


def format_run_name(asked: Job | ApplyRequest | str | None, due: datetime) -> str:
    """What a flow run is about, and when in UTC it was due: `receipts → receipt, 2026-11-21 02:15`.

    That is a job, a plan that is applied, or a model that is calibrated: None for the one of the settings.
    """
    return f"{_describe(asked)}, {due.astimezone(UTC):%Y-%m-%d %H:%M}"


def _describe(asked: Job | ApplyRequest | str | None) -> str:
    if asked is None or isinstance(asked, str):
        return f"calibrate {_truncate(asked)}" if asked else "calibrate"
    if isinstance(asked, ApplyRequest):
        return _shorten_source(asked.plan)
    return _shorten_source(asked.source) + (f" → {_truncate(asked.schema_name)}" if asked.schema_name else "")


def summarize(result: RunResult) -> str:
    """What became of a run in a few words: `998 accepted, 2 failed`; and why it stopped, where it did."""
    row = result.row
    if not result.record.error and not result.counts.totals.done:
        return result.message
    kinds = ("accepted", "duplicates", "rejected", "failed", "remaining")
    counts = ", ".join(f"{row[kind]:,} {kind}" for kind in kinds if row[kind] or kind == "accepted")
    return f"{counts}; stopped: {result.record.error.message}" if result.record.error else counts + result.against_plan


def escape_markdown(words: str) -> str:
    """Words that are not ours as Markdown shows them: no markup, no HTML, no link, on one line."""
    marked = re.sub(r"([\\`*_{}\[\]()#|~!])", r"\\\1", _join_lines(words))
    marked = marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?i)(?<=\w)(?=://|@)|(?<=www)(?=\.)", "\u200b", marked)  # what looks like a link is made one


def format_code(words: str) -> str:
    """A path, a name, an address as it is: Markdown's code, in which nothing has a meaning. Not for a table's cells."""
    line = _join_lines(words) or " "
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def _join_lines(words: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in words).split())


def _shorten_source(source: str) -> str:
    """The last part of where images come from, without a query, in which a signature may be."""
    if "://" in source:
        parts = urlsplit(source)
        return _truncate(PurePosixPath(parts.path).name or parts.hostname or source.partition("?")[0])
    return _truncate(Path(source).expanduser().absolute().name or "/")


def _truncate(name: str) -> str:
    line = _join_lines(name)
    return line if len(line) <= MAX_NAME_LENGTH else f"{line[: MAX_NAME_LENGTH - 1]}…"
