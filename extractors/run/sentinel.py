"""Sentinel: compares what a server counts with the rule in force, call by call, and says when the rule is another one.

A run's text is the same in every call, so under the true rule what is left of the prompt without its images is the
same for all calls, and as many tokens as such a text can have: the text baseline.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from extractors.core import UNSEEN, tiles
from extractors.core.tiles import MARKERS, Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from extractors.core import Attempt
    from extractors.core.tiles import Rule

MOST_KEYS = 4096  # distinct calls remembered, whatever the length of a run
MOST_OFF = 0.02  # of the calls: some servers count one now and then otherwise
ENOUGH = 20  # explained calls for a text baseline
SLACK_TOKENS, SLACK = 16, 0.01  # by which an explained call may be off: markers, or a share of its image tokens
TEXT_TOKENS, TEXT = 30, 0.15  # by which a baseline may be off a measured one
TEMPLATE = 64  # tokens; what a server's chat template adds to a text


@dataclass(frozen=True, slots=True)
class _Match:
    """How calls stand to a rule: the text baseline under it, and how far off how many calls are that it leaves over."""

    calls: int
    baseline: int | None
    off: Counter[int]

    @property
    def share(self) -> float:
        """The share of calls that are not explained."""
        return self.off.total() / self.calls

    @property
    def fits(self) -> bool:
        return self.share <= MOST_OFF


class _Call(NamedTuple):
    """What the sentinel remembers of a call: the pictures sent, and what the server counted for the prompt."""

    sizes: tuple[Size, ...]
    prompt: int

    def image_tokens(self, tokens: Callable[[Size], int]) -> int:
        return sum(tokens(size) for size in self.sizes)


@dataclass(slots=True)
class BillingMonitor:
    """Told of every document's attempts; at the end it says whether the rule in force predicted them.

    `text_bytes` is the length of the run's text and `text_tokens` what is expected of it, `measured` where that was
    counted by this server for this text. Memory is bounded: once it has seen `MOST_KEYS` different calls (pictures
    and prompt tokens), it counts only more of those.
    """

    rule: Rule
    text_bytes: int
    text_tokens: int
    measured: bool = False
    _seen: Counter[_Call] = field(default_factory=Counter)
    _calls: int = 0
    _next: int = ENOUGH
    _baseline: int | None = None

    @property
    def baseline(self) -> int | None:
        """The text tokens of this run as the server counts them; None before enough calls were explained.

        Once there it stays, so that what is estimated by it does not drift.
        """
        return self._baseline

    def observe(self, attempts: Iterable[Attempt]) -> None:
        """The attempts of one more document; only those count that have a usage, and no words beside the run's text."""
        for attempt in attempts:
            if attempt.usage is not None and self._plain(attempt):
                self._note(_Call(tuple(step.size for step in attempt.request.steps), attempt.usage.prompt))

    def residual(self, attempt: Attempt) -> int | None:
        """The image tokens that this call was billed beyond the estimate, its text taken as measured.

        None before there is a baseline, without a usage, and where the text was longer than the run's.
        """
        if attempt.usage is None or self._baseline is None or not self._plain(attempt):
            return None
        return attempt.usage.prompt - attempt.request.image_tokens - self._baseline

    def warning(self) -> str | None:
        """What a person must know about the bill: the rule in force does not explain it, and which one does."""
        if not self._seen or (match := self._match(self.rule.tokens)).fits:
            return None
        median = f"by {_median(match.off):+,} image tokens"
        which = "the one call is off, " + median
        if match.calls > 1:
            which = f"{100 * match.share:.0f} % of {match.calls:,} calls are off, {median} a call at the median"
        return (
            f"the bill is not what the rule {self.rule.name} predicts: {which};"
            f" {self._instead()}: run `tilewise calibrate`"
        )

    def _plain(self, attempt: Attempt) -> bool:
        """Whether the request had the run's text and no more: what is estimated of it says so, before and after."""
        steps = attempt.request.steps
        seen = bool(steps) and all(step.size != UNSEEN for step in steps)
        return seen and attempt.request.text_tokens in {self.text_tokens, self._baseline}

    def _note(self, call: _Call) -> None:
        if call not in self._seen and len(self._seen) >= MOST_KEYS:
            return
        self._seen[call] += 1
        self._calls += 1
        if self._baseline is None and self._calls >= self._next:
            self._next += self._next // 4  # rarely enough that a long run does not wait for it
            match = self._match(self.rule.tokens)
            explained = self._calls - match.off.total()
            if explained >= ENOUGH and explained > self._calls / 2:
                self._baseline = match.baseline

    def _match(self, tokens: Callable[[Size], int]) -> _Match:
        """How the calls stand to a rule by which a picture takes so many `tokens`.

        The baseline is the median of what the rule leaves for the text, among what a text can have; where nothing is,
        no call is explained, and all are off what is expected.
        """
        left = [(call.prompt - (image := call.image_tokens(tokens)), image, n) for call, n in self._seen.items()]
        plausible = _counted((text, n) for text, _, n in left if self._plausible(text))
        if not plausible:
            return _Match(self._calls, None, _counted((text - self.text_tokens, n) for text, _, n in left))
        baseline = _median(plausible)
        # Markers around each image are part of a baseline, which is of the pages that most calls have.
        least = max(SLACK_TOKENS, MARKERS * max(len(call.sizes) for call in self._seen))
        off = _counted(
            (text - baseline, n) for text, image, n in left if abs(text - baseline) > max(least, SLACK * image)
        )
        return _Match(self._calls, baseline, off)

    def _plausible(self, text: int) -> bool:
        """Whether the run's text can have so many tokens."""
        if self.measured:
            return abs(text - self.text_tokens) <= max(TEXT_TOKENS, TEXT * self.text_tokens)
        return self.text_bytes / 8 <= text <= self.text_bytes + TEMPLATE

    def _instead(self) -> str:
        """Which rule explains the calls that the one in force does not."""
        named = [name for name in tiles.NAMES if self._match(tiles.rule(name).tokens).fits]
        if named:  # whether pictures that one of these bills alike are flat, the probes tell
            return f"the rule {' or '.join(named)} fits"
        each = self._flat_tokens()
        said = []
        if each > MARKERS and self._match(lambda _: each).fits:
            said.append(f"the rule flat:{each} fits")
        if each <= self.text_tokens and self._match(lambda _: 0).fits:
            said.append("the server's usage does not count images")
        return ", or ".join(said) or "no shipped rule fits"

    def _flat_tokens(self) -> int:
        """What a picture took if all took the same: by how the prompt grows with the pages, else beyond the text."""
        prompts: dict[int, Counter[int]] = {}
        for call, n in self._seen.items():
            prompts.setdefault(len(call.sizes), Counter())[call.prompt] += n
        least, most = min(prompts), max(prompts)
        if least == most:
            return round((_median(prompts[most]) - self.text_tokens) / most)
        return round((_median(prompts[most]) - _median(prompts[least])) / (most - least))


def _counted(values: Iterable[tuple[int, int]]) -> Counter[int]:
    """How many calls have each value."""
    counts: Counter[int] = Counter()
    for value, calls in values:
        counts[value] += calls
    return counts


def _median(counts: Counter[int]) -> int:
    """The middle value, the lower of two: one that was measured."""
    before, half = 0, counts.total() / 2
    for value in sorted(counts):
        before += counts[value]
        if before >= half:
            return value
    raise ValueError("nothing has no median")
