"""The readers: they answer a `ChatRequest` by OCR of its pictures, or by an echo of its schema."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import orjson

from extractors.endpoint.answer import Answer, EchoCertainty, OcrCertainty, write_document, write_text
from extractors.endpoint.fill.echo import build_instance
from extractors.endpoint.fill.fill import fill_schema
from extractors.endpoint.ocr.read import Ocr

if TYPE_CHECKING:
    from extractors.endpoint.ocr.words import OcrDocument
    from extractors.endpoint.wire import ChatRequest

NAMES = ("ocr", "echo")
_CACHED_SCHEMAS = 64  # schemas with a cached echo


class Reader(Protocol):
    """Answers requests under one model's name."""

    model: str

    async def answer(self, ask: ChatRequest) -> Answer:
        """The answer: a JSON document if the request has a schema, else text."""


class OcrReader:
    """Reads the pictures and fills the schema from their words."""

    model = "offline/rapidocr"

    def __init__(self, ocr: Ocr | None = None) -> None:
        self._ocr = ocr or Ocr()

    async def answer(self, ask: ChatRequest) -> Answer:
        """Without a schema: the lines that were read."""
        return await self._ocr.read(ask.pictures, partial(_build_answer, ask))


class EchoReader:
    """Answers with the smallest instance of the schema; pictures are billed and not read."""

    model = "offline/echo"

    def __init__(self) -> None:
        self._answers: dict[bytes, Answer] = {}

    async def answer(self, ask: ChatRequest) -> Answer:
        """Without a schema: the word "echo"."""
        if ask.schema is None:
            return write_text("echo", EchoCertainty())
        key = orjson.dumps(ask.schema)
        if key not in self._answers:
            if len(self._answers) >= _CACHED_SCHEMAS:
                self._answers.clear()
            self._answers[key] = write_document(build_instance(ask.schema), ask.schema, EchoCertainty())
        return self._answers[key]


def create_reader(name: str) -> Reader:
    """The reader with this name, one of `NAMES`. Raises ValueError."""
    if name not in NAMES:
        raise ValueError(f"{name!r} is not a reader: use {' or '.join(NAMES)}")
    return OcrReader() if name == "ocr" else EchoReader()


def _build_answer(ask: ChatRequest, document: OcrDocument) -> Answer:
    """The answer of the words; with log probabilities only where they are asked for."""
    if ask.schema is None:
        text = "\n".join(document.texts)
        return write_text(text, OcrCertainty(document)) if ask.logprobs else Answer(text)
    value = fill_schema(ask.schema, document)
    if ask.logprobs:
        return write_document(value, ask.schema, OcrCertainty(document))
    return Answer(orjson.dumps(value).decode())
