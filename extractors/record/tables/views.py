"""views.sql at the output root: DuckDB views over the published tables, written anew with each publish."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from extractors.core.buckets import is_bucket_url, parse_location
from extractors.core.evidence import MISSING_ROW, NOWHERE
from extractors.record.tables import columns
from extractors.record.tables.history import OFFLINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extractors.record.output.base import Output

VIEWS_FILE = "views.sql"
UNPUBLISHED_FLOWS = ("tune", "try")  # they read documents and publish no row of them
_TABLES = ("failures", "images", "calls", "runs")
_SQL_TYPES = {
    columns.TEXT: "VARCHAR",
    columns.INT: "BIGINT",
    columns.PX: "INTEGER",
    columns.REAL: "DOUBLE",
    columns.FLAG: "BOOLEAN",
    columns.MONEY: "DECIMAL(18, 9)",
    columns.TIME: "TIMESTAMPTZ",
    pl.Date(): "DATE",
}
_OPEN_FAILURES: columns.Columns = {**columns.FAILURES, "run_date": pl.Date(), "source": columns.TEXT}
# How DuckDB signs in, by the scheme of the output. Nothing here is a secret.
_SIGN_IN = {
    "s3": """\
-- DuckDB finds the credentials where AWS's own tools do. For a server that is not AWS's, add to the secret:
-- ENDPOINT 'host:port', URL_STYLE 'path', USE_SSL true.
INSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws;
CREATE OR REPLACE SECRET tilewise (TYPE s3, PROVIDER credential_chain, SCOPE {scope});
""",
    "gs": """\
-- DuckDB signs in to Google Cloud Storage with an HMAC key. Store yours once:
-- CREATE PERSISTENT SECRET tilewise (TYPE gcs, KEY_ID '…', SECRET '…', SCOPE {scope});
INSTALL httpfs; LOAD httpfs;
""",
    "az": """\
-- DuckDB finds the credentials where Azure's own tools do, and needs the name of the account. Store it once:
-- CREATE PERSISTENT SECRET tilewise (TYPE azure, PROVIDER credential_chain, ACCOUNT_NAME '…', SCOPE {scope});
INSTALL httpfs; LOAD httpfs; INSTALL azure; LOAD azure;
""",
}


def write_views(output: Output) -> None:
    """Replace views.sql by views over all that is published now."""
    output.write_text(VIEWS_FILE, build_views(output))


def build_views(output: Output) -> str:
    """The text of views.sql: a header, and one view per statement."""
    folders = [folder for folder in output.list_folders("results") if folder.startswith("schema=")]
    schemas = [folder.removeprefix("schema=") for folder in folders if _has_files(output, f"results/{folder}")]
    published = {table for table in _TABLES if _has_files(output, table)}
    root = f"{output}/" if is_bucket_url(str(output)) else ""
    return "\n".join([_build_header(str(output)), *list_views(root, schemas, published), ""])


def _has_files(output: Output, folder: str) -> bool:
    """Whether a table has a file: a view over none cannot be made. Lists days, the last first, and not all files."""
    days = (day for day in reversed(output.list_folders(folder)) if day.startswith("run_date="))
    return any(output.list_files(f"{folder}/{day}", "*.parquet") for day in days)


def quote_name(name: str) -> str:
    """An identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _build_header(output: str) -> str:
    lines = "-- Views over the tables of tilewise. Each publish replaces this file: keep changes elsewhere.\n"
    if not is_bucket_url(output):
        return f"{lines}-- Its paths are relative. Run it in this folder: duckdb -init {VIEWS_FILE}\n"
    location = parse_location(output, "output")
    sign_in = _SIGN_IN[location.scheme].format(scope=quote_text(location.root.rstrip("/")))
    return f"{lines}-- Copy it, and run it anywhere: duckdb -init {VIEWS_FILE}\n{sign_in}"


def list_views(root: str, schemas: Sequence[str], published: set[str]) -> Iterator[str]:
    """Yields the statements. `root` precedes every path, and `published` are the tables with files beside results."""
    for schema in schemas:
        results, latest = quote_name(f"results_{schema}"), quote_name(f"latest_{schema}")
        files = _files(root, f"results/schema={schema}", by_schema=True)
        yield _view(results, f"SELECT * FROM {files}\nUNION ALL BY NAME {_NO_EVIDENCE}")
        yield _view(latest, f"SELECT * FROM {results}\n{_CURRENT}")
    yield _view("evidence", _list_evidence(schemas))
    if "runs" not in published:  # nothing is published
        yield _view("open_failures", _no_failures())
        return
    tables = {table: _files(root, table) for table in _TABLES}
    columns_of_run = "run, any_value(source) AS source, any_value(flow) AS flow, min(started_at) AS run_started_at"
    runs = f"(SELECT {columns_of_run} FROM {tables['runs']} GROUP BY run) AS runs"
    yield _view("runs_latest", _runs_latest(tables["runs"]))
    failures = _open_failures(tables["failures"], runs, schemas) if "failures" in published else _no_failures()
    yield _view("open_failures", failures)
    if "images" in published:
        yield _view("images_latest", _images_latest(tables["images"], runs))
    if "calls" in published:
        yield _view("spend_by_day", _spend_by_day(tables["calls"], runs, schemas))


def _view(name: str, query: str) -> str:
    return f"CREATE OR REPLACE VIEW {name} AS\n{query};\n"


def _files(root: str, folder: str, *, by_schema: bool = False) -> str:
    """The rows of all files below a folder. The types of partitions are given, since a schema may be named `2026`."""
    pattern = re.sub(r"([\[*?])", r"[\1]", root + folder) + "/*/*.parquet"
    types = "{'schema': VARCHAR, 'run_date': DATE}" if by_schema else "{'run_date': DATE}"
    read = f"read_parquet({quote_text(pattern)}, hive_partitioning = true"
    return f"{read}, hive_types = {types}, union_by_name = true)"


# Files of earlier versions lack these columns: beside this they are null.
_EVIDENCE = ", ".join(f"{quote_name(name)} {_SQL_TYPES[dtype]}" for name, dtype in columns.EVIDENCE.items())
_NO_EVIDENCE = f"SELECT NULL::DOUBLE AS _confidence, NULL::STRUCT({_EVIDENCE})[] AS _evidence WHERE false"
_NO_ROWS = f"SELECT NULL::VARCHAR AS schema, NULL::VARCHAR AS _document, NULL::VARCHAR AS _run, * FROM ({_NO_EVIDENCE})"

# The current row of a document: the latest, where rows read offline count only without another one.
_CURRENT = f"""\
QUALIFY row_number() OVER (
    PARTITION BY _document
    ORDER BY starts_with(_model, '{OFFLINE}'), _extracted_at DESC, _run DESC, _version DESC NULLS LAST, _key DESC
) = 1"""


def _list_evidence(schemas: Sequence[str]) -> str:
    """The evidence for each field of the current rows; without rows one that has the columns and is empty."""
    current = "\n    UNION ALL ".join(
        f"SELECT {quote_text(schema)} AS schema, _document, _run, _evidence FROM {quote_name(f'latest_{schema}')}"
        for schema in schemas
    )
    return f"""\
SELECT *, CASE WHEN NOT ends_with(field, '{MISSING_ROW}') THEN page > {NOWHERE} END AS seen
FROM (
    SELECT schema, _document AS document, _run AS run, unnest(_evidence, max_depth := 2)
    FROM (
        {current or _NO_ROWS}
    )
)"""


def _no_failures() -> str:
    nothing = ", ".join(f"NULL::{_SQL_TYPES[dtype]} AS {quote_name(name)}" for name, dtype in _OPEN_FAILURES.items())
    return f"SELECT {nothing} WHERE false"


def _open_failures(failures: str, runs: str, schemas: Sequence[str]) -> str:
    """A document's latest failure, where no result came later."""
    names = ", ".join(f"failures.{quote_name(name)}" for name in _OPEN_FAILURES if name != "source")
    ended = "\n        UNION ALL ".join(
        f"SELECT {quote_text(schema)} AS schema, _document, _extracted_at FROM {quote_name(f'results_{schema}')}"
        for schema in schemas
    )
    later = f"""
AND NOT EXISTS (
    SELECT 1 FROM (
        {ended}
    ) AS ended
    WHERE ended.schema = failures.schema AND _document = document AND _extracted_at > failed_at
)"""
    return f"""\
SELECT {names}, runs.source
FROM {failures} AS failures LEFT JOIN {runs} USING (run)
WHERE {_OF_A_RUN}{later if schemas else ""}
QUALIFY row_number() OVER (
    PARTITION BY failures.schema, document ORDER BY failed_at DESC, run DESC, version DESC NULLS LAST
) = 1"""


_OF_A_RUN = f"coalesce(runs.flow, '') NOT IN ({', '.join(map(quote_text, UNPUBLISHED_FLOWS))})"


def _images_latest(images: str, runs: str) -> str:
    """The pages of each document as its latest run planned them."""
    return f"""\
SELECT images.*, runs.source
FROM {images} AS images LEFT JOIN {runs} USING (run)
WHERE {_OF_A_RUN}
QUALIFY rank() OVER (PARTITION BY schema, document ORDER BY run_started_at DESC NULLS LAST, run DESC) = 1"""


def _spend_by_day(calls: str, runs: str, schemas: Sequence[str]) -> str:
    """Sums of calls as `tilewise spend` gives them; calls without a known price are counted in `unpriced`."""
    answers = " UNION ALL ".join(
        f"SELECT _run AS run, _document AS document, _rung AS published_rung FROM {quote_name(f'results_{schema}')}"
        " WHERE _copied_from IS NULL"
        for schema in schemas
    )
    answers = answers or "SELECT NULL AS run, NULL AS document, NULL AS published_rung WHERE false"
    wasted = "billed = 'yes' AND (outcome <> 'accepted' OR rung <> published_rung)"
    return f"""\
SELECT CAST(started_at AT TIME ZONE 'UTC' AS DATE) AS day, model_requested AS model, schema, runs.source,
    count(*) AS calls,
    CAST(coalesce(sum(prompt_tokens), 0) AS BIGINT) AS prompt_tokens,
    CAST(coalesce(sum(completion_tokens), 0) AS BIGINT) AS completion_tokens,
    coalesce(sum(cost_usd) FILTER (billed = 'yes'), 0) AS billed_usd,
    coalesce(sum(cost_usd) FILTER ({wasted}), 0) AS wasted_usd,
    coalesce(sum(reserved_usd) FILTER (billed = 'unknown'), 0) AS unknown_usd,
    count(*) FILTER (billed = 'yes' AND cost_usd IS NULL OR billed = 'unknown' AND reserved_usd IS NULL) AS unpriced
FROM {calls} AS calls LEFT JOIN {runs} USING (run) LEFT JOIN ({answers}) AS answers USING (run, document)
GROUP BY ALL
ORDER BY day, model, schema, source"""


def _runs_latest(runs: str) -> str:
    """The latest run of each flow, schema and source, its volumes summed; a sum with an unknown amount is unknown."""
    kept = ",\n    ".join(_sum_volumes(name, dtype) for name, dtype in columns.RUNS.items() if name != "run")
    return f"""\
SELECT run,
    {kept}
FROM {runs}
GROUP BY run
QUALIFY row_number() OVER (
    PARTITION BY last(flow ORDER BY volume), last(schema ORDER BY volume), last(source ORDER BY volume)
    ORDER BY min(started_at) DESC, run DESC
) = 1"""


# The entries of all volumes' counts by rung, and their sums as JSON.
_RUNGS = "flatten(list(map_entries(CAST(CAST(stopped_at_rung AS JSON) AS MAP(VARCHAR, BIGINT)))))"
_SUM_RUNGS = (
    f"nullif(CAST(to_json(map_from_entries([(rung, list_sum([each.value FOR each IN {_RUNGS} IF each.key = rung]))"
    f" FOR rung IN list_sort(list_distinct([each.key FOR each IN {_RUNGS}]))])) AS VARCHAR), '{{}}')"
)


def _sum_volumes(name: str, dtype: pl.DataType) -> str:
    column = quote_name(name)
    if name == "volume":
        return "count(*) AS volumes"
    if dtype in {columns.INT, columns.MONEY}:
        whole = f"CASE WHEN count({column}) = count(*) THEN sum({column}) END"
        return f"CAST({whole} AS {_SQL_TYPES[dtype]}) AS {column}"
    if name == "stopped_at_rung":
        return f"{_SUM_RUNGS} AS stopped_at_rung"
    if name == "warnings":
        return "list_distinct(flatten(list(warnings))) AS warnings"
    return f"last({column} ORDER BY volume) AS {column}"
