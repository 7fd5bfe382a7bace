"""Names of flow runs, the message of their final state, and the escaping of foreign text in Markdown."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prefect.runtime import flow_run

from extractors.config.job import Job
from extractors.core.redact import shorten_source
from extractors.plan.apply_request import ApplyRequest

if TYPE_CHECKING:
    from extractors.run.result import RunResult

MAX_NAME_LENGTH = 60  # characters


def flow_run_name() -> str:
    """The name of the flow run that is running."""
    parameters, due = flow_run.parameters, flow_run.scheduled_start_time
    job, order = parameters.get("job"), parameters.get("order")
    if isinstance(job, dict):  # of a form; a wrong one is refused when the flow run starts
        job = Job.model_construct(source=str(job.get("source")), schema_name=str(job.get("schema_name") or ""))
    if isinstance(order, dict):
        order = ApplyRequest.model_construct(plan=str(order.get("plan") or "waiting plans"))
    return format_run_name(job or order or parameters.get("model"), due)


def format_run_name(subject: Job | ApplyRequest | str | None, due: datetime) -> str:
    """Subject and scheduled UTC time of a flow run: `receipts → receipt, 2026-11-21 02:15`.

    The subject is a job, a plan to apply, or a model to calibrate (None for the model of the settings).
    """
    return f"{_describe(subject)}, {due.astimezone(UTC):%Y-%m-%d %H:%M}"


def _describe(subject: Job | ApplyRequest | str | None) -> str:
    if subject is None or isinstance(subject, str):
        return f"calibrate {_truncate(subject)}" if subject else "calibrate"
    if isinstance(subject, ApplyRequest):
        return _truncate(shorten_source(subject.plan or "waiting plans"))
    return _truncate(shorten_source(subject.source)) + (
        f" → {_truncate(subject.schema_name)}" if subject.schema_name else ""
    )


def summarize(result: RunResult) -> str:
    """The result of a run in a few words: `998 accepted, 2 failed`, with the reason if it was stopped."""
    row = result.row
    if not result.record.error and not result.counts.totals.done:
        return result.message
    kinds = ("accepted", "duplicates", "rejected", "failed", "remaining")
    counts = ", ".join(f"{row[kind]:,} {kind}" for kind in kinds if row[kind] or kind == "accepted")
    if result.record.error:
        return f"{counts}; stopped: {result.record.error.message}"
    if result.exit_code:
        totals = result.counts.totals
        share, allowed = _format_share(result.counts.failure_share), _format_share(result.record.fail_above)
        counts += f"; {totals.bad:,} of {totals.done:,} failed ({share}), {allowed} allowed"
    return counts + result.against_plan


def _format_share(share: float) -> str:
    """A share in percent: `57 %`, `0.1 %`."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 1 or not percent else f"{percent:.1g} %"


def escape_markdown(words: str) -> str:
    """Foreign text on one line of Markdown, without markup, HTML or links."""
    marked = re.sub(r"([\\`*_{}\[\]()#|~!])", r"\\\1", _join_lines(words))
    marked = marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?i)(?<=\w)(?=://|@)|(?<=www)(?=\.)", "\u200b", marked)  # Markdown turns bare addresses into links


def format_code(words: str) -> str:
    """A path, name or address as inline code of Markdown. Not for cells of a table."""
    line = _join_lines(words) or " "
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def _join_lines(words: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in words).split())


def _truncate(name: str) -> str:
    line = _join_lines(name)
    return line if len(line) <= MAX_NAME_LENGTH else f"{line[: MAX_NAME_LENGTH - 1]}…"
