"""The tables of one run: the outcomes of its documents are staged, chunk by chunk, in the current volume."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal

import polars as pl

from extractors.core import Accepted, Copied, Failed, Unfinished
from extractors.record.output.base import writing
from extractors.record.tables import columns
from extractors.record.tables.fields import Fields
from extractors.record.tables.profile import profile_of
from extractors.record.tables.rows import Keep, Row, copy_row, failure_row, image_rows, result_row
from extractors.record.tables.volume import PUBLISHED, PartId, Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from decimal import Decimal
    from types import TracebackType
    from typing import Self

    from pydantic import BaseModel

    from extractors.core import DocumentResult, RunInfo
    from extractors.record.output.base import Output
    from extractors.record.tables.profile import RunProfile

    OnStage = Callable[[Sequence[DocumentResult]], AbstractContextManager[None]]


def table_of(end: Accepted | Copied | Failed) -> Literal["results", "failures"]:
    """The table that gets the row of this document."""
    failed = isinstance(end, Failed) or (isinstance(end, Copied) and end.failed)
    return "failures" if failed else "results"


class Tables:
    """The tables of one run under one output; `volume` is the one that chunks are staged in."""

    def __init__(
        self,
        output: Output,
        run_info: RunInfo,
        model: type[BaseModel],
        keep: Keep = "all",
        volume: Volume | None = None,
    ) -> None:
        """Writes nothing until it is entered; `volume` continues an existing volume."""
        self.output, self._run_info, self._keep = output, run_info, keep
        self._fields = Fields(model)
        self.result_columns = self._fields.columns | columns.RESULTS
        self._published: list[Volume] = []  # published volumes
        self._result_keys: list[str] = []  # the keys of their files of results
        self._field_rows: list[Row] = []  # of the table `fields`
        self.volume = volume or Volume(output, run_info, 1)
        self.on_stage: OnStage = lambda _: nullcontext()  # surrounds the staging of results; may refuse it

    def __enter__(self) -> Self:
        """Create the run's staging folder. Raises ConfigurationError if the output cannot be written."""
        self.output.create_staging(self.volume.folder, PUBLISHED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the staging folder unless it holds unpublished parts."""
        self.output.remove_empty(self.volume.folder)

    def build_cells(self, document: BaseModel | None) -> Row:
        """The document's fields as cells of their columns.

        Raises ValueError for the first value that its column cannot hold, and for what a model validator returned instead of
        the document.
        """
        return self._fields.cell(document)

    def build_row(self, end: Accepted | Copied | Failed) -> Row:
        """The row of a document for its table."""
        if isinstance(end, Copied):
            return copy_row(end, self._run_info)
        if isinstance(end, Failed):
            return failure_row(end, self._run_info)
        return result_row(end, self._run_info, self._fields)

    def stage(self, part: PartId, results: Sequence[DocumentResult]) -> None:
        """Stage these results, in this order, as one part of every table that has rows of them."""
        ended = [result for result in results if not isinstance(result, Unfinished)]
        accepted = [self.build_row(result) for result in ended if table_of(result) == "results"]
        failures = [self.build_row(result) for result in ended if table_of(result) == "failures"]
        images = [row for result in ended for row in image_rows(result, self._run_info)]
        with self.on_stage(results):
            self.volume.stage("images", part, images)
            self.volume.stage("failures", part, failures)
            self.volume.stage("results", part, accepted, self.result_columns)

    def stage_calls_and_fields(self, calls: Iterable[Sequence[Row]]) -> None:
        """Stage the ledger's calls and the run's field statistics."""
        self.volume.stage_calls(calls, self._keep)
        self._field_rows = self.volume.stage_fields(self._result_keys)

    def profile(self, *, accepted: int, failed: int, cost_usd: Decimal | None) -> RunProfile:
        """The profile of the run with the current volume; the counts are of all volumes."""
        with writing(self.output):
            calls = pl.concat([each.scan("calls") for each in (*self._published, self.volume)])
            return profile_of(
                self._run_info.run, self._field_rows, calls, accepted=accepted, failed=failed, cost_usd=cost_usd
            )

    def publish(self, run_row: Row) -> None:
        """Seal the volume with the run's row and publish it; later chunks are staged in the next volume."""
        self.volume.stage("runs", PartId(0), [run_row])
        with writing(self.output):
            rows = [self.volume.published_key("results")] if self.volume.list_parts("results") else []
        self.volume.publish()
        self._result_keys += rows
        self._published.append(self.volume)
        self.volume = Volume(self.output, self._run_info, self.volume.number + 1)

    @property
    def result_files(self) -> tuple[str, ...]:
        """The full names of the published files of results."""
        return tuple(self.output.full_name(key) for key in self._result_keys)
