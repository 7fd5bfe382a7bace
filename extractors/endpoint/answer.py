"""An answer and the log probability of each of its characters, of which those of its tokens are made.

The text of a document is written here only where log probabilities are asked for; it is the same as without them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from extractors.endpoint.fill.contest import Contest, judge_contest
from extractors.endpoint.fill.json_schema import Field, build_field
from extractors.endpoint.fill.kinds import kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.endpoint.ocr.words import Document
    from extractors.endpoint.wire import Schema

_LEAST = 1e-6  # a probability of 0 has no logarithm
_RUNS = re.compile(r"[^\W_]+|[\W_]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of an answer. `logprobs` has a number a character, or none; `base` is that of any other character."""

    text: str
    logprobs: Sequence[float] = ()
    base: float = 0.0

    def spread(self, text: str) -> list[float]:
        """The log probabilities of the characters of a text in which this answer stands, whole or cut."""
        if self.text.startswith(text):
            return list(self.logprobs[: len(text)])
        start = text.find(self.text)
        if start < 0:
            return [self.base] * len(text)
        rest = len(text) - start - len(self.text)
        return [*[self.base] * start, *self.logprobs, *[self.base] * rest]


class Certainty(Protocol):
    """How sure a reader is of what it answers."""

    base: float

    def decided(self, field: Field, parent: str | None, *, null: bool) -> float:
        """The probability of null, or of a value, as it was decided; `parent` is the object around, None in a list."""

    def chosen(self, field: Field, parent: str | None) -> float:
        """The probability that it is this value and not another, if it has one."""

    def spell(self, text: str) -> list[float]:
        """The log probability of each character of a value."""


class OcrCertainty:
    """By the scores of the words in which a value was read, and by how contested its finding was."""

    def __init__(self, document: Document) -> None:
        self._document = document
        words = [word for line in document.lines for word in line.words]
        self._words = [("".join(filter(str.isalnum, word.text)).casefold(), word.score) for word in words]
        self._contests: dict[str, Contest | None] = {}
        self._mean = sum(word.score for word in words) / len(words) if words else 1.0
        self.base = _log(self._mean)

    def decided(self, field: Field, parent: str | None, *, null: bool) -> float:
        """Without candidates it is as sure as the words are well read: one may have been overlooked."""
        contest = self._judge(field, parent)
        if contest is None or not contest.present:
            return self._mean
        return 1 - contest.present if null else contest.present

    def chosen(self, field: Field, parent: str | None) -> float:
        """Beside the other candidates."""
        contest = self._judge(field, parent)
        return 1.0 if contest is None else contest.chosen

    def spell(self, text: str) -> list[float]:
        """The score of a word is the mean probability of its characters; what separates words is sure."""
        logprobs: list[float] = []
        for run in _RUNS.findall(text):
            logprobs += [_log(self._score(run)) if run[0].isalnum() else 0.0] * len(run)
        return logprobs

    def _judge(self, field: Field, parent: str | None) -> Contest | None:
        """The contest of a field; in a list each row has its own, which is not known."""
        if parent is None:
            return None
        kind = kind_of(field, parent)
        if kind not in self._contests:
            self._contests[kind] = judge_contest(kind, self._document)
        return self._contests[kind]

    def _score(self, run: str) -> float:
        """The best score of a word that holds these characters; the mean for what stands on no page as it is written."""
        wanted = run.casefold()
        return max((score for word, score in self._words if wanted in word), default=self._mean)


class EchoCertainty:
    """By the number of ways that the schema leaves: it is all that an echo knows."""

    base = 0.0

    def decided(self, field: Field, parent: str | None, *, null: bool) -> float:
        """A null is one more way."""
        del parent
        return (1 if null else len(field.ways)) / (len(field.ways) + 1)

    def chosen(self, field: Field, parent: str | None) -> float:
        """One of its choices, or of its types."""
        del parent
        boolean = 2 if field.branch_of("boolean") else 1
        return 1 / max(len(field.choices), len(field.ways), boolean)

    def spell(self, text: str) -> list[float]:
        """No character is in doubt."""
        return [0.0] * len(text)


def write_document(value: Any, schema: Schema, certainty: Certainty) -> Answer:
    """The JSON of a document, as orjson writes it, with the log probability of each character."""
    writer = _Writer(certainty)
    writer.write(value, build_field("", schema, schema), "")
    return Answer("".join(writer.texts), writer.logprobs, certainty.base)


def write_text(text: str, certainty: Certainty) -> Answer:
    """A text, with the log probability of each character."""
    return Answer(text, certainty.spell(text), certainty.base)


@dataclass(slots=True)
class _Writer:
    """Writes JSON piece by piece. The first character of a value decides between it and null."""

    certainty: Certainty
    texts: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def write(self, value: Any, field: Field, parent: str | None) -> None:
        null = value is None
        decided = _log(self.certainty.decided(field, parent, null=null)) if field.nullable else 0.0
        if null:
            self._put("null", decided)
        elif isinstance(value, dict):
            self._write_object(value, field, parent, decided)
        elif isinstance(value, list):
            self._write_list(value, field, decided)
        else:
            self._write_leaf(value, decided, _log(self.certainty.chosen(field, parent)))

    def _write_object(self, value: dict[str, Any], field: Field, parent: str | None, decided: float) -> None:
        fields = {each.name: each for each in field.fields()}
        inner = None if parent is None else field.name
        self._put("{", decided)
        for place, (name, each) in enumerate(value.items()):
            self._put(f"{',' if place else ''}{orjson.dumps(name).decode()}:")
            self.write(each, fields.get(name) or build_field(name, {}, field.root), inner)
        self._put("}")

    def _write_list(self, value: list[Any], field: Field, decided: float) -> None:
        self._put("[", decided)
        for place, each in enumerate(value):
            self._put("," if place else "")
            self.write(each, field.item(), None)
        self._put("]")

    def _write_leaf(self, value: object, decided: float, chosen: float) -> None:
        if not isinstance(value, str):
            text = orjson.dumps(value).decode()
            spelled = self.certainty.spell(text)
            self._put(text, decided + chosen, spelled)
            return
        self._put('"', decided)
        spelled = self.certainty.spell(value)
        for char, number in zip(value, spelled, strict=True):
            self._put(orjson.dumps(char).decode()[1:-1], chosen + number)
            chosen = 0.0  # the choice is made where the value begins
        self._put('"', chosen)

    def _put(self, text: str, first: float = 0.0, spelled: Sequence[float] = ()) -> None:
        numbers = list(spelled) or [0.0] * len(text)
        if text:
            numbers[0] += first
        self.texts.append(text)
        self.logprobs += numbers


def _log(probability: float) -> float:
    return math.log(min(1.0, max(probability, _LEAST)))
