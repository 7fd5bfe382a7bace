"""Group commit: writes the intents and replies of many concurrent calls to the ledger, one transaction per group.

One commit per call would cost more than the call itself. `reserve` and `settle` return after the commit of their group,
so every call that is sent has a durable intent, and every reply that counts is durable.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from extractors.core.errors import BudgetSpent
from extractors.core.money import to_nano
from extractors.record.ledger.calls import Budget, Change, Grant, Row
from extractors.record.ledger.schema import CallId
from extractors.record.logprobs_json import dump_logprobs

if TYPE_CHECKING:
    from decimal import Decimal

    from extractors.core import Attempt, CallRequest, RunInfo
    from extractors.record.ledger.calls import Calls

GROUP_SECONDS = 0.02  # between two groups: how long a row waits for others to share its transaction


@dataclass(slots=True)
class _Group:
    """Rows that share a transaction; `grants` resolves to one grant per intent after the commit."""

    grants: asyncio.Future[list[Grant]]
    intents: list[Row] = field(default_factory=list)
    replies: list[Row] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


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

    async def reserve(self, request: CallRequest, number: int, reserved: Decimal | None) -> int | None:
        """Store the intent of the document's attempt with this number; returns its handle after the commit.

        None: the budget has no room now, but calls in flight may free some. Raises BudgetSpent when none can.
        """
        handle, group = next(self._handles), self._join_group()
        row = intent_row(self._call_id(handle), self.run_info, request, number, reserved)
        place = len(group.intents)
        group.intents.append(row)
        grant = (await asyncio.shield(group.grants))[place]
        if isinstance(grant, BudgetSpent):
            raise BudgetSpent(grant.message)
        if not grant:
            return None
        self._reservations[handle] = Change(str(row["started_at"])[:10], to_nano(reserved) or 0)
        return handle

    async def settle(self, handle: int, attempt: Attempt) -> None:
        """Store the end of the attempt with its whole reply; returns after the commit."""
        group = self._join_group()
        group.replies.append(settlement_row(self._call_id(handle), attempt))
        day, reserved = self._reservations.pop(handle)
        held = reserved if attempt.cost_usd is None or attempt.billed == "unknown" else to_nano(attempt.cost_usd)
        group.changes.append(Change(day, held - reserved))
        await asyncio.shield(group.grants)

    def _join_group(self) -> _Group:
        """The group that is written next; the first row in it starts the write task."""
        if self._group is None:
            self._group = _Group(asyncio.get_running_loop().create_future())
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
                grants = await asyncio.to_thread(
                    self.calls.write, self.run_info.run, group.intents, group.replies, group.changes, self.budget
                )
            except Exception as error:  # noqa: BLE001 - every waiting caller raises it
                group.grants.set_exception(error)
                group.grants.exception()  # marks it as retrieved: every waiting caller may have been cancelled
            else:
                group.grants.set_result(grants)
            self._last_write = loop.time()

    def _call_id(self, handle: int) -> CallId:
        return CallId(self.run_info.run, self.writer, handle)


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
        "model_returned": _replace_nul(reply.model) if reply else None,
        "prompt_tokens": usage.prompt if usage else None,
        "cached_tokens": usage.cached if usage else None,
        "completion_tokens": usage.completion if usage else None,
        "reasoning_tokens": usage.reasoning if usage else None,
        "cost_nano": to_nano(attempt.cost_usd),
        "finish_reason": _replace_nul(reply.finish_reason) if reply else None,
        "request_id": _replace_nul(reply.request_id) if reply else None,
        "error": _replace_nul(attempt.error),
        "reply": _replace_nul(reply.body) if reply else None,
        **dump_logprobs(reply.logprobs if reply else None),
    }


def _replace_nul(text: str | None) -> str | None:
    """The text without NUL, which PostgreSQL cannot store in text."""
    return text.replace("\0", "\ufffd") if text and "\0" in text else text
