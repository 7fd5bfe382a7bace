"""Dollars: what a choice costs with the people who look at documents, and with the wrong rows that slip through.

A document is reviewed where its confidence is below a threshold, where it has none, and where it failed; review makes it
right. The others are published unseen, and the wrong ones among them slip through:

    calls + review x documents reviewed + error x wrong documents among those that are not

From few labels no error is no proof of none: of `k` documents that are not reviewed, `e` of them wrong, the share
(e + 1/2) / (k + 1) is counted as wrong (the mean by the prior of Jeffreys, 1946). Only randomly drawn labels count: doubtful
ones are more often wrong than a source is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from extractors.core.errors import ConfigurationError
from extractors.report.tuning.review_costs import ReviewCost, ReviewPrices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from extractors.run.tune.choices import Publication
    from extractors.run.tune.measurements import Reading

_ALWAYS_REVIEWED = -1.0  # the confidence of a failed document, and of one without a known confidence
_NEGLIGIBLE = 1e-12  # dollars


class PublishedDocument(NamedTuple):
    """A document as a choice publishes it; `place` is that of the document among all."""

    confidence: float
    wrong: bool
    calls_usd: float
    place: int


def check_prices(review: float | None, error: float | None) -> ReviewPrices | None:
    """Both prices; None where neither is given. Raises ConfigurationError for one alone, and for what is no price."""
    given = {"--review-cost": review, "--error-cost": error}
    for name, price in given.items():
        if price is not None and not 0 < price < float("inf"):
            raise ConfigurationError(f"{name} {price}: use dollars above 0, such as 0.50")
    if review is None and error is None:
        return None
    if review is None or error is None:
        missing = next(name for name, price in given.items() if price is None)
        raise ConfigurationError(f"{missing} is missing: reviews are weighed against wrong rows, so name both prices")
    return ReviewPrices(review, error)


def explain_unpriced(readings: Sequence[Reading]) -> str:
    """Why choices cannot be compared by dollars; empty where they can."""
    if not any(each.draw == "random" for each in readings):
        return "no label was drawn at random: reviews and errors are not weighed, and --review-cost has no effect"
    unknown = {each.call for each in readings if each.cost_usd is None}
    if unknown:
        return f"the cost of {len(unknown):,} readings is unknown: --review-cost and --error-cost have no effect"
    return ""


def sort_published(publications: Sequence[Publication]) -> list[PublishedDocument]:
    """The randomly drawn documents of a choice, the surest first. An unknown cost of calls counts as 0."""
    documents = (
        PublishedDocument(
            _ALWAYS_REVIEWED if each.confidence is None else each.confidence,
            not each.reading.right,
            float(each.cost_usd or 0),
            place,
        )
        for place, each in enumerate(publications)
        if each.reading.draw == "random"
    )
    return sorted(documents, key=lambda each: -each.confidence)


def find_cheapest(documents: Sequence[PublishedDocument], prices: ReviewPrices) -> ReviewCost:
    """The threshold of the least total for these documents, the surest first; of equal totals the one of more reviews."""
    best = None
    for cost in iter_thresholds(documents, prices):
        if best is None or cost.total_usd < best.total_usd - _NEGLIGIBLE:
            best = cost
    assert best is not None, "the first threshold reviews every document"
    return best


def iter_thresholds(documents: Sequence[PublishedDocument], prices: ReviewPrices) -> Iterator[ReviewCost]:
    """The cost at each threshold, from a review of all documents to one of those alone that have no confidence."""
    calls_usd, skipped, slipped = sum(each.calls_usd for each in documents), 0, 0
    yield ReviewCost(len(documents), calls_usd, prices, len(documents))
    for confidence, group in groupby(documents, key=lambda each: each.confidence):
        if confidence == _ALWAYS_REVIEWED:
            return
        wrong = [each.wrong for each in group]
        skipped, slipped = skipped + len(wrong), slipped + sum(wrong)
        slipping = skipped * (slipped + 0.5) / (skipped + 1)
        yield ReviewCost(len(documents), calls_usd, prices, len(documents) - skipped, slipped, slipping, confidence)


def apply_threshold(documents: Sequence[PublishedDocument], prices: ReviewPrices, below: float | None) -> ReviewCost:
    """What these documents cost at a threshold that was chosen by others: the wrong ones are counted as they are."""
    unseen = [each for each in documents if below is not None and each.confidence >= below]
    slipped = sum(each.wrong for each in unseen)
    calls_usd, reviewed = sum(each.calls_usd for each in documents), len(documents) - len(unseen)
    return ReviewCost(len(documents), calls_usd, prices, reviewed, slipped, slipped, below)


def add_costs(costs: Sequence[ReviewCost]) -> ReviewCost:
    """The cost of the documents of all, of one price; they have no threshold in common."""
    return ReviewCost(
        documents=sum(each.documents for each in costs),
        calls_usd=sum(each.calls_usd for each in costs),
        prices=costs[0].prices,
        reviewed=sum(each.reviewed for each in costs),
        slipped=sum(each.slipped for each in costs),
        slipping=sum(each.slipping for each in costs),
    )


@dataclass(frozen=True, slots=True)
class Dollars:
    """What choices cost with reviews and errors: the chosen one, each of them, and choosing by cross-validation.

    `curve` is the chosen one at every threshold, from a review of all documents on. `expected` is None where there was
    nothing to choose between.
    """

    chosen: ReviewCost
    curve: tuple[ReviewCost, ...]
    by_choice: tuple[ReviewCost, ...] = ()
    expected: ReviewCost | None = None


class DollarChooser:
    """Chooses by dollars: of each choice the cheapest threshold, of the choices the cheapest."""

    def __init__(
        self, publications: Sequence[Sequence[Publication]], tokens: Sequence[int], prices: ReviewPrices
    ) -> None:
        """`publications` and `tokens` are by choice; the former by document, in one order."""
        self._prices, self._tokens = prices, tokens
        self._published = [sort_published(each) for each in publications]

    def choose(self, places: Iterable[int]) -> int:
        """The place of the choice that costs least on these documents; of equal ones that of the fewest tokens."""
        inside = frozenset(places)
        costs = [find_cheapest(self._take(choice, inside), self._prices) for choice in range(len(self._published))]
        return min(range(len(costs)), key=lambda place: (round(costs[place].total_usd, 9), self._tokens[place], place))

    def summarize(self, chosen: int, folds: Sequence[tuple[int, Sequence[int]]]) -> Dollars:
        """The costs on all documents; and of each fold's documents by the choice and the threshold of the others.

        `folds` has the choice of each fold, and the documents by which it was chosen.
        """
        by_choice = tuple(find_cheapest(each, self._prices) for each in self._published)
        curve = tuple(iter_thresholds(self._published[chosen], self._prices))
        expected = add_costs([self._follow(choice, frozenset(rest)) for choice, rest in folds])
        return Dollars(by_choice[chosen], curve, by_choice, expected)

    def _follow(self, choice: int, rest: frozenset[int]) -> ReviewCost:
        """The cost of the documents that are not among the rest, at the threshold of the rest."""
        left = [each for each in self._published[choice] if each.place not in rest]
        threshold = find_cheapest(self._take(choice, rest), self._prices).review_below
        return apply_threshold(left, self._prices, threshold)

    def _take(self, choice: int, places: frozenset[int]) -> list[PublishedDocument]:
        return [each for each in self._published[choice] if each.place in places]
