"""The recommendation: the choice of least tokens that loses next to nothing against reading whole images.

A choice is acceptable where, beside `faithful`, no field has more than 2.5 % of the documents worse (at least one document is
granted) and the mean accuracy is at most 2 points lower. From few labels a choice can meet this by luck, so it has to
meet the limit of the mean in 65 % of resamples of the documents, too (bootstrap, Efron 1979); that of a field is one document
of forty, which a resample may hold twice. Of acceptable choices that cost at most 8 % more than the cheapest, the one that loses
least is taken, and of equal ones the cheapest.

The figures of the choice on the documents by which it was chosen would flatter it. So choosing is repeated without each
tenth of the documents, and followed on that tenth (cross-validation, Stone 1974): these are the figures to expect.

Where prices of reviews and errors are given, the choice is that of the least dollars instead (dollars.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from extractors.core.audit import AuditCounts
from extractors.run.tune.choices import (
    Choice,
    ChoiceResult,
    LabelledReadings,
    Publication,
    list_choices,
    publish,
    summarize,
)
from extractors.run.tune.dollars import DollarChooser, Dollars
from extractors.run.tune.extra import import_module
from extractors.run.tune.folds import hash_order, split_documents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extractors.report.tuning.review_costs import ReviewPrices
    from extractors.run.tune.measurements import Reading, Scorer

    Array = Any  # of numpy, which the extra installs

RESAMPLES = 1000
SEED = 20_261_130
ROUNDING = 1e-9  # a loss that is a margin exactly is within it


@dataclass(frozen=True, slots=True)
class Margins:
    """How much worse than `faithful` a choice may be, and in which share of resamples its mean has to be no worse."""

    field: float = 0.025
    mean: float = 0.02
    resamples: float = 0.65
    tokens: float = 0.08  # choices that cost so little more than the cheapest are decided by accuracy


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The recommended choice, with its figures on all documents and those by cross-validation.

    `worse` counts by field the documents that faithful reads right and the choices of cross-validation do not, less those
    of the reverse; `mean_loss` is the mean of the fields' losses in accuracy. `folds_agreeing` is the share of folds that
    chose the same ladder. `held_out` is each document as the choice without it publishes it, `published` as the recommended
    one does. `dollars` is None where no prices were given.
    """

    choice: Choice
    fitted: ChoiceResult
    expected: ChoiceResult
    worse: Mapping[str, int]
    mean_loss: float
    folds_agreeing: float
    results: tuple[ChoiceResult, ...] = ()
    held_out: tuple[Publication, ...] = ()
    published: tuple[Publication, ...] = ()
    agreement: AuditCounts = field(default_factory=AuditCounts)
    dollars: Dollars | None = None


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """What each choice makes of each document: tokens by choice and document, losses and labels by field beside."""

    choices: Sequence[Choice]
    publications: Sequence[Sequence[Publication]]
    fields: Sequence[str]
    tokens: Array
    losses: Array  # 1: faithful is right and the choice is wrong; -1: the reverse
    labels: Array


def recommend(
    documents: Sequence[LabelledReadings],
    scorer: Scorer,
    agree_on: Sequence[str] = (),
    margins: Margins | None = None,
    prices: ReviewPrices | None = None,
) -> Recommendation:
    """Chooses by all documents, and estimates by cross-validation what such a choice does elsewhere.

    Raises ValueError for fewer than two documents: none could be left out.
    """
    if len(documents) < 2:
        raise ValueError("cross-validation needs two documents")
    margins = margins or Margins()
    documents = sorted(documents, key=lambda each: hash_order(each.document))  # their order decides nothing
    outcomes = _follow_choices(documents, _remember(scorer), agree_on)
    dollars = DollarChooser(outcomes.publications, outcomes.tokens.sum(axis=1).tolist(), prices) if prices else None
    choose = dollars.choose if dollars else partial(_choose, outcomes, margins=margins)
    chosen = choose(range(len(documents)))
    held_out: dict[int, Publication] = {}
    folds: list[tuple[int, Sequence[int]]] = []
    for fold in split_documents(each.document for each in documents):
        rest = [place for place, each in enumerate(documents) if each.document not in fold]
        best = choose(rest)
        folds.append((best, rest))
        held_out |= {place: outcomes.publications[best][place] for place in range(len(documents)) if place not in rest}
    ladders = [outcomes.choices[best].ladder for best, _ in folds]
    ordered = [held_out[place] for place in sorted(held_out)]
    recommendation = _build_recommendation(outcomes, chosen, ordered, documents, ladders)
    return replace(recommendation, dollars=dollars.summarize(chosen, folds) if dollars else None)


def _build_recommendation(
    outcomes: _Outcomes,
    chosen: int,
    held_out: Sequence[Publication],
    documents: Sequence[LabelledReadings],
    ladders: Sequence[tuple[int, ...]],
) -> Recommendation:
    choice = outcomes.choices[chosen]
    expected = summarize(choice, held_out, documents)
    worse = _count_worse(held_out, documents, outcomes.fields)
    results = [
        summarize(each, published, documents)
        for each, published in zip(outcomes.choices, outcomes.publications, strict=True)
    ]
    return Recommendation(
        choice=choice,
        fitted=results[chosen],
        expected=expected,
        worse=worse,
        mean_loss=sum(worse[name] / each.labels for name, each in expected.accuracy.items()) / len(worse),
        folds_agreeing=ladders.count(choice.ladder) / len(ladders),
        results=tuple(results),
        held_out=tuple(held_out),
        published=tuple(outcomes.publications[chosen]),
        agreement=_count_agreement(held_out, documents),
    )


def _count_agreement(published: Sequence[Publication], documents: Sequence[LabelledReadings]) -> AuditCounts:
    """The documents that are published from below the whole image, and those that this reads alike, as an audit counts them."""
    audited = agreed = 0
    for publication, document in zip(published, documents, strict=True):
        mine, top = publication.reading, document.faithful
        if mine.call != top.call and mine.accepted and top.accepted:
            audited, agreed = audited + 1, agreed + all(top.agreement(mine).values())
    return AuditCounts(audited, agreed)


def _remember(scorer: Scorer) -> Scorer:
    """Scores each reading once for each rung from which it is climbed to."""
    known: dict[tuple[str, int, int | None], Mapping[str, float | None]] = {}

    def score(reading: Reading, lower: Reading | None) -> Mapping[str, float | None]:
        key = (reading.document, reading.rung, None if lower is None else lower.rung)
        if key not in known:
            known[key] = scorer(reading, lower)
        return known[key]

    return score


def _follow_choices(documents: Sequence[LabelledReadings], scorer: Scorer, agree_on: Sequence[str]) -> _Outcomes:
    numpy = import_module("numpy")
    choices = list_choices(documents, scorer, agree_on)
    publications = [[publish(choice, each, scorer, agree_on) for each in documents] for choice in choices]
    fields = list(dict.fromkeys(each.field for document in documents for each in document.faithful.comparisons))
    faithful = numpy.array([_list_rights(document.faithful, fields) for document in documents])
    rights = numpy.array([[_list_rights(each.reading, fields) for each in row] for row in publications])
    labelled = [{each.field for each in document.faithful.comparisons} for document in documents]
    return _Outcomes(
        choices=choices,
        publications=publications,
        fields=fields,
        tokens=numpy.array([[each.image_tokens for each in row] for row in publications]),
        losses=faithful[None] - rights,
        labels=numpy.array([[name in names for name in fields] for names in labelled], dtype=float),
    )


def _list_rights(reading: Reading, fields: Sequence[str]) -> list[float]:
    right = {comparison.field for comparison in reading.comparisons if comparison.right}
    return [float(name in right) for name in fields]


def _choose(outcomes: _Outcomes, places: Sequence[int], margins: Margins) -> int:
    """The place of the best acceptable choice by these documents; reading whole images always is one."""
    numpy = import_module("numpy")
    places = numpy.array(places)
    losses, labels = outcomes.losses[:, places], outcomes.labels[places]
    tokens = outcomes.tokens[:, places].sum(axis=1)
    acceptable = numpy.flatnonzero(_is_acceptable(losses, labels, margins))
    weights = numpy.random.default_rng(SEED).multinomial(len(places), [1 / len(places)] * len(places), RESAMPLES)
    often = (_mean_losses(losses[acceptable], labels, weights) <= margins.mean).mean(axis=1) >= margins.resamples
    acceptable = acceptable[often]
    dearest = min(tokens[acceptable].min() * (1 + margins.tokens), tokens[_find_faithful(outcomes.choices)])
    near = acceptable[tokens[acceptable] <= dearest]
    return int(min(near, key=lambda place: (losses[place].sum(), tokens[place], place)))


def _find_faithful(choices: Sequence[Choice]) -> int:
    """The place of the choice that reads whole images alone."""
    return max(range(len(choices)), key=lambda place: (len(choices[place].ladder) == 1, choices[place].ladder))


def _is_acceptable(losses: Array, labels: Array, margins: Margins) -> Array:
    """Whether each choice is within the margins, by all of these documents."""
    numpy = import_module("numpy")
    within = (losses.sum(axis=1) <= numpy.maximum(1, margins.field * labels.sum(axis=0)) + ROUNDING).all(axis=1)
    means = _mean_losses(losses, labels, numpy.ones((1, losses.shape[1])))[:, 0]
    return within & (means <= margins.mean)


def _mean_losses(losses: Array, labels: Array, weights: Array) -> Array:
    """The loss in mean accuracy of each choice, by each row of weights of the documents."""
    numpy = import_module("numpy")
    counts = weights @ labels  # by resample and field
    lost = numpy.tensordot(losses, weights, axes=(1, 1)).transpose(0, 2, 1)
    shares = numpy.divide(lost, counts[None], out=numpy.zeros_like(lost), where=counts[None] > 0)
    return shares.mean(axis=2).round(9)


def _count_worse(
    publications: Sequence[Publication], documents: Sequence[LabelledReadings], fields: Sequence[str]
) -> dict[str, int]:
    worse = dict.fromkeys(fields, 0)
    for publication, document in zip(publications, documents, strict=True):
        faithful, read = (_list_rights(each, fields) for each in (document.faithful, publication.reading))
        for name, above, mine in zip(fields, faithful, read, strict=True):
            worse[name] += int(above - mine)
    return worse
