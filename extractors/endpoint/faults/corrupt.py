"""Corrupt a complete answer as drawn: wrong shape, prose or a fence around it, no content, no usage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

    from extractors.endpoint.chat_response import ChatResponse
    from extractors.endpoint.faults.spec import Draw
    from extractors.endpoint.wire import ChatRequest

_PROSE = (
    "I am sorry, but I cannot make out enough of this picture.",
    "The picture shows a document. Its upper part is sharp, its lower part is not. Shall I go on?",
)
_THOUGHT = 'It may be {"total": 0}, or {"a": [1, 2}. No: look again.'


def corrupt_response(
    draw: Draw, ask: ChatRequest, answer: str, respond: Callable[[ChatRequest, str], ChatResponse]
) -> ChatResponse:
    """The response to `ask`, corrupted as drawn. `respond` builds, cuts and bills the response of a text."""
    plain_ask = replace(ask, tool=None)  # for words that are not the arguments of a call
    match draw.kind:
        case "truncated":
            cut = respond(ask, answer[: int(len(answer) * (0.1 + 0.8 * draw.way))])
            return cut if draw.pick("length", "length", "stop") == "stop" else replace(cut, finish_reason="length")
        case "off_schema":
            return respond(ask, _replace_value(answer, draw))
        case "prose":
            return respond(plain_ask, draw.pick(*_PROSE))
        case "fenced":
            name = "json" if ask.schema is not None else ""
            return respond(
                plain_ask, f"<think>{_THOUGHT}</think>\n\nHere it is:\n\n```{name}\n{answer}\n```\n\nAnything else?"
            )
        case "empty":
            return replace(respond(plain_ask, _THOUGHT), text=None)
        case "no_usage":
            return replace(respond(ask, answer), has_usage=False)
        case _:
            return respond(ask, answer)


def _replace_value(answer: str, draw: Draw) -> str:
    """JSON that does not fit the schema: every value in two lists, or a list of the names."""
    try:
        values: Any = orjson.loads(answer)
    except orjson.JSONDecodeError:
        values = answer
    if isinstance(values, dict) and values and draw.pick("deep", "flat") == "deep":
        return orjson.dumps({name: [[value]] for name, value in values.items()}).decode()
    return orjson.dumps(list(values) if isinstance(values, dict) else [values]).decode()
