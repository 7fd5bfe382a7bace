"""The results and failures of earlier runs, read from the published tables: which documents need no call."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

import polars as pl

from extractors.core import DIFFERS, DONE, NEW, NO_REDO, RETRY, SETTING_KINDS
from extractors.record.output.base import reading
from extractors.record.tables import columns

if TYPE_CHECKING:
    from collections.abc import Container
    from datetime import datetime
    from typing import Self

    from extractors.core import Fingerprint, Name, Redo, RedoScope
    from extractors.record.output.base import Output

MAX_TRIES = 5  # runs that retry a failure that is not final without `--redo`
OFFLINE = "offline/"
DAYS = "run_date=*/*.parquet"
# Failures of these kinds depend on model, schema and prompt: under others they are not final.
REQUEST_KINDS = ("client_error", "context_exceeded")
KIND = pl.col("kind").fill_null("unknown").cast(pl.Categorical)
SETTLED = pl.col("final") | (pl.col("tries") >= MAX_TRIES)

# One row per published outcome; `now`: it was reached with the schema, prompt and model of this run.
OUTCOME_COLUMNS: columns.Columns = {"key": columns.INT, "at": columns.TIME, "now": columns.FLAG}
FAILURE_COLUMNS: columns.Columns = OUTCOME_COLUMNS | {
    "final": columns.FLAG,
    "tries": columns.INT,
    "kind": pl.Categorical(),
}
# Added under `--redo`: a failure's kind, or what differs under `changed`.
REASON_COLUMN: columns.Columns = {"why": pl.Categorical()}

_RESULTS = ("_document", "_version", "_extracted_at", "_model", "_schema_hash", "_prompt_hash", "_model_requested")
_FAILURES = (
    *("document", "version", "schema", "schema_hash", "prompt_hash", "model_requested"),
    *("kind", "final", "tries", "failed_at"),
)


class RunHistory:
    """The documents of one schema that earlier runs have finished, by a 64-bit hash of name and version.

    A million of them take 140 MB, 320 MB under `changed` (benchmarks/skip_decision.py). A new document is skipped by mistake if
    its hash collides: with a million new and a million done documents, once in 18 million runs. The hash is seeded per
    process, so the next run takes the document.
    """

    def __init__(
        self, accepted: pl.DataFrame, failed: pl.DataFrame, kind: str | None = None, before: datetime | None = None
    ) -> None:
        """`accepted` has OUTCOME_COLUMNS, `failed` has FAILURE_COLUMNS; both in the order of publication.

        `reason` needs REASON_COLUMN too. `kind`: under `--redo failed` final failures of other kinds stay done.
        `before`: documents that ended at or after this time are done under every `--redo`.
        """
        self._accepted, self._failed, self._kind, self._before = accepted, failed, kind, before
        most = failed.group_by("key").agg(pl.col("tries").max())
        self._tries: dict[int, int] = dict(zip(most["key"], most["tries"], strict=True))
        self._done: dict[Redo | None, set[int]] = {}
        self._reasons: dict[Redo, _ReasonIndex] = {}
        self._failed_kinds: _ReasonIndex | None = None
        self._stored: Container[int] | None = None
        self._since: dict[datetime, set[int]] = {}

    def limit_to(self, stored: Container[int]) -> Self:
        """Take only documents that have a stored answer; `stored` holds their keys. Returns itself."""
        self._stored = stored
        return self

    def skips(self, name: Name, redo: Redo | None) -> bool:
        """Whether this document is done: it has a row in results, a final failure, or MAX_TRIES failures."""
        if self._before is not None and self.has_ended(name, self._before):
            return True
        if redo not in self._done:
            self._done[redo] = set(self._done_keys(redo))
        key = document_key(*name)
        return key in self._done[redo] and (self._stored is None or key not in self._stored)

    def failed_kind(self, name: Name) -> str | None:
        """The kind of the failure for which this document is skipped; None where it has a result."""
        if self._failed_kinds is None:
            final = self._failed.filter(SETTLED).sort("at", maintain_order=True).unique("key", keep="last")
            without_result = final.join(self._accepted, on="key", how="anti")
            self._failed_kinds = _ReasonIndex(without_result.select("key", why="kind"))
        kind = self._failed_kinds.of(document_key(*name))
        return None if kind == NEW else kind

    def has_ended(self, name: Name, since: datetime) -> bool:
        """Whether this document was accepted, or failed for good, at or after this time."""
        if since not in self._since:
            late = pl.col("at") >= since
            ends = pl.concat([self._accepted.filter(late)["key"], self._failed.filter(late & SETTLED)["key"]])
            self._since[since] = set(ends)
        return document_key(*name) in self._since[since]

    def lacks_reply(self, name: Name, redo: Redo | None) -> bool:
        """Whether this document is not done and left out for lack of a stored answer."""
        return self._stored is not None and document_key(*name) not in self._stored and not self.skips(name, redo)

    def tries(self, name: Name) -> int:
        """The number of runs in which this document has failed."""
        return self._tries.get(document_key(*name), 0) if self._tries else 0

    def reason(self, name: Name, redo: Redo | None) -> str:
        """The reason why this document is taken.

        | redo              | the reason of a document that is only taken because of it       |
        |-------------------|-----------------------------------------------------------------|
        | `failed`          | the kind of its latest failure                                  |
        | `changed`         | the first of `schema`, `prompt` and `model` that differs        |
        | `all`, `reparse`  | `done` where it was accepted, else the kind of its latest failure |

        For all others: `new`, or `retry` after a failure that is not final.
        """
        if redo is None:
            return RETRY if self.tries(name) else NEW
        if redo not in self._reasons:
            self._reasons[redo] = _ReasonIndex(self._reasons_for(redo))
        return self._reasons[redo].of(document_key(*name))

    def _done_keys(self, redo: Redo | None) -> pl.Series:
        """The keys of the documents that are done; may hold duplicates."""
        often, now = pl.col("tries") >= MAX_TRIES, pl.col("now")
        if redo in {None, "reparse"}:
            return pl.concat([self._accepted["key"], self._failed.filter(SETTLED)["key"]])
        if redo == "failed" and self._kind:
            others = self._latest_failures().filter(pl.col("settled") & (pl.col("why") != self._kind))
            return pl.concat([self._accepted["key"], others["key"]])
        if redo == "failed":
            return self._accepted["key"]
        if redo == "changed":
            ends = self._latest_outcomes(self._failed.filter("final"))
            return pl.concat([ends.filter(now)["key"], self._failed.filter(now & often)["key"]])
        return pl.Series(dtype=columns.INT)

    def _reasons_for(self, redo: Redo) -> pl.DataFrame:
        """Unique keys and reasons of all documents that ended before and may be taken."""
        failures, why = self._latest_failures(), pl.col("why").cast(pl.String)
        reasons = failures.select("key", pl.when("settled").then(why).otherwise(pl.lit(RETRY)).alias("why"))
        if redo == "failed":
            return reasons
        if redo in {"all", "reparse"}:
            ends = self._accepted.select(pl.col("key").unique()).with_columns(why=pl.lit(DONE))
        else:
            ends = self._latest_outcomes(self._failed.filter(SETTLED)).select("key", why)
        return pl.concat([ends, reasons.join(ends, on="key", how="anti")])

    def _latest_failures(self) -> pl.DataFrame:
        """The failed documents, the reason of the latest failure, and whether one of the failures is settled."""
        ordered = self._failed.sort("at", maintain_order=True)
        return ordered.group_by("key").agg(pl.col("why").last(), SETTLED.any().alias("settled"))

    def _latest_outcomes(self, failed: pl.DataFrame) -> pl.DataFrame:
        """Each document's latest outcome, accepted or one of these failures; at equal times the failure."""
        ends = pl.concat([self._accepted, failed.select(self._accepted.columns)])
        return ends.sort("at", maintain_order=True).unique("key", keep="last")


class _ReasonIndex:
    """Reasons by key, in twelve bytes each: under `all` and `changed` there may be a million."""

    def __init__(self, reasons: pl.DataFrame) -> None:
        ordered = reasons.sort("key")
        self._keys, self._reasons = array("q", ordered["key"]), ordered["why"].cast(pl.Categorical)

    def of(self, document: int) -> str:
        """The reason of the document with this key; `new` if it has never ended."""
        at = bisect_left(self._keys, document)
        known = at < len(self._keys) and self._keys[at] == document
        return str(self._reasons[at]) if known else NEW


def document_key(document: str, version: str | None) -> int:
    """The hash of a document and its version, valid within this process."""
    return hash((document, version))


def load_history(output: Output, fingerprint: Fingerprint, scope: RedoScope = NO_REDO, *, offline: bool) -> RunHistory:
    """Read the history of this schema; rows read offline count only for offline runs.

    `reason` works only for this kind of `redo`, whose columns are read.
    """
    redo = scope.redo
    now = (
        (pl.col("schema_hash") == fingerprint.schema_hash)
        & (pl.col("prompt_hash") == fingerprint.prompt_hash)
        & (pl.col("model_requested") == fingerprint.model)
    )
    accepted = failed = {"now": now}
    if redo == "changed":
        accepted = failed = {"now": now, "why": _first_difference(fingerprint)}
    elif redo:
        failed = {"now": now, "why": KIND}
    with reading(output):
        return RunHistory(
            _read_accepted(output, fingerprint.schema, accepted, offline=offline),
            _read_failed(output, fingerprint.schema, failed, offline=offline),
            scope.kind,
            scope.before,
        )


def _first_difference(fingerprint: Fingerprint) -> pl.Expr:
    """The first of schema, prompt and model that differs from this run's, else null."""
    today = (fingerprint.schema_hash, fingerprint.prompt_hash, fingerprint.model)
    columns_of = ("schema_hash", "prompt_hash", "model_requested")
    first = [
        pl.when(pl.col(column).ne_missing(value)).then(pl.lit(name))
        for column, value, name in zip(columns_of, today, DIFFERS, strict=True)
    ]
    return pl.coalesce(first).cast(pl.Categorical)


def _read_accepted(output: Output, schema: str, computed: dict[str, pl.Expr], *, offline: bool) -> pl.DataFrame:
    def read(file: str) -> pl.DataFrame:
        rows = output.scan([file], {name: columns.RESULTS[name] for name in _RESULTS})
        kept = rows.rename({name: name.removeprefix("_") for name in _RESULTS})
        if not offline:
            kept = kept.filter(~pl.col("model").str.starts_with(OFFLINE))
        return _read_outcomes(kept, {"at": pl.col("extracted_at"), **computed})

    none = pl.DataFrame(schema=OUTCOME_COLUMNS | (REASON_COLUMN if "why" in computed else {}))
    return pl.concat([none, *output.map_files(read, output.list_files(f"results/schema={schema}", DAYS))])


def _read_failed(output: Output, schema: str, computed: dict[str, pl.Expr], *, offline: bool) -> pl.DataFrame:
    about_request = pl.col("kind").is_in(REQUEST_KINDS).fill_null(value=False)
    by_setting = pl.col("kind").is_in(SETTING_KINDS).fill_null(value=False)  # earlier versions published them as final
    final = pl.col("final").fill_null(value=False) & (computed["now"] | ~about_request) & ~by_setting
    tries = pl.when(by_setting).then(0).otherwise(pl.col("tries").fill_null(1))
    ends = {"final": final, "tries": tries, "kind": KIND}
    whole = {"at": pl.col("failed_at"), "now": computed["now"], **ends, **computed}

    def read(file: str) -> pl.DataFrame:
        rows = output.scan([file], {name: columns.FAILURES[name] for name in _FAILURES})
        kept = rows.filter(pl.col("schema") == schema)
        if not offline:
            kept = kept.filter(~pl.col("model_requested").str.starts_with(OFFLINE))
        return _read_outcomes(kept, whole)

    none = pl.DataFrame(schema=FAILURE_COLUMNS | (REASON_COLUMN if "why" in computed else {}))
    return pl.concat([none, *output.map_files(read, output.list_files("failures", DAYS))])


def _read_outcomes(rows: pl.LazyFrame, computed: dict[str, pl.Expr]) -> pl.DataFrame:
    """Read the rows of one file, with keys for `document` and `version`; only one file's names are in memory."""
    frame = rows.select("document", "version", **computed).collect()
    keys = [document_key(document, version) for document, version in frame.select("document", "version").iter_rows()]
    return frame.select(
        pl.Series("key", keys, dtype=columns.INT), *computed
    )  # select by name: the columns are computed
