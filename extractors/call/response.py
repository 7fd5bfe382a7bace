"""Parses what came back over the wire: from an HTTP response, plain or streamed, to a `Reply` or the fault in it.

No reply raises here: each part that cannot be read is left out by itself, and the rest decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import httpx
import orjson

from extractors.call.error_body import extract_message, has_error, parse_error, parse_json, remove_images
from extractors.call.faults import Fault, classify_error_body, classify_status
from extractors.call.usage import read_usage
from extractors.core import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REPLY_BYTES = 16 * 2**20  # longer than any answer
MAX_KEPT_CHARS = 2**20  # of a body, in the ledger and the tables
_REASONING_PARTS = frozenset({"thinking", "reasoning", "refusal"})

Object = dict[str, object]


@dataclass(frozen=True, slots=True)
class _Message:
    """A whole message, or a streamed delta of one, as far as it can be read."""

    content: str | None = None
    arguments: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


def parse_response(response: httpx.Response, content: bytes, *, whole: bool = True) -> tuple[Reply, Fault | None]:
    """The reply, and the fault if it is no answer. `whole`: the body was not cut at `MAX_REPLY_BYTES`."""
    text = content.decode("utf-8", errors="replace")
    streamed = text.lstrip()[:5] == "data:" or response.headers.get("content-type", "").startswith("text/event-stream")
    streamed = streamed and response.status_code == 200
    parts = _split_events(text) if streamed else [parse_json(content)]
    objects = [part for part in parts if isinstance(part, dict)]
    choices = [choice for each in objects if (choice := _read_choice(each)) is not None]
    reply = _read_reply(response, text, objects, choices)
    if streamed and len(objects) == len(parts) - 1 and parts[-1] is None:
        parts = parts[:-1]  # the event in which the stream broke off
    if streamed:
        reply = replace(reply, ended=reply.finish_reason is not None or "data: [DONE]" in text or "data:[DONE]" in text)
    fault = classify_status(response.status_code, response.reason_phrase, response.headers, text)
    if fault is None:
        problem = "" if whole else f"longer than {MAX_REPLY_BYTES:,} bytes"
        fault = _find_error(response, parts, choices) or _find_absence(reply, parts, choices, problem)
        fault = fault and replace(fault, billed="yes" if reply.usage else fault.billed)
    return reply, fault


def parse_stored(body: str, request_id: str | None = None) -> Reply:
    """The reply whose body was kept: an answer, with status 200."""
    reply, _ = parse_response(httpx.Response(200), body.encode())
    return replace(reply, request_id=request_id or reply.request_id)


def _read_reply(response: httpx.Response, text: str, objects: list[Object], choices: list[Object]) -> Reply:
    messages = [_read_message(choice) for choice in choices]
    arguments = _join(message.arguments for message in messages)
    finish_reasons = [reason for each in choices if (reason := _as_text(each.get("finish_reason"))) is not None]
    usages = [usage for each in (*objects, *choices) if (usage := read_usage(each)) is not None]
    return Reply(
        status=response.status_code,
        body=remove_images(text)[:MAX_KEPT_CHARS],
        content=arguments or _join(message.content for message in messages),
        finish_reason=finish_reasons[-1] if finish_reasons else None,
        model=next((model for each in objects if (model := _as_text(each.get("model"))) is not None), None),
        usage=usages[-1] if usages and response.status_code == 200 else None,
        request_id=response.headers.get("x-request-id") or _as_text(objects[0].get("id") if objects else None),
        reasoning=_join(message.reasoning for message in messages),
        refusal=_join(message.refusal for message in messages),
    )


def _find_error(response: httpx.Response, parts: list[object], choices: list[Object]) -> Fault | None:
    """The fault of an error in the body, in a choice or in a stream of a 200."""
    for each in (*parts, *choices):
        if has_error(each) or (not choices and parse_error(each).status):
            fault = classify_error_body(each, response.headers)
            refused = not choices and fault.outcome not in {"server_error", "capacity"}
            return fault if refused else replace(fault, billed="unknown")
    return None


def _find_absence(reply: Reply, parts: list[object], choices: list[Object], problem: str) -> Fault | None:
    """The fault of a 200 in which there is no answer. Part of one may be in it: only the tables quote it."""
    if not problem and choices and all(isinstance(part, dict) for part in parts):
        return None
    if not problem and not reply.ended and not choices:
        return Fault("connection", "retry", "the stream broke off before an answer", billed="unknown")
    message = "200 without an answer"
    shown = f"{message}: {problem}" if problem else message
    quoted = f"{message}: {problem or extract_message(reply.body)}"
    return Fault("server_error", "retry", shown, billed="unknown", server_message=quoted)


def _split_events(text: str) -> list[object]:
    """The JSON of every server-sent event that holds an object; pings and the closing `[DONE]` hold none."""
    # Lines end with \n only: JSON may carry the other separators that splitlines() splits at.
    lines = (line.removeprefix("data:").strip() for line in text.split("\n") if line.startswith("data:"))
    return [parse_json(line) for line in lines if line.startswith("{")]


def _read_choice(part: Object) -> Object | None:
    """The first choice of one body or event, if it has one."""
    choices = part.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return None
    places = (first.get("message"), first.get("delta"), first.get("error"))
    return first if any(isinstance(each, dict) for each in places) or isinstance(first.get("text"), str) else None


def _read_message(choice: Object) -> _Message:
    message = choice.get("message") or choice.get("delta")
    if not isinstance(message, dict):
        return _Message(content=_as_text(choice.get("text")))
    parts = message.get("content")
    return _Message(
        content=_as_json_text(_join_parts(parts) if isinstance(parts, list) else parts),
        arguments=_read_arguments(message),
        reasoning=_as_text(message.get("reasoning_content")) or _as_text(message.get("reasoning")),
        refusal=_as_text(message.get("refusal")) or (_join_refusals(parts) if isinstance(parts, list) else None),
    )


def _read_arguments(message: Object) -> str | None:
    """The arguments of the first call of a tool: JSON text, or an object."""
    calls = message.get("tool_calls")
    first = calls[0] if isinstance(calls, list) and calls else None
    if isinstance(first, dict) and first.get("index") not in {None, 0}:
        return None  # streamed: the second call
    function = first.get("function") if isinstance(first, dict) else message.get("function_call")
    return _as_json_text(function.get("arguments")) if isinstance(function, dict) else None


def _join_parts(parts: list[object]) -> str | None:
    """The text of content that is given as a list, without the parts that are reasoning."""
    texts = [
        text
        for part in parts
        if isinstance(part, dict) and part.get("type") not in _REASONING_PARTS and (text := _as_text(part.get("text")))
    ]
    return "".join(texts) if texts else None


def _join_refusals(parts: list[object]) -> str | None:
    return _join(_as_text(part.get("refusal")) for part in parts if isinstance(part, dict))


def _join(texts: Iterable[str | None]) -> str | None:
    """The texts as one, None without any text."""
    present = [text for text in texts if text is not None]
    return "".join(present) if present else None


def _as_text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _as_json_text(value: object) -> str | None:
    """Text as it is, and an object as the JSON that it was."""
    return orjson.dumps(value).decode() if isinstance(value, dict) else _as_text(value)
