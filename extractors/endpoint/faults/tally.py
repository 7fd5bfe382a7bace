"""The server's own count: what it did with every chat request that reached it, and what it billed.

| kind | |
|---|---|
| `answered` | a good answer, as asked for |
| the kinds of `faults.Shares` | a fault; `truncated` counts also what the request's own `max_tokens` cut |
| `limited` | 429, above the rate of `--rpm` (`rate_limited` is the fault) |
| `crowded` | 503, more requests waiting for the reader than it takes |
| `refused` | 400, a request or an image that cannot be answered |
| `gone` | the client left before its request was complete |
| `failed` | 500, a bug of the endpoint |

Billed are the answers that were made whole: `answered`, `truncated`, `off_schema`, `prose`, `fenced`, `empty`, `no_usage`.
Answers are counted when they are ready, everything else when it is decided: what `requests` has more than all kinds
together is still in flight.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counts by kind, and the tokens of every answer that was made whole, whether or not the client liked it."""

    requests: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def count(self, kind: str) -> None:
        """Note a request that nothing is billed for."""
        self.kinds[kind] += 1

    def bill(self, kind: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Note an answer and its bill."""
        self.kinds[kind] += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    def reset(self) -> None:
        """Start again; requests in flight stay counted, as they are yet to be counted by kind."""
        self.requests -= self.kinds.total()
        self.kinds.clear()
        self.prompt_tokens = self.completion_tokens = 0
