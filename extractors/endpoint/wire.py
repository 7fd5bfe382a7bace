"""Parse the part of a request's body that the endpoint uses into a `ChatRequest`, or raise a `RequestError`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from extractors.endpoint.fill.json_schema import Schema
from extractors.endpoint.ocr.picture import Picture, extract_images, parse_mark, parse_picture
from extractors.endpoint.refusal import RequestError

if TYPE_CHECKING:
    from extractors.endpoint.tokens import Form

MOST_ALTERNATIVES = 20


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What one request asks for: pictures, the schema to fill (None: just the words), and how to answer."""

    pictures: tuple[Picture, ...]
    schema: Schema | None
    tool: str | None  # the function's name, when the schema came as a tool
    text_tokens: int
    max_tokens: int | None
    stream: bool
    logprobs: Form | None = None
    alternatives: int = 0  # how many log probabilities a token gets


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class _ImageUrl(_Wire):
    url: str


class _Block(_Wire):
    type: str
    text: str = ""
    image_url: _ImageUrl | str | None = None

    @property
    def url(self) -> str | None:
        """The URL of a picture; None for other blocks."""
        if self.type != "image_url":
            return None
        return self.image_url.url if isinstance(self.image_url, _ImageUrl) else self.image_url


class _Message(_Wire):
    role: str
    content: str | list[_Block] | None = None

    def blocks(self) -> list[_Block]:
        if isinstance(self.content, list):
            return self.content
        return [_Block(type="text", text=self.content or "")]


class _Function(_Wire):
    name: str
    parameters: Schema = Field(default_factory=dict)


class _Tool(_Wire):
    function: _Function


class _Format(_Wire):
    type: str
    json_schema: Schema | None = None
    flat: Schema | None = Field(default=None, alias="schema")  # the older form, without a name

    def find_schema(self) -> Schema | None:
        if self.json_schema is not None and isinstance(self.json_schema.get("schema"), dict):
            return dict(self.json_schema["schema"])
        return self.flat


class _Request(_Wire):
    messages: list[_Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stream: bool = False
    logprobs: StrictBool | Annotated[StrictInt, Field(ge=0, le=MOST_ALTERNATIVES)] | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MOST_ALTERNATIVES)
    response_format: _Format | None = None
    tools: list[_Tool] = Field(default_factory=list)

    @property
    def form(self) -> Form | None:
        """How log probabilities are asked for: by a number as at Together, or by `true`."""
        if isinstance(self.logprobs, bool) or self.logprobs is None:
            return "entries" if self.logprobs else None
        return "lists"

    @cached_property
    def blocks(self) -> list[_Block]:
        return [block for message in self.messages for block in message.blocks()]


def parse_request(body: bytes) -> ChatRequest:
    """Parse a request's body. Raises Refusal."""
    request, pieces = _parse_body(body)
    texts = [block.text for block in request.blocks if block.type == "text"]
    tool = request.tools[0].function if request.tools else None
    return ChatRequest(
        pictures=tuple(parse_picture(_image_url(block), pieces) for block in request.blocks if block.type != "text"),
        schema=tool.parameters if tool else _find_schema(request, texts),
        tool=tool.name if tool else None,
        text_tokens=count_tokens("".join(texts)),
        max_tokens=request.max_tokens or request.max_completion_tokens,
        stream=request.stream,
        logprobs=request.form,
        alternatives=int(request.logprobs or 0) if request.form == "lists" else request.top_logprobs or 0,
    )


def count_tokens(text: str) -> int:
    """The tokens that this endpoint counts for a text: four UTF-8 bytes each."""
    return math.ceil(len(text.encode()) / 4)


def _parse_body(body: bytes) -> tuple[_Request, list[memoryview]]:
    """The request, without the pictures' data if it could be extracted; parsed as a whole if a text contains a mark."""
    small, pieces = extract_images(body)
    request = _validate_request(small)
    marks = [parse_mark(block.url.partition(",")[2]) for block in request.blocks if block.url is not None]
    if all(mark in marks for mark in range(len(pieces))):
        return request, pieces
    return _validate_request(body), []


def _validate_request(body: bytes) -> _Request:
    try:
        return _Request.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError:
        raise RequestError("the body is not JSON", code="not_json") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        param = ".".join(str(step) for step in first["loc"])
        raise RequestError(f"{param or 'the body'}: {first['msg']}", param=param or None, code=first["type"]) from None


def _image_url(block: _Block) -> str:
    if block.url is None:
        raise RequestError("content blocks are text or image_url here", param="messages", code="content_not_supported")
    return block.url


def _find_schema(request: _Request, texts: list[str]) -> Schema | None:
    given = request.response_format.find_schema() if request.response_format else None
    return (
        given if given is not None else next((found for text in texts if (found := _find_schema_in_text(text))), None)
    )


def _find_schema_in_text(text: str) -> Schema | None:
    """The first JSON schema in a prompt, for modes that send it as text."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            value, _ = decoder.raw_decode(text, start)
        except ValueError:
            value = None
        if isinstance(value, dict) and isinstance(value.get("properties"), dict):
            return value
        start = text.find("{", start + 1)
    return None
