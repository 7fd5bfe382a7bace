"""An answer and the log probability of each of its characters, of which those of its tokens are made.

The text of a document is written here only where log probabilities are asked for; it is the same as without them.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson

from extractors.endpoint.fill.contest import Contest, judge_contest
from extractors.endpoint.fill.find.dates import find_written
from extractors.endpoint.fill.json_schema import Field, Schema, build_field
from extractors.endpoint.fill.kinds import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extractors.endpoint.ocr.words import OcrDocument, Word

_WORD = 3  # letters and digits that a word has at least whose errors count
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T|$)")
_NEAR = 6  # words from one piece of a value to the next
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

    def rate_presence(self, field: Field, parent: str | None, *, null: bool) -> float:
        """The probability of null, or of a value, as it was decided; `parent` is the object around, None in a list."""

    def rate_choice(self, field: Field, parent: str | None) -> float:
        """The probability that it is this value and not another, if it has one."""

    def rate_letters(self, text: str) -> list[float]:
        """The log probability of each character of a value."""


class OcrCertainty:
    """By the scores of the words in which a value was read, and by how contested its finding was.

    A score is the mean probability of a word's characters. The probability of each character alone ranks right and wrong
    values worse: the least of many is low in right values, too.
    """

    def __init__(self, document: OcrDocument) -> None:
        self._document = document
        words = [word for line in document.lines for word in line.words]
        self._words = [_Letters.of(word) for word in words]
        self._contests: dict[str, Contest | None] = {}
        self._mean = sum(word.score for word in words) / len(words) if words else 1.0
        products = [word.score ** len(word.letters) for word in self._words if len(word.letters) >= _WORD]
        seen = (len(words) + 1) / (len(words) + 2)  # the rule of succession
        self._whole = seen * (sum(products) / len(products) if products else self._mean)
        self.base = _log(self._mean)

    def rate_presence(self, field: Field, parent: str | None, *, null: bool) -> float:
        """Without candidates a null is as sure as that no word was misread, or was overlooked beside the others."""
        contest = self._judge(field, parent)
        if contest is None or not contest.present:
            return self._whole if null else self._mean
        return 1 - contest.present if null else contest.present

    def rate_choice(self, field: Field, parent: str | None) -> float:
        """Beside the other candidates."""
        contest = self._judge(field, parent)
        return 1.0 if contest is None else contest.chosen

    def rate_letters(self, text: str) -> list[float]:
        """As it was read, whole in one place or word by word; what separates words is in no doubt."""
        if (written := self._find_written(text)) is not None:
            letters = written.end - written.start
            even = letters * _log(self._words[written.word].score) / sum(map(str.isalnum, text))
            return [even if char.isalnum() else 0.0 for char in text]
        whole = self._find("".join(filter(str.isalnum, text)), None)
        if whole is not None:
            number = _log(self._words[whole.word].score)
            return [number if char.isalnum() else 0.0 for char in text]
        logprobs: list[float] = []
        place: _Place | None = None
        for run in _RUNS.findall(text):
            place = (self._find(run, place) or place) if run[0].isalnum() else place
            logprobs += self._spell_run(run, place)
        return logprobs

    def _judge(self, field: Field, parent: str | None) -> Contest | None:
        """The contest of a field; in a list each row has its own, which is not known."""
        if parent is None:
            return None
        kind = kind_of(field, parent)
        if kind not in self._contests:
            self._contests[kind] = judge_contest(kind, self._document)
        return self._contests[kind]

    def _find_written(self, text: str) -> _Place | None:
        """Where a date was read that is written otherwise on the page."""
        if not _DATE.match(text):
            return None
        with suppress(ValueError):
            written = find_written(self._document, date.fromisoformat(text[:10])) or ""
            return self._find("".join(filter(str.isalnum, written)), None)
        return None

    def _spell_run(self, run: str, place: _Place | None) -> list[float]:
        """The mean of all words stands for what is on no page as it is written."""
        if not run[0].isalnum():
            return [0.0] * len(run)
        if place is None or self._words[place.word].letters[place.start : place.end] != _fold(run):
            return [self.base] * len(run)
        return [_log(self._words[place.word].score)] * len(run)

    def _find(self, run: str, before: _Place | None) -> _Place | None:
        """Where these characters were read: close behind the place before, else where they were read best."""
        wanted = _fold(run)
        places = (
            [each for number, word in enumerate(self._words) for each in word.find(wanted, number)] if wanted else []
        )
        behind = [each for each in places if before is not None and before <= each and each.word - before.word <= _NEAR]
        if behind:
            return min(behind)
        return max(places, key=lambda each: self._words[each.word].score, default=None)


class _Place(NamedTuple):
    """A stretch of the letters and digits of a word, which is given by its number on the page."""

    word: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Letters:
    """The letters and digits of a word, and its score."""

    letters: str
    score: float

    @classmethod
    def of(cls, word: Word) -> _Letters:
        return cls(_fold("".join(filter(str.isalnum, word.text))), word.score)

    def find(self, wanted: str, word: int) -> Iterator[_Place]:
        start = self.letters.find(wanted)
        while start >= 0:
            yield _Place(word, start, start + len(wanted))
            start = self.letters.find(wanted, start + 1)


class EchoCertainty:
    """By the number of ways that the schema leaves: it is all that an echo knows."""

    base = 0.0

    def rate_presence(self, field: Field, parent: str | None, *, null: bool) -> float:
        """A null is one more way."""
        del parent
        return (1 if null else len(field.ways)) / (len(field.ways) + 1)

    def rate_choice(self, field: Field, parent: str | None) -> float:
        """One of its choices, or of its types."""
        del parent
        boolean = 2 if field.branch_of("boolean") else 1
        return 1 / max(len(field.choices), len(field.ways), boolean)

    def rate_letters(self, text: str) -> list[float]:
        """No character is in doubt."""
        return [0.0] * len(text)


def write_document(value: Any, schema: Schema, certainty: Certainty) -> Answer:
    """The JSON of a document, as orjson writes it, with the log probability of each character."""
    writer = _Writer(certainty)
    writer.write(value, build_field("", schema, schema), "")
    return Answer("".join(writer.texts), writer.logprobs, certainty.base)


def write_text(text: str, certainty: Certainty) -> Answer:
    """A text, with the log probability of each character."""
    return Answer(text, certainty.rate_letters(text), certainty.base)


@dataclass(slots=True)
class _Writer:
    """Writes JSON piece by piece. The first character of a value decides between it and null."""

    certainty: Certainty
    texts: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def write(self, value: Any, field: Field, parent: str | None) -> None:
        null = value is None
        decided = _log(self.certainty.rate_presence(field, parent, null=null)) if field.nullable else 0.0
        if null:
            self._put("null", decided)
        elif isinstance(value, dict):
            self._write_object(value, field, parent, decided)
        elif isinstance(value, list):
            self._write_list(value, field, decided)
        else:
            self._write_leaf(value, decided, _log(self.certainty.rate_choice(field, parent)))

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
            spelled = self.certainty.rate_letters(text)
            self._put(text, decided + chosen, spelled)
            return
        self._put('"', decided)
        spelled = self.certainty.rate_letters(value)
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


def _fold(text: str) -> str:
    """The text for comparison, of the same length."""
    return "".join(char.lower() if len(char.lower()) == 1 else char for char in text)


def _log(probability: float) -> float:
    return math.log(min(1.0, max(probability, _LEAST)))
