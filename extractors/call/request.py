"""Builds the request's body from bytes: the constant part of a run is encoded once, images are never re-encoded.

The constant text stands before the images, so that a server can cache it as a prefix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.call.profiles import Profile
    from extractors.core.schema import Schema


Mode = Literal["json_schema", "json_object", "tools", "prompt"]
_TAIL = 20  # bytes at the end of a request in which it asks for log probabilities


class Feedback(NamedTuple):
    """An answer that was not accepted and its errors, for the next request about the same images."""

    answer: str
    errors: str

    @property
    def text(self) -> str:
        """The text of the next question."""
        return f"That answer was not accepted: {self.errors}\nAnswer again, only in JSON that follows the JSON schema."

    @property
    def bytes(self) -> int:
        """The UTF-8 bytes that this adds to a request."""
        return len(self.answer.encode()) + len(self.text.encode())


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """The options of a request: how the answer is constrained to the JSON schema, and whether it is streamed."""

    mode: Mode = "json_schema"
    stream: bool = False
    temperature: float = 0.0
    reasoning: bool = False


class RequestTemplate:
    """The request of one run, without its images and its `max_tokens`."""

    def __init__(self, schema: Schema, *, ask: str, model: str, profile: Profile, style: RequestOptions) -> None:
        """`ask` is the question beside the images; the JSON schema is in the prompt in every mode."""
        self._profile = profile
        options: dict[str, object] = {"model": model, "temperature": style.temperature, "stream": style.stream}
        if style.stream:
            options["stream_options"] = {"include_usage": True}
        if not style.reasoning:
            options |= profile.reasoning_off
        options |= _build_schema_options(schema, style.mode, flat=profile.flat_schema)
        system = orjson.dumps({"role": "system", "content": schema.prompt})
        question = orjson.dumps({"type": "text", "text": ask})
        self._logprobs = b',"logprobs":' + orjson.dumps(profile.logprobs)
        self._head = orjson.dumps(options)[:-1] + b',"messages":[' + system + b',{"role":"user","content":[' + question

    def body(
        self, blocks: Sequence[bytes], max_tokens: int, feedback: Feedback | None = None, *, logprobs: bool = False
    ) -> RequestBody:
        """Builds the whole request for these image blocks; `logprobs`: it asks for log probabilities."""
        turns = b""
        if feedback:
            exchange = {"role": "assistant", "content": feedback.answer}, {"role": "user", "content": feedback.text}
            turns = b"," + b",".join(orjson.dumps(turn) for turn in exchange)
        limit = b'],"%s":%d' % (self._profile.max_tokens.encode(), max_tokens)
        end = self._logprobs + b"}" if logprobs else b"}"
        separated = [part for block in blocks for part in (b",", block)]
        head = self._head + b"".join(separated[:1])  # sent together: a packet less
        return RequestBody(head, *separated[1:], b"".join((b"]}", turns, limit, end)))


class RequestBody:
    """The bytes of a request in parts: an image is sent from the block that was prepared, without a copy of it."""

    def __init__(self, *parts: bytes) -> None:
        """The last part is the end of the request, in which it asks for log probabilities."""
        self.parts = parts

    @property
    def size(self) -> int:
        """The bytes of all parts."""
        return sum(map(len, self.parts))

    @property
    def asks_logprobs(self) -> bool:
        """Whether this request asks for log probabilities."""
        return b',"logprobs":' in self.parts[-1][-_TAIL:]

    def without_logprobs(self) -> RequestBody:
        """The same request, which does not ask for log probabilities."""
        if not self.asks_logprobs:
            return self
        *parts, end = self.parts
        return RequestBody(*parts, end[: end.rindex(b',"logprobs":')] + b"}")


def _build_schema_options(schema: Schema, mode: Mode, *, flat: bool) -> dict[str, object]:
    """Builds the part of a request that constrains the answer to the JSON schema; `prompt` relies on the prompt alone."""
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", schema.name)[:64]
    if mode == "json_schema":
        named = {"name": name, "schema": schema.constraint, "strict": schema.strict}
        constraint = {"type": "json_schema", "json_schema": named}
        return {"response_format": constraint | ({"schema": schema.constraint} if flat else {})}
    if mode == "json_object":
        return {"response_format": {"type": "json_object"}}
    if mode == "tools":
        function = {"name": name, "description": "Gives the document that was read.", "parameters": schema.wire}
        choice = {"type": "function", "function": {"name": name}}
        return {"tools": [{"type": "function", "function": function}], "tool_choice": choice}
    return {}
