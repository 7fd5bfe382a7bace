"""Renders the report to one HTML file: every value is escaped, and a policy lets the browser load and run nothing else."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from extractors.core.money import dollars
from extractors.core.redact import shorten_source
from extractors.report.progress import format_duration
from extractors.report.summary import RETRIED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from extractors.record.tables.rows import Row
    from extractors.report.page.charts import Chart
    from extractors.report.page.documents import Card
    from extractors.report.page.pictures import PictureView
    from extractors.report.page.selection import DocumentSelection
    from extractors.report.page.tables import SummaryTables

STATUSES = (
    "accepted",
    "duplicates",
    "rejected",
    "failed",
    "remaining",
    "skipped",
)  # of documents; they add up to `found`
FLAGS = {"failed": "failed", "climbed": "climbed", "copied": "copied", "doubtful": "low confidence"} | {
    "unseen": "on no page",
    "missing": "rows missing",
}  # as shown
_FOLDER = Path(__file__).parent


class ScaleMark(NamedTuple):
    """An amount on the cost scale of a run; `place` is in percent."""

    name: str
    amount: str
    place: float


class Bar(NamedTuple):
    """The documents of one outcome in the bar of all."""

    name: str
    start: int
    documents: int


@dataclass(frozen=True, slots=True)
class Gallery:
    """The documents of the page with their pictures, in the same order; `counts` is how many have each flag."""

    selection: DocumentSelection
    documents: Iterable[tuple[Card, PictureView]]
    counts: Mapping[str, int]

    @property
    def description(self) -> str:
        """What of the run's documents is shown, where that is not all."""
        shown, total = self.selection.shown, self.selection.total
        return (
            f"This run ended {sum(total):,} documents. The page shows {sum(shown):,} of them: every failure"
            f" ({shown[0]:,}), {shown[1]:,} of {total[1]:,} doubtful ones, and a random sample of {shown[2]:,} of the"
            f" other {total[2]:,}."
        )


@dataclass(frozen=True, slots=True)
class Page:
    """The data of the page: `run` is the row of `runs` with volumes summed, `files` the files of each table.

    `charts` is None where the extra that draws them is not installed.
    """

    run: Row
    sums: SummaryTables
    files: Mapping[str, Sequence[str]]
    charts: Sequence[Chart] | None = ()
    gallery: Gallery | None = None

    def html(self) -> str:
        """The complete HTML file. Values from images, models and settings are escaped."""
        environment = make_environment()
        style, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
        template = environment.from_string((_FOLDER / "page.html").read_text(encoding="utf-8"))
        pieces = template.generate(
            page=self,
            run=self.run,
            sums=self.sums,
            files=self.files,
            charts=self.charts,
            gallery=self._render_gallery(environment),
            title=self.title,
            bars=self.bars,
            marks=self.marks,
            ends=STATUSES,
            flags=FLAGS,
            again=RETRIED,
            policy=make_policy(style, script),
            style=Markup(style),  # noqa: S704 - a file of this package
            script=Markup(script),  # noqa: S704 - as above
        )
        return "".join(pieces)

    @property
    def title(self) -> str:
        """What was read, by the last part of its name, and the schema: as the flow run of it is named."""
        return f"{shorten_source(str(self.run['source']))} → {self.run['schema'] or self.run['flow']}"

    @property
    def bars(self) -> list[Bar]:
        """The documents by outcome, one after the other."""
        counts = {name: count for name in STATUSES if isinstance(count := self.run[name], int) and count}
        ends = accumulate(counts.values())
        return [Bar(name, end - counts[name], counts[name]) for name, end in zip(counts, ends, strict=True)]

    @property
    def marks(self) -> list[ScaleMark]:
        """Predicted and real cost on one scale; empty if the cost is 0 or a price is unknown."""
        names = {
            "low": "estimated_low_usd",
            "expected": "estimated_expected_usd",
            "paid": "cost_usd",
            "high": "estimated_high_usd",
        }
        amounts = {name: amount for name, key in names.items() if isinstance(amount := self.run[key], Decimal)}
        most = max(amounts.values(), default=Decimal(0))
        if len(amounts) < len(names) or not most:
            return []
        return [ScaleMark(name, dollars(amount), float(100 * amount / most)) for name, amount in amounts.items()]

    def _render_gallery(self, environment: Environment) -> Mapping[str, object] | None:
        if self.gallery is None:
            return None
        return {
            "is_partial": self.gallery.selection.is_partial,
            "description": self.gallery.description,
            "flags": {flag: self.gallery.counts[flag] for flag in FLAGS},
            "cards": _render_cards(environment, self.gallery.documents),
        }


def make_environment() -> Environment:
    """The environment of the templates, which escapes every value."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "dollars": dollars,
        "count": _format_count,
        "percent": _format_share,
        "lasted": format_duration,
        "describe_call": describe_call,
        "as_text": _escape_text,
        "as_value": _escape_value,
    }
    return environment


def make_policy(style: str, script: str) -> str:
    """The Content-Security-Policy: this style and this script, pictures within the file, and no request."""
    hashes = [b64encode(sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; img-src data:;"
        " connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def describe_call(call: Row) -> str:
    """The figures of a call in one line, those that are known."""
    sides = (call["sent_width"], call["sent_height"])
    cost, seconds = call["cost_usd"], call["seconds"]
    parts = [
        f"HTTP {call['http_status']}" if call["http_status"] else "",
        f"rung {call['rung']:,}" if isinstance(call["rung"], int) else "",
        f"{sides[0]} x {sides[1]} px" if all(sides) else "",
        f"{seconds:.1f} s" if isinstance(seconds, float) else "",
        f"{call['prompt_tokens']:,} + {call['completion_tokens']:,} tokens" if call["prompt_tokens"] else "",
        dollars(cost) if isinstance(cost, Decimal) else "",
        str(call["finish_reason"] or ""),
    ]
    return " · ".join(filter(None, parts))


def _render_cards(environment: Environment, documents: Iterable[tuple[Card, PictureView]]) -> Iterator[Markup]:
    template = environment.from_string((_FOLDER / "card.html").read_text(encoding="utf-8"))
    for card, picture in documents:
        yield Markup(template.render(card=card, picture=picture, flags=FLAGS))  # noqa: S704 - escaped by the template


def _escape_text(text: str) -> Markup:
    """The text of an element, where quotes need no escape: JSON is a third shorter."""
    return Markup(str(escape(text)).replace("&#34;", '"').replace("&#39;", "'"))  # noqa: S704 - escaped


def _escape_value(text: str) -> Markup:
    """The value of an attribute in single quotes."""
    return Markup(str(escape(text)).replace("&#34;", '"'))  # noqa: S704 - escaped


def _format_count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _format_share(share: float) -> str:
    return f"{100 * share:.1f} %"
