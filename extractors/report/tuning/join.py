"""What became of the rows of a table of truth that was joined to published rows by a field."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class JoinView:
    """The rows of a table by what became of them: `joined` are labels, all others were not used."""

    on: str = ""
    rows: int = 0
    joined: int = 0
    without_key: int = 0
    repeated_in_truth: int = 0
    repeated_in_rows: int = 0
    unmatched: int = 0
    outside_source: int = 0
    without_value: int = 0
    ignored: tuple[str, ...] = ()  # columns

    def as_json(self) -> dict[str, object]:
        """The object `join` of `--json`."""
        return asdict(self)

    @property
    def words(self) -> str:
        """One line for a person."""
        unused = {
            f"without {self.on}": self.without_key,
            f"whose {self.on} is in several rows of the table": self.repeated_in_truth,
            "in several published rows": self.repeated_in_rows,
            "in no published row": self.unmatched,
            "of documents outside of the source": self.outside_source,
            "without a value to score": self.without_value,
        }
        named = ", ".join(f"{count:,} {why}" for why, count in unused.items() if count)
        ignored = f"; columns that are no field: {', '.join(self.ignored)}" if self.ignored else ""
        return f"{self.joined:,} of {self.rows:,} rows of the table joined by {self.on}; not used: {named or 'none'}{ignored}"
