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

from extractors.money import NANO

if TYPE_CHECKING:
    from decimal import Decimal

    from extractors.model import Attempt, Order, Terms
    from extractors.record.ledger import Ledger, Row

GROUP_SECONDS = 0.01  # how long a note waits for others to share its transaction
GROUP_MOST = 64  # notes; a group that is so large does not wait


@dataclass(slots=True)
class Scribe:
    """The one who writes for one run in this process. A handle is its number of a call."""

    ledger: Ledger
    terms: Terms
    _writer: int = field(default_factory=lambda: secrets.randbits(31))
    _handles: itertools.count[int] = field(default_factory=itertools.count)
    _intents: list[Row] = field(default_factory=list)
    _replies: list[Row] = field(default_factory=list)
    _group: asyncio.Future[None] | None = None
    _timer: asyncio.TimerHandle | None = None

    def intend(self, order: Order, number: int, reserved: Decimal | None) -> int:
        """Notes the document's attempt with this number, before it is sent."""
        handle = next(self._handles)
        self._intents.append(self.intent(handle, order, number, reserved))
        return handle

    def settle(self, handle: int, attempt: Attempt) -> None:
        """Notes how the attempt ended, with its whole reply."""
        self._replies.append(self.reply(handle, attempt))

    async def written(self) -> None:
        """Returns when everything noted so far is durable. Who is cancelled here leaves the note in its group."""
        loop = asyncio.get_running_loop()
        if self._group is None:
            self._group = loop.create_future()
            self._timer = loop.call_later(GROUP_SECONDS, self.flush)
        group = self._group
        if len(self._intents) + len(self._replies) >= GROUP_MOST:
            self.flush()
        await asyncio.shield(group)

    def intent(self, handle: int, order: Order, number: int, reserved: Decimal | None) -> Row:
        """The ledger's row of a call that is about to be sent."""
        terms = self.terms
        return {
            "run": terms.run,
            "writer": self._writer,
            "call": handle,
            "document": order.document,
            "key": order.key,
            "attempt": number,
            "schema": terms.schema,
            "endpoint": terms.endpoint,
            "model_requested": terms.model,
            "bill_rule": terms.bill_rule,
            "rung": order.steps[0].rung if order.steps else None,
            "started_at": datetime.now(UTC).isoformat(),
            "estimated_image_tokens": order.image_tokens,
            "estimated_prompt_tokens": order.image_tokens + order.text_tokens,
            "reserved_nano": _nano(reserved),
        }

    def reply(self, handle: int, attempt: Attempt) -> Row:
        """What a call's end adds to its row; the names with an underscore in front say which row."""
        reply, usage = attempt.reply, attempt.usage
        return {
            "_run": self.terms.run,
            "_writer": self._writer,
            "_call": handle,
            "seconds": attempt.seconds,
            "http_status": reply.status if reply else None,
            "outcome": attempt.outcome,
            "billed": attempt.billed,
            "model_returned": reply.model if reply else None,
            "prompt_tokens": usage.prompt if usage else None,
            "cached_tokens": usage.cached if usage else None,
            "completion_tokens": usage.completion if usage else None,
            "reasoning_tokens": usage.reasoning if usage else None,
            "cost_nano": _nano(attempt.cost_usd),
            "request_id": reply.request_id if reply else None,
            "reply": reply.body if reply else None,
        }

    def flush(self) -> None:
        """Writes the group; who waits for it goes on, or is told why it could not be written."""
        group, intents, replies = self._group, self._intents, self._replies
        self._group, self._intents, self._replies = None, [], []
        if self._timer is not None:
            self._timer.cancel()
        if group is None:
            return
        try:
            self.ledger.write(intents, replies)
        except Exception as error:  # noqa: BLE001 - whatever it is, each one who waits raises it
            group.set_exception(error)
            group.exception()  # seen here, too: all who waited may have been cancelled
        else:
            group.set_result(None)


def _nano(amount: Decimal | None) -> int | None:
    return None if amount is None else int(amount / NANO)
