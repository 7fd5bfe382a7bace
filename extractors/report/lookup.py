"""Finds what a person names in an output. It does not import polars, so that a wrong name is an error at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.core.buckets import is_bucket_url
from extractors.core.errors import ConfigurationError, format_value, suggest_name

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_FOLDER = "schema="
RUN_ID = r"\d{8}T\d{6}Z-[0-9a-f]{4}"


def check_rows(output: str, schema: str | None, run: str | None = None) -> None:
    """Raises ConfigurationError for a local output without rows of the schema; a bucket is not asked."""
    if not is_bucket_url(output):
        folders = Path(output, "results").glob(f"{SCHEMA_FOLDER}*")
        names = sorted(folder.name.removeprefix(SCHEMA_FOLDER) for folder in folders)
        choose_schema(output, names[:1] if run and not schema else names, schema)


def choose_schema(output: str, names: Sequence[str], schema: str | None) -> str:
    """The schema among the names that have rows, or the only one. Raises ConfigurationError with the names that exist."""
    if not names:
        raise ConfigurationError(f"output {output!r} has no rows: run `tilewise run SOURCE --schema NAME` first")
    if schema is None and len(names) > 1:
        raise ConfigurationError(f"output {output!r} has rows of {', '.join(names)}: name one of them")
    name = names[0] if schema is None else schema
    if name not in names:
        hint = suggest_name(name, names) or f": it has rows of {', '.join(names)}"
        raise ConfigurationError(f"output {output!r} has no rows of {name!r}{hint}")
    return name


def check_run(output: str, run: str | None) -> None:
    """Raises ConfigurationError for what is not a run id, or a run, or any, that a local output has not published."""
    if run is not None:
        check_run_id(run)
    if is_bucket_url(output):
        return
    if run is None and not any(Path(output, "runs").glob("run_date=*")):
        raise no_run(output)
    if run is not None and not any(Path(output, "runs", f"run_date={day_of(run)}").glob(f"{run}*.parquet")):
        raise unpublished_run(output, run)


def check_run_id(run: str) -> None:
    """Raises ConfigurationError for what is not a run id."""
    if not re.fullmatch(RUN_ID, run):
        raise ConfigurationError(
            f"run {format_value(run)} is not a run id: use a value of column run, for example 20261120T021500Z-3f9a"
        )


def day_of(run: str) -> str:
    """The day of a run, by which its files are partitioned."""
    return f"{run[:4]}-{run[4:6]}-{run[6:8]}"


def no_run(output: str) -> ConfigurationError:
    """The error for an output without a published run."""
    return ConfigurationError(f"output {output!r} has no published run: choose another output with --output")


def unpublished_run(output: str, run: str) -> ConfigurationError:
    """The error for a run that this output has not published."""
    return ConfigurationError(f"run {run} is not published in {output}: see column run of its table runs")
