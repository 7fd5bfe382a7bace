"""The chat route: a request arrives, draws a fault or none, is answered and counted."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from extractors.endpoint.chat_response import add_logprobs, build_response
from extractors.endpoint.faults.corrupt import corrupt_response
from extractors.endpoint.faults.network import Drip, Reset, Stall
from extractors.endpoint.faults.responses import EVENTS, JSON, error_body, replace_response
from extractors.endpoint.refusal import RequestError
from extractors.endpoint.wire import parse_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from extractors.core.tiles import Rule
    from extractors.endpoint.faults.rehearsal import Rehearsal
    from extractors.endpoint.faults.spec import Draw
    from extractors.endpoint.readers import Reader
    from extractors.endpoint.wire import ChatRequest


class Chat:
    """Answers by a reader, bills by a rule, and injects the faults of the rehearsal."""

    def __init__(self, reader: Reader, bill: Rule, rehearsal: Rehearsal) -> None:
        self._reader = reader
        self._respond = partial(build_response, model=reader.model, rule=bill)
        self._rehearsal = rehearsal
        self._tally = rehearsal.tally

    async def route(self, request: Request) -> ASGIApp:
        """The response to one request, counted once."""
        draw = self._rehearsal.arrive()
        try:
            return await self._build_response(request, draw)
        except RequestError as refusal:
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

    async def _build_response(self, request: Request, draw: Draw) -> ASGIApp:
        started = asyncio.get_running_loop().time()
        body = await request.body()  # of a refused request too: a client may send everything before it reads
        response = replace_response(draw, self._rehearsal) or self._withhold_answer(
            draw, chat_request := parse_request(body)
        )
        if response is not None:
            self._tally.count(draw.kind)
            return response
        return await self._send_answer(draw, chat_request, started)

    def _withhold_answer(self, draw: Draw, chat_request: ChatRequest) -> ASGIApp | None:
        if chat_request.logprobs is not None and self._rehearsal.options.refuse_logprobs:
            raise RequestError(
                "logprobs is not supported with this model", param="logprobs", code="unsupported_parameter"
            )
        match draw.kind:
            case "error_body":
                return error_body(stream=chat_request.stream)
            case "stall":
                return Stall(self._rehearsal, chat_request.stream)
            case "drip":
                return Drip(self._rehearsal, chat_request.stream)
            case _:
                return None

    async def _send_answer(self, draw: Draw, chat_request: ChatRequest, started: float) -> ASGIApp:
        answer = await self._reader.answer(chat_request)
        response = corrupt_response(draw, chat_request, answer.text, self._respond)
        response = add_logprobs(response, chat_request, answer)
        if (remaining := started + self._rehearsal.latency - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(remaining)
        if draw.kind == "reset":
            self._tally.count("reset")
            parts = list(response.iter_events()) if chat_request.stream else [response.to_json()]
            return Reset(draw, parts, chat_request.stream)
        kind = "truncated" if response.finish_reason == "length" else draw.kind
        self._tally.bill(kind, response.prompt_tokens, response.completion_tokens)
        if chat_request.stream:
            return StreamingResponse(_stream_events(response.iter_events()), media_type=EVENTS)
        return Response(response.to_json(), media_type=JSON)


async def _stream_events(events: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the events without a thread for each."""
    for event in events:
        yield event
