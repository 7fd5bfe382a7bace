"""What earlier runs have done, read from the published tables: which documents need no call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import polars as pl

from extractors.record import columns
from extractors.record.root import reading

if TYPE_CHECKING:
    from extractors.model import Name, Terms
    from extractors.record.root import Root

Redo = Literal["failed", "changed", "all"]

MOST_TRIES = 5  # runs in which a failure that is not final is taken again without being asked
OFFLINE = "offline/"
DAYS = "run_date=*/*.parquet"

# One row per end that was published; `key` is the document's, `now` whether it was reached as today's run would.
ENDS: columns.Columns = {"key": columns.INT, "at": columns.TIME, "now": columns.FLAG}
FAILED: columns.Columns = ENDS | {"final": columns.FLAG, "tries": columns.INT}

_RESULTS = ("_document", "_version", "_extracted_at", "_model", "_schema_hash", "_prompt_hash", "_model_requested")
_FAILURES = (
    *("document", "version", "schema", "schema_hash", "prompt_hash", "model_requested"),
    *("final", "tries", "failed_at"),
)


class Past:
    """The documents of one schema that have ended before, each known by 64 bits of its name and version.

    That is some 140 MB for a million of them, 320 under `changed` (benchmarks/past.py). The price: a new
    document passes for a done one when all bits agree by chance, which happens to one of a million new documents beside
    a million done ones once in 18 million runs. Every process draws its bits anew, so the next run takes it.
    """

    def __init__(self, accepted: pl.DataFrame, failed: pl.DataFrame) -> None:
        """`accepted` has the columns ENDS, `failed` those of FAILED; both in the order in which they were published."""
        self._accepted, self._failed = accepted, failed
        most = failed.group_by("key").agg(pl.col("tries").max())
        self._tries: dict[int, int] = dict(zip(most["key"], most["tries"], strict=True))
        self._done: dict[Redo | None, set[int]] = {}

    def skips(self, name: Name, redo: Redo | None) -> bool:
        """Whether this document needs nothing: it has a row in results, a final failure, or failed often enough."""
        if redo not in self._done:
            self._done[redo] = set(self._done_under(redo))
        return key(*name) in self._done[redo]

    def tries(self, name: Name) -> int:
        """In how many runs this document has failed so far."""
        return self._tries.get(key(*name), 0) if self._tries else 0

    def _done_under(self, redo: Redo | None) -> pl.Series:
        """The keys of the documents that are done; one that comes twice is done once."""
        often, now = pl.col("tries") >= MOST_TRIES, pl.col("now")
        if redo is None:
            return pl.concat([self._accepted["key"], self._failed.filter(pl.col("final") | often)["key"]])
        if redo == "failed":
            return self._accepted["key"]
        if redo == "changed":
            return pl.concat([self._latest().filter(now)["key"], self._failed.filter(now & often)["key"]])
        return pl.Series(dtype=columns.INT)

    def _latest(self) -> pl.DataFrame:
        """Each document's latest end: accepted or failed for good; of two at one time the failure."""
        ends = pl.concat([self._accepted, self._failed.filter("final").select(*ENDS)])
        return ends.sort("at", maintain_order=True).unique("key", keep="last")


def key(document: str, version: str | None) -> int:
    """What a document of this version is known by, within this process."""
    return hash((document, version))


def read_past(root: Root, terms: Terms, *, offline: bool) -> Past:
    """Everything published under `root` for the schema of `terms`; rows read offline count for offline runs only."""
    now = (
        (pl.col("schema_hash") == terms.schema_hash)
        & (pl.col("prompt_hash") == terms.prompt_hash)
        & (pl.col("model_requested") == terms.model)
    )
    with reading(root):
        return Past(
            _accepted(root, terms.schema, now, offline=offline),
            _failed(root, terms.schema, now, offline=offline),
        )


def _accepted(root: Root, schema: str, now: pl.Expr, *, offline: bool) -> pl.DataFrame:
    def read(file: str) -> pl.DataFrame:
        rows = root.scan([file], {name: columns.RESULTS[name] for name in _RESULTS})
        kept = rows.rename({name: name.removeprefix("_") for name in _RESULTS})
        if not offline:
            kept = kept.filter(~pl.col("model").str.starts_with(OFFLINE))
        return _ended(kept, {"at": pl.col("extracted_at"), "now": now})

    return pl.concat([pl.DataFrame(schema=ENDS), *root.each(read, root.files(f"results/schema={schema}", DAYS))])


def _failed(root: Root, schema: str, now: pl.Expr, *, offline: bool) -> pl.DataFrame:
    told = {"final": pl.col("final").fill_null(value=False), "tries": pl.col("tries").fill_null(1)}

    def read(file: str) -> pl.DataFrame:
        rows = root.scan([file], {name: columns.FAILURES[name] for name in _FAILURES})
        kept = rows.filter(pl.col("schema") == schema)
        if not offline:
            kept = kept.filter(~pl.col("model_requested").str.starts_with(OFFLINE))
        return _ended(kept, {"at": pl.col("failed_at"), "now": now} | told)

    return pl.concat([pl.DataFrame(schema=FAILED), *root.each(read, root.files("failures", DAYS))])


def _ended(rows: pl.LazyFrame, told: dict[str, pl.Expr]) -> pl.DataFrame:
    """The rows of one file, `document` and `version` turned into keys. By file: the names are held a volume at a time."""
    frame = rows.select("document", "version", **told).collect()
    keys = [key(document, version) for document, version in frame.select("document", "version").iter_rows()]
    return frame.select(pl.Series("key", keys, dtype=columns.INT), *told)  # the names again: of columns by now
