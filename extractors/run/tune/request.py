"""What a tuning is asked for. It imports little, so that a wrong argument is an error at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from extractors.core.errors import ConfigurationError

if TYPE_CHECKING:
    from extractors.report.tuning.review_costs import ReviewPrices


class TruthFile(NamedTuple):
    """A file of true values; `on`: its rows name no document, and are joined to published rows by this field."""

    path: str
    on: str = ""


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """What is asked of a tuning beside the job: the file of labels, the target of the certificate, and whether to store.

    `from_rows`: published rows are scored instead, and nothing is read. `prices`: ladder and threshold are chosen by
    dollars, with reviews and errors. `witness`: the job has its mode `all`.
    """

    truth: TruthFile
    target: float = 0.99
    apply: bool = False
    from_rows: bool = False
    prices: ReviewPrices | None = None
    witness: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a target that is no share, and for storing what is not tried."""
        if self.apply and self.from_rows:
            raise ConfigurationError("--from-rows tries no ladder, so there is nothing to store: leave out --apply")
        if self.witness and self.from_rows:
            raise ConfigurationError("--from-rows scores rows as they were published: leave out --witness")
        if not 0 < self.target < 1:
            raise ConfigurationError(f"target {self.target}: use a share of documents between 0 and 1, such as 0.99")
