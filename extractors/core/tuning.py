"""A tuning: what was measured on labelled images for one protocol, and what runs under that protocol use of it.

A pure value with a JSON form, which the ledger stores by endpoint, model and schema. `tilewise tune --apply` stores it.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

Probability = Annotated[float, Field(gt=0, lt=1)]
LABELS = {"schema_hash": "schema", "prompt_hash": "instructions or sampling", "mode": "mode"}


class TuningProtocol(BaseModel):
    """How answers were obtained: a tuning holds for the same protocol only.

    `schema_name` is the name with its version, as in `Fingerprint.schema`; `prompt_hash` covers instructions, temperature
    and reasoning.
    """

    model_config = ConfigDict(frozen=True)

    endpoint: str
    model: str
    schema_name: str
    schema_hash: str
    prompt_hash: str
    mode: str

    def differences(self, other: TuningProtocol) -> list[str]:
        """Names what differs between two protocols, in words; empty if they are the same."""
        return [
            LABELS.get(name, name) for name in type(self).model_fields if getattr(self, name) != getattr(other, name)
        ]


class Ladder(BaseModel):
    """The rungs of every page, cheapest first: budgets of image tokens, or shares of the image's own bill.

    `rule` is the text of the bill rule under which it was chosen: the same budget buys other pixels under another rule.
    Tile rules take budgets, patch rules shares. The last rung is the top: a budget of the rule's maximum, or a share of 1,
    sends the whole image.
    """

    model_config = ConfigDict(frozen=True)

    rule: str
    budgets: tuple[Annotated[int, Field(gt=0)], ...] = ()
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()

    @model_validator(mode="after")
    def _check_rungs(self) -> Self:
        rungs: tuple[float, ...] = self.budgets or self.shares
        if bool(self.budgets) == bool(self.shares):
            raise ValueError("a ladder has either budgets or shares")
        if any(below >= above for below, above in pairwise(rungs)):
            raise ValueError("the rungs of a ladder must rise")
        return self

    def limits(self, whole: int) -> tuple[int, ...]:
        """The budgets in image tokens for an image whose own bill is `whole`."""
        return self.budgets or tuple(int(whole * share) for share in self.shares)


class Certificate(BaseModel):
    """The certified share of documents that need no review: at this threshold, `lower_bound` of them are right.

    `threshold` and `share` are None where no threshold could be certified from so many labelled documents.
    """

    model_config = ConfigDict(frozen=True)

    target: float
    documents: int
    threshold: float | None = None
    share: float | None = None
    lower_bound: float | None = None


class Review(BaseModel):
    """The threshold of review that costs least at these prices; `below` None: every document is reviewed."""

    model_config = ConfigDict(frozen=True)

    review_cost: float
    error_cost: float
    below: float | None = None


class WitnessedScore(BaseModel):
    """The score of documents that the witness has looked at, with what was measured by it.

    `score` is the JSON form of `validate.score.Score`. Which documents climb does not depend on it: the witness looks
    when a document has ended.
    """

    model_config = ConfigDict(frozen=True)

    score: dict[str, JsonValue]
    certificate: Certificate | None = None
    review: Review | None = None


class Tuning(BaseModel):
    """The ladder, the thresholds and the score that were chosen for a protocol.

    `climb_below` holds thresholds by field, `climb_below_all` the threshold of every other field; None and no entry: the
    field's confidence never makes a document climb. `score` is the JSON form of `validate.score.Score`; None: the least
    token probability is the score. `ranks` is False where the confidence of this model cannot rank, None where too few
    errors were seen to tell. `agreement` counts the labelled documents that were read below the top rung, and those of them
    whose answer was that of the top in every field. `witnessed` is None where no score with signals of the witness was fitted.
    """

    model_config = ConfigDict(frozen=True)

    protocol: TuningProtocol
    ladder: Ladder | None = None
    climb_below: dict[str, Probability] = Field(default_factory=dict)
    climb_below_all: Probability | None = None
    score: dict[str, JsonValue] | None = None
    certificate: Certificate | None = None
    review: Review | None = None
    witnessed: WitnessedScore | None = None
    ranks: bool | None = None
    agreement: tuple[int, int] | None = None
    measured_at: datetime
    run: str

    @property
    def is_certified(self) -> bool:
        """Whether it holds a certificate or a threshold of review, with or without the witness."""
        return any(
            (self.certificate, self.review, self.witnessed and (self.witnessed.certificate or self.witnessed.review))
        )

    def without_certificates(self) -> Tuning:
        """The ladder, the thresholds of climbing and the scores alone."""
        ended: dict[str, None] = {"certificate": None, "review": None}
        witnessed = self.witnessed.model_copy(update=ended) if self.witnessed else None
        return self.model_copy(update={**ended, "witnessed": witnessed})

    def threshold(self, field: str) -> float | None:
        """The confidence below which this field makes a document climb; None: it never does."""
        return self.climb_below.get(field, self.climb_below_all)


def parse_tuning(body: str) -> Tuning:
    """Reads a stored tuning. Raises ValueError, in one line, for a body that is not one."""
    try:
        return Tuning.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from None
