"""The app: the API's routes over a reader. Nothing here knows how an answer is found."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from extractors.endpoint.refusal import Refusal
from extractors.endpoint.reply import reply
from extractors.endpoint.wire import ask
from extractors.tiles import rule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from starlette.requests import Request

    from extractors.endpoint.answer import Reader
    from extractors.tiles import Rule

JSON = "application/json"


def create_app(reader: Reader, *, bill: str = "formula", latency: float = 0.0) -> FastAPI:
    """An app that answers by `reader`, bills by the rule named `bill`, and takes at least `latency` seconds.

    A limit or a fault is one more ASGI middleware around it.
    """
    return FastAPI(
        openapi_url=None,
        routes=[
            Route("/v1/chat/completions", _chat(reader, rule(bill), latency), methods=["POST"]),
            Route("/v1/models", _fixed([_model(reader.model)])),
            Route("/health", _fixed({"status": "ok"})),
        ],
        exception_handlers={Refusal: _refused, HTTPException: _no_route, Exception: _broken},
    )


def _chat(reader: Reader, bill: Rule, latency: float) -> Callable[[Request], Awaitable[Response]]:
    async def chat(request: Request) -> Response:
        clock = asyncio.get_running_loop().time
        started = clock()
        asked = ask(await request.body())
        answer = await reader.answer(asked)
        done = reply(asked, answer, reader.model, bill)
        await asyncio.sleep(max(0.0, started + latency - clock()))
        if asked.stream:
            return StreamingResponse(_sent(done.events()), media_type="text/event-stream")
        return Response(done.whole(), media_type=JSON)

    return chat


async def _sent(events: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The events one by one, without a thread for each."""
    for event in events:
        yield event


def _fixed(value: object) -> Callable[[Request], Awaitable[Response]]:
    body = orjson.dumps(value)

    async def fixed(_: Request) -> Response:
        return Response(body, media_type=JSON)

    return fixed


def _model(name: str) -> dict[str, object]:
    pricing = {"hourly": 0, "input": 0, "output": 0, "base": 0, "finetune": 0}
    organization, _, short = name.partition("/")
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "type": "chat",
        "display_name": short,
        "organization": organization,
        "pricing": pricing,
    }


async def _refused(_: Request, error: Exception) -> Response:
    refusal = error if isinstance(error, Refusal) else Refusal("the endpoint failed", status=500)
    headers = {"Retry-After": "1"} if refusal.status == 503 else None
    return Response(orjson.dumps(refusal.body()), refusal.status, headers, JSON)


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return await _refused(request, Refusal(f"{request.method} {request.url.path} is not served here", status=status))


async def _broken(request: Request, _: Exception) -> Response:
    return await _refused(request, Refusal("the endpoint failed", status=500))
