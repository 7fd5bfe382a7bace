"""What earlier runs have done, read from the published tables: which documents need no call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import polars as pl

from extractors.errors import ConfigurationError, first_line
from extractors.record import columns

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from extractors.model import Found, Terms

MOST_TRIES = 5  # runs in which a failure that is not final is taken again without being asked
OFFLINE = "offline/"
Key = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Past:
    """The documents of one schema that are done, by (document, version).

    `done_now`: the latest end was reached exactly as today's run would read it; `tries_now` counts such failures alone.
    """

    accepted: set[Key] = field(default_factory=set)
    final: set[Key] = field(default_factory=set)
    done_now: set[Key] = field(default_factory=set)
    tries: dict[Key, int] = field(default_factory=dict)
    tries_now: dict[Key, int] = field(default_factory=dict)

    def skips(self, found: Found, redo: Literal["failed", "changed", "all"] | None) -> bool:
        """Whether this image needs nothing: it has a row in results, a final failure, or failed often enough."""
        key = (found.uri, found.version)
        if redo is None:
            return key in self.accepted or key in self.final or self.tries.get(key, 0) >= MOST_TRIES
        if redo == "failed":
            return key in self.accepted
        if redo == "changed":
            return key in self.done_now or self.tries_now.get(key, 0) >= MOST_TRIES
        return False


def read_past(root: Path, terms: Terms, *, offline: bool) -> Past:
    """Everything published under `root` for the schema of `terms`; rows read offline count for offline runs only."""
    now = (
        (pl.col("schema_hash") == terms.schema_hash)
        & (pl.col("prompt_hash") == terms.prompt_hash)
        & (pl.col("model_requested") == terms.model)
    )
    try:
        return _read(root, terms.schema, now, offline=offline)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ConfigurationError(f"output {str(root)!r} cannot be read: {first_line(error)}") from error


def _read(root: Path, schema: str, now: pl.Expr, *, offline: bool) -> Past:
    past = Past()
    ends: list[tuple[datetime, Key, bool]] = []
    results = _results(root, schema)
    if results is not None:
        kept = results if offline else results.filter(~pl.col("model").str.starts_with(OFFLINE))
        for document, version, at, as_now in (
            kept.select("document", "version", "extracted_at", now).collect().iter_rows()
        ):
            past.accepted.add((document, version))
            ends.append((at, (document, version), as_now))
    failures = _failures(root, schema)
    if failures is not None:
        kept = failures if offline else failures.filter(~pl.col("model_requested").str.starts_with(OFFLINE))
        for document, version, at, final, tries, as_now in (
            kept.select("document", "version", "failed_at", "final", "tries", now).collect().iter_rows()
        ):
            key = (document, version)
            past.tries[key] = max(tries, past.tries.get(key, 0))
            if as_now:
                past.tries_now[key] = max(tries, past.tries_now.get(key, 0))
            if final:
                past.final.add(key)
                ends.append((at, key, as_now))
    latest = {key: as_now for _, key, as_now in sorted(ends, key=lambda end: end[0])}
    past.done_now.update(key for key, as_now in latest.items() if as_now)
    return past


def _results(root: Path, schema: str) -> pl.LazyFrame | None:
    names = ["_document", "_version", "_extracted_at", "_model", "_schema_hash", "_prompt_hash", "_model_requested"]
    scanned = _scan(root / "results" / f"schema={schema}", {name: columns.RESULTS[name] for name in names})
    return None if scanned is None else scanned.rename({name: name.removeprefix("_") for name in names})


def _failures(root: Path, schema: str) -> pl.LazyFrame | None:
    names = ["document", "version", "schema", "schema_hash", "prompt_hash", "model_requested", "final", "tries"]
    names.append("failed_at")
    scanned = _scan(root / "failures", {name: columns.FAILURES[name] for name in names})
    return None if scanned is None else scanned.filter(pl.col("schema") == schema)


def _scan(folder: Path, wanted: columns.Columns) -> pl.LazyFrame | None:
    files = sorted(folder.glob("run_date=*/*.parquet"))
    if not files:
        return None
    return pl.scan_parquet(
        files, schema=wanted, extra_columns="ignore", missing_columns="insert", hive_partitioning=False
    )
