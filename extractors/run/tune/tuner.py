"""Tuner: reads labelled images at every rung, and says which ladder and threshold to use, and how sure that is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.core.errors import ConfigurationError
from extractors.record.tables.tuning import write_comparisons, write_label_list
from extractors.run.tune.analysis import analyze, list_comparisons, list_next
from extractors.run.tune.evaluation import Evaluator
from extractors.run.tune.extra import check_extra
from extractors.run.tune.session import read_labelled, without_policy

if TYPE_CHECKING:
    from extractors.config.run_config import RunConfig
    from extractors.report.tuning import TuningView
    from extractors.run.hooks import RunHooks
    from extractors.run.tune.session import ReadingsResult


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """What is asked of a tuning beside the job: the file of labels, the target of the certificate, and whether to store."""

    truth: str
    target: float = 0.99
    apply: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a target that is no share."""
        if not 0 < self.target < 1:
            raise ConfigurationError(f"target {self.target}: use a share of documents between 0 and 1, such as 0.99")


async def tune(config: RunConfig, request: TuneRequest, hooks: RunHooks) -> TuningView:
    """Reads, compares, writes and, if asked to, stores.

    Raises ConfigurationError when it cannot begin, and the RunError that stopped it: what was read until then is kept,
    and is not paid for again.
    """
    check_extra()
    result = await read_labelled(without_policy(config), request.truth, hooks)
    if result.error:
        read = sum(len(each.readings) for each in result.readings)
        raise type(result.error)(
            f"{result.error.message}; {read:,} readings are kept: the same command goes on without paying for them again"
        )
    return await asyncio.to_thread(_conclude, result, request)


def _conclude(result: ReadingsResult, request: TuneRequest) -> TuningView:
    session = result.session
    evaluator = Evaluator(session.config.schema, result.labels, session.run_info)
    readings = evaluator.measure(result.readings)
    output, run = session.output, session.run_info.run
    files = {
        "comparisons": write_comparisons(output, run, list_comparisons(result, readings)),
        "label next": write_label_list(output, run, list_next(result)),
    }
    return analyze(result, readings, request, files)
