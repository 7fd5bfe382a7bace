"""Parses what came back over the wire: from an HTTP response, plain or streamed, to a `Reply` or the fault in it.

No reply raises here: each part that cannot be read is left out by itself, and the rest decides.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import httpx

from extractors.call.error_body import extract_message, has_error, parse_error, parse_json, remove_images
from extractors.call.logprobs import clean_constants, read_logprobs, remove_logprobs
from extractors.call.usage import read_usage
from extractors.core import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from extractors.call.faults import Fault
    from extractors.core.calls import TokenLogprobs

MAX_REPLY_BYTES = 16 * 2**20  # longer than any answer
MAX_KEPT_CHARS = 2**20  # of a body, in the ledger and the tables
_REASONING_PARTS = frozenset({"thinking", "reasoning", "refusal"})
# Finish reasons of a server that gave up: what there is of an answer is a part.
_BROKEN_OFF = frozenset(
    {"error", "abort", "aborted", "cancelled", "canceled", "insufficient_system_resource", "timeout"}
)
_CHOICE_NAMES = frozenset({"index", "message", "finish_reason", "stop_reason", "logprobs", "seed"})
_OBJECT_ANSWER = re.compile(r'"(?:arguments|content)"\s*:\s*\{')
_MARK = "\ue000"  # of private use: around the text of a number
_MARKED = re.compile(f'"{_MARK}([^"{_MARK}]*){_MARK}"')
_EVENT_START = re.compile(r"\ufeff?\s*(?::|data:|event:|id:|retry:)")

Object = dict[str, object]


@dataclass(frozen=True, slots=True)
class _Message:
    """A whole message, or a streamed delta of one, as far as it can be read."""

    content: str | None = None
    arguments: dict[int, str] = field(default_factory=dict)  # by the number of the tool's call
    reasoning: str | None = None
    refusal: str | None = None


def parse_response(response: httpx.Response, content: bytes, *, whole: bool = True) -> tuple[Reply, Fault | None]:
    """The reply, and the fault if it is no answer. `whole`: the body was not cut at `MAX_REPLY_BYTES`."""
    content = clean_constants(content)
    text = content.decode("utf-8", errors="replace")
    streamed = response.status_code == 200 and _is_stream(response, text)
    parts = _split_events(content) if streamed else [parse_json(content)]
    objects = [part for part in parts if isinstance(part, dict)]
    choices = [choice for each in objects if (choice := _read_choice(each)) is not None]
    reply = _read_reply(response, text, objects, choices)
    if streamed and len(objects) == len(parts) - 1 and parts[-1] is None:
        parts = parts[:-1]  # the event in which the stream broke off
    if streamed:
        reply = replace(reply, ended=reply.finish_reason is not None or "data: [DONE]" in text or "data:[DONE]" in text)
    if (reply.finish_reason or "").lower() in _BROKEN_OFF:
        reply = replace(reply, ended=False)
    fault = None if response.status_code == 200 else _classify_status(response, text)
    if fault is None:
        problem = "" if whole else f"longer than {MAX_REPLY_BYTES:,} bytes"
        fault = _find_error(response, parts, choices) or _find_absence(reply, parts, choices, problem)
        fault = fault and replace(fault, billed="yes" if reply.usage else fault.billed)
    return reply, fault


def _classify_status(response: httpx.Response, text: str) -> Fault | None:
    from extractors.call.faults import classify_status  # noqa: PLC0415 - most replies are answers

    return classify_status(response.status_code, response.reason_phrase, response.headers, text)


def _is_stream(response: httpx.Response, text: str) -> bool:
    """Whether the body is a stream of events: some servers ignore `stream` and send one JSON object."""
    if _EVENT_START.match(text):
        return True
    whole = text.lstrip("\ufeff \t\r\n").startswith("{")
    return not whole and response.headers.get("content-type", "").startswith("text/event-stream")


def parse_stored(body: str, request_id: str | None = None, logprobs: TokenLogprobs | None = None) -> Reply:
    """The reply whose body was kept, and its tokens: an answer, with status 200."""
    reply, _ = parse_response(httpx.Response(200), body.encode())
    return replace(reply, request_id=request_id or reply.request_id, logprobs=logprobs or reply.logprobs)


def _read_reply(response: httpx.Response, text: str, objects: list[Object], choices: list[Object]) -> Reply:
    messages = [_read_message(choice) for choice in _read_exact_choices(text) or choices]
    arguments = _join_arguments(messages)
    finish_reasons = [reason for each in choices if (reason := _as_text(each.get("finish_reason"))) is not None]
    logprobs = read_logprobs(choices)
    kept = text if logprobs is None else remove_logprobs(text, objects)
    usages = [usage for each in (*objects, *choices) if (usage := read_usage(each)) is not None]
    return Reply(
        status=response.status_code,
        body=remove_images(kept)[:MAX_KEPT_CHARS],
        content=arguments or _join(message.content for message in messages),
        finish_reason=finish_reasons[-1] if finish_reasons else None,
        model=next((model for each in objects if (model := _as_text(each.get("model"))) is not None), None),
        usage=usages[-1] if usages and response.status_code == 200 else None,
        request_id=response.headers.get("x-request-id") or _as_text(objects[0].get("id") if objects else None),
        reasoning=_join(message.reasoning for message in messages),
        refusal=_join(message.refusal for message in messages),
        logprobs=logprobs,
    )


def _find_error(response: httpx.Response, parts: list[object], choices: list[Object]) -> Fault | None:
    """The fault of an error in the body, in a choice or in a stream of a 200."""
    for each in (*parts, *choices):
        if has_error(each) or _is_bare_error(each, choices):
            from extractors.call.faults import classify_error_body  # noqa: PLC0415 - most replies are answers

            fault = classify_error_body(each, response.headers)
            refused = not choices and fault.outcome not in {"server_error", "capacity"}
            return fault if refused else replace(fault, billed="unknown")
    return None


def _is_bare_error(part: object, choices: list[Object]) -> bool:
    """Whether this body or event is an error without a frame: words and a status, or words where no answer is."""
    if not isinstance(part, dict) or "choices" in part or "delta" in part:
        return False
    if (
        isinstance(part.get("message"), dict) and part.keys() <= _CHOICE_NAMES
    ):  # an ordinary choice: nothing says an error
        return False
    error = parse_error(part)
    return error.message is not None and (error.status is not None or not choices)


def _find_absence(reply: Reply, parts: list[object], choices: list[Object], problem: str) -> Fault | None:
    """The fault of a 200 in which there is no answer. Part of one may be in it: only the tables quote it."""
    if not problem and choices and all(isinstance(part, dict) for part in parts):
        return None
    from extractors.call.faults import Fault  # noqa: PLC0415 - most replies are answers

    if not problem and not reply.ended and not choices:
        return Fault("connection", "retry", "the stream broke off before an answer", billed="unknown")
    message = "200 without an answer"
    shown = f"{message}: {problem}" if problem else message
    quoted = f"{message}: {problem or extract_message(reply.body)}"
    return Fault("server_error", "retry", shown, billed="unknown", server_message=quoted)


def _split_events(content: bytes) -> list[object]:
    """The JSON of every server-sent event that holds an object; pings and the closing `[DONE]` hold none.

    Bytes that are no UTF-8 are no JSON: replaced by a sign they would be wrong text in a row.
    """
    # Not splitlines(): JSON may carry the other separators that it splits at.
    lines = re.split(rb"[\r\n]+", content.removeprefix(b"\xef\xbb\xbf"))
    data = (line.removeprefix(b"data:").strip() for line in lines if line.startswith(b"data:"))
    return [parse_json(line) for line in data if line.startswith((b"{", b"[{"))]


def _read_choice(part: Object) -> Object | None:
    """The first choice of one body or event, if it has one."""
    choices = part.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return None
    index = first.get("index")
    if isinstance(index, int) and index != 0:  # another choice; an odd index tells nothing
        return None
    places = (first.get("message"), first.get("delta"), first.get("error"))
    texts = (first.get("text"), first.get("finish_reason"))
    known = any(isinstance(each, dict) for each in places) or any(isinstance(each, str) for each in texts)
    return first if known else None


def _read_exact_choices(text: str) -> list[Object]:
    """The choice of a body whose answer is an object and no text, with each number as marked text: no digit is rounded."""
    if not _OBJECT_ANSWER.search(text):
        return []
    try:
        body = json.loads(text, parse_int=_mark_number, parse_float=_mark_number)
    except (ValueError, RecursionError):
        return []
    choices = body.get("choices") if isinstance(body, dict) else None
    return [choices[0]] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else []


def _mark_number(text: str) -> str:
    return f"{_MARK}{text}{_MARK}"


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


def _read_arguments(message: Object) -> dict[int, str]:
    """The arguments of each call of a tool by its number: JSON text, or an object. Deltas of one call have one number."""
    calls = message.get("tool_calls")
    listed = calls if isinstance(calls, list) and calls else [{"function": message.get("function_call")}]
    arguments: dict[int, str] = {}
    for place, call in enumerate(listed):
        function = call.get("function") if isinstance(call, dict) else None
        text = _as_json_text(function.get("arguments")) if isinstance(function, dict) else None
        if text is not None:
            index = call.get("index")
            number = index if isinstance(index, int) else place
            arguments[number] = arguments.get(number, "") + text
    return arguments


def _join_arguments(messages: list[_Message]) -> str | None:
    """The arguments of all calls, which count only where they are one document; None where they say nothing."""
    arguments: defaultdict[int, str] = defaultdict(str)
    for message in messages:
        for number, text in message.arguments.items():
            arguments[number] += text
    content = any((message.content or "").strip() for message in messages)
    joined = "\n".join(text for _, text in sorted(arguments.items()))
    return joined if joined.strip() not in ({"", "{}"} if content else {""}) else None


def _join_parts(parts: list[object]) -> str | None:
    """The text of content that is given as a list, without the parts that are reasoning."""
    return _join(_read_part(part) for part in parts)


def _read_part(part: object) -> str | None:
    if isinstance(part, dict):
        return _as_text(part.get("text")) if part.get("type") not in _REASONING_PARTS else None
    return _as_text(part)


def _join_refusals(parts: list[object]) -> str | None:
    return _join(_as_text(part.get("refusal")) for part in parts if isinstance(part, dict))


def _join(texts: Iterable[str | None]) -> str | None:
    """The texts as one, None without any text."""
    present = [text for text in texts if text is not None]
    return "".join(present) if present else None


def _as_text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _as_json_text(value: object) -> str | None:
    """Text as it is, and an object or a list as the JSON that it was."""
    if not isinstance(value, dict | list):
        return _as_text(value)
    return _MARKED.sub(r"\1", json.dumps(value, ensure_ascii=False, separators=(",", ":")))
