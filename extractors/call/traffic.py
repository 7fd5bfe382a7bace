"""How many calls are on their way at once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Traffic:
    """One controller for a process and an endpoint."""

    def __init__(self, concurrency: int) -> None:
        """At most `concurrency` calls are on their way at once."""
        self._slots = asyncio.Semaphore(concurrency)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Leave to send one call, kept until its reply is there."""
        async with self._slots:
            yield
