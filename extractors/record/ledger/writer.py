"""Scribe: brings intents and replies of many calls at once into the ledger, in groups, one transaction a group.

A commit of its own for every note costs more than the call that it is about. Whoever notes something waits until the
group that holds it is durable, so nothing is sent whose intent is not, and nothing counts whose reply is not.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from extractors.core.errors import BudgetSpent
from extractors.core.money import nano
from extractors.record.ledger.calls import Budget, Change, Grant, Row

if TYPE_CHECKING:
    from decimal import Decimal

    from extractors.core import Attempt, CallRequest, RunInfo
    from extractors.record.ledger.calls import Calls

GROUP_SECONDS = 0.02  # between two groups: how long a note waits for others to share its transaction


@dataclass(slots=True)
class _Group:
    """Notes that share a transaction; `written` holds what became of its intents."""

    written: asyncio.Future[list[Grant]]
    intents: list[Row] = field(default_factory=list)
    replies: list[Row] = field(default_factory=list)
    settled: list[Change] = field(default_factory=list)


@dataclass(slots=True)
class LedgerWriter:
    """The one who writes for one run in this process. A handle is its number of a call."""

    calls: Calls
    run_info: RunInfo
    budget: Budget = field(default_factory=Budget)
    writer: int = field(default_factory=lambda: secrets.randbits(31))
    _handles: itertools.count[int] = field(default_factory=itertools.count)
    _held: dict[int, Change] = field(default_factory=dict)
    _group: _Group | None = None
    _writing: asyncio.Task[None] | None = None
    _last: float = 0.0

    async def reserve(self, request: CallRequest, number: int, reserved: Decimal | None) -> int | None:
        """Returns when the document's attempt with this number is durable: only then may it be sent.

        None: the budget has no room for it now, calls on their way may still free some. Raises BudgetSpent when none can.
        """
        handle, group = next(self._handles), self._open_group()
        row = self._intent(handle, request, number, reserved)
        place = len(group.intents)
        group.intents.append(row)
        grant = (await asyncio.shield(group.written))[place]
        if isinstance(grant, BudgetSpent):
            raise BudgetSpent(grant.message)
        if not grant:
            return None
        self._held[handle] = Change(str(row["started_at"])[:10], nano(reserved) or 0)
        return handle

    async def settle(self, handle: int, attempt: Attempt) -> None:
        """Returns when the end of the attempt, with its whole reply, is durable: only then does it count."""
        group = self._open_group()
        group.replies.append(self._reply(handle, attempt))
        day, reserved = self._held.pop(handle)
        held = reserved if attempt.cost_usd is None or attempt.billed == "unknown" else nano(attempt.cost_usd)
        group.settled.append(Change(day, held - reserved))
        await asyncio.shield(group.written)

    def _open_group(self) -> _Group:
        """The group that is written next; the first note in it has it written."""
        if self._group is None:
            self._group = _Group(asyncio.get_running_loop().create_future())
            if self._writing is None or self._writing.done():
                self._writing = asyncio.get_running_loop().create_task(self._write())
        return self._group

    async def _write(self) -> None:
        """Writes group after group until there is nothing to write: at once after a rest, else in steady intervals."""
        loop = asyncio.get_running_loop()
        while self._group is not None:
            await asyncio.sleep(max(0.0, self._last + GROUP_SECONDS - loop.time()))
            group, self._group = self._group, None
            try:
                grants = await asyncio.to_thread(
                    self.calls.write, self.run_info.run, group.intents, group.replies, group.settled, self.budget
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, each one who waits raises it
                group.written.set_exception(error)
                group.written.exception()  # seen here, too: all who waited may have been cancelled
            else:
                group.written.set_result(grants)
            self._last = loop.time()

    def _intent(self, handle: int, request: CallRequest, number: int, reserved: Decimal | None) -> Row:
        """The ledger's row of a call that is about to be sent."""
        terms, first = self.run_info, request.steps[0] if request.steps else None
        return {
            "run": terms.run,
            "writer": self.writer,
            "call": handle,
            "document": request.document,
            "key": request.key,
            "request": request.request,
            "attempt": number,
            "schema": terms.schema,
            "endpoint": terms.endpoint,
            "model_requested": terms.model,
            "bill_rule": terms.bill_rule,
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
            "reserved_nano": nano(reserved),
        }

    def _reply(self, handle: int, attempt: Attempt) -> Row:
        """What a call's end adds to its row; the names with an underscore in front say which row."""
        reply, usage = attempt.reply, attempt.usage
        return {
            "_run": self.run_info.run,
            "_writer": self.writer,
            "_call": handle,
            "seconds": attempt.seconds,
            "http_status": reply.status if reply else None,
            "outcome": attempt.outcome,
            "billed": attempt.billed,
            "model_returned": _storable(reply.model) if reply else None,
            "prompt_tokens": usage.prompt if usage else None,
            "cached_tokens": usage.cached if usage else None,
            "completion_tokens": usage.completion if usage else None,
            "reasoning_tokens": usage.reasoning if usage else None,
            "cost_nano": nano(attempt.cost_usd),
            "finish_reason": _storable(reply.finish_reason) if reply else None,
            "request_id": _storable(reply.request_id) if reply else None,
            "error": _storable(attempt.error),
            "reply": _storable(reply.body) if reply else None,
        }


def _storable(text: str | None) -> str | None:
    """The text without the one character that PostgreSQL keeps out of text."""
    return text.replace("\0", "\ufffd") if text and "\0" in text else text
