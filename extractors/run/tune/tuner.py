"""Tuner: reads labelled images at every rung, and says which ladder and threshold to use, and how sure that is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from extractors.record.output import open_output
from extractors.record.tables.tuning import write_comparisons, write_label_list
from extractors.report.tuning.page import write_page
from extractors.run.tune.analysis import analyze, list_comparisons, list_next
from extractors.run.tune.dollars import explain_unpriced
from extractors.run.tune.evaluation import Evaluator
from extractors.run.tune.extra import check_extra
from extractors.run.tune.published import score_published
from extractors.run.tune.session import read_labelled, read_source_labels, without_policy
from extractors.run.tune.stored_tuning import store_tuning
from extractors.run.tune.view import build_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.config.run_config import RunConfig
    from extractors.record.tables.rows import Row
    from extractors.report.tuning import TuningView
    from extractors.run.hooks import RunHooks
    from extractors.run.tune.analysis import Analysis
    from extractors.run.tune.measurements import Reading
    from extractors.run.tune.request import TuneRequest
    from extractors.run.tune.session import ReadingsResult


async def tune(config: RunConfig, request: TuneRequest, hooks: RunHooks) -> TuningView:
    """Reads, compares, writes and, if asked to, stores.

    Raises ConfigurationError when it cannot begin, and the RunError that stopped it; what was read until then is kept.
    """
    check_extra()
    if request.from_rows:
        return await asyncio.to_thread(_score_rows, config, request, hooks)
    result = await read_labelled(without_policy(config), request.truth, hooks, priced=request.prices is not None)
    if result.error:
        read = sum(len(each.readings) for each in result.readings)
        raise type(result.error)(
            f"{result.error.message}; {read:,} readings are kept: the same command goes on without paying for them again"
        )
    return await asyncio.to_thread(_conclude, result, request)


def _score_rows(config: RunConfig, request: TuneRequest, hooks: RunHooks) -> TuningView:
    joined = read_source_labels(config, request.truth, hooks)
    view = replace(score_published(config, joined.labels, request.target, request.prices), join=joined.view)
    return replace(view, files={**view.files, "page": write_page(open_output(config.output), view)})


def _conclude(result: ReadingsResult, request: TuneRequest) -> TuningView:
    session = result.session
    schema, output, run = session.config.schema, session.output, session.run_info.run
    readings = Evaluator(schema, result.labels, session.run_info).measure(result.readings)
    unpriced = explain_unpriced(readings) if request.prices else ""
    prices = None if unpriced else request.prices
    analysis = analyze(result.labels.fields, readings, request.target, schema.agree_on, prices)
    files = {
        "comparisons": write_comparisons(output, run, _list_comparisons(result, readings, analysis)),
        "label next": write_label_list(output, run, list_next(result)),
    }
    if request.apply:
        store_tuning(result, analysis)
    view = build_view(result, readings, analysis, files, applied=request.apply)
    view = replace(view, warnings=[*view.warnings, *filter(None, [unpriced, _warn_of_circle(result)])])
    return replace(view, files={**files, "page": write_page(output, view)})


def _warn_of_circle(result: ReadingsResult) -> str:
    """Where local OCR both answers and looks, it sees its own misreadings on the page."""
    config = result.session.config
    if config.job.witness is None or not config.reads_locally([result.session.run_info.model]):
        return ""
    return "local OCR answers and looks for its own answers: what the witness adds here says nothing about a model"


def _list_comparisons(result: ReadingsResult, readings: Sequence[Reading], analysis: Analysis) -> list[Row]:
    return list_comparisons(result.session.run_info, result.labels, readings, analysis.fit.scorer())
