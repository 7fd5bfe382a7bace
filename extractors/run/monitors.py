"""Monitors: what a run checks after every document: failures, cost, the model that answered, and the bill.

A run holds a list of monitors. Each observes every document that ended, may stop the run with an error, may leave a
warning in the run's row, and may remember in the ledger what the next run needs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, Protocol

from extractors.core import UNSEEN, tiles
from extractors.core.errors import Failing, Refused
from extractors.core.money import dollars, sum_known
from extractors.core.tiles import MARKERS, Size
from extractors.record.ledger.memory import REFUSAL_DAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from extractors.call.logprobs import LogprobOption
    from extractors.core import Attempt, Fingerprint
    from extractors.core.errors import RunError
    from extractors.core.tiles import Rule
    from extractors.core.totals import RunTotals
    from extractors.record.ledger.memory import EndpointMemory

FIRST_CHECK, CHECK_EVERY = 200, 1000  # documents, accepted or failed
MAX_FAILED_SHARE = 0.5
MAX_COST_RATIO = 2  # of the cost to the high estimate
MAX_KEYS = 4096  # distinct calls that the billing monitor remembers, for a run of any length
MAX_OFF_SHARE = 0.02  # of the calls: some servers count a call differently now and then
MIN_CALLS = 20  # explained calls that a text baseline needs
SLACK_TOKENS, SLACK_SHARE = 16, 0.01  # tolerance for an explained call: markers, or a share of its image tokens
TEXT_TOKENS, TEXT_SHARE = 30, 0.15  # tolerance between a text baseline and a measured one
TEMPLATE_TOKENS = 64  # what a server's chat template adds to a text


class Monitor(Protocol):
    """Observes the documents of a run."""

    def observe(self, totals: RunTotals, attempts: Sequence[Attempt]) -> RunError | None:
        """Takes the totals and the attempts of a document that ended; returns the error that stops the run, if any."""

    def warning(self) -> str | None:
        """Returns the warning for the run's row, if any."""

    def remember(self, memory: EndpointMemory, fingerprint: Fingerprint) -> None:
        """Stores in the ledger what the next run of this endpoint needs. Blocks: call it in a thread."""


@dataclass(slots=True)
class FailureGuard:
    """Stops a run in which too many documents fail or cost too much; checks after 200 documents, then every 1,000."""

    fail_above: float = 0.0
    accepted: int = 0
    failed: int = 0
    cost_usd: Decimal | None = Decimal(0)
    climb_usd: Decimal | None = Decimal(0)  # paid on purpose, and in no estimate
    highest_usd: Decimal | None = Decimal(0)
    _next: int = FIRST_CHECK

    def observe(self, totals: RunTotals, attempts: Sequence[Attempt] = ()) -> RunError | None:
        """Adds the totals, and checks the sums when the next check is due."""
        del attempts
        self.accepted += totals.accepted
        self.failed += totals.failed
        self.cost_usd = sum_known((self.cost_usd, totals.cost_usd))
        self.climb_usd = sum_known((self.climb_usd, totals.cascade.climb_usd))
        self.highest_usd = sum_known((self.highest_usd, totals.estimated.high))
        sent = self.accepted + self.failed
        if sent < self._next:
            return None
        self._next += CHECK_EVERY
        return self._check(sent)

    def _check(self, sent: int) -> RunError | None:
        share, limit = self.failed / sent, max(MAX_FAILED_SHARE, self.fail_above)
        if share > limit:
            return Failing(f"{self.failed} of the first {sent} documents failed, more than {limit:.0%}")
        cost, climbs, high = self.cost_usd, self.climb_usd, self.highest_usd
        if cost is not None and high is not None and climbs is not None and cost - climbs > MAX_COST_RATIO * high:
            return Failing(
                f"{sent} documents cost {dollars(cost / sent)} each, over twice the highest estimate of {dollars(high / sent)}"
            )
        return None

    def warning(self) -> str | None:
        """None: it stops the run, or has nothing to report."""
        return None

    def remember(self, memory: EndpointMemory, fingerprint: Fingerprint) -> None:
        """Stores nothing."""


@dataclass(slots=True)
class ModelGuard:
    """Reports answers from a model that did not answer the last run: servers redirect model ids at short notice.

    `before` has the model names of the last run's answers; it is empty in the first run.
    """

    requested: str
    before: frozenset[str]
    stops: bool = False
    names: set[str] = field(default_factory=set)

    def observe(self, totals: RunTotals, attempts: Sequence[Attempt]) -> RunError | None:
        """Notes the model names of the attempts; returns an error for a new name if a new name is to stop the run."""
        del totals
        self.names.update(each.reply.model for each in attempts if each.reply and each.reply.model)
        if not self.stops or not self._new:
            return None
        return Refused(f"{self._change}: set TILEWISE_ON_MODEL_CHANGE=warn to go on with it, or name another model")

    def warning(self) -> str | None:
        """Names the new and the earlier models."""
        return f"{self._change}: check whether its answers and its bill are the same" if self._new else None

    def remember(self, memory: EndpointMemory, fingerprint: Fingerprint) -> None:
        """Stores the names, unless a new one stopped the run: then it stops the next run too."""
        if self.names and not (self.stops and self._new):
            memory.keep_returned_models(fingerprint, self.names)

    @property
    def _new(self) -> set[str]:
        return self.names - self.before if self.before else set()

    @property
    def _change(self) -> str:
        now, before = ", ".join(sorted(self._new)), ", ".join(sorted(self.before))
        return f"{self.requested} was answered by {now}, in the last run by {before}"


@dataclass(slots=True)
class LogprobMonitor:
    """Reports that the server does not give log probabilities, which the run wants, or that they tell nothing."""

    option: LogprobOption
    accepted: int = 0
    scored: int = 0
    given: bool = False

    def observe(self, totals: RunTotals, attempts: Sequence[Attempt]) -> RunError | None:
        """Counts the accepted documents with and without a confidence; the client notes a refusal."""
        self.accepted += totals.accepted
        self.scored += totals.scored
        self.given = self.given or any(each.reply is not None and each.reply.logprobs is not None for each in attempts)
        return None

    def warning(self) -> str | None:
        """Quotes the server, or says why no confidence is known.

        The same sentence in the run that was refused and in later ones: shards may be of both kinds.
        """
        refusal = self.option.refusal
        if refusal is None:
            return self._describe_absence()
        return (
            f"the server refuses log probabilities: {refusal}; calls are sent without them, and do not ask for them again"
            f" for {REFUSAL_DAYS} days"
        )

    def _describe_absence(self) -> str | None:
        if not self.option.wanted or not self.accepted or self.scored:
            return None
        if not self.given:
            return "no confidence is known: the server was asked for log probabilities and gave none"
        return "no confidence is known: the model reasoned before it answered, or the tokens of its answers are not their text"

    def remember(self, memory: EndpointMemory, fingerprint: Fingerprint) -> None:
        """Stores a refusal of this run."""
        if self.option.refusal is not None and not self.option.earlier:
            memory.keep_logprob_refusal(fingerprint, self.option.refusal)


@dataclass(frozen=True, slots=True)
class _Match:
    """How well a rule explains the calls: the text baseline under it, and the error in tokens of each call it misses."""

    calls: int
    baseline: int | None
    off: Counter[int]

    @property
    def share(self) -> float:
        """The share of calls that the rule does not explain."""
        return self.off.total() / self.calls

    @property
    def fits(self) -> bool:
        return self.share <= MAX_OFF_SHARE


class _Call(NamedTuple):
    """What the monitor remembers of a call: the sizes of the pictures sent, and the prompt tokens the server counted."""

    sizes: tuple[Size, ...]
    prompt: int

    def image_tokens(self, tokens: Callable[[Size], int]) -> int:
        return sum(tokens(size) for size in self.sizes)


@dataclass(slots=True)
class BillingMonitor:
    """Compares the server's token counts with the bill rule, call by call, and names the rule that fits if another does.

    The text of a run is the same in every call. So under the true rule the prompt tokens without the images are the same
    for all calls, and a plausible number for such a text: the text baseline.

    `text_bytes` is the length of the run's text, `text_tokens` its expected tokens, `measured` whether this server
    counted them for this text. Memory is bounded: after `MAX_KEYS` different calls (sizes and prompt tokens) only
    repetitions of those are counted.
    """

    rule: Rule
    text_bytes: int
    text_tokens: int
    measured: bool = False
    _seen: Counter[_Call] = field(default_factory=Counter)
    _calls: int = 0
    _next: int = MIN_CALLS
    _baseline: int | None = None

    @property
    def baseline(self) -> int | None:
        """The text tokens of this run as the server counts them; None until enough calls are explained.

        Once set it stays, so that estimates by it do not drift.
        """
        return self._baseline

    def observe(self, totals: RunTotals, attempts: Sequence[Attempt]) -> RunError | None:
        """Counts the attempts that have a usage and sent no words beside the run's text; never stops the run."""
        del totals
        for attempt in attempts:
            if attempt.usage is not None and self._has_plain_text(attempt):
                self._count(_Call(tuple(step.size for step in attempt.request.steps), attempt.usage.prompt))
        return None

    def warning(self) -> str | None:
        """Reports that the rule in force does not explain the bill, and which rule does."""
        if not self._seen or (match := self._match(self.rule.tokens)).fits:
            return None
        median = f"by {_median(match.off):+,} image tokens"
        which = "the one call is off, " + median
        if match.calls > 1:
            which = f"{100 * match.share:.0f} % of {match.calls:,} calls are off, {median} a call at the median"
        return (
            f"the bill is not what the rule {self.rule.name} predicts: {which};"
            f" {self._describe_fit()}: run `tilewise calibrate`"
        )

    def remember(self, memory: EndpointMemory, fingerprint: Fingerprint) -> None:
        """Stores the text baseline."""
        if self._baseline:
            memory.keep_text_tokens(fingerprint, self._baseline)

    def _has_plain_text(self, attempt: Attempt) -> bool:
        """Whether the request had the run's text and no more: its estimated text tokens show that."""
        steps = attempt.request.steps
        has_images = bool(steps) and all(step.size != UNSEEN for step in steps)
        return has_images and attempt.request.text_tokens in {self.text_tokens, self._baseline}

    def _count(self, call: _Call) -> None:
        if call not in self._seen and len(self._seen) >= MAX_KEYS:
            return
        self._seen[call] += 1
        self._calls += 1
        if self._baseline is None and self._calls >= self._next:
            self._next += self._next // 4  # checks get rarer, so that they cost a long run nothing
            match = self._match(self.rule.tokens)
            explained = self._calls - match.off.total()
            if explained >= MIN_CALLS and explained > self._calls / 2:
                self._baseline = match.baseline

    def _match(self, tokens: Callable[[Size], int]) -> _Match:
        """Compares the calls with a rule that gives each picture's `tokens`.

        The baseline is the median of the text tokens that the rule leaves, among plausible ones; if none is plausible, no
        call is explained, and each is off by its distance from the expected text tokens.
        """
        texts = [(call.prompt - (image := call.image_tokens(tokens)), image, n) for call, n in self._seen.items()]
        plausible = _count_values((text, n) for text, _, n in texts if self._plausible(text))
        if not plausible:
            return _Match(self._calls, None, _count_values((text - self.text_tokens, n) for text, _, n in texts))
        baseline = _median(plausible)
        # The baseline includes the markers around the images of the usual number of pages.
        slack = max(SLACK_TOKENS, MARKERS * max(len(call.sizes) for call in self._seen))
        off = _count_values(
            (text - baseline, n) for text, image, n in texts if abs(text - baseline) > max(slack, SLACK_SHARE * image)
        )
        return _Match(self._calls, baseline, off)

    def _plausible(self, text: int) -> bool:
        """Whether this is a plausible number of tokens for the run's text."""
        if self.measured:
            return abs(text - self.text_tokens) <= max(TEXT_TOKENS, TEXT_SHARE * self.text_tokens)
        return self.text_bytes / 8 <= text <= self.text_bytes + TEMPLATE_TOKENS

    def _describe_fit(self) -> str:
        """Names the rules that explain the calls."""
        named = [name for name in tiles.NAMES if self._match(tiles.get_rule(name).tokens).fits]
        if named:  # only probes can tell a flat rule from one that bills these sizes alike
            return f"the rule {' or '.join(named)} fits"
        tokens = self._flat_tokens()
        fits = []
        if tokens > MARKERS and self._match(lambda _: tokens).fits:
            fits.append(f"the rule flat:{tokens} fits")
        if tokens <= self.text_tokens and self._match(lambda _: 0).fits:
            fits.append("the server's usage does not count images")
        return ", or ".join(fits) or "no shipped rule fits"

    def _flat_tokens(self) -> int:
        """The tokens per picture if all take the same: from how the prompt grows with the pages, else from the text."""
        prompts: dict[int, Counter[int]] = {}
        for call, n in self._seen.items():
            prompts.setdefault(len(call.sizes), Counter())[call.prompt] += n
        least, most = min(prompts), max(prompts)
        if least == most:
            return round((_median(prompts[most]) - self.text_tokens) / most)
        return round((_median(prompts[most]) - _median(prompts[least])) / (most - least))


def _count_values(values: Iterable[tuple[int, int]]) -> Counter[int]:
    """Counts the calls of each value."""
    counts: Counter[int] = Counter()
    for value, calls in values:
        counts[value] += calls
    return counts


def _median(counts: Counter[int]) -> int:
    """The median; of two middle values the lower, which is one that was measured."""
    before, half = 0, counts.total() / 2
    for value in sorted(counts):
        before += counts[value]
        if before >= half:
            return value
    raise ValueError("no median of no calls")
