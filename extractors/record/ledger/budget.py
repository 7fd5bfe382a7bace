"""Budgets, held by reservation, in the transaction that records a call.

Before a call its maximum cost is added to the amounts held by its run and its UTC day, and the reply replaces it by the cost.
A call whose billing status is unknown keeps its reservation. A call that does not fit waits for calls in flight, or ends the
run with BudgetSpent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from extractors.core.errors import BudgetSpent
from extractors.core.money import dollars, from_nano, to_nano
from extractors.record.ledger.runs import is_live
from extractors.record.ledger.schema import CALLS, DAYS, RUNS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from extractors.record.ledger.database import Database

Row = dict[str, object]
_HOLD_BY_RUN = (
    RUNS.update().where(RUNS.c.run == sa.bindparam("_run")).values(held_nano=RUNS.c.held_nano + sa.bindparam("amount"))
)
_HOLD_BY_DAY = (
    DAYS.update().where(DAYS.c.day == sa.bindparam("_day")).values(held_nano=DAYS.c.held_nano + sa.bindparam("amount"))
)
Grant = bool | BudgetSpent  # True: send it; False: wait, calls in flight may still free the amount


@dataclass(frozen=True, slots=True)
class Budget:
    """Dollars that may be spent: by one run, and by all runs of a UTC day; None where there is no limit."""

    run: Decimal | None = None
    day: Decimal | None = None

    @property
    def limits(self) -> bool:
        """Whether there is any limit."""
        return self.run is not None or self.day is not None


class Change(NamedTuple):
    """A change of the amounts held by a day and a run, in nanodollars."""

    day: str
    amount: int


def decide_grants(
    database: Database, connection: sa.Connection, run: str, intents: Sequence[Row], budget: Budget
) -> list[Grant]:
    """Decide for each intent whether it fits beside the held amounts, or has to wait for calls in flight."""
    held = _lock_held(database, connection, run, {reservation_of(each).day for each in intents})
    limits = {name: to_nano(limit) for name, limit in (("run", budget.run), ("day", budget.day)) if limit is not None}
    grants: list[Grant] = []
    for intent in intents:
        day, needed = reservation_of(intent)
        keys = {"run": "run", "day": day}
        short = [name for name, limit in limits.items() if held[keys[name]] + needed > limit]
        if not short:
            held.update({"run": needed, day: needed})
            grants.append(True)
            continue
        spent = (
            []
            if True in grants
            else [name for name in short if not _has_calls_in_flight(database, connection, run, name, day)]
        )
        grants.append(_explain_budget(spent[0], limits[spent[0]], held[keys[spent[0]]], needed) if spent else False)
    return grants


def _lock_held(database: Database, connection: sa.Connection, run: str, days: set[str]) -> Counter[str]:
    """The amounts held by the run and by each of these days, locked until the end of the transaction."""
    of_run = sa.select(RUNS.c.held_nano).where(RUNS.c.run == run).with_for_update()
    held = Counter({"run": connection.execute(of_run).scalar_one_or_none() or 0})
    new = database.insert(DAYS).on_conflict_do_nothing()  # only an existing row can be locked
    connection.execute(new, [{"day": day, "held_nano": 0} for day in sorted(days)])
    of_days = sa.select(DAYS).where(DAYS.c.day.in_(days)).order_by(DAYS.c.day).with_for_update()
    held.update({row.day: row.held_nano for row in connection.execute(of_days)})
    return held


def _has_calls_in_flight(database: Database, connection: sa.Connection, run: str, name: str, day: str) -> bool:
    """Whether a call in flight may free an amount: one of this run, or for the day's budget one of any live run."""
    query = sa.select(CALLS.c.run).distinct().where(CALLS.c.outcome.is_(None))
    if name == "run":
        return connection.execute(query.where(CALLS.c.run == run)).first() is not None
    runs = set(connection.execute(query.where(CALLS.c.started_at.startswith(day))).scalars())
    if run in runs:
        return True
    now = database.clock(connection)
    rows = connection.execute(sa.select(RUNS).where(RUNS.c.run.in_(runs), RUNS.c.published_at.is_(None)))
    return any(is_live(row, now) for row in rows.all())


def reservation_of(intent: Row) -> Change:
    """The most that a call can cost, which its run and its day hold until its reply."""
    reserved = intent["reserved_nano"]
    return Change(str(intent["started_at"])[:10], reserved if isinstance(reserved, int) else 0)


def add_held(database: Database, connection: sa.Connection, run: str, changes: Sequence[Change]) -> None:
    """Add to the amounts held by the run and its days; days in order, so that two writers never deadlock."""
    days: Counter[str] = Counter()
    for day, amount in changes:
        days[day] += amount
    if not any(days.values()):
        return
    connection.execute(_HOLD_BY_RUN, {"_run": run, "amount": sum(days.values())})
    for day, amount in sorted(days.items()):
        if connection.execute(_HOLD_BY_DAY, {"_day": day, "amount": amount}).rowcount == 0:
            _begin_day(database, connection, day, amount)


def _begin_day(database: Database, connection: sa.Connection, day: str, amount: int) -> None:
    """Insert the row of a day, to which another process may have added meanwhile.

    An upsert for each group of calls would take ten times as long as an update: SQLAlchemy compiles each anew.
    """
    insert = database.insert(DAYS)
    upsert = insert.on_conflict_do_update(
        index_elements=[DAYS.c.day], set_={"held_nano": DAYS.c.held_nano + insert.excluded.held_nano}
    )
    connection.execute(upsert, {"day": day, "held_nano": amount})


def _explain_budget(name: str, limit: int, held: int, needed: int) -> BudgetSpent:
    budget = "the run's budget" if name == "run" else "the day's budget (TILEWISE_DAILY_BUDGET)"
    again = "raise --budget" if name == "run" else "it is free again tomorrow (UTC)"
    return BudgetSpent(
        f"{budget} of {dollars(from_nano(limit))} is spent: {dollars(from_nano(held))} are paid or reserved, and the next"
        f" call may cost up to {dollars(from_nano(needed))}; {again}"
    )
