"""Bequests: answers that earlier runs paid for and published no document of; who asks the same is given them for nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extractors.call.response import parse_stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.core import Reply, RunInfo
    from extractors.record.ledger.calls import Calls
    from extractors.record.ledger.schema import CallId


@dataclass(slots=True)
class OrphanedReplies:
    """The answers that wait for the run of `terms`, by request; `earlier` are writers who have asked for it before."""

    calls: Calls
    run_info: RunInfo
    earlier: Sequence[int] = ()
    used: list[CallId] = field(default_factory=list)
    _waiting: dict[str, CallId] = field(default_factory=dict)

    def refresh(self) -> None:
        """Looks again: a run that was killed may have been published meanwhile. Meant for a thread."""
        taken = set(self.used)
        found = self.calls.bequests(self.run_info)
        if self.earlier:
            found |= self.calls.answers(self.run_info.run, self.earlier)
        self._waiting = {request: call for request, call in found.items() if call not in taken}

    async def reply(self, request: str) -> Reply | None:
        """The answer to this request, once."""
        call = self._waiting.pop(request, None)
        if call is None:
            return None
        body = await asyncio.to_thread(self.calls.body, call)
        if body is None:  # another run has used it meanwhile
            return None
        self.used.append(call)
        return parse_stored(body)
