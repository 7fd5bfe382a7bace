"""Group commit: writes the intents and replies of many concurrent calls to the ledger, one transaction per group.

One commit per call would cost more than the call itself. The futures of `reserve` and `settle` end after the commit of
their group, so every call that is sent has a durable intent, and every reply that counts is durable.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from extractors.core.errors import BudgetSpent
from extractors.core.money import to_nano
from extractors.record.ledger.budget import Budget, Change, Grant, Row
from extractors.record.ledger.database import replace_nul
from extractors.record.ledger.schema import CallId
from extractors.record.logprobs_json import dump_logprobs

if TYPE_CHECKING:
    from decimal import Decimal

    from extractors.core import Attempt, CallRequest, RunInfo
    from extractors.record.ledger.calls import Calls

GROUP_SECONDS = 0.02  # between two groups: how long a row waits for others to share its transaction


class _Intent(NamedTuple):
    """A call that is about to be sent: its row, what it reserves, and the future of its handle."""

    handle: int
    row: Row
    reservation: Change
    granted: asyncio.Future[int | None]


class _Reply(NamedTuple):
    """The end of a call: the change of its row and of the held amounts, and the future of its commit."""

    row: Row
    change: Change
    settled: asyncio.Future[None]


@dataclass(slots=True)
class _Group:
    """The intents and replies that share a transaction; their futures end after the commit."""

    intents: list[_Intent] = field(default_factory=list)
    replies: list[_Reply] = field(default_factory=list)

    def fail(self, error: Exception) -> None:
        """Every caller that waits raises this error."""
        for intent in self.intents:
            _fail(intent.granted, error)
        for reply in self.replies:
            _fail(reply.settled, error)


@dataclass(slots=True)
class LedgerWriter:
    """Writes the calls of one run from this process. A handle is the number of a call."""

    calls: Calls
    run_info: RunInfo
    budget: Budget = field(default_factory=Budget)
    writer: int = field(default_factory=lambda: secrets.randbits(31))
    _handles: itertools.count[int] = field(default_factory=itertools.count)
    _reservations: dict[int, Change] = field(default_factory=dict)
    _group: _Group | None = None
    _write_task: asyncio.Task[None] | None = None
    _last_write: float = 0.0

    def reserve(self, request: CallRequest, number: int, reserved: Decimal | None) -> asyncio.Future[int | None]:
        """Store the intent of the document's attempt with this number; gives its handle after the commit.

        None: the budget has no room now, but calls in flight may free some. Raises BudgetSpent when none can. A caller that
        is cancelled leaves the intent in its group.
        """
        handle, granted = next(self._handles), asyncio.get_running_loop().create_future()
        row = intent_row(self._call_id(handle), self.run_info, request, number, reserved)
        reservation = Change(str(row["started_at"])[:10], to_nano(reserved) or 0)
        self._join_group().intents.append(_Intent(handle, row, reservation, granted))
        return granted

    def settle(self, handle: int, attempt: Attempt) -> asyncio.Future[None]:
        """Store the end of the attempt with its whole reply; the future ends after the commit."""
        day, reserved = self._reservations.pop(handle)
        held = reserved if attempt.cost_usd is None or attempt.billed == "unknown" else to_nano(attempt.cost_usd)
        settled = asyncio.get_running_loop().create_future()
        row = settlement_row(self._call_id(handle), attempt)
        self._join_group().replies.append(_Reply(row, Change(day, held - reserved), settled))
        return settled

    def _join_group(self) -> _Group:
        """The group that is written next; the first row in it starts the write task."""
        if self._group is None:
            self._group = _Group()
            if self._write_task is None or self._write_task.done():
                self._write_task = asyncio.get_running_loop().create_task(self._write_groups())
        return self._group

    async def _write_groups(self) -> None:
        """Write group after group until none is left: at once when idle before, else GROUP_SECONDS apart."""
        loop = asyncio.get_running_loop()
        while self._group is not None:
            await asyncio.sleep(max(0.0, self._last_write + GROUP_SECONDS - loop.time()))
            group, self._group = self._group, None
            try:
                grants = await asyncio.to_thread(self._write, group)
            except Exception as error:  # noqa: BLE001 - every waiting caller raises it
                group.fail(error)
            else:
                self._answer(group, grants)
            self._last_write = loop.time()

    def _write(self, group: _Group) -> list[Grant]:
        intents, replies = [each.row for each in group.intents], [each.row for each in group.replies]
        return self.calls.write(
            self.run_info.run, intents, replies, [each.change for each in group.replies], self.budget
        )

    def _answer(self, group: _Group, grants: list[Grant]) -> None:
        """Ends the futures of a group that is written."""
        for reply in group.replies:
            if not reply.settled.done():  # else its caller was cancelled
                reply.settled.set_result(None)
        for intent, grant in zip(group.intents, grants, strict=True):
            if grant is True:
                self._reservations[intent.handle] = intent.reservation
            if isinstance(grant, BudgetSpent):
                _fail(intent.granted, BudgetSpent(grant.message))
            elif not intent.granted.done():
                intent.granted.set_result(intent.handle if grant else None)

    def _call_id(self, handle: int) -> CallId:
        return CallId(self.run_info.run, self.writer, handle)


def _fail(future: asyncio.Future[None] | asyncio.Future[int | None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # marks it as retrieved: its caller may have been cancelled


def intent_row(call: CallId, run_info: RunInfo, request: CallRequest, number: int, reserved: Decimal | None) -> Row:
    """The ledger's row of a call that is about to be sent: the document's attempt with this number."""
    first = request.steps[0] if request.steps else None
    return {
        "run": call.run,
        "writer": call.writer,
        "call": call.call,
        "document": request.document,
        "key": request.key,
        "request": request.request,
        "attempt": number,
        "schema": run_info.schema,
        "endpoint": run_info.endpoint,
        "model_requested": run_info.model,
        "bill_rule": run_info.bill_rule,
        "rung": first.rung if first else None,
        "pages": len(request.steps),
        "payload_bytes": request.payload_bytes,
        "sent_width": (first.size.width or None) if first else None,
        "sent_height": (first.size.height or None) if first else None,
        "sha256": request.sha256,
        "encoded": request.encoded,
        "started_at": datetime.now(UTC).isoformat(),
        "estimated_image_tokens": request.image_tokens,
        "estimated_prompt_tokens": request.image_tokens + request.text_tokens,
        "reserved_nano": to_nano(reserved),
    }


def settlement_row(call: CallId, attempt: Attempt) -> Row:
    """The columns that the end of a call adds to its row; the parameters with an underscore select the row."""
    reply, usage = attempt.reply, attempt.usage
    return {
        "_run": call.run,
        "_writer": call.writer,
        "_call": call.call,
        "seconds": attempt.seconds,
        "http_status": reply.status if reply else None,
        "outcome": attempt.outcome,
        "billed": attempt.billed,
        "model_returned": replace_nul(reply.model) if reply else None,
        "prompt_tokens": usage.prompt if usage else None,
        "cached_tokens": usage.cached if usage else None,
        "completion_tokens": usage.completion if usage else None,
        "reasoning_tokens": usage.reasoning if usage else None,
        "cost_nano": to_nano(attempt.cost_usd),
        "finish_reason": replace_nul(reply.finish_reason) if reply else None,
        "request_id": replace_nul(reply.request_id) if reply else None,
        "error": replace_nul(attempt.error),
        "reply": replace_nul(reply.body) if reply else None,
        **dump_logprobs(reply.logprobs if reply else None),
    }
