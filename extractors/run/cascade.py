"""The cascade: whether an accepted answer is sure enough, and which of a document's accepted answers is published.

A document starts on the cheapest rung. An answer that validates and is sure enough is published; one that is not sure
is kept, and the document is read again on the next rung:

| what follows an accepted answer that is not sure                  | what is published                        |
|-------------------------------------------------------------------|------------------------------------------|
| a surer answer on a higher rung                                   | that answer                              |
| an answer that agrees in all fields of `AGREE_ON`                 | that answer                              |
| the top of the ladder, or the maximum of answers                  | the surest of the accepted answers       |
| an error of the document: refused, truncated, over the context, … | the surest of the accepted answers       |
| the end of the run: budget, stop, time limit, a server that is down | the surest of the accepted answers, and the run stops |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extractors.core.plain_values import canonical_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from extractors.config.run_config import RunConfig
    from extractors.core import Accepted, Evidence, Quality
    from extractors.validate.score import Score


@dataclass(frozen=True, slots=True)
class Cascade:
    """When an accepted answer is not sure: below which confidence, by field, and `below_all` for all other fields.

    Without a threshold every accepted answer is sure. `score` gives the confidence; None: the least token probability.
    """

    below: Mapping[str, float] = field(default_factory=dict)
    below_all: float | None = None
    agree_on: tuple[str, ...] = ()
    score: Score | None = None

    def weigh(
        self,
        evidence: Evidence | None,
        agreed: Mapping[str, bool] | None = None,
        qualities: Sequence[Quality | None] = (),
    ) -> Evidence | None:
        """The evidence of an answer with the confidence by the score; the picture that counts is that of the first page."""
        if evidence is None or self.score is None:
            return evidence
        return self.score.apply(evidence, agreed, qualities[0] if qualities else None)

    def without_thresholds(self) -> Cascade:
        """The same score in a run that climbs no more: it publishes what was accepted."""
        return Cascade(score=self.score)

    def is_sure(self, answer: Accepted, earlier: Sequence[Accepted] = ()) -> bool:
        """Whether no field is below its threshold, or an earlier answer agrees; an unknown confidence is never below."""
        return self._is_above(answer) or (
            bool(self.agree_on) and any(self._agrees(each.value, answer.value) for each in earlier)
        )

    def _is_above(self, answer: Accepted) -> bool:
        if answer.evidence is None:
            return True
        return not any(
            each.confidence is not None
            and (threshold := self.below.get(each.field, self.below_all)) is not None
            and each.confidence < threshold
            for each in answer.evidence.fields
        )

    def _agrees(self, lower: BaseModel, higher: BaseModel) -> bool:
        agreed = compare_answers(lower, higher)
        return all(agreed.get(name, False) for name in self.agree_on)


NO_CASCADE = Cascade()


def build_cascade(config: RunConfig) -> Cascade:
    """The cascade of this configuration: the thresholds of its job, else of its stored tuning, and that one's score."""
    tuning = config.tuning
    return Cascade(tuning.climb_below, tuning.climb_below_all, config.schema.agree_on, tuning.score)


def compare_answers(lower: BaseModel, higher: BaseModel) -> dict[str, bool]:
    """Whether two answers agree, by top-level field, as tunings compare them: texts without regard to case and spacing."""
    return {
        name: canonical_text(getattr(lower, name)) == canonical_text(getattr(higher, name))
        for name in type(higher).model_fields
        if name in type(lower).model_fields
    }


def choose_surest(answers: Sequence[Accepted]) -> Accepted:
    """The answer with the highest confidence; of equal ones, and where one is unknown, that of the higher rung.

    `answers` are in the order of their rungs, and there is at least one.
    """
    surest = answers[-1]
    for lower in reversed(answers[:-1]):
        if (mine := _confidence(lower)) is not None and (best := _confidence(surest)) is not None and mine > best:
            surest = lower
    return surest


def _confidence(answer: Accepted) -> float | None:
    return answer.evidence.confidence if answer.evidence is not None else None
