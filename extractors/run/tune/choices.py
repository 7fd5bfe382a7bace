"""The choices between which a tuning decides: a ladder of rungs, and a threshold below which a document climbs.

Each labelled document was read at every rung, so each choice can be followed without a call:

| choice | follows from |
|---|---|
| one rung | that reading |
| plain cascade | the first accepted answer, rung by rung |
| confident cascade | the first accepted answer with no field below the threshold; else the surest accepted one |
| cascade with agreement | as above, and an answer that agrees with an earlier one in the fields of `AGREE_ON` is sure |

Where every answer of the ladder is refused, the whole image is read. Tokens and dollars are of all calls on the way. A
document without an accepted answer has all its labelled fields wrong.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Literal, NamedTuple

from extractors.core.money import sum_known
from extractors.run.tune.intervals import Interval, wilson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal

    from extractors.run.tune.measurements import Reading, Scorer

MOST_THRESHOLDS = 40
MOST_CHOICES = 600  # many ladders have fewer thresholds each
MOST_RUNGS = 4  # of a ladder: further climbs cost more than they save


@dataclass(frozen=True, slots=True)
class Choice:
    """Rungs in the order in which they are sent; `climb_below` None: only a refused answer makes a document climb."""

    ladder: tuple[int, ...]
    climb_below: float | None = None
    agree: bool = False

    @property
    def kind(self) -> Literal["single", "plain", "confident", "agree"]:
        """One rung, or the sort of cascade."""
        if len(self.ladder) == 1:
            return "single"
        if self.climb_below is None:
            return "plain"
        return "agree" if self.agree else "confident"


@dataclass(frozen=True, slots=True)
class LabelledReadings:
    """A labelled document with its reading at each rung, the cheapest first."""

    document: str
    readings: tuple[Reading, ...]

    @property
    def faithful(self) -> Reading:
        """The reading of the whole image."""
        return self.readings[-1]


@dataclass(frozen=True, slots=True)
class Publication:
    """The answer that a choice publishes of a document, and what all its calls took. `confidence` is the least known.

    `lower` is the accepted reading from which the document climbed to the one that is published.
    """

    reading: Reading
    image_tokens: int
    cost_usd: Decimal | None
    confidences: Mapping[str, float | None] = field(default_factory=dict)
    lower: Reading | None = None

    @property
    def confidence(self) -> float | None:
        """The least of the known confidences; None for an answer that was not accepted."""
        return find_least(self.confidences)


@dataclass(frozen=True, slots=True)
class FieldAccuracy:
    """How many labels of a field were read right."""

    right: int
    labels: int

    @property
    def share(self) -> float:
        """The share of right values."""
        return self.right / self.labels

    @property
    def interval(self) -> Interval:
        """Its 95 % interval."""
        return wilson(self.right, self.labels)


@dataclass(frozen=True, slots=True)
class ChoiceResult:
    """What a choice costs and how much it reads right, over labelled documents.

    `image_tokens_share` is of what `faithful` takes. `accuracy_mean` is the mean over fields; its interval is as wide as if
    all fields of a document were right or wrong together. `stopped_at` counts documents by the rung of their answer.
    """

    choice: Choice
    documents: int
    documents_right: int
    image_tokens: int
    image_tokens_share: float
    cost_usd: Decimal | None
    accuracy: Mapping[str, FieldAccuracy]
    stopped_at: Mapping[int, int]

    @property
    def accuracy_mean(self) -> float:
        """The mean of the fields' shares."""
        return fmean(each.share for each in self.accuracy.values())

    @property
    def mean_interval(self) -> Interval:
        """The 95 % interval of the mean."""
        return wilson(self.accuracy_mean * self.documents, self.documents)


def group_readings(readings: Iterable[Reading]) -> list[LabelledReadings]:
    """The readings by document. Raises ValueError for a document that lacks a rung: no ladder could be followed."""
    grouped: dict[str, dict[int, Reading]] = {}
    for reading in readings:
        grouped.setdefault(reading.document, {})[reading.rung] = reading
    rungs = sorted({rung for by_rung in grouped.values() for rung in by_rung})
    if rungs != list(range(len(rungs))) or any(len(by_rung) < len(rungs) for by_rung in grouped.values()):
        raise ValueError("each document needs a reading at every rung, from 0 on")
    return [LabelledReadings(document, tuple(by_rung[rung] for rung in rungs)) for document, by_rung in grouped.items()]


def list_choices(documents: Sequence[LabelledReadings], scorer: Scorer, agree_on: Sequence[str] = ()) -> list[Choice]:
    """All ladders, each plain, with every threshold, and with agreement where the schema names fields for it."""
    rungs = range(len(documents[0].readings))
    ladders = [ladder for length in range(1, min(len(rungs), MOST_RUNGS) + 1) for ladder in combinations(rungs, length)]
    thresholds = list_thresholds(documents, scorer, min(MOST_THRESHOLDS, max(1, MOST_CHOICES // len(ladders))))
    return [Choice(ladder) for ladder in ladders] + [
        Choice(ladder, threshold, agree)
        for ladder in ladders
        if len(ladder) > 1
        for threshold in thresholds
        for agree in ([False, True] if agree_on else [False])
    ]


def list_thresholds(documents: Sequence[LabelledReadings], scorer: Scorer, most: int = MOST_THRESHOLDS) -> list[float]:
    """Thresholds halfway between neighbouring confidences of documents below the whole image, evenly thinned out."""
    least = {
        find_least(scorer(reading, None)) for each in documents for reading in each.readings[:-1] if reading.accepted
    }
    known = sorted(confidence for confidence in least if confidence is not None)
    halfway = [(lower + upper) / 2 for lower, upper in pairwise(known)]
    kept = min(most, len(halfway))
    return [halfway[place * len(halfway) // kept] for place in range(kept)]


class _Answer(NamedTuple):
    """A reading that may be published, with its confidences, and the accepted reading from which it was climbed to."""

    reading: Reading
    confidences: Mapping[str, float | None]
    lower: Reading | None = None


def publish(choice: Choice, document: LabelledReadings, scorer: Scorer, agree_on: Sequence[str] = ()) -> Publication:
    """Follows a choice for one document, as the cascade of a run does (run/cascade.py)."""
    paid: dict[str, Reading] = {}
    accepted: list[_Answer] = []
    for rung in choice.ladder:
        reading = document.readings[rung]
        if reading.call in paid:  # the same pictures: the ladder of this document has no such rung
            continue
        paid[reading.call] = reading
        if not reading.accepted and reading.climbs:
            continue
        if not reading.accepted:  # the document fails here, unless a lower rung has an answer
            return _publish(_choose_surest(accepted) if accepted else _Answer(reading, {}), paid.values())
        lower = accepted[-1].reading if accepted else None
        answer = _Answer(reading, scorer(reading, lower), lower)
        earlier = [each.reading for each in accepted]
        accepted.append(answer)
        if is_sure(choice, answer.confidences) or (choice.agree and _agrees(reading, earlier, agree_on)):
            return _publish(answer, paid.values())
    if not accepted:  # a run reads the whole image above a ladder that ends below it
        whole = document.faithful
        paid[whole.call] = whole
        return _publish(_Answer(whole, scorer(whole, None) if whole.accepted else {}), paid.values())
    return _publish(_choose_surest(accepted), paid.values())


def score_again(publication: Publication, scorer: Scorer) -> Publication:
    """The same answer with its confidences by another score, which did not decide who climbs."""
    if not publication.reading.accepted:
        return publication
    return replace(publication, confidences=scorer(publication.reading, publication.lower))


def is_sure(choice: Choice, confidences: Mapping[str, float | None]) -> bool:
    """Whether no field is below the threshold; an unknown confidence never is."""
    least = find_least(confidences)
    return choice.climb_below is None or least is None or least >= choice.climb_below


def find_least(confidences: Mapping[str, float | None]) -> float | None:
    """The confidence of a document: the least of those known."""
    return min((confidence for confidence in confidences.values() if confidence is not None), default=None)


def summarize(
    choice: Choice, publications: Sequence[Publication], documents: Sequence[LabelledReadings]
) -> ChoiceResult:
    """The result of a choice over the documents of these publications."""
    tokens = sum(each.image_tokens for each in publications)
    faithful = sum(each.faithful.image_tokens for each in documents)
    right: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    for each in publications:
        labels.update(comparison.field for comparison in each.reading.comparisons)
        right.update(comparison.field for comparison in each.reading.comparisons if comparison.right)
    return ChoiceResult(
        choice=choice,
        documents=len(publications),
        documents_right=sum(each.reading.right for each in publications),
        image_tokens=tokens,
        image_tokens_share=tokens / faithful if faithful else 1.0,
        cost_usd=sum_known(each.cost_usd for each in publications),
        accuracy={name: FieldAccuracy(right[name], labels[name]) for name in labels},
        stopped_at=Counter(each.reading.rung for each in publications),
    )


def find_front(results: Sequence[ChoiceResult]) -> list[ChoiceResult]:
    """The results that no other one beats in both tokens and mean accuracy, the cheapest first."""
    front: list[ChoiceResult] = []
    for result in sorted(results, key=lambda each: (each.image_tokens, -each.accuracy_mean)):
        if not front or result.accuracy_mean > front[-1].accuracy_mean:
            front.append(result)
    return front


def _agrees(reading: Reading, earlier: Sequence[Reading], agree_on: Sequence[str]) -> bool:
    """Whether an earlier accepted answer agrees in all fields of `AGREE_ON`."""
    agreements = [reading.agreement(lower) for lower in earlier]
    return bool(agree_on) and any(all(agreed.get(name) for name in agree_on) for agreed in agreements)


def _choose_surest(accepted: Sequence[_Answer]) -> _Answer:
    """The answer of the highest confidence; of equal ones, and where one is unknown, that of the higher rung."""
    surest = accepted[-1]
    for lower in reversed(accepted[:-1]):
        mine, best = find_least(lower.confidences), find_least(surest.confidences)
        if mine is not None and best is not None and mine > best:
            surest = lower
    return surest


def _publish(answer: _Answer, paid: Iterable[Reading]) -> Publication:
    calls = list(paid)
    cost = sum_known(each.cost_usd for each in calls)
    tokens = sum(each.image_tokens for each in calls)
    return Publication(answer.reading, tokens, cost, answer.confidences, answer.lower)
