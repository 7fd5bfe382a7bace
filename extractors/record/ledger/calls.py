"""The ledger's calls: intents with their reservations, replies that settle them, in one transaction a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from extractors.record.ledger.budget import add_held, decide_grants, reservation_of
from extractors.record.ledger.schema import CALLS, ONE_CALL, RUNS, CallId
from extractors.record.logprobs_json import load_logprobs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from extractors.core import RunInfo
    from extractors.core.calls import TokenLogprobs
    from extractors.record.ledger.budget import Budget, Change, Grant
    from extractors.record.ledger.database import Database

Row = dict[str, object]
BATCH_ROWS = 500  # rows per batch, 5 KB each as Python's values
# Replies with these outcomes hold an answer of the model and can be reused by the next run.
ANSWER_OUTCOMES = ("accepted", "off_schema", "not_json", "truncated", "refused", "empty")


class StoredReply(NamedTuple):
    """The body of a reply that the ledger keeps, and its tokens."""

    body: str
    logprobs: TokenLogprobs | None


class AnsweredCall(NamedTuple):
    """A call with an answer of the model: its key in the ledger, in the tables, and the request that it answered."""

    call: CallId
    document: str
    attempt: int
    request: str
    flow: str

    @property
    def run(self) -> str:
        """The run that sent it."""
        return self.call.run


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of all runs."""

    database: Database

    def write(
        self, run: str, intents: Sequence[Row], replies: Sequence[Row], changes: Sequence[Change], budget: Budget
    ) -> list[Grant]:
        """Store the ends of calls, then each intent that fits the budget, in one transaction.

        `changes` are the changes of the held amounts by the replies. Returns one grant per intent, in order.
        """
        with self.database.writing() as connection:
            if replies:
                connection.execute(ONE_CALL, list(replies))
            grants: list[Grant] = [True] * len(intents)
            if intents and budget.limits:
                add_held(self.database, connection, run, changes)  # what replies free, intents may take
                changes = ()
                grants = decide_grants(self.database, connection, run, intents, budget)
            granted = [intent for intent, grant in zip(intents, grants, strict=True) if grant is True]
            if granted:
                connection.execute(CALLS.insert(), granted)
            add_held(self.database, connection, run, [*changes, *map(reservation_of, granted)])
        return grants

    def iter_unpublished(
        self, run: str, writers: Collection[int] | None = None, documents: Collection[str] | None = None
    ) -> Iterator[list[Row]]:
        """The unpublished calls of this run, in batches; calls without an end have no outcome.

        `writers`, `documents`: only the calls of these.
        """
        query = sa.select(CALLS).where(CALLS.c.run == run, CALLS.c.volume.is_(None))
        if writers is not None:
            query = query.where(CALLS.c.writer.in_(writers))
        if documents is not None:
            query = query.where(CALLS.c.document.in_(documents))
        query = query.order_by(CALLS.c.writer, CALLS.c.call)
        with self.database.reading() as connection:
            streamed = connection.execution_options(yield_per=BATCH_ROWS).execute(query)
            for batch in streamed.mappings().partitions(BATCH_ROWS):
                yield [dict(row) for row in batch]

    def orphaned_replies(self, run_info: RunInfo) -> dict[str, CallId]:
        """The paid answers of earlier runs that no document has used, by request; of this endpoint, model and schema."""
        givers = sa.select(RUNS.c.run).where(
            RUNS.c.orphaned_replies > 0,
            RUNS.c.published_at.is_not(None),
            RUNS.c.endpoint == run_info.endpoint,
            RUNS.c.model == run_info.model,
            RUNS.c.schema == run_info.schema,
        )
        query = sa.select(CALLS.c.request, CALLS.c.run, CALLS.c.writer, CALLS.c.call).where(
            CALLS.c.run.in_(givers), CALLS.c.reply.is_not(None), CALLS.c.outcome.in_(ANSWER_OUTCOMES)
        )
        with self.database.reading() as connection:
            return {row.request: CallId(row.run, row.writer, row.call) for row in connection.execute(query)}

    def answered_calls(self, run: str, writers: Collection[int]) -> dict[str, CallId]:
        """The answered calls of these writers of a run, by request."""
        query = sa.select(CALLS.c.request, CALLS.c.run, CALLS.c.writer, CALLS.c.call).where(
            CALLS.c.run == run,
            CALLS.c.writer.in_(writers),
            CALLS.c.reply.is_not(None),
            CALLS.c.outcome.in_(ANSWER_OUTCOMES),
        )
        with self.database.reading() as connection:
            return {row.request: CallId(row.run, row.writer, row.call) for row in connection.execute(query)}

    def last_attempts(self, run: str, documents: Collection[str]) -> dict[str, int]:
        """The number of the last attempt at each of these documents that a run has called."""
        query = sa.select(CALLS.c.document, sa.func.max(CALLS.c.attempt)).where(
            CALLS.c.run == run, CALLS.c.document.in_(documents)
        )
        with self.database.reading() as connection:
            return dict(connection.execute(query.group_by(CALLS.c.document)).tuples().all())

    def list_answered(self, run_info: RunInfo, keys: Collection[str]) -> list[AnsweredCall]:
        """The answered calls of all runs about this content at this endpoint, the oldest first, read by `keys`."""
        names = ("run", "writer", "call", "document", "attempt", "request", "key")
        query = (
            sa.select(*(CALLS.c[name] for name in names), RUNS.c.flow)
            .join(RUNS, RUNS.c.run == CALLS.c.run)
            .where(
                CALLS.c.endpoint == run_info.endpoint,
                CALLS.c.model_requested == run_info.model,
                CALLS.c.schema == run_info.schema,
                CALLS.c.outcome.in_(ANSWER_OUTCOMES),
            )
            .order_by(CALLS.c.run, CALLS.c.writer, CALLS.c.call)
        )
        with self.database.reading() as connection:
            rows = [row for row in connection.execute(query) if row.key in keys]
        return [
            AnsweredCall(CallId(row.run, row.writer, row.call), row.document, row.attempt, row.request, row.flow)
            for row in rows
        ]

    def stored_reply(self, call: CallId) -> StoredReply | None:
        """The reply of one call; None once the ledger has dropped it."""
        query = sa.select(CALLS.c.reply, CALLS.c.tokens, CALLS.c.token_logprobs).filter_by(**call._asdict())
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or row.reply is None:
            return None
        return StoredReply(row.reply, load_logprobs(row.tokens, row.token_logprobs))
