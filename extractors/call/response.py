"""What came back over the wire: an HTTP response, plain or streamed, in; a `Reply` or the fault that it stands for out.

Nothing that a server sends raises here: what cannot be read is left out, and what is left decides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from extractors.call import faults
from extractors.call.faults import Fault
from extractors.core import Reply
from extractors.core.money import Usage

MAX_REPLY_BYTES = 16 * 2**20  # what is longer is no answer to anything that is asked here
MAX_KEPT_CHARS = 2**20  # of a body, in the ledger and the tables


class _Lenient(BaseModel):
    """A part of the wire's reply; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")


class _Details(_Lenient):
    cached_tokens: int | None = Field(None, ge=0, lt=2**40)
    reasoning_tokens: int | None = Field(None, ge=0, lt=2**40)


class _Usage(_Lenient):
    prompt_tokens: int = Field(ge=0, lt=2**40)
    completion_tokens: int = Field(0, ge=0, lt=2**40)
    cached_tokens: int | None = Field(None, ge=0, lt=2**40)
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Function(_Lenient):
    arguments: str = ""


class _ToolCall(_Lenient):
    function: _Function = _Function()


class _Message(_Lenient):
    """A whole message, or a streamed delta of one. Reasoning is not the answer, and is left where it is."""

    content: str | None = None
    tool_calls: list[_ToolCall] | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _join_parts(cls, value: Any) -> Any:  # Any: as the wire has it
        if isinstance(value, list):
            return "".join(
                part["text"] for part in value if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        return value

    @property
    def answer(self) -> str | None:
        """The answer, wherever it stands."""
        return self.tool_calls[0].function.arguments if self.tool_calls else self.content


class _Choice(_Lenient):
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


def parse_response(response: httpx.Response, content: bytes, *, whole: bool = True) -> tuple[Reply, Fault | None]:
    """The reply, and the fault if it is no answer. `whole`: the body was not cut at `MAX_REPLY_BYTES`."""
    text = content.decode("utf-8", errors="replace")
    streamed = text.lstrip()[:5] == "data:" or response.headers.get("content-type", "").startswith("text/event-stream")
    parts = _split_events(text) if streamed and response.status_code == 200 else [_parse_json(content)]
    objects = [part for part in parts if isinstance(part, dict)]
    choices = [choice for each in objects for choice in _read_choices(each)]
    usages = [usage for each in objects if (usage := _read_usage(each.get("usage")))]
    reply = Reply(
        status=response.status_code,
        body=faults.remove_images(text)[:MAX_KEPT_CHARS],
        content=_join_content(choices),
        finish_reason=next((each.finish_reason for each in reversed(choices) if each.finish_reason is not None), None),
        model=next((each["model"] for each in objects if isinstance(each.get("model"), str)), None),
        usage=usages[-1] if usages and response.status_code == 200 else None,
        request_id=response.headers.get("x-request-id") or _as_text(objects[0].get("id") if objects else None),
    )
    fault = faults.classify_status(response.status_code, response.reason_phrase, response.headers, text)
    broken = len(objects) < len(parts) or any(each.get("error") for each in objects)
    if fault is None and (broken or not choices or not whole):
        fault = _make_no_answer_fault(text, objects, "" if whole else f"longer than {MAX_REPLY_BYTES:,} bytes")
        fault = replace(fault, billed="yes" if reply.usage else "unknown")
    return reply, fault


def _make_no_answer_fault(text: str, objects: list[dict[str, Any]], why: str) -> Fault:
    """The fault of a 200 that is no answer, though part of one may be in it: so only the tables quote it."""
    message = "200 without an answer"
    known = why or next(filter(None, map(faults.find_error_code, objects)), "")
    shown = f"{message}: {known}" if known else message
    return Fault("server_error", "again", shown, server_message=f"{message}: {why or faults.extract_message(text)}")


def parse_stored(body: str, request_id: str | None = None) -> Reply:
    """The reply whose body was kept: an answer, with status 200."""
    reply, _ = parse_response(httpx.Response(200), body.encode())
    return replace(reply, request_id=request_id or reply.request_id)


def _split_events(text: str) -> list[object]:
    """The JSON of every server-sent event that holds an object; pings and the closing `[DONE]` hold none."""
    # Lines end with \n only: JSON may carry the other separators that splitlines() knows.
    lines = (line.removeprefix("data:").strip() for line in text.split("\n") if line.startswith("data:"))
    return [_parse_json(line.encode()) for line in lines if line.startswith("{")]


def _parse_json(content: bytes) -> object:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _read_choices(part: dict[str, Any]) -> list[_Choice]:
    """The first choice of one body or event, if it has any that can be read."""
    try:
        return [_Choice.model_validate(part["choices"][0])]
    except (KeyError, IndexError, TypeError, ValidationError):
        return []


def _join_content(choices: list[_Choice]) -> str | None:
    """The answer, joined from its deltas where it was streamed; None where there is none, as of a model that declines."""
    messages = [message for each in choices if (message := each.message or each.delta)]
    answers = [answer for each in messages if (answer := each.answer) is not None]
    return "".join(answers) if answers else None


def _read_usage(raw: object) -> Usage | None:
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


def _as_text(value: object) -> str | None:
    return value if isinstance(value, str) else None
