"""From what was read of the labelled documents to the measurements that choices, ranking and certificate are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extractors.core import Accepted
from extractors.core.plain_values import canonical_text
from extractors.record.tables.fields import Fields
from extractors.run.tune.field_comparers import build_comparers, compare_document
from extractors.run.tune.measurements import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extractors.core import RunInfo
    from extractors.core.schema import Schema
    from extractors.run.tune.field_comparers import FieldComparer
    from extractors.run.tune.labels import Labels
    from extractors.run.tune.readings import DocumentReadings, RungReading


class Evaluator:
    """Compares the readings of one tuning with the labels."""

    def __init__(self, schema: Schema, labels: Labels, run_info: RunInfo) -> None:
        """Raises ConfigurationError for a labelled field whose values cannot be compared."""
        self._fields = Fields(schema.model)
        self._comparers: Mapping[str, FieldComparer] = build_comparers(schema.model, labels.fields)
        self._run_info = run_info

    def measure(self, documents: Sequence[DocumentReadings]) -> list[Reading]:
        """The readings of every document that was read at each of its rungs, at every rung of the longest ladder."""
        read = [each for each in documents if each.readings and not each.stopped]
        rungs = max((each.document.planned.rungs for each in read), default=0)
        return [self._measure_rung(each, rung) for each in read for rung in range(rungs)]

    def cells(self, reading: RungReading) -> dict[str, object] | None:
        """The values of a reading as cells; None for an answer that was not accepted."""
        return self._fields.row(reading.end.value) if isinstance(reading.end, Accepted) else None

    def _measure_rung(self, each: DocumentReadings, rung: int) -> Reading:
        """The measurement at one rung, which may send the same pictures as the rung below."""
        label, name = each.document.label, each.document.planned.document
        reading = next(reading for reading in reversed(each.readings) if reading.rung <= rung)
        cells = self.cells(reading)
        end = reading.end
        evidence = end.evidence if isinstance(end, Accepted) else None  # with what the witness has seen
        return Reading(
            document=name,
            rung=rung,
            call=f"{name}\0{reading.rung}",
            accepted=cells is not None,
            image_tokens=reading.image_tokens,
            cost_usd=reading.cost_usd(self._run_info),
            comparisons=compare_document(self._comparers, cells, label.cells, name, rung),
            evidence=evidence.fields if evidence else (),
            quality=next((each for each in end.qualities if each is not None), None),
            answers={field: canonical_text(cell) for field, cell in (cells or {}).items()},
            draw=label.draw,
            climbs=isinstance(end, Accepted) or end.problem.kind == "refused",
        )
