"""What a tuning showed: for the terminal at 80 columns, and as one JSON object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from extractors.core.money import dollars
from extractors.report.tuning.review_costs import format_usd
from extractors.report.tuning.witnessed import TITLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

    from extractors.report.tuning.join import JoinView
    from extractors.report.tuning.review_costs import DollarsView, ReviewCost
    from extractors.report.tuning.witnessed import WitnessedView

WIDTH = 80
SHOWN_CHOICES = 8
SIGNALS = {"least": "least token probability, not fitted", "all": "fitted on all signals"}


class Share(NamedTuple):
    """A share with its 95 % interval: how many of how many."""

    right: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share; 0 of nothing."""
        return self.right / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class RungView:
    """One rung on which every document was read: its mean tokens and dollars a document, and each field's accuracy."""

    name: str
    image_tokens: float
    cost_usd: Decimal | None
    fields: Mapping[str, Share]


@dataclass(frozen=True, slots=True)
class ChoiceView:
    """A ladder with a threshold: what all labelled documents would cost with it, climbs included, and get right.

    `image_tokens_share` is of reading the whole image once (`faithful`). Without `climb_below` only a refused answer climbs.
    """

    ladder: tuple[float, ...]
    climb_below: float | None
    image_tokens: int
    image_tokens_share: float
    cost_usd: Decimal | None
    accuracy: Mapping[str, float]
    accuracy_mean: float
    on_front: bool = False
    review: ReviewCost | None = None

    def as_json(self) -> dict[str, object]:
        """The object of `choices` in `--json`."""
        return {
            "ladder": list(self.ladder),
            "climb_below": self.climb_below,
            "image_tokens": self.image_tokens,
            "image_tokens_share": self.image_tokens_share,
            "cost_usd": self.cost_usd,
            "accuracy": dict(self.accuracy),
            "accuracy_mean": self.accuracy_mean,
            **({"review": self.review.as_json()} if self.review else {}),
        }

    @property
    def name(self) -> str:
        """The ladder and the threshold in words."""
        rungs = " > ".join(f"{rung:,.0f}" if rung > 1 else f"{rung:.0%}" for rung in self.ladder)
        return rungs if self.climb_below is None else f"{rungs}  below {self.climb_below:.3g}"


@dataclass(frozen=True, slots=True)
class CertificateView:
    """The share of documents that may skip review, or how many labels are missing to certify one."""

    target: float
    labels: int
    needed: int
    feasible: float
    threshold: float | None = None
    share: float | None = None
    bound: float | None = None

    def as_json(self) -> dict[str, object]:
        """The object `certificate` of `--json`."""
        return {
            "target": self.target,
            "threshold": self.threshold,
            "share": self.share,
            "bound": self.bound,
            "labels": self.labels,
            "needed": self.needed,
        }

    def lines(self) -> Iterator[str]:
        """The certificate in words."""
        labels = f"{self.labels:,} randomly drawn labels"
        if self.threshold is not None and self.share is not None and self.bound is not None:
            yield f"{self.share:.1%} of the documents may skip review: confidence {self.threshold:.4f} or more;"
            yield f"at least {self.bound:.2%} of them are right (one-sided 95 %, {labels})"
            return
        yield f"no document may skip review at a target of {self.target:.1%}: {labels} can show"
        yield f"at most {self.feasible:.1%}; {self.needed:,} more without an error are needed"


@dataclass(frozen=True, slots=True)
class ConfidenceView:
    """Whether confidence ranks the values of one field, or of all: errors first; an area only from 30 errors on."""

    errors: int
    values: int
    auc: float | None
    auc_interval: tuple[float, float] | None
    ece: float | None
    words: str
    coverage: Sequence[tuple[float, float]] = ()  # the share covered, and the risk there
    bins: Sequence[tuple[float, float, float, float, int]] = ()  # confidence, share right, its interval, values

    def as_json(self) -> dict[str, object]:
        """The object of one name in `confidence` of `--json`."""
        return {"errors": self.errors, "auc": self.auc, "ece": self.ece}


@dataclass(frozen=True, slots=True)
class TuningView:
    """Everything that a tuning showed. `published`: rows that were published were scored, and nothing was read."""

    run: str
    schema: str
    model: str
    images: int
    fields: Sequence[str]
    rungs: Sequence[RungView]
    choices: Sequence[ChoiceView]
    recommended: ChoiceView | None
    certificate: CertificateView
    confidence: Mapping[str, ConfidenceView]
    ablation: Mapping[str, float]
    unlooked: Sequence[str]
    foreign: Sequence[str] = ()
    applied: bool = False
    files: Mapping[str, str] = field(default_factory=dict)  # what was written, by name
    warnings: Sequence[str] = ()
    held_out: Mapping[str, str] = field(default_factory=dict)  # the recommendation by cross-validation, in words
    join: JoinView | None = None
    published: bool = False
    dollars: DollarsView | None = None
    witnessed: WitnessedView | None = None  # None: the witness did not look

    def as_json(self) -> dict[str, object]:
        """The object that `--json` prints."""
        return {
            "images": self.images,
            "fields": list(self.fields),
            "choices": [choice.as_json() for choice in self.choices],
            "recommended": self.recommended.as_json() if self.recommended else None,
            "certificate": self.certificate.as_json(),
            "confidence": {name: ranking.as_json() for name, ranking in self.confidence.items()},
            "unlooked": list(self.unlooked),
            "applied": self.applied,
            **({"join": self.join.as_json()} if self.join else {}),
            **({"dollars": self.dollars.as_json()} if self.dollars else {}),
            **({"witnessed": self.witnessed.as_json(), "ablation": dict(self.ablation)} if self.witnessed else {}),
            **({"published": self._published_json()} if self.published else {}),
        }

    def _published_json(self) -> dict[str, object]:
        """The right values and the labels of each field among the published rows."""
        return {name: share._asdict() for rung in self.rungs for name, share in rung.fields.items()}

    @property
    def title(self) -> str:
        """What was compared, by which model."""
        if self.published:
            return f"{self.images:,} published rows of schema {self.schema}, read by {self.model}"
        return f"{self.images:,} labelled images of schema {self.schema}, read by {self.model} at every rung"

    @property
    def stored(self) -> str:
        """Whether runs use what was found."""
        if self.published:
            return "not stored: published rows were scored, and no ladder was tried"
        return (
            "stored: runs and estimates of this schema and model use it" if self.applied else "not stored: add --apply"
        )

    def lines(self) -> Iterator[str]:
        """What a person reads."""
        yield self.title
        if self.join:
            yield self.join.words
        yield from self._rung_lines()
        if self.choices:
            yield from self._choice_lines()
        if self.dollars:
            yield f"\n{self.dollars.title}"
            yield from (f"  {line}" for line in self.dollars.lines())
        yield ""
        yield "Confidence"
        yield from (f"  {line}" for line in self._confidence_lines())
        yield ""
        yield "Certificate"
        yield from (f"  {line}" for line in self.certificate.lines())
        if self.witnessed:
            yield f"\n{TITLE}"
            yield from (f"  {line}" for line in self.witnessed.lines())
        if self.unlooked:
            yield f"unlooked, answered on a blank picture: {', '.join(self.unlooked)}"
        if self.foreign:
            yield f"answered on a foreign picture: {', '.join(self.foreign)}"
        yield from (f"warning: {warning}" for warning in self.warnings)
        yield from (f"{name}: {place}" for name, place in self.files.items())
        yield self.stored

    def _confidence_lines(self) -> Iterator[str]:
        for name, each in self.confidence.items():
            if not each.values:
                yield f"{_cut(name, 26)}: no value has a confidence"
            elif name == "all":
                yield f"all fields: {each.words}"
            else:
                yield f"{_cut(name, 26)}: {each.errors} of {each.values} values wrong"
        if self.ablation:
            yield "area under the curve by signals, on documents that were left out of the fit:"
        yield from (f"  {SIGNALS.get(name, f'fitted on {name}'):34} {auc:.3f}" for name, auc in self.ablation.items())

    def _rung_lines(self) -> Iterator[str]:
        yield ""
        yield f"Accuracy {'of the rows' if self.published else 'by rung'}, with 95 % intervals"
        for rung in self.rungs:
            yield f"  {rung.name}: {rung.image_tokens:,.0f} image tokens, {dollars(rung.cost_usd)} a document"
            for name, share in rung.fields.items():
                interval = f"{share.low:.1%} to {share.high:.1%}"
                yield f"    {_cut(name, 26):26} {share.right:>5} of {share.total:<5} {share.value:>6.1%}  {interval}"

    def _choice_lines(self) -> Iterator[str]:
        yield ""
        first = "dollars a document; " if self.dollars else ""
        yield f"Choices: {first}share of faithful's image tokens; mean accuracy"
        for choice in self._list_shown():
            usd = f"{format_usd(choice.review.usd_a_document):>9}  " if choice.review else ""
            figures = f"{usd}{choice.image_tokens_share:>6.1%}  {choice.accuracy_mean:>6.1%}"
            yield f"  {figures}  {_cut(choice.name, WIDTH - 4 - len(figures))}"
        if self.recommended is not None:
            best = self.recommended
            yield f"recommended: {_cut(best.name, WIDTH - 13)}"
            yield f"  {best.image_tokens_share:.1%} of faithful's image tokens, mean accuracy {best.accuracy_mean:.1%}"
        yield from (f"  {name}: {words}" for name, words in self.held_out.items())

    def _list_shown(self) -> list[ChoiceView]:
        """The choices of the front, the cheapest first; by dollars those of the fewest."""
        if self.dollars:
            priced = [(choice.review.usd_a_document, choice) for choice in self.choices if choice.review]
            return [choice for _, choice in sorted(priced, key=lambda each: each[0])][:SHOWN_CHOICES]
        front = {id(choice): choice for choice in self.choices if choice.on_front}
        return sorted(front.values(), key=lambda choice: choice.image_tokens)[:SHOWN_CHOICES]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
