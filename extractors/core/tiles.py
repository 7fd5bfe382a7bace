"""Bill rules: from an image's size in pixels to the image tokens that a server counts.

A rule is a named pure function. Vendors do not document which rule a model follows (Together documents two readings of
one rule that differ by up to four times), so every estimate names its rule.

| rule | counts | source |
|---|---|---|
| `formula` | `min(2, max(side // 560, 1))` tiles a side, 1,601 tokens each | Together's documented formula |
| `table` | one tile a side up to 560 px, two above | Together's documented table |
| `mllama` | the tiles of the canvas that Llama 3.2 Vision picks | its image processor |
| `qwen2` `qwen3` | patches of 28 (32) px after its `smart_resize`, and two markers | Qwen2.5-VL, Qwen3-VL processors |
| `kimi` | patches of 28 px within MoonViT's limits | Kimi's image processor |
| `openai` | 85 + 170 a tile of 512 px, after fitting 2048 and 768 | OpenAI's vision guide (4o family) |
| `flat:N` | N for every size | models with a fixed image budget |
| `fitted` | the tiles of `formula`, `table` or `mllama`, at the tokens that were measured | probes of one server |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TILE = 560
TILE_TOKENS = 1601  # 40 * 40 patches and one class token
TILE_NATIVE = 2240  # px: four tiles in a row, the longest side that a tile model uses
TILE_RUNGS = (1, 2, 4)  # tiles
PATCH_SHARES = (0.25, 0.5, 1.0)
FITTED = "fitted"
MARKERS = 8  # tokens: an upper bound of the markers that servers put around an image (Kimi: about 5)


class Size(NamedTuple):
    """Width and height in pixels, upright."""

    width: int
    height: int

    @property
    def longest(self) -> int:
        """The longer side."""
        return max(self)

    @property
    def shortest(self) -> int:
        """The shorter side."""
        return min(self)

    def scale_to(self, longest: int) -> Size:
        """The size with the same proportions and this longest side, each side at least 1 px."""
        width, height = self
        most = max(width, height)
        return Size(max(1, round(width * longest / most)), max(1, round(height * longest / most)))


@dataclass(frozen=True, slots=True)
class Rule:
    """How one family of models bills an image.

    `tokens` bills a size; `native` gives the size beyond which more pixels are neither used nor billed (never enlarged,
    same bill); `rungs` gives the default ladder of token budgets for an image of this size, cheapest first. `table` is
    the measured table of a fitted rule, and empty for all others.
    """

    name: str
    tokens: Callable[[Size], int] = field(compare=False)
    native: Callable[[Size], Size] = field(compare=False)
    rungs: Callable[[Size], tuple[int, ...]] = field(compare=False)
    table: str = ""

    @property
    def text(self) -> str:
        """The text from which `parse_rule` builds the same rule: its name, or its table (`fitted:table:1=1700,2=3400,4=6800`)."""
        return f"{self.name}:{self.table}" if self.table else self.name


@dataclass(frozen=True, slots=True)
class Geometry:
    """How tile models divide an image: the number of `tiles`, one of `counts` (rising), and the `native` size."""

    counts: tuple[int, ...]
    tiles: Callable[[Size], int]
    native: Callable[[Size], Size]

    def build_rule(self, name: str, tokens: Mapping[int, int], table: str = "") -> Rule:
        """The rule that bills each count of tiles by this table; its ladder has 1, 2 and 4 tiles."""
        rungs = tuple(sorted({tokens[count] for count in TILE_RUNGS}))
        return Rule(name, lambda size: tokens[self.tiles(size)], self.native, lambda _: rungs, table)


def get_rule(name: str) -> Rule:
    """The rule of this name: one of `NAMES`, or `flat:N`. Raises ValueError that lists the allowed names."""
    if name in _RULES:
        return _RULES[name]
    kind, _, count = name.partition(":")
    if kind == "flat" and count.isascii() and count.isdigit() and int(count) > 0:
        return _flat_rule(int(count))
    raise ValueError(f"{name!r} is not a bill rule: use {', '.join(NAMES)} or flat:N with N tokens an image")


def fit_rule(geometry: str, measured: Mapping[int, int]) -> Rule:
    """The rule of this geometry (one of `GEOMETRIES`) with the measured tokens by number of tiles.

    Counts of tiles that were not measured are interpolated. More tiles never cost less than fewer: where measurements
    disagree, the larger number holds. Raises ValueError for counts that the geometry does not have, for tokens below 1,
    and for an empty table.
    """
    shape = GEOMETRIES[geometry]
    if not measured or not measured.keys() <= set(shape.counts) or min(measured.values()) < 1:
        raise ValueError(f"{measured} is not a table of tokens by tiles for {geometry}, which has {shape.counts}")
    tokens: dict[int, int] = {}
    for count in shape.counts:
        tokens[count] = max(measured.get(count) or _estimate_tokens(count, measured), *tokens.values(), 1)
    table = ",".join(f"{count}={tokens[count]}" for count in shape.counts)
    return shape.build_rule(FITTED, tokens, f"{geometry}:{table}")


def parse_rule(text: str) -> Rule:
    """The rule whose `text` this is: a name that `rule` takes, or a fitted rule. Raises ValueError for anything else."""
    kind, _, table = text.partition(":")
    if kind != FITTED:
        return get_rule(text)
    geometry, _, tokens = table.partition(":")
    try:
        found = fit_rule(geometry, {int(count): int(each) for count, _, each in _split_table(tokens)})
    except (KeyError, ValueError):
        found = None
    if found is None or found.text != text:
        raise ValueError(f"{text!r} is not a fitted bill rule: run `tilewise calibrate` anew")
    return found


def fit_size(rule: Rule, size: Size, budget: int) -> Size | None:
    """The largest size with these proportions that `rule` bills within `budget` tokens, limited to its native size.

    None if not even the smallest size fits. Up to the native size a larger image of the same proportions never costs
    less than a smaller one, so bisection finds it.
    """
    native = rule.native(size)
    if rule.tokens(native) <= budget:
        return native
    low, high = 0, native.longest
    while high - low > 1:
        middle = (low + high) // 2
        if rule.tokens(size.scale_to(middle)) <= budget:
            low = middle
        else:
            high = middle
    return rule.native(size.scale_to(low)) if low else None


@lru_cache(maxsize=4096)
def worst_tokens(size: Size) -> int:
    """The most tokens that any shipped rule counts for this size: the bound for an uncalibrated model."""
    return max(each.tokens(size) for each in _RULES.values())


def _limit_longest(size: Size, limit: int) -> Size:
    return size if size.longest <= limit else size.scale_to(limit)


def _keep_bill(count: Callable[[Size], int], size: Size, target: Size) -> Size:
    """`target`, or if its bill differs from that of `size`, the next larger size with the same bill.

    `count` gives the billed tokens or tiles: different counts of tiles may cost the same but show a different image. A
    long image loses a tile of its short side at the limit of its long side (3410x1523 by `formula`), and rounding can
    cross a boundary: a free reduction must not change the bill.
    """
    bill = count(size)
    if count(target) == bill:
        return target
    low, high = target.longest, size.longest
    while high - low > 1:
        middle = (low + high) // 2
        if count(size.scale_to(middle)) == bill:
            high = middle
        else:
            low = middle
    return size.scale_to(high)


def _split_table(table: str) -> list[tuple[str, str, str]]:
    return [pair.partition("=") for pair in table.split(",")]


def _estimate_tokens(count: int, measured: Mapping[int, int]) -> int:
    """The tokens of a count of tiles that was not measured, from the measured ones; rounded up, so that budgets hold."""
    known = sorted(measured)
    below, above = [each for each in known if each < count], [each for each in known if each > count]
    if below and above:
        return _interpolate(count, below[-1], above[0], measured)
    nearest = below[-1] if below else above[0]
    alike = math.ceil(measured[nearest] * count / nearest)
    # Above the measured counts a tile costs as much as the last one or the mean one, whichever is more.
    return max(alike, _interpolate(count, below[-2], below[-1], measured)) if len(below) > 1 else alike


def _interpolate(count: int, left: int, right: int, measured: Mapping[int, int]) -> int:
    """The tokens at `count` on the line through two measurements."""
    rise = (measured[right] - measured[left]) * (count - left)
    return measured[left] - -rise // (right - left)


def _rungs_by_share(tokens: Callable[[Size], int]) -> Callable[[Size], tuple[int, ...]]:
    def rungs(size: Size) -> tuple[int, ...]:
        own = tokens(size)
        return tuple(int(own * share) for share in PATCH_SHARES)

    return rungs


def _formula_tiles(size: Size) -> int:
    return min(2, max(size.width // TILE, 1)) * min(2, max(size.height // TILE, 1))


def _formula_native(size: Size) -> Size:
    return _keep_bill(_formula_tiles, size, _limit_longest(size, TILE_NATIVE))


def _table_tiles(size: Size) -> int:
    # The table does not define exactly 560 px; it counts as one tile.
    return (1 if size.width <= TILE else 2) * (1 if size.height <= TILE else 2)


def _table_native(size: Size) -> Size:
    return _keep_bill(_table_tiles, size, _limit_longest(size, TILE_NATIVE))


_CANVASES = tuple((down, across) for down in range(1, 5) for across in range(1, 5) if down * across <= 4)


def _mllama_canvas(size: Size) -> tuple[int, int, float]:
    """The canvas (tiles down, tiles across) and the scale of the image in it."""
    scales = [
        (min(down * TILE / size.height, across * TILE / size.width), down * across, down, across)
        for down, across in _CANVASES
    ]
    roomy = [each for each in scales if each[0] >= 1]
    scale, _, down, across = min(roomy) if roomy else min(scales, key=lambda each: (-each[0], each[1]))
    return down, across, scale


def _mllama_tiles(size: Size) -> int:
    down, across, _ = _mllama_canvas(size)
    return down * across


def _mllama_native(size: Size) -> Size:
    *_, scale = _mllama_canvas(size)
    if scale >= 1:
        return size
    seen = Size(max(1, int(size.width * scale + 1e-6)), max(1, int(size.height * scale + 1e-6)))
    return _keep_bill(_mllama_tiles, size, seen)


@dataclass(frozen=True, slots=True)
class _Qwen:
    """Qwen-VL's `smart_resize`: sides to multiples of `factor`, area within [least, most] pixels."""

    factor: int
    least: int
    most: int

    def grid(self, size: Size) -> Size:
        """The size in pixels that the model uses."""
        width, height = (max(self.factor, round(side / self.factor) * self.factor) for side in size)
        if width * height > self.most:
            beta = math.sqrt(size.width * size.height / self.most)
            return Size(*(max(self.factor, math.floor(side / beta / self.factor) * self.factor) for side in size))
        if width * height < self.least:
            beta = math.sqrt(self.least / (size.width * size.height))
            return Size(*(math.ceil(side * beta / self.factor) * self.factor for side in size))
        return Size(width, height)

    def tokens(self, size: Size) -> int:
        seen = self.grid(size)
        return (seen.width // self.factor) * (seen.height // self.factor) + 2

    def native(self, size: Size) -> Size:
        width, height = (max(self.factor, round(side / self.factor) * self.factor) for side in size)
        if width * height <= self.most:
            return size
        seen = self.grid(size)
        return Size(min(size.width, seen.width), min(size.height, seen.height))


def _kimi_scale(size: Size) -> float:
    patches = max(1, size.width // 14) * max(1, size.height // 14)
    return min(1.0, math.sqrt(16384 / patches), 7168 / size.width, 7168 / size.height)


def _kimi_visible(size: Size) -> Size:
    scale = _kimi_scale(size)
    return Size(max(1, int(size.width * scale)), max(1, int(size.height * scale)))


def _kimi_tokens(size: Size) -> int:
    seen = _kimi_visible(size)
    return math.ceil(seen.width / 28) * math.ceil(seen.height / 28)


def _kimi_native(size: Size) -> Size:
    return _keep_bill(_kimi_tokens, size, _kimi_visible(size))


def _openai_native(size: Size) -> Size:
    fitted = _limit_longest(size, 2048)
    if fitted.shortest <= 768:
        return fitted
    return fitted.scale_to(round(fitted.longest * 768 / fitted.shortest))


def _openai_tokens(size: Size) -> int:
    seen = _openai_native(size)
    return 85 + 170 * math.ceil(seen.width / 512) * math.ceil(seen.height / 512)


def _flat_rule(count: int) -> Rule:
    return Rule(f"flat:{count}", lambda _: count, lambda size: size, lambda _: (count,))


def _patch_rule(name: str, tokens: Callable[[Size], int], native: Callable[[Size], Size]) -> Rule:
    return Rule(name, tokens, native, _rungs_by_share(tokens))


GEOMETRIES = {
    "formula": Geometry((1, 2, 4), _formula_tiles, _formula_native),
    "table": Geometry((1, 2, 4), _table_tiles, _table_native),
    "mllama": Geometry((1, 2, 3, 4), _mllama_tiles, _mllama_native),
}

_QWEN2 = _Qwen(28, 3136, 12_845_056)
_QWEN3 = _Qwen(32, 65_536, 16_777_216)

_RULES = {
    each.name: each
    for each in (
        *(shape.build_rule(name, {n: n * TILE_TOKENS for n in shape.counts}) for name, shape in GEOMETRIES.items()),
        _patch_rule("qwen2", _QWEN2.tokens, _QWEN2.native),
        _patch_rule("qwen3", _QWEN3.tokens, _QWEN3.native),
        _patch_rule("kimi", _kimi_tokens, _kimi_native),
        _patch_rule("openai", _openai_tokens, _openai_native),
    )
}

NAMES = tuple(_RULES)
