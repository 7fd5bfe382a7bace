"""The chat route: a request's arrival, its draw, its answer, its count. One path for good answers and for faults."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from extractors.endpoint.faults.corrupt import spoiled
from extractors.endpoint.faults.network import Drip, Reset, Stall
from extractors.endpoint.faults.responses import EVENTS, JSON, error_body, instead
from extractors.endpoint.refusal import Refusal
from extractors.endpoint.reply import reply
from extractors.endpoint.wire import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from extractors.core.tiles import Rule
    from extractors.endpoint.faults.rehearsal import Rehearsal
    from extractors.endpoint.faults.spec import Draw
    from extractors.endpoint.readers import Reader
    from extractors.endpoint.wire import Ask


class Chat:
    """Answers by a reader, bills by a rule, and does wrong as the rehearsal has it."""

    def __init__(self, reader: Reader, bill: Rule, rehearsal: Rehearsal) -> None:
        self._reader = reader
        self._respond = partial(reply, model=reader.model, rule=bill)
        self._rehearsal = rehearsal
        self._tally = rehearsal.tally

    async def route(self, request: Request) -> ASGIApp:
        """The response to one request, counted once."""
        draw = self._rehearsal.arrive()
        try:
            return await self._response(request, draw)
        except Refusal as refusal:
            self._tally.count("crowded" if refusal.status == 503 else "refused")
            raise
        except ClientDisconnect:
            self._tally.count("gone")
            return Response(status_code=400)  # the client has disconnected
        except asyncio.CancelledError:
            self._tally.count("gone")
            raise
        except Exception:
            self._tally.count("failed")
            raise

    async def _response(self, request: Request, draw: Draw) -> ASGIApp:
        started = asyncio.get_running_loop().time()
        body = await request.body()  # of a refused request too: a client may not listen before it has sent all
        response = instead(draw, self._rehearsal) or self._unanswered(draw, asked := ask(body))
        if response is not None:
            self._tally.count(draw.kind)
            return response
        return await self._answered(draw, asked, started)

    def _unanswered(self, draw: Draw, asked: Ask) -> ASGIApp | None:
        match draw.kind:
            case "error_body":
                return error_body(stream=asked.stream)
            case "stall":
                return Stall(self._rehearsal, asked.stream)
            case "drip":
                return Drip(self._rehearsal, asked.stream)
            case _:
                return None

    async def _answered(self, draw: Draw, asked: Ask, started: float) -> ASGIApp:
        done = spoiled(draw, asked, await self._reader.answer(asked), self._respond)
        if (left := started + self._rehearsal.latency - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)
        if draw.kind == "reset":
            self._tally.count("reset")
            return Reset(draw, list(done.events()) if asked.stream else [done.whole()], asked.stream)
        kind = "truncated" if done.finish_reason == "length" else draw.kind
        self._tally.bill(kind, done.prompt_tokens, done.completion_tokens)
        if asked.stream:
            return StreamingResponse(_sent(done.events()), media_type=EVENTS)
        return Response(done.whole(), media_type=JSON)


async def _sent(events: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The events one by one, without a thread for each."""
    for event in events:
        yield event
