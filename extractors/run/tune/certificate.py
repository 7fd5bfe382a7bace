"""The certificate: which share of documents may skip review, so that at least a target share of them is right.

A document is right when all its labelled fields are, and skips review where its confidence reaches a threshold. The
certificate is a statement about documents without a label, so it rests on labels of randomly drawn documents
only, and on a ladder and a score that were chosen before these labels were compared.

- A threshold is feasible if so many labelled documents reach it that the target could be shown if none were wrong: 299 for
  99 %, 59 for 95 %. 30 of 30 show 90.5 % (Clopper & Pearson 1934, one-sided 95 %).
- Thresholds are tested in a fixed sequence, from the strictest feasible one to looser ones, each at the full level, and
  testing ends at the first that fails (Maurer, Hothorn & Lehmacher 1995; for selective risk Geifman & El-Yaniv 2017 and
  Angelopoulos et al., "Learn then test", 2021). So the probability of certifying any threshold wrongly stays at 5 %.
- The sequence is fixed by counts alone: the thresholds that 299, 473, 628, ... documents reach, where one more error is
  tolerable each time, and last the one that all reach. It depends on confidences, never on what is right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from extractors.run.tune.intervals import LEVEL, Interval, clopper_pearson, lower_bound, trials_needed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.run.tune.choices import Publication
    from extractors.run.tune.measurements import Draw

TARGET = 0.99


class LabelledRow(NamedTuple):
    """A labelled document as it was published, and how it was drawn. A document of unknown confidence is reviewed."""

    confidence: float | None
    right: bool
    draw: Draw = "random"


class ThresholdTest(NamedTuple):
    """One threshold: how many labelled documents reach it, how many of these are wrong, and the bound of the right share."""

    threshold: float
    documents: int
    errors: int
    bound: float


@dataclass(frozen=True, slots=True)
class CertificateResult:
    """The outcome of the tests.

    `labels` counts randomly drawn documents, `errors` the wrong ones among them. `threshold`, `share` (of all documents,
    with its interval) and `bound` are of the loosest threshold that passed: None if none did. `feasible` is the highest
    target that so many labels can show, without an error. `needed` counts the further labels, randomly drawn and without
    a further error, after which a threshold can pass: 0 if one has.
    """

    target: float
    labels: int
    errors: int
    feasible: float
    needed: int
    tests: tuple[ThresholdTest, ...] = ()
    threshold: float | None = None
    share: float | None = None
    share_interval: Interval | None = None
    bound: float | None = None


def certify(documents: Sequence[LabelledRow], target: float = TARGET, level: float = LEVEL) -> CertificateResult:
    """Tests the thresholds on the randomly drawn documents. Raises ValueError for a target that is no share."""
    if not 0 < target < 1:
        raise ValueError(f"the target {target} is not between 0 and 1")
    drawn = [document for document in documents if document.draw == "random"]
    points = _count_by_threshold(drawn)
    passed: list[ThresholdTest] = []
    failed: list[ThresholdTest] = []
    for point in _choose_sequence(points, target, level):
        test = point._replace(bound=lower_bound(point.documents - point.errors, point.documents, level))
        (passed if test.bound >= target else failed).append(test)
        if failed:
            break
    result = CertificateResult(
        target=target,
        labels=len(drawn),
        errors=sum(not document.right for document in drawn),
        feasible=lower_bound(len(drawn), len(drawn), level),
        needed=0 if passed else _count_needed(points, len(drawn), target, level),
        tests=(*passed, *failed),
    )
    return _add_passed(result, passed[-1]) if passed else result


def _add_passed(result: CertificateResult, test: ThresholdTest) -> CertificateResult:
    return replace(
        result,
        threshold=test.threshold,
        share=test.documents / result.labels,
        share_interval=clopper_pearson(test.documents, result.labels),
        bound=test.bound,
    )


def _count_by_threshold(drawn: Sequence[LabelledRow]) -> list[ThresholdTest]:
    """A point for each distinct confidence, from the highest on, without its bound."""
    known = [(each.confidence, each.right) for each in drawn if each.confidence is not None]
    points: list[ThresholdTest] = []
    reached = errors = 0
    for threshold, group in groupby(sorted(known, reverse=True), key=itemgetter(0)):
        verdicts = [right for _, right in group]
        reached, errors = reached + len(verdicts), errors + verdicts.count(False)
        points.append(ThresholdTest(threshold, reached, errors, 0.0))
    return points


def _choose_sequence(points: Sequence[ThresholdTest], target: float, level: float) -> list[ThresholdTest]:
    """The points at which one more error is tolerable, and the last one; those that too few documents reach are left out."""
    chosen: list[ThresholdTest] = []
    tolerable, enough = 0, trials_needed(target, 0, level)
    for point in points:
        if point.documents < enough:
            continue
        chosen.append(point)
        while enough <= point.documents:
            tolerable += 1
            enough = trials_needed(target, tolerable, level)
    if chosen and chosen[-1] is not points[-1]:
        chosen.append(points[-1])
    return chosen


def _count_needed(points: Sequence[ThresholdTest], labels: int, target: float, level: float) -> int:
    """The fewest further labels: a threshold gets its share of them."""
    if not points:
        return trials_needed(target, 0, level)
    return min(
        math.ceil(max(0, trials_needed(target, point.errors, level) - point.documents) * labels / point.documents)
        for point in points
    )


def certify_published(published: Sequence[Publication], target: float) -> CertificateResult:
    """The certificate of documents as they are published."""
    labelled = [LabelledRow(each.confidence, each.reading.right, each.reading.draw) for each in published]
    return certify(labelled, target)
