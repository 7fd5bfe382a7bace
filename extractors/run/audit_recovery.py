"""The audit of an abandoned run: its answers that were paid for are compared with the published ones, without a call."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import polars as pl

from extractors.call.response import parse_stored
from extractors.core.audit import AuditCounts, have_same_values
from extractors.record.tables.fields import CellError, Fields
from extractors.record.tables.rows import restore_attempt
from extractors.run.audit import is_audit_call
from extractors.validate import validate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from extractors.core import RunInfo
    from extractors.core.schema import Schema
    from extractors.record.ledger.calls import Row
    from extractors.record.tables.volume import Volume


def recount_audit(
    run_info: RunInfo, calls: Iterable[Sequence[Row]], volumes: Sequence[Volume], schema: Schema
) -> tuple[AuditCounts, str] | None:
    """The counts of the audit of an abandoned run, and how far it came, in words; None where its job has none.

    `calls` are those of the ledger that are not published, `volumes` hold the rows of the run. Blocks.
    """
    size = json.loads(run_info.job).get("audit")
    if size is None:
        return None
    if run_info.schema_hash != schema.hash:
        return AuditCounts(), "audit: its answers were not compared, as the schema has changed since"
    values, fields = {}, Fields(schema.model)
    for batch in calls:
        for attempt in (restore_attempt(call) for call in batch if is_audit_call(call)):
            if attempt.outcome != "accepted" or attempt.reply is None:
                continue
            verdict = validate(parse_stored(attempt.reply.body), schema.model, schema.row_sums)
            with suppress(CellError):  # a validator has changed
                if verdict.document is not None:
                    values[attempt.request.document] = fields.row(verdict.document)
    agreed = sum(
        have_same_values(schema.model.model_fields, row, values[str(row["_document"])])
        for row in _read_rows(volumes, list(values))
    )
    words = f"audit: {len(values):,} of up to {size:,} documents were read again before the process ended"
    return AuditCounts(len(values), agreed), words


def _read_rows(volumes: Sequence[Volume], documents: list[str]) -> list[Row]:
    """The rows of results of these documents."""
    scans = [scan for volume in volumes if documents and (scan := volume.scan_results()) is not None]
    found = (scan.filter(pl.col("_document").is_in(documents)).collect() for scan in scans)
    return [row for frame in found for row in frame.to_dicts()]
