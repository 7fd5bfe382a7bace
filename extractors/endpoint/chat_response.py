"""A chat response: one completion, or the same as server-sent events, billed by a rule."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from extractors.endpoint.tokens import format_logprobs, group_tokens, split_tokens
from extractors.endpoint.wire import ChatRequest, count_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extractors.core.tiles import Rule
    from extractors.endpoint.answer import Answer
    from extractors.endpoint.tokens import Form, Token

_DELTA = 120  # characters per chunk


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """An answer with its usage."""

    model: str
    text: str | None  # None: without content
    finish_reason: str
    tool: str | None
    prompt_tokens: int
    completion_tokens: int
    has_usage: bool = True  # whether the response has `usage`
    tokens: tuple[Token, ...] | None = None  # None: without log probabilities
    form: Form = "entries"
    alternatives: int = 0

    def to_json(self) -> bytes:
        """The response as one JSON body."""
        message = {"role": "assistant", **self._content(self.text)}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": self._logprobs(self.tokens),
            "finish_reason": self.finish_reason,
        }
        usage = {"usage": self._usage()} if self.has_usage else {}
        return orjson.dumps({**self._head("chat.completion"), "choices": [choice], **usage})

    def iter_events(self) -> Iterator[bytes]:
        """The response as server-sent events; `usage` is in the chunk with the finish reason."""
        head = self._head("chat.completion.chunk")
        opening = {"role": "assistant", "content": None if self.text is None else ""}
        yield _event({**head, "choices": [_delta(opening)], "usage": None})
        for place, (text, tokens) in enumerate(self._iter_deltas()):
            logprobs = {} if tokens is None else {"logprobs": self._logprobs(tokens)}
            choice = _delta(self._content(text, first=place == 0)) | logprobs
            yield _event({**head, "choices": [choice], "usage": None})
        yield _event(
            {**head, "choices": [_delta({}, self.finish_reason)], "usage": self._usage() if self.has_usage else None}
        )
        yield b"data: [DONE]\n\n"

    def _iter_deltas(self) -> Iterator[tuple[str, Sequence[Token] | None]]:
        """The text of each chunk, with its tokens."""
        text = self.text or ""
        if self.tokens is None:
            yield from ((text[start : start + _DELTA], None) for start in range(0, len(text), _DELTA))
            return
        for tokens in group_tokens(self.tokens, _DELTA):
            yield b"".join(token.raw for token in tokens).decode(), tokens

    def _logprobs(self, tokens: Sequence[Token] | None) -> dict[str, Any] | None:
        return None if tokens is None else format_logprobs(tokens, self.form, self.alternatives)

    def _content(self, text: str | None, *, first: bool = True) -> dict[str, Any]:
        if self.tool is None:
            return {"content": text}
        function = {"name": self.tool, "arguments": text} if first else {"arguments": text}
        call = {"index": 0, "id": "call_0", "type": "function"} if first else {"index": 0}
        return {"content": None, "tool_calls": [{**call, "function": function}]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"offline-{uuid.uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": self.model,
        }

    def _usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


def build_response(ask: ChatRequest, answer: str, model: str, rule: Rule) -> ChatResponse:
    """Cut the answer to `max_tokens` and bill the request: pictures by the rule, text by its bytes."""
    text, finish_reason = answer, "stop" if ask.tool is None else "tool_calls"
    if ask.max_tokens is not None and count_tokens(answer) > ask.max_tokens:
        text, finish_reason = answer.encode()[: ask.max_tokens * 4].decode(errors="ignore"), "length"
    return ChatResponse(
        model=model,
        text=text,
        finish_reason=finish_reason,
        tool=ask.tool,
        prompt_tokens=ask.text_tokens + sum(rule.tokens(picture.size) for picture in ask.pictures),
        completion_tokens=count_tokens(text),
    )


def add_logprobs(response: ChatResponse, ask: ChatRequest, answer: Answer) -> ChatResponse:
    """The response with the log probabilities of its tokens, if the request asks for them."""
    if ask.logprobs is None:
        return response
    tokens = split_tokens(response.text or "", answer, ask.logprobs)
    return replace(response, tokens=tokens, form=ask.logprobs, alternatives=ask.alternatives)


def _delta(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
