"""What a page will cost: low, expected and high, before anything is sent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.core import UNSEEN, tiles
from extractors.core.money import Costs, Price, Usage

if TYPE_CHECKING:
    from extractors.core import Step

UNKNOWN = Costs(None, None, None)
BYTES_A_TOKEN = 4  # of UTF-8; the usual rule of thumb for English


@dataclass(frozen=True, slots=True)
class Tariff:
    """By what a run's pages are billed, constant for the run.

    `trusted` says that the rule was given or calibrated, `calibrated` that it was measured; `text_bytes` is the
    prompt's length, `text_tokens` and `output_tokens` what is expected of text and answer, `max_tokens` the most that
    an answer may have. `video_tokens` is what a person expects of a video.
    """

    rule: tiles.Rule
    price: Price | None
    text_bytes: int
    text_tokens: int
    output_tokens: int
    max_tokens: int
    trusted: bool = False
    calibrated: bool = False
    video_tokens: int | None = None

    def knows(self, step: Step) -> bool:
        """Whether anything can be said of this step's bill."""
        return step.size != UNSEEN or self.video_tokens is not None

    def text(self, more_bytes: int = 0) -> int:
        """The text tokens expected of a request whose text is so many bytes longer than the prompt."""
        return self.text_tokens + math.ceil(more_bytes / BYTES_A_TOKEN)

    def most_text(self, more_bytes: int = 0) -> int:
        """The most text tokens of such a request: a byte has one at most, a chat template's come on top."""
        return max(self.text_bytes, self.text_tokens) + more_bytes

    def low(self, step: Step) -> int:
        """The fewest image tokens that the sent picture may be billed."""
        if step.size == UNSEEN:
            return step.tokens
        if self.trusted or self.calibrated:
            return self.rule.tokens(step.size)
        return min(tiles.rule(name).tokens(step.size) for name in ("formula", "table"))

    def high(self, step: Step) -> int:
        """The most image tokens that the sent picture may be billed: any shipped rule's, unless one was measured."""
        if step.size == UNSEEN:
            return step.tokens
        own = self.rule.tokens(step.size)
        return own if self.calibrated else max(own, tiles.worst(step.size))


def text_tokens(text_bytes: int) -> int:
    """The estimate until a baseline is measured: four UTF-8 bytes a token."""
    return math.ceil(text_bytes / BYTES_A_TOKEN)


def costs(tariff: Tariff, step: Step, *, first: bool) -> Costs:
    """The cost of sending this picture once; a document's text and answer are counted with its first page."""
    if tariff.price is None or not tariff.knows(step):
        return UNKNOWN
    price, text = tariff.price, tariff.text_tokens if first else 0
    output, most = (tariff.output_tokens, tariff.max_tokens) if first else (0, 0)
    return Costs(
        low=price.cost(Usage(prompt=tariff.low(step) + text)),
        expected=price.cost(Usage(prompt=step.tokens + text, completion=output)),
        high=price.cost(Usage(prompt=tariff.high(step) + (tariff.most_text() if first else 0), completion=most)),
    )
