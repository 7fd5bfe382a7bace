"""What came back over the wire: an HTTP response in, a `Reply` and the fault that it stands for out.

The taxonomy of faults is Together's, decided on the HTTP status first; bodies may be JSON, plain text or HTML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extractors.model import Outcome, Reply, Usage
from extractors.picture import first_line

if TYPE_CHECKING:
    import httpx

# What a fault asks for: the same call again, the same call again when the server has room (uses up no attempt), no
# other try of this document as it is, or the end of the run.
Remedy = Literal["again", "later", "never", "stop"]
MAX_WAIT = 300.0  # seconds; a server that asks for more is asked again after this


class _Lenient(BaseModel):
    """A part of the wire's reply: unknown fields are ignored, and a field of the wrong type fails its part only."""

    model_config = ConfigDict(extra="ignore")


class _Details(_Lenient):
    cached_tokens: int | None = Field(None, ge=0)
    reasoning_tokens: int | None = Field(None, ge=0)


class _Usage(_Lenient):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(0, ge=0)
    cached_tokens: int | None = Field(None, ge=0)
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Message(_Lenient):
    content: str | None = None


class _Choice(_Lenient):
    message: _Message = _Message()
    finish_reason: str | None = None


class _Completion(_Lenient):
    model: str | None = None
    choices: list[_Choice] = []


@dataclass(frozen=True, slots=True)
class Fault:
    """A reply that is no answer: its outcome, what to do about it, in words, and how long the server asks to wait."""

    outcome: Outcome
    remedy: Remedy
    message: str
    wait: float | None = None


def read(response: httpx.Response) -> Reply:
    """The reply, read as far as it can be; never raises for what a server sent."""
    body = response.content.decode("utf-8", errors="replace")
    request_id = response.headers.get("x-request-id")
    parsed = _parsed(response.content) if response.status_code == 200 else None
    if not isinstance(parsed, dict):
        return Reply(response.status_code, body, request_id=request_id)
    try:
        completion = _Completion.model_validate(parsed)
    except ValidationError:
        completion = _Completion()
    choice = completion.choices[0] if completion.choices else _Choice()
    return Reply(
        status=response.status_code,
        body=body,
        content=choice.message.content,
        finish_reason=choice.finish_reason,
        model=completion.model,
        usage=_usage(parsed.get("usage")),
        request_id=request_id or (parsed["id"] if isinstance(parsed.get("id"), str) else None),
    )


def fault(response: httpx.Response, reply: Reply) -> Fault | None:
    """The fault that this reply stands for, None when it is an answer."""
    status = reply.status
    if status == 200:
        return None
    words = _error_text(reply.body) or response.reason_phrase
    message = f"{status} {words}"
    if status == 429:
        return Fault("rate_limited", "later", message, _wait(response))
    if status == 503:
        return Fault("capacity", "again", message, _wait(response))
    if status in {401, 402, 404}:
        return Fault("client_error", "stop", message)
    if status == 403 or (status == 400 and "context" in words and "length" in words):
        return Fault("context_exceeded", "never", message)
    if status in {408, 409, 425} or status >= 500:
        return Fault("server_error", "again", message, _wait(response))
    return Fault("client_error", "never", message)


def _parsed(content: bytes) -> object:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _usage(raw: object) -> Usage | None:
    """The token counts, None when they are missing or make no sense: then it is unknown what was billed."""
    try:
        usage = _Usage.model_validate(raw, strict=True)
    except ValidationError:
        return None
    details = usage.prompt_tokens_details or _Details()
    return Usage(
        prompt=usage.prompt_tokens,
        completion=usage.completion_tokens,
        cached=usage.cached_tokens or details.cached_tokens or 0,
        reasoning=(usage.completion_tokens_details or _Details()).reasoning_tokens or 0,
    )


def _error_text(body: str) -> str:
    """The server's words on one line, without any image that it may have sent back."""
    parsed = _parsed(body.encode())
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    words = error.get("message") if isinstance(error, dict) else error
    text = words if isinstance(words, str) else re.sub(r"<[^>]*>", " ", body)
    return first_line(ValueError(re.sub(r"data:[\w/+.-]*;base64,[\w+/=]*|[\w+/=]{200,}", "[image]", text)))


def _wait(response: httpx.Response) -> float | None:
    """Seconds that `Retry-After` asks for, capped."""
    seconds = response.headers.get("retry-after", "")
    return min(float(seconds), MAX_WAIT) if re.fullmatch(r"\d+(\.\d+)?", seconds) else None
