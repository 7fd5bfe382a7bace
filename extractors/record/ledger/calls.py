"""The ledger's calls: intents with their reservations, replies that settle them, in one transaction a group.

Budgets hold by reservation: before a call its maximum cost is added to the amounts held by its run and its UTC day, and
the reply replaces it by the cost. A call whose billing status is unknown keeps its reservation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from extractors.core.errors import BudgetSpent
from extractors.core.money import dollars, from_nano, to_nano
from extractors.record.ledger.runs import is_live
from extractors.record.ledger.schema import CALLS, DAYS, ONE_CALL, RUNS, CallId
from extractors.record.logprobs_json import load_logprobs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from decimal import Decimal

    from extractors.core import RunInfo
    from extractors.core.calls import TokenLogprobs
    from extractors.record.ledger.database import Database

Row = dict[str, object]
Grant = bool | BudgetSpent  # True: send it; False: wait, calls in flight may still free the amount
BATCH_ROWS = 500  # rows per batch, 5 KB each as Python's values
# Replies with these outcomes hold an answer of the model and can be reused by the next run.
ANSWER_OUTCOMES = ("accepted", "off_schema", "not_json", "truncated", "refused", "empty")


@dataclass(frozen=True, slots=True)
class Budget:
    """Dollars that may be spent: by one run, and by all runs of a UTC day; None where there is no limit."""

    run: Decimal | None = None
    day: Decimal | None = None

    @property
    def limits(self) -> bool:
        """Whether there is any limit."""
        return self.run is not None or self.day is not None


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


class Change(NamedTuple):
    """A change of the amounts held by a day and a run, in nanodollars."""

    day: str
    amount: int


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
            _add_held(self.database, connection, run, changes)
            grants: list[Grant] = [True] * len(intents)
            if intents and budget.limits:
                grants = self._decide_grants(connection, run, intents, budget)
            granted = [intent for intent, grant in zip(intents, grants, strict=True) if grant is True]
            if granted:
                connection.execute(CALLS.insert(), granted)
                _add_held(self.database, connection, run, [_reservation(each) for each in granted])
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

    def _decide_grants(
        self, connection: sa.Connection, run: str, intents: Sequence[Row], budget: Budget
    ) -> list[Grant]:
        """Decide for each intent whether it fits beside the held amounts, or has to wait for calls in flight."""
        held = self._lock_held(connection, run, {_reservation(each).day for each in intents})
        limits = {
            name: to_nano(limit) for name, limit in (("run", budget.run), ("day", budget.day)) if limit is not None
        }
        grants: list[Grant] = []
        for intent in intents:
            day, needed = _reservation(intent)
            keys = {"run": "run", "day": day}
            short = [name for name, limit in limits.items() if held[keys[name]] + needed > limit]
            if not short:
                held.update({"run": needed, day: needed})
                grants.append(True)
                continue
            spent = (
                []
                if True in grants
                else [name for name in short if not self._has_calls_in_flight(connection, run, name, day)]
            )
            grants.append(_budget_spent(spent[0], limits[spent[0]], held[keys[spent[0]]], needed) if spent else False)
        return grants

    def _lock_held(self, connection: sa.Connection, run: str, days: set[str]) -> Counter[str]:
        """The amounts held by the run and by each of these days, locked until the end of the transaction."""
        of_run = sa.select(RUNS.c.held_nano).where(RUNS.c.run == run).with_for_update()
        held = Counter({"run": connection.execute(of_run).scalar_one_or_none() or 0})
        new = self.database.insert(DAYS).on_conflict_do_nothing()  # only an existing row can be locked
        connection.execute(new, [{"day": day, "held_nano": 0} for day in sorted(days)])
        of_days = sa.select(DAYS).where(DAYS.c.day.in_(days)).order_by(DAYS.c.day).with_for_update()
        held.update({row.day: row.held_nano for row in connection.execute(of_days)})
        return held

    def _has_calls_in_flight(self, connection: sa.Connection, run: str, name: str, day: str) -> bool:
        """Whether a call in flight may free an amount: one of this run, or for the day's budget one of any live run."""
        query = sa.select(CALLS.c.run).distinct().where(CALLS.c.outcome.is_(None))
        if name == "run":
            return connection.execute(query.where(CALLS.c.run == run)).first() is not None
        runs = set(connection.execute(query.where(CALLS.c.started_at.startswith(day))).scalars())
        if run in runs:
            return True
        now = self.database.clock(connection)
        rows = connection.execute(sa.select(RUNS).where(RUNS.c.run.in_(runs), RUNS.c.published_at.is_(None)))
        return any(is_live(row, now) for row in rows.all())


def _reservation(intent: Row) -> Change:
    reserved = intent["reserved_nano"]
    return Change(str(intent["started_at"])[:10], reserved if isinstance(reserved, int) else 0)


def _add_held(database: Database, connection: sa.Connection, run: str, changes: Sequence[Change]) -> None:
    """Add to the amounts held by the run and its days; days in order, so that two writers never deadlock."""
    days: Counter[str] = Counter()
    for day, amount in changes:
        days[day] += amount
    if not any(days.values()):
        return
    connection.execute(RUNS.update().where(RUNS.c.run == run).values(held_nano=RUNS.c.held_nano + sum(days.values())))
    insert = database.insert(DAYS)
    upsert = insert.on_conflict_do_update(
        index_elements=[DAYS.c.day], set_={"held_nano": DAYS.c.held_nano + insert.excluded.held_nano}
    )
    connection.execute(upsert, [{"day": day, "held_nano": amount} for day, amount in sorted(days.items())])


def _budget_spent(name: str, limit: int, held: int, needed: int) -> BudgetSpent:
    budget = "the run's budget" if name == "run" else "the day's budget (TILEWISE_DAILY_BUDGET)"
    again = "raise --budget" if name == "run" else "it is free again tomorrow (UTC)"
    return BudgetSpent(
        f"{budget} of {dollars(from_nano(limit))} is spent: {dollars(from_nano(held))} are paid or reserved, and the next"
        f" call may cost up to {dollars(from_nano(needed))}; {again}"
    )
