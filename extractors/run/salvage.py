"""Salvage: documents that were answered and paid for, and not staged before their process was killed."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from extractors.call.response import parse_stored
from extractors.core import Accepted
from extractors.record.tables.rows import attempt
from extractors.validate import validate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from extractors.core import Attempt, Planned
    from extractors.core.schema import Schema
    from extractors.record.tables.rows import Row


def restore_answered(
    calls: Iterable[Sequence[Row]], missing: Mapping[str, Planned], schema: Schema
) -> Iterator[Accepted]:
    """Those of the missing documents whose answer was accepted and noted, by these calls of the ledger."""
    attempts: dict[str, list[Attempt]] = defaultdict(list)
    for batch in calls:
        for call in batch:
            if (document := str(call["document"])) in missing:
                attempts[document].append(attempt(call))
    for document, tried in attempts.items():
        tried.sort(key=lambda each: each.outcome == "accepted")  # the answer that counts comes last
        last = tried[-1]
        if last.outcome != "accepted" or last.reply is None:
            continue
        reply = parse_stored(last.reply.body, last.reply.request_id)
        value = validate(reply, schema.model).document
        if value is not None:  # else a validator has changed: the next run asks again
            end = (
                missing[document],
                tuple(tried),
                last.request.key,
                last.started_at + timedelta(seconds=last.seconds),
            )
            step, order = last.request.steps[0], last.request
            yield Accepted(*end, value, reply, step, order.encoded, order.sha256)
