"""Probes: identifies the bill rule from the tokens that a server counts for four pictures of known size.

The four sizes tell the shipped rules apart (image tokens, without the few that a server puts around an image):

| probe | formula | table | mllama | qwen2 | qwen3 | kimi | openai |
|---|--:|--:|--:|--:|--:|--:|--:|
| 500x500 | 1601 | 1601 | 1601 | 326 | 258 | 324 | 255 |
| 561x561 | 1601 | 6404 | 6404 | 402 | 326 | 441 | 765 |
| 1280x720 | 3202 | 6404 | 6404 | 1198 | 882 | 1196 | 1105 |
| 560x2240 | 3202 | 3202 | 6404 | 1602 | 1262 | 1600 | 765 |
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extractors.core import tiles
from extractors.core.errors import ConfigurationError
from extractors.core.tiles import MARKERS, Rule, Size

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBES = (Size(500, 500), Size(561, 561), Size(1280, 720), Size(560, 2240))
NEAR = 0.02  # of a rule's tokens: more than rounding and markers explain is another rule


@dataclass(frozen=True, slots=True)
class ProbeFinding:
    """What the probes showed: the rule, the tokens of the call without an image, and each probe's image tokens."""

    rule: Rule
    text_tokens: int
    image_tokens: Mapping[Size, int]

    @property
    def exact(self) -> bool:
        """Whether a shipped rule explains the probes, without fitting."""
        return self.rule.name != tiles.FITTED

    @property
    def residuals(self) -> dict[Size, int]:
        """Measured minus the rule's image tokens, for each probe."""
        return _residuals(self.rule, self.image_tokens)

    @property
    def explains(self) -> bool:
        """Whether the rule is near every probe; a rule fitted by tiles may not be, for a model that counts patches."""
        return _explains(self.rule, self.image_tokens)


def identify(text_tokens: int, prompt_tokens: Mapping[Size, int]) -> ProbeFinding:
    """Identifies the rule from the prompt tokens of a call with text alone and of one call for each of `PROBES`.

    The shipped rule that is nearest, if it explains all probes; else `flat:N` where they are all alike; else a rule
    fitted to them. Raises ConfigurationError when the server counts no images.
    """
    measured = {size: prompt_tokens[size] - text_tokens for size in PROBES}
    for size, tokens in measured.items():
        if tokens <= MARKERS:
            raise ConfigurationError(
                f"the server's usage does not count images: {prompt_tokens[size]:,} prompt tokens with one of"
                f" {size.width}x{size.height} px, {text_tokens:,} without; the bill rule cannot be identified"
            )
    shipped = [rule for name in tiles.NAMES if _explains(rule := tiles.get_rule(name), measured)]
    flat = tiles.get_rule(f"flat:{max(measured.values())}")
    nearest = min(shipped, key=lambda rule: _worst(rule, measured), default=flat)
    return ProbeFinding(nearest if _explains(nearest, measured) else _fit_rule(measured), text_tokens, measured)


def _fit_rule(measured: Mapping[Size, int]) -> Rule:
    """Fits the rule that is nearest to the probes; of several that explain them the one with the fewest numbers."""

    def rank(candidate: tuple[int, Rule]) -> tuple[int, int, int]:
        numbers, rule = candidate
        worst = _worst(rule, measured)
        return (0 if _explains(rule, measured) else worst, numbers, worst)

    tables = {name: _table(name, measured) for name in tiles.GEOMETRIES}
    return min(((len(table), tiles.fit_rule(name, table)) for name, table in tables.items()), key=rank)[1]


def _table(geometry: str, measured: Mapping[Size, int]) -> dict[int, int]:
    """The tokens for each number of tiles of the probes; the maximum where they differ, so that a budget holds."""
    table: dict[int, int] = defaultdict(int)
    for size, tokens in measured.items():
        count = tiles.GEOMETRIES[geometry].tiles(size)
        table[count] = max(table[count], tokens)
    return dict(table)


def _residuals(rule: Rule, measured: Mapping[Size, int]) -> dict[Size, int]:
    return {size: tokens - rule.tokens(size) for size, tokens in measured.items()}


def _worst(rule: Rule, measured: Mapping[Size, int]) -> int:
    return max(abs(residual) for residual in _residuals(rule, measured).values())


def _explains(rule: Rule, measured: Mapping[Size, int]) -> bool:
    """Whether every probe is within a few markers or two per cent of the rule."""
    residuals = _residuals(rule, measured).items()
    return all(abs(residual) <= max(MARKERS, NEAR * rule.tokens(size)) for size, residual in residuals)
