"""Witness of an audit in shards: it looks at the documents of the sample that no shard found doubtful, beside the calls.

Their rows are staged already; what is seen is added to them before they are published.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from extractors.core import Accepted
from extractors.core.audit import have_same_values
from extractors.record.output.base import writing
from extractors.record.tables.rows import add_places, has_places
from extractors.run.cascade import build_cascade
from extractors.run.recovery import restore_answered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from extractors.record.tables.rows import Row
    from extractors.record.tables.writer import Tables
    from extractors.run.audit import AuditDocument
    from extractors.run.session import RunSession
    from extractors.run.witness.witness import Witness

_NO_REPLY = "their replies were paid for by another run"
_BATCH = 1000  # documents whose calls are read at once


@dataclass(frozen=True, slots=True)
class AuditWitness:
    """The witness of the run, for the sample of its audit."""

    session: RunSession
    tables: Tables
    witness: Witness

    def restore(self, sample: Sequence[AuditDocument]) -> list[Accepted]:
        """The published answers of the documents that were not looked at. Blocks: call it before those of the audit come."""
        unseen = {each.planned.document: each for each in sample if not has_places(_cells(each.row))}
        plans = {name: each.planned for name, each in unseen.items()}
        schema, cascade = self.session.config.schema, build_cascade(self.session.config).without_thresholds()
        restored = [
            answer
            for answer in restore_answered(self._iter_calls(list(unseen)), plans, schema, cascade)
            if self._is_published(answer, unseen[answer.planned.document].row)
        ]
        if missing := len(unseen) - len(restored):
            self.witness.left_out[_NO_REPLY] += missing
        return restored

    async def look(self, restored: Sequence[Accepted], sample: Sequence[AuditDocument]) -> str | None:
        """Adds to the staged rows what the witness sees; returns its warning."""
        rows = {each.planned.document: each.row for each in sample}
        examined = await asyncio.gather(*(self.witness.examine(each, audited=True) for each in restored))
        places = {
            each.planned.document: add_places(_cells(rows[each.planned.document]), each.sightings)
            for each in examined
            if isinstance(each, Accepted) and each.sightings is not None
        }
        await asyncio.to_thread(self._replace, places)
        return self.witness.warning()

    def _replace(self, places: Mapping[str, list[Row]]) -> None:
        with writing(self.session.output):
            self.tables.volume.replace_evidence(places)

    def _iter_calls(self, documents: Sequence[str]) -> Iterator[list[Row]]:
        calls, run = self.session.ledger.calls, self.session.run_info.run
        for first in range(0, len(documents), _BATCH):
            yield from calls.iter_unpublished(run, documents=documents[first : first + _BATCH])

    def _is_published(self, answer: Accepted, row: Mapping[str, object]) -> bool:
        return have_same_values(self.session.config.schema.model.model_fields, self.tables.build_row(answer), row)


def _cells(row: Mapping[str, object]) -> Sequence[Row] | None:
    return cast("Sequence[Row] | None", row["_evidence"])
