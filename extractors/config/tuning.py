"""The stored tuning of a run: whether it holds for the run's protocol, and what of it explicit flags leave in force."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from extractors.core.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from extractors.core.tuning import Certificate, Ladder, Review, Tuning, TuningProtocol, WitnessedScore
    from extractors.validate.score import Score

TUNED = "tuned"  # the policy of a run that uses a stored ladder


@dataclass(frozen=True, slots=True)
class StoredTuning:
    """What `tilewise tune --apply` stored for an endpoint, model and schema; without `tuning` it is not used.

    `witnessed` is the score of documents that the witness has looked at, in a run whose witness looks at all of them.
    `warnings` say why a part of it, or all, is not used.
    """

    tuning: Tuning | None = None
    ladder: Ladder | None = None
    climb_below: Mapping[str, float] = field(default_factory=dict)
    climb_below_all: float | None = None
    score: Score | None = None
    witnessed: Score | None = None
    warnings: tuple[str, ...] = ()

    @property
    def doubtful_below(self) -> float | None:
        """The confidence below which a document is to be reviewed: chosen by dollars, else certified; None: neither was.

        Infinite where a review of every document costs least.
        """
        if self.tuning is None:
            return None
        measured = self.tuning if self.witnessed is None else self.tuning.witnessed
        assert measured is not None, "the score is of it"
        if measured.review is not None:
            return math.inf if measured.review.below is None else measured.review.below
        return measured.certificate.threshold if measured.certificate else None

    @property
    def has_thresholds(self) -> bool:
        """Whether accepted answers may be read again."""
        return bool(self.climb_below) or self.climb_below_all is not None

    @property
    def description(self) -> str:
        """One line that says what is used; empty where nothing is."""
        if self.tuning is None:
            return ""
        ladder = f"ladder {describe_ladder(self.ladder)}" if self.ladder else ""
        climbs = describe_thresholds(self.climb_below, self.climb_below_all)
        score = self._describe_score()
        used = ", ".join(filter(None, (ladder, climbs, score))) or "nothing of it: flags replace it"
        return f"stored tuning of {self.tuning.measured_at:%Y-%m-%d} (run {self.tuning.run}): {used}"

    def _describe_score(self) -> str:
        if self.witnessed is not None:
            return "its score with the witness"
        without = self.tuning is not None and self.tuning.witnessed is not None
        if self.score is None:
            return "not its score with the witness, which needs --witness all" if without else ""
        return "its score without the witness (--witness all uses the one with it)" if without else "its score"


NO_TUNING = StoredTuning()


def select_tuning(
    body: str,
    protocol: TuningProtocol,
    rule: str,
    *,
    policy: str | None,
    climb_below: float | None,
    looks_at_all: bool = False,
) -> StoredTuning:
    """What of the stored tuning `body` a run of this protocol and bill rule uses beside its explicit flags.

    `looks_at_all`: the witness looks at every document of the run.
    """
    from extractors.core.tuning import parse_tuning  # noqa: PLC0415 - models that a run without a tuning need not build

    thresholds = StoredTuning(climb_below_all=climb_below)
    name = f"the tuning stored for {protocol.schema_name} and {protocol.model}"
    try:
        tuning = parse_tuning(body)
    except ValueError as error:
        return _leave_out(
            thresholds, f"{name} cannot be read ({error}) and is not used: run `tilewise tune --apply` again"
        )
    if differences := tuning.protocol.differences(protocol):
        return _leave_out(
            thresholds,
            f"{name} is not used: {' and '.join(differences)} differ from its run {tuning.run}: run `tilewise tune --apply`"
            " again",
        )
    used = _combine(tuning, rule, policy, climb_below)
    return _add_witnessed(used, tuning) if looks_at_all and tuning.witnessed is not None else used


def _combine(tuning: Tuning, rule: str, policy: str | None, climb_below: float | None) -> StoredTuning:
    """A tuning that holds; an explicit policy replaces its ladder, an explicit threshold its thresholds."""
    ladder, warnings = tuning.ladder if policy is None else None, []
    if ladder is not None and ladder.rule != rule:
        warnings.append(
            f"the stored ladder is not used: it was chosen under the bill rule {ladder.rule}, and this run has {rule}"
        )
        ladder = None
    if tuning.ranks is False and climb_below is not None:
        warnings.append(
            "this model's confidence cannot rank its answers (tuning of"
            f" {tuning.measured_at:%Y-%m-%d}): --climb-below reads the wrong documents again"
        )
    by_field, below_all = ({}, climb_below) if climb_below is not None else (tuning.climb_below, tuning.climb_below_all)
    score = None
    try:
        score = None if tuning.score is None else _parse_score(tuning.score)
    except ValueError as error:
        warnings.append(f"the stored score cannot be read and is not used: {first_line(error)}")
    return StoredTuning(tuning, ladder, by_field, below_all, score, warnings=tuple(warnings))


def _add_witnessed(used: StoredTuning, tuning: Tuning) -> StoredTuning:
    """With the score of documents that the witness has looked at; a warning where it cannot be read."""
    assert tuning.witnessed is not None, "the caller checks it"
    try:
        return replace(used, witnessed=_parse_score(tuning.witnessed.score))
    except ValueError as error:
        warning = f"the stored score with the witness cannot be read and is not used: {first_line(error)}"
        return replace(used, warnings=(*used.warnings, warning))


def _parse_score(stored: Mapping[str, JsonValue]) -> Score:
    """The score of a tuning. Raises ValueError, of several lines, if it does not fit the model."""
    from extractors.validate.score import Score  # noqa: PLC0415 - as above

    return Score.model_validate(stored)


def _leave_out(thresholds: StoredTuning, warning: str) -> StoredTuning:
    return StoredTuning(climb_below_all=thresholds.climb_below_all, warnings=(warning,))


def describe_ladder(ladder: Ladder) -> str:
    """The rungs, the cheapest first: `1,601 > 6,404 image tokens`, `25 > 100 % of the image's tokens`."""
    if ladder.budgets:
        return " > ".join(f"{budget:,}" for budget in ladder.budgets) + " image tokens"
    return " > ".join(f"{100 * share:g}" for share in ladder.shares) + " % of the image's tokens"


def describe_thresholds(by_field: Mapping[str, float], below_all: float | None) -> str:
    """The thresholds: `climbs below 0.9`, `climbs below 0.9 (total 0.95)`, `climbs below total 0.95`."""
    named = ", ".join(f"{name} {threshold:g}" for name, threshold in by_field.items())
    if below_all is None:
        return f"climbs below {named}" if named else "climbs only after a refusal"
    return f"climbs below {below_all:g}" + (f" ({named})" if named else "")


def describe_certificate(certificate: Certificate) -> str:
    """What was certified: `72 % of documents need no review (99.1 % right at least)`."""
    if certificate.share is None or certificate.lower_bound is None:
        return f"nothing certified at {100 * certificate.target:g} % from {certificate.documents:,} documents"
    return (
        f"{100 * certificate.share:.0f} % of documents need no review"
        f" ({100 * certificate.lower_bound:.1f} % of them right at least)"
    )


def describe_certainty(measured: Tuning | WitnessedScore) -> str:
    """What was certified, and below which confidence a review costs least; empty where nothing was measured."""
    certificate = describe_certificate(measured.certificate) if measured.certificate else ""
    return ", ".join(filter(None, (certificate, describe_review(measured.review) if measured.review else "")))


def describe_review(review: Review) -> str:
    """The threshold of review: `review below 0.93 at $0.5 a review and $20 a wrong row`."""
    threshold = "review of every document" if review.below is None else f"review below {review.below:.4g}"
    return f"{threshold} at ${review.review_cost:g} a review and ${review.error_cost:g} a wrong row"
