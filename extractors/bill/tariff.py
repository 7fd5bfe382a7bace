"""Estimates what a page will cost, low, expected and high, before anything is sent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.core import UNSEEN, tiles
from extractors.core.money import Costs, Price, Usage

if TYPE_CHECKING:
    from extractors.core import LadderStep

UNKNOWN = Costs(None, None, None)
BYTES_A_TOKEN = 4  # of UTF-8; the usual rule of thumb for English


@dataclass(frozen=True, slots=True)
class Tariff:
    """The rule, price and token expectations by which a run's pages are billed; constant for the run.

    `trusted`: the rule was given or calibrated; `calibrated`: it was measured. `text_bytes` is the prompt's length,
    `text_tokens` and `output_tokens` are expected counts, `max_tokens` limits the answer, `video_tokens` is the user's
    figure for a video.
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

    def can_bill(self, step: LadderStep) -> bool:
        """Tell whether this step's bill can be estimated."""
        return step.size != UNSEEN or self.video_tokens is not None

    def expect_text_tokens(self, more_bytes: int = 0) -> int:
        """Estimate the text tokens of a request whose text is `more_bytes` longer than the prompt."""
        return self.text_tokens + math.ceil(more_bytes / BYTES_A_TOKEN)

    def limit_text_tokens(self, more_bytes: int = 0) -> int:
        """Give the upper limit of text tokens of that request: one a byte, or what was measured with its chat template."""
        return max(self.text_bytes, self.text_tokens) + more_bytes

    def low_tokens(self, step: LadderStep) -> int:
        """Give the fewest image tokens that the sent picture may be billed."""
        if step.size == UNSEEN:
            return step.tokens
        if self.trusted or self.calibrated:
            return self.rule.tokens(step.size)
        return min(tiles.get_rule(name).tokens(step.size) for name in ("formula", "table"))

    def high_tokens(self, step: LadderStep) -> int:
        """Give the most image tokens that the sent picture may be billed: any shipped rule's, unless one was measured."""
        if step.size == UNSEEN:
            return step.tokens
        own = self.rule.tokens(step.size)
        return own if self.calibrated else max(own, tiles.worst_tokens(step.size))


def estimate_text_tokens(text_bytes: int) -> int:
    """Estimate text tokens until a baseline is measured: four UTF-8 bytes a token."""
    return math.ceil(text_bytes / BYTES_A_TOKEN)


def estimate_costs(tariff: Tariff, step: LadderStep, *, first: bool) -> Costs:
    """Estimate the cost of sending this picture once; a document's text and answer are counted with its first page."""
    if tariff.price is None or not tariff.can_bill(step):
        return UNKNOWN
    price, text = tariff.price, tariff.text_tokens if first else 0
    output, most = (tariff.output_tokens, tariff.max_tokens) if first else (0, 0)
    return Costs(
        low=price.cost(Usage(prompt=tariff.low_tokens(step) + text)),
        expected=price.cost(Usage(prompt=step.tokens + text, completion=output)),
        high=price.cost(
            Usage(prompt=tariff.high_tokens(step) + (tariff.limit_text_tokens() if first else 0), completion=most)
        ),
    )
