"""The app: the API's routes over a reader."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from extractors.core.tiles import get_rule
from extractors.endpoint.chat import Chat
from extractors.endpoint.faults.rehearsal import Rehearsal
from extractors.endpoint.faults.responses import JSON
from extractors.endpoint.refusal import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from extractors.endpoint.faults.spec import Faults
    from extractors.endpoint.readers import Reader


def create_app(
    reader: Reader,
    *,
    bill: str = "formula",
    latency: float = 0.0,
    rpm: float | None = None,
    faults: Faults | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """An app that answers by `reader`, bills by the rule named `bill`, and takes at least `latency` seconds.

    It refuses more than `rpm` requests per minute by `clock`, and injects `faults` by their shares. Its `Rehearsal` is
    `app.state.rehearsal`.
    """
    rehearsal = Rehearsal(rpm=rpm, latency=latency, faults=faults, clock=clock)
    app = FastAPI(
        openapi_url=None,
        routes=[
            Route("/v1/chat/completions", Chat(reader, get_rule(bill), rehearsal).route, methods=["POST"]),
            Route("/v1/models", _build_fixed_route([_describe_model(reader.model)])),
            Route("/health", _build_fixed_route({"status": "ok"})),
            Route("/rehearsal", _build_state_route(rehearsal)),
            Route("/rehearsal", _build_change_route(rehearsal), methods=["PUT"]),
        ],
        exception_handlers={
            RequestError: _answer_refusal,
            HTTPException: _answer_unknown_route,
            Exception: _answer_failure,
        },
    )
    app.state.rehearsal = rehearsal
    return app


def _build_state_route(rehearsal: Rehearsal) -> Callable[[Request], Awaitable[Response]]:
    async def show_state(_: Request) -> Response:
        return Response(orjson.dumps(rehearsal.state()), media_type=JSON)

    return show_state


def _build_change_route(rehearsal: Rehearsal) -> Callable[[Request], Awaitable[Response]]:
    async def change_state(request: Request) -> Response:
        rehearsal.change(await request.body())
        return Response(orjson.dumps(rehearsal.state()), media_type=JSON)

    return change_state


def _build_fixed_route(value: object) -> Callable[[Request], Awaitable[Response]]:
    body = orjson.dumps(value)

    async def answer(_: Request) -> Response:
        return Response(body, media_type=JSON)

    return answer


def _describe_model(name: str) -> dict[str, object]:
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


async def _answer_refusal(_: Request, error: Exception) -> Response:
    refusal = error if isinstance(error, RequestError) else RequestError("the endpoint failed", status=500)
    headers = {"Retry-After": "1"} if refusal.status == 503 else None
    return Response(orjson.dumps(refusal.body()), refusal.status, headers, JSON)


async def _answer_unknown_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return await _answer_refusal(
        request, RequestError(f"{request.method} {request.url.path} is not served here", status=status)
    )


async def _answer_failure(request: Request, _: Exception) -> Response:
    return await _answer_refusal(request, RequestError("the endpoint failed", status=500))
