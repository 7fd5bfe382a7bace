"""Artifacts of a run in Prefect: progress while it runs, a summary and its failures at the end, warnings as events.

They hold counts, money and messages; names, paths and messages are escaped. A Prefect
server that does not answer delays a run by a few seconds and never fails it.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.events import emit_event
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from extractors.core.errors import ConfigurationError
from extractors.core.money import dollars
from extractors.report.cascade import list_audit, list_cascade
from extractors.report.plan_words import describe_choice
from extractors.report.summary import RETRIED, failure_lines, public_reason
from extractors.report.witness import list_witness
from flows.adapters.failed_files import list_failed_files
from flows.adapters.form import describe
from flows.adapters.naming import escape_markdown, format_code, summarize
from flows.adapters.progress_log import log_progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
    from uuid import UUID

    from extractors.plan.estimate import Estimate
    from extractors.plan.stored_plan import PlanInfo
    from extractors.report.progress import Progress
    from extractors.run.calibrate import CalibrationResult
    from extractors.run.result import RunResult

UPDATE_SECONDS = 5.0  # seconds between two updates of the progress artifact
TIMEOUT_SECONDS = 10.0  # seconds per artifact
WARNING = "tilewise.warning"


@contextlib.asynccontextmanager
async def follow_progress(progress: Progress) -> AsyncIterator[None]:
    """Updates the progress artifact while the run works, and once more at its end; logs a line a minute."""
    log = get_run_logger()
    following = [
        asyncio.create_task(_update_progress(progress)),
        asyncio.create_task(log_progress(progress, log.info)),
    ]
    try:
        yield
    finally:
        for task in following:
            task.cancel()
        await asyncio.wait(following)


async def _update_progress(progress: Progress) -> None:
    artifact: UUID | None = None
    shown = ""
    try:
        while True:
            if artifact is None:
                artifact = await _create(acreate_progress_artifact(0.0, "tilewise-progress", progress.line))
            elif progress.line != shown:
                shown = progress.line
                await _create(aupdate_progress_artifact(artifact, _percent(progress), shown))
            await asyncio.sleep(UPDATE_SECONDS)
    except asyncio.CancelledError:
        if artifact is not None:
            await _create(aupdate_progress_artifact(artifact, _percent(progress), progress.line))
        raise


def _percent(progress: Progress) -> float:
    return round(100 * progress.share, 1)


async def show_run(result: RunResult, report: str | None = None) -> None:
    """Creates the artifacts of an ended run, logs and emits its warnings; `report` is the path of its page."""
    log = get_run_logger()
    for warning in result.record.warnings:
        log.warning("%s", describe(warning))
        emit_event(
            WARNING,
            {"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.name": flow_run.name},
            payload={"warning": warning, "run": result.record.run_info.run},
        )
    await _create(
        acreate_markdown_artifact(
            format_summary(result, report), "tilewise-summary", escape_markdown(describe(summarize(result)))
        )
    )
    if report:
        link = report if "://" in report else Path(report).as_uri()
        words = "Pictures, fields, cost and failures of the documents"
        await _create(
            acreate_link_artifact(link, f"Report of run {result.record.run_info.run}", "tilewise-report", words)
        )
    if result.counts.totals.kinds:
        await _create(acreate_table_artifact(await _list_failures(result), "tilewise-failures", "Failed files"))


async def _list_failures(result: RunResult) -> list[dict[str, object]]:
    """The failed files; if they cannot be read, the failures by kind."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await asyncio.to_thread(list_failed_files, result)
    except (ConfigurationError, TimeoutError) as error:
        get_run_logger().warning("failed files cannot be listed: %s", str(error) or type(error).__name__)
        return failure_rows(result)


async def show_estimate(estimate: Estimate, model: str, plan: str | None = None, link: str | None = None) -> None:
    """Creates the artifact of an estimate, and of the plan that was stored with it; `link` is the form that runs it."""
    words = format_estimate(estimate, model, plan, link)
    await _create(acreate_markdown_artifact(words, "tilewise-estimate", _title_estimate(estimate)))


async def show_plans(plans: Iterable[tuple[str, PlanInfo, str | None]]) -> None:
    """Creates the table of the plans that wait for approval, each with the link to the form that runs it."""
    rows = [
        {
            "plan": f"[{escape_markdown(url)}]({link})" if link else escape_markdown(url),
            "planned": f"{info.planned_at:%Y-%m-%d %H:%M}, {escape_markdown(info.source)} → {escape_markdown(info.schema)}",
            "documents": info.documents,
            "at most": info.high_cost,
        }
        for url, info, link in plans
    ]
    await _create(acreate_table_artifact(rows, "tilewise-plans", "Plans that wait for approval"))


async def show_calibration(calibration: CalibrationResult) -> None:
    """Creates the artifact of a calibration."""
    lines = "\n".join(f"- {escape_markdown(line)}" for line in calibration.lines())
    await _create(acreate_markdown_artifact(lines, "tilewise-calibration", "How images are billed"))


def format_summary(result: RunResult, report: str | None = None) -> str:
    """The counts, money, tokens and warnings of a run as Markdown, with the paths of its rows and report page."""
    row, run_info, totals = result.row, result.record.run_info, result.counts.totals
    kinds = ("skipped", "duplicates", "rejected", "accepted", "failed", "remaining")
    low, expected, high = (dollars(cost) for cost in totals.estimated.values())
    tokens = {
        f"prompt, predicted by {escape_markdown(run_info.bill_rule)}": totals.prompt_tokens - totals.residual_tokens,
        "prompt, billed": totals.prompt_tokens,
        "residual: billed minus predicted": totals.residual_tokens,
        "completion, billed": totals.completion_tokens,
    }
    money = {
        "predicted, low to high": f"{low} to {high}",
        "predicted, expected": expected,
        "paid": dollars(totals.cost_usd),
        "wasted: billed, answer not published": dollars(totals.wasted_usd),
        "billing status unknown, at most": dollars(totals.unknown_usd),
        "saved by copied duplicates": dollars(totals.saved_usd),
    }
    price = run_info.price.input if run_info.price else None
    rungs = dict([*list_cascade(totals.cascade, price), *list_audit(result.record.audit)])
    witness = {name.strip(): value for name, value in list_witness(totals.witness)}
    return "\n\n".join(
        [
            f"## {escape_markdown(describe(summarize(result)))}",
            _format_facts(result),
            _format_table(
                "documents", {kind: f"{row[kind]:,}" for kind in kinds} | {"**found**": f"**{row['found']:,}**"}
            ),
            _format_table("money", money),
            _format_table("tokens", {name: f"{count:,}" for name, count in tokens.items()}),
            *([_format_table("witness", witness)] if witness else []),
            *([_format_table("rungs", rungs)] if rungs else []),
            *_format_list("Failures", map(escape_markdown, failure_lines(totals))),
            *_format_list("Warnings", map(escape_markdown, map(describe, result.record.warnings))),
            *_format_list("Rows", map(format_code, result.results)),
            *_format_list("Report", map(format_code, [report] if report else [])),
        ]
    )


def failure_rows(result: RunResult) -> list[dict[str, object]]:
    """One row per kind of failure, the most frequent first."""
    return [
        {
            "stage": failure[0],
            "kind": failure[1],
            "documents": count,
            "retried": RETRIED[failure[2]],
            "for example": escape_markdown(public_reason(failure, result.counts.totals.reasons.get(failure, ""))),
        }
        for failure, count in result.counts.totals.kinds.most_common()
    ]


def format_estimate(estimate: Estimate, model: str, plan: str | None = None, link: str | None = None) -> str:
    """The documents, image tokens and cost of an estimate as Markdown, with the plan that waits for approval."""
    costs = zip(("low", "expected", "high"), estimate.costs.values(), strict=True)
    money = {name: dollars(cost) for name, cost in costs}
    for name, ends in (estimate.intervals or {}).items():
        if ends:
            money[f"{name}, 95 % interval"] = f"{dollars(ends[0])} to {dollars(ends[1])}"
    counts = ("documents", "images", "rejected", "skipped")
    parts = [
        f"## {_title_estimate(estimate)}",
        *(
            [
                "Plan stored, waiting for approval. To run it, "
                + (
                    f"[open the form of `apply`]({link}), which names the plan"
                    if link
                    else "start the deployment `apply` with the plan"
                )
                + f"\n\n{format_code(plan)}"
            ]
            if plan
            else []
        ),
        f"Model {format_code(model)}, billed by {format_code(estimate.bill_rule)}." if model else "No model is set.",
        *([f"With the {escape_markdown(estimate.tuning)}."] if estimate.tuning else []),
        _format_table("count", {name: f"{getattr(estimate, name):,}" for name in counts}),
        _format_table("images", {describe_choice(*choice): f"{n:,}" for choice, n in sorted(estimate.reasons.items())}),
        _format_table("image tokens", {name: f"{count:,}" for name, count in estimate.tokens.items()}),
        _format_table("cost", money),
        *_format_list("Warnings", map(escape_markdown, estimate.warnings)),
    ]
    return "\n\n".join(parts)


def _title_estimate(estimate: Estimate) -> str:
    return f"{estimate.documents:,} documents, at most {dollars(estimate.costs.high)}"


def _format_facts(result: RunResult) -> str:
    run_info = result.record.run_info
    named = {
        "run": run_info.run,
        "source": run_info.source,
        "schema": run_info.schema,
        "model": run_info.model,
        "endpoint": run_info.endpoint,
        "policy": run_info.policy,
        "output": run_info.output,
        "approved by": run_info.approved_by,
    }
    return "\n".join(f"- {name} {format_code(value)}" for name, value in named.items() if value)


def _format_table(title: str, rows: Mapping[str, str]) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join([f"| {title} | |", "|:--|--:|", *lines])


def _format_list(title: str, lines: Iterable[str]) -> list[str]:
    listed = "\n".join(f"- {line}" for line in lines)
    return [f"### {title}\n\n{listed}"] if listed else []


async def _create(creation: Awaitable[UUID]) -> UUID | None:
    """The id of the artifact; None, with a warning in the log, if Prefect refuses or does not answer in time."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await creation
    except (httpx.HTTPError, PrefectException, OSError, TimeoutError) as error:
        get_run_logger().warning("an artifact could not be written: %s", type(error).__name__)
        return None
