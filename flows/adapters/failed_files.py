"""The failed documents of a run by name, for the table that Prefect shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extractors.record.output import open_output
from extractors.record.output.base import reading
from extractors.record.tables import columns
from extractors.report.page.runs import open_run
from extractors.report.summary import RETRIED, public_reason
from flows.adapters.naming import escape_markdown

if TYPE_CHECKING:
    from extractors.run.result import RunResult

MOST_FILES = 200  # an artifact is read whole by the browser; the table `failures` has all of them
_NAMES = ("document", "stage", "kind", "final", "message")


def list_failed_files(result: RunResult) -> list[dict[str, object]]:
    """One row per failed document: its name, kind, whether it is retried, and a message without text of a model. Blocks.

    Raises ConfigurationError if the table cannot be read.
    """
    run_info = result.record.run_info
    output = open_output(run_info.output)
    with reading(output):
        failures = open_run(output, run_info.run).rows("failures", columns.FAILURES)
        rows = failures.select(_NAMES).sort("final", "document", descending=[True, False]).head(MOST_FILES).collect()
    return [_format_row(*row) for row in rows.iter_rows()]


def _format_row(document: str, stage: str, kind: str, final: bool, message: str) -> dict[str, object]:  # noqa: FBT001 - a row
    return {
        "uri": escape_markdown(document),
        "kind": f"{stage}, {kind}",
        "retried": RETRIED[final],
        "message": escape_markdown(public_reason((stage, kind, final), " ".join(message.split()))),
    }
