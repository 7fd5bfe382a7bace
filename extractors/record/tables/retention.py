"""Retention: replies and pages of runs are deleted when they are older than an age."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from extractors.record.tables.history import DAYS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from extractors.record.output.base import Output

PATTERNS = {"replies": f"schema=*/{DAYS}", "reports": "*.html"}


def list_expired(output: Output, table: str, age: timedelta, now: datetime) -> list[str]:
    """The files of `replies` or `reports` whose run started longer ago than `age`. Raises one of OUTPUT_ERRORS."""
    keys = output.list_files(table, PATTERNS[table])
    return [key for key, started in _iter_starts(keys) if now - started > age]


def remove_files(output: Output, keys: list[str]) -> None:
    """Delete these files, and folders that are empty then. Raises one of OUTPUT_ERRORS."""
    for key in keys:
        output.remove_file(key)


def _iter_starts(keys: list[str]) -> Iterator[tuple[str, datetime]]:
    """The files that are named after a run, with the start of that run."""
    for key in keys:
        try:
            yield key, datetime.strptime(_name_run(key), "%Y%m%dT%H%M%S%z")
        except ValueError:
            continue


def _name_run(key: str) -> str:
    """The time in the name of a run's file; the page of a tuning is named `tune-<run>.html`."""
    return key.rpartition("/")[2].removeprefix("tune-").partition("-")[0]
