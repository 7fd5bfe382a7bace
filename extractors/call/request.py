"""The request's body, joined from bytes: what is constant for a run is encoded once, the images are never re-encoded.

The constant text stands before the images, so that a server can cache it as a prefix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.call.profile import Profile
    from extractors.schema import Schema


class Feedback(NamedTuple):
    """The answer that was not accepted and what was wrong with it, for the next request about the same images."""

    answer: str
    errors: str

    @property
    def text(self) -> str:
        """The words of the next question."""
        return f"That answer was not accepted: {self.errors}\nAnswer again, only in JSON that follows the JSON schema."

    @property
    def bytes(self) -> int:
        """UTF-8 bytes that this adds to a request."""
        return len(self.answer.encode()) + len(self.text.encode())


class Form:
    """The request of one run, but for its images and its `max_tokens`."""

    def __init__(self, schema: Schema, *, ask: str, model: str, profile: Profile, sampling: dict[str, object]) -> None:
        """`ask` is the question beside the images; `sampling` holds temperature and reasoning ('on' or 'off')."""
        self._profile = profile
        options: dict[str, object] = {"model": model, "temperature": sampling["temperature"], "stream": False}
        if sampling["reasoning"] == "off":
            options |= profile.reasoning_off
        options["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": schema.name[:64], "schema": schema.wire, "strict": True},
        }
        system = orjson.dumps({"role": "system", "content": schema.prompt})
        question = orjson.dumps({"type": "text", "text": ask})
        self._head = (
            orjson.dumps(options)[:-1] + b',"messages":[' + system + b',{"role":"user","content":[' + question + b","
        )

    def body(self, blocks: Sequence[bytes], max_tokens: int, feedback: Feedback | None = None) -> bytes:
        """The whole request for these image blocks."""
        turns = b""
        if feedback:
            said = {"role": "assistant", "content": feedback.answer}, {"role": "user", "content": feedback.text}
            turns = b"," + b",".join(orjson.dumps(turn) for turn in said)
        limit = b'],"%s":%d}' % (self._profile.max_tokens.encode(), max_tokens)
        return b"".join((self._head, b",".join(blocks), b"]}", turns, limit))
