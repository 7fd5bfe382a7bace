"""The report page of a published run: `reports/<run>.html`, one file that loads nothing, read from the run's tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
from jinja2 import Environment, StrictUndefined

from extractors.core.errors import ConfigurationError, format_value
from extractors.core.money import dollars
from extractors.record.output.base import OUTPUT_ERRORS, reading
from extractors.record.tables import columns
from extractors.record.tables.history import DAYS
from extractors.record.tables.volume import BY_SCHEMA, PUBLISHED
from extractors.report.progress import format_duration
from extractors.report.summary import RETRIED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extractors.record.output.base import Output
    from extractors.record.tables.rows import Row

STATUSES = (
    "accepted",
    "duplicates",
    "rejected",
    "failed",
    "remaining",
    "skipped",
)  # of documents; they add up to `found`
MAX_EXAMPLES = 50  # failed documents on the page; the table failures has all of them
_RUN_FILE = re.compile(
    r"(\d{8}T\d{6}Z-[0-9a-f]{4})(?:-\d+)?"
)  # of a run's file: the run, and its volume after the first
_SUMMED = [name for name, dtype in columns.RUNS.items() if dtype in {columns.INT, columns.MONEY} and name != "volume"]
_START_COLUMNS: columns.Columns = {name: columns.RUNS[name] for name in ("run", "started_at")}
_LAST_VOLUME = ("status", "finished_at", "error")  # of a run's row: how the last volume ended is how the run did


class SentPages(NamedTuple):
    """Pages with the same planned action; image tokens at full size by both rules, and as first sent."""

    action: str
    reason: str
    pages: int
    formula: int
    table: int
    planned: int


class PromptTokens(NamedTuple):
    """Prompt tokens of answered calls by bill rule, and the share of calls that were predicted exactly."""

    bill_rule: str
    calls: int
    estimated: int
    billed: int
    residual: int
    exact: float


class CallGroup(NamedTuple):
    """Calls with the same outcome; `seconds` is their median, `cost_usd` is None if a price was unknown."""

    outcome: str
    billed: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cost_usd: Decimal | None


class FailureKind(NamedTuple):
    """Documents that failed for the same reason; `final` failures are not retried."""

    stage: str
    kind: str
    final: bool
    documents: int


class FailureExample(NamedTuple):
    """One document that failed."""

    document: str
    stage: str
    kind: str
    message: str


class FieldStats(NamedTuple):
    """Statistics of one schema field over all accepted rows."""

    field: str
    rows: int
    nulls: int
    distinct: int
    least: str | None
    most: str | None


class ScaleMark(NamedTuple):
    """An amount on the cost scale of a run; `place` is in percent."""

    name: str
    amount: str
    place: float


@dataclass(frozen=True, slots=True)
class Page:
    """The data of the page: `run` is the row of `runs` with volumes summed, `files` the files of each table."""

    run: Mapping[str, object]
    pages: Sequence[SentPages]
    prompt_tokens: Sequence[PromptTokens]
    calls: Sequence[CallGroup]
    failures: Sequence[FailureKind]
    examples: Sequence[FailureExample]
    fields: Sequence[FieldStats]
    files: Mapping[str, Sequence[str]]

    def html(self) -> str:
        """The complete HTML file. Values from images, models and settings are escaped."""
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        environment.filters |= {
            "dollars": dollars,
            "count": _format_count,
            "percent": _format_share,
            "lasted": format_duration,
        }
        text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        return environment.from_string(text).render(
            page=self, run=self.run, ends=STATUSES, marks=self.marks, again=RETRIED
        )

    @property
    def marks(self) -> list[ScaleMark]:
        """Predicted and real cost on one scale; empty if the cost is 0 or a price is unknown."""
        names = {
            "low": "estimated_low_usd",
            "expected": "estimated_expected_usd",
            "paid": "cost_usd",
            "high": "estimated_high_usd",
        }
        amounts = {name: amount for name, key in names.items() if isinstance(amount := self.run[key], Decimal)}
        most = max(amounts.values(), default=Decimal(0))
        if len(amounts) < len(names) or not most:
            return []
        return [ScaleMark(name, dollars(amount), float(100 * amount / most)) for name, amount in amounts.items()]


def write_report(output: Output, run: str | None = None) -> str:
    """Writes the page of a published run, by default of the last one; returns its full path.

    Raises ConfigurationError if the run does not exist, its tables cannot be read, or the page cannot be written.
    """
    with reading(output):
        page = _load_page(output, _find_run(output, run))
    key = f"reports/{page.run['run']}.html"
    try:
        output.write_page(key, page.html())
    except OUTPUT_ERRORS as error:
        raise ConfigurationError(f"output {str(output)!r} {output.describe_error(error, 'written')}") from error
    return output.full_name(key)


def _find_run(output: Output, run: str | None) -> str:
    """The id of the requested published run, or of the last one."""
    if run is None:
        return _find_latest_run(output)
    named = _RUN_FILE.fullmatch(run)
    if not named or named[1] != run:
        raise ConfigurationError(
            f"run {format_value(run)} is not a run id: use a value of column run, for example 20261120T021500Z-3f9a"
        )
    if not _list_files(output, "runs", run):
        raise ConfigurationError(f"run {run} is not published in {output}: see column run of its table runs")
    return run


def _find_latest_run(output: Output) -> str:
    """The run that started last. Raises ConfigurationError if none is published."""
    keys = {
        key: named[1]
        for key in output.list_files("runs", DAYS)
        if (named := _RUN_FILE.fullmatch(PurePosixPath(key).stem))
    }
    if not keys:
        raise ConfigurationError(f"output {str(output)!r} has no published run: choose another output with --output")
    second = max(keys.values()).partition("-")[0]  # ids do not order runs of one second
    begun = output.scan([key for key, run in keys.items() if run.startswith(second)], _START_COLUMNS).sort("started_at")
    return str(begun.select("run").last().collect().item())


def _list_files(output: Output, table: str, run: str) -> list[str]:
    """The files of a table of the run, in order of volumes."""
    day = f"run_date={run[:4]}-{run[4:6]}-{run[6:8]}"
    if table in BY_SCHEMA:
        files = output.list_files(table, f"schema=*/{day}/{run}*.parquet")
    else:  # in a bucket, all that is below a folder is listed
        files = output.list_files(f"{table}/{day}", f"{run}*.parquet")
    return sorted(files, key=lambda key: (len(key), key))


def _load_page(output: Output, run: str) -> Page:
    files = {table: _list_files(output, table, run) for table in PUBLISHED}

    def rows(table: str, wanted: columns.Columns) -> pl.LazyFrame:
        return output.scan(files[table], wanted) if files[table] else pl.LazyFrame(schema=wanted)

    images, calls = rows("images", columns.IMAGES), rows("calls", columns.CALLS)
    failures, fields = rows("failures", columns.FAILURES), rows("fields", columns.FIELDS)
    volumes = rows("runs", columns.RUNS).sort("volume").collect()
    queries = [
        _group_pages(images),
        _group_prompt_tokens(calls),
        _group_calls(calls),
        _group_failures(failures),
        _select_examples(failures),
        _select_fields(fields),
    ]
    groups = [frame.iter_rows() for frame in pl.collect_all(queries)]
    return Page(
        run=_sum_volumes(volumes),
        pages=[SentPages(*row) for row in groups[0]],
        prompt_tokens=[PromptTokens(*row) for row in groups[1]],
        calls=[CallGroup(*row) for row in groups[2]],
        failures=[FailureKind(*row) for row in groups[3]],
        examples=[FailureExample(*row) for row in groups[4]],
        fields=[FieldStats(*row) for row in groups[5]],
        files={table: [output.full_name(key) for key in keys] for table, keys in files.items()},
    )


def _group_pages(images: pl.LazyFrame) -> pl.LazyFrame:
    sums = pl.col("tokens_formula", "tokens_table", "tokens_planned").sum()
    return _sort_by_count(images.group_by("action", "reason").agg(pl.len(), sums), "action", "reason")


def _group_prompt_tokens(calls: pl.LazyFrame) -> pl.LazyFrame:
    sums = pl.col("estimated_prompt_tokens", "prompt_tokens", "residual_tokens").sum()
    exact = (pl.col("residual_tokens") == 0).mean().alias("exact")
    answered = calls.filter(pl.col("residual_tokens").is_not_null())
    return _sort_by_count(answered.group_by("bill_rule").agg(pl.len(), sums, exact), "bill_rule")


def _group_calls(calls: pl.LazyFrame) -> pl.LazyFrame:
    sums = pl.col("prompt_tokens", "completion_tokens").sum()
    unpriced = ((pl.col("billed") == "yes") & pl.col("cost_usd").is_null()).any()
    cost = pl.when(unpriced).then(None).otherwise(pl.col("cost_usd").sum())
    grouped = calls.group_by("outcome", "billed").agg(
        pl.len(), sums, pl.col("seconds").median(), cost.alias("cost_usd")
    )
    return _sort_by_count(grouped, "outcome", "billed")


def _group_failures(failures: pl.LazyFrame) -> pl.LazyFrame:
    return _sort_by_count(failures.group_by("stage", "kind", "final").agg(pl.len()), "stage", "kind", "final")


def _select_examples(failures: pl.LazyFrame) -> pl.LazyFrame:
    return failures.sort("failed_at", "document").head(MAX_EXAMPLES).select("document", "stage", "kind", "message")


def _select_fields(fields: pl.LazyFrame) -> pl.LazyFrame:
    return fields.select("field", "rows", "nulls", "distinct", "min", "max")


def _sort_by_count(grouped: pl.LazyFrame, *names: str) -> pl.LazyFrame:
    """Sorts groups by count, then by name, so that the page is reproducible."""
    return grouped.sort("len", *names, descending=[True, *(False for _ in names)])


def _sum_volumes(volumes: pl.DataFrame) -> Row:
    """The row of the run with its volumes summed; an amount that is unknown in one volume is unknown."""
    sums = [
        pl.when(pl.col(name).is_null().any()).then(None).otherwise(pl.col(name).sum()).alias(name) for name in _SUMMED
    ]
    rows, summed = volumes.to_dicts(), volumes.select(sums).to_dicts()[0]
    warnings = volumes["warnings"].explode().drop_nulls().unique(maintain_order=True).to_list()
    return rows[0] | summed | {name: rows[-1][name] for name in _LAST_VOLUME} | {"warnings": warnings}


def _format_count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _format_share(share: float) -> str:
    return f"{share:.1%}"
