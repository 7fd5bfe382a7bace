"""Responses in place of an answer: refusals for rate and capacity, errors, a proxy's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

from extractors.endpoint.faults.rehearsal import LIMITED

if TYPE_CHECKING:
    from collections.abc import Callable

    from extractors.endpoint.faults.rehearsal import Rehearsal
    from extractors.endpoint.faults.spec import Draw

JSON = "application/json"
EVENTS = "text/event-stream"
_PAGE = b"<html><head><title>%s</title></head><body><center><h1>%s</h1></center><hr>proxy</body></html>\n"


def replace_response(draw: Draw, rehearsal: Rehearsal) -> Response | None:
    """The response to a request that is not read; None if it has to be read."""
    make = _UNREAD.get(draw.kind)
    return make(draw, rehearsal) if make else None


def error_body(*, stream: bool) -> Response:
    """Status 200 with an error in place of the answer."""
    body = _error("the model failed while it answered", "server_error", "engine_error")
    return Response(b"data: " + body + b"\n\n", media_type=EVENTS) if stream else Response(body, media_type=JSON)


def _answer_limited(_: Draw, rehearsal: Rehearsal) -> Response:
    body = _error("above the request rate of this model", "rate_limit", "dynamic_request_limited")
    return Response(body, 429, rehearsal.limit.headers(), JSON)


def _answer_rate_limited(draw: Draw, rehearsal: Rehearsal) -> Response:
    """The error type is in three places, as different servers write it."""
    message, kind = "above your dynamic rate", "dynamic_request_limited"
    match draw.pick("type", "code", "top", "tokens"):
        case "type":
            body = _error(message, kind)
        case "code":
            body = _error(message, "rate_limit", kind)
        case "top":
            body = orjson.dumps({"error": {"message": message}, "error_type": kind})
        case _:
            body = _error(message, "dynamic_token_limited")
    return Response(body, 429, _retry_after(rehearsal), JSON)


def _answer_server_error(draw: Draw, _: Rehearsal) -> Response:
    match draw.pick("json", "json", "html", "text"):
        case "html":
            return Response(_PAGE % ((b"500 Internal Server Error",) * 2), 500, media_type="text/html")
        case "text":
            return Response(b"upstream connect error or disconnect/reset before headers", 500, media_type="text/plain")
        case _:
            return Response(_error("the model failed", "server_error", "internal_error"), 500, media_type=JSON)


def _answer_capacity(draw: Draw, rehearsal: Rehearsal) -> Response:
    headers = _retry_after(rehearsal) if draw.pick("says", "silent") == "says" else None
    return Response(_error("the model is at its capacity", "service_unavailable", "overloaded"), 503, headers, JSON)


def _answer_html(_: Draw, __: Rehearsal) -> Response:
    return Response(_PAGE % ((b"Just a moment",) * 2), media_type="text/html")


def _retry_after(rehearsal: Rehearsal) -> dict[str, str]:
    return {"retry-after": f"{rehearsal.options.retry_after:g}"}


def _error(message: str, kind: str, code: str | None = None) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


_UNREAD: dict[str, Callable[[Draw, Rehearsal], Response]] = {
    LIMITED: _answer_limited,
    "rate_limited": _answer_rate_limited,
    "server_error": _answer_server_error,
    "capacity": _answer_capacity,
    "html": _answer_html,
}
