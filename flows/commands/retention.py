"""The commands `prune` and `forget`: stored data has an age and an exit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from extractors.core.errors import ConfigurationError
from flows.console import exit_on_error
from flows.flags import Output  # noqa: TC001 - typer reads annotations

if TYPE_CHECKING:
    from datetime import timedelta

    from extractors.config.settings import Settings
    from extractors.record.output.base import Output as Tables

Preview = Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")]


def prune(
    *,
    replies: Annotated[
        str | None, typer.Option(metavar="AGE", help="Delete stored answers of runs older than this: 90d, 12h.")
    ] = None,
    reports: Annotated[
        str | None, typer.Option(metavar="AGE", help="Delete pages of runs older than this: 30d.")
    ] = None,
    output: Output = None,
    dry_run: Preview = False,
) -> None:
    """Delete stored answers and pages of old runs."""
    with exit_on_error():
        from extractors.config.time_window import parse_age

        ages = {name: parse_age(f"--{name}", age) for name, age in (("replies", replies), ("reports", reports)) if age}
        if not ages:
            raise ConfigurationError("prune needs an age: --replies 90d, --reports 30d, or both")
        settings, name = _name_output(output)
        if _is_missing(name):
            raise ConfigurationError(f"output {name!r} does not exist: choose another output with --output")
        from extractors.record.output import open_output

        for table, count in _prune(open_output(name), settings, ages, dry_run=dry_run).items():
            verb = "to be deleted" if dry_run else "deleted"
            typer.echo(
                f"{verb}: {count:,} files of {table} of runs older than {replies if table == 'replies' else reports}"
            )


def forget(
    uris: Annotated[list[str], typer.Argument(metavar="URI", help="Paths or URLs of images, as in `_document`.")],
    *,
    output: Output = None,
    dry_run: Preview = False,
    yes: Annotated[bool, typer.Option("--yes", help="Forget without asking.")] = False,
) -> None:
    """Remove documents from everything that is stored.

    Rows of tables, replies, plans and reports go; calls keep their amounts without names.
    """
    with exit_on_error():
        if not (dry_run or yes or sys.stdin.isatty()):
            raise ConfigurationError("forget asks before it deletes: add --yes, or --dry-run to see what goes")
        settings, name = _name_output(output)
        if not settings.has_ledger and _is_missing(name):
            raise ConfigurationError(
                f"neither output {name!r} nor a ledger exists: choose another output with --output"
            )
        from extractors.plan.estimate import open_ledger
        from extractors.record.ledger import Ledger
        from extractors.record.output import open_output
        from extractors.run.forget import ForgetRequest, describe_found

        request = ForgetRequest.build(open_output(name), uris)
        with open_ledger(settings) as known:
            found = request.find(known)
        warnings = request.warn_of_sources()
        if dry_run or not yes:
            typer.echo("\n".join(describe_found(found, warnings, done=False)), err=not dry_run)
        if dry_run:
            return
        if not yes and not typer.confirm(f"Forget {len(uris)} documents for good?", err=True):
            raise ConfigurationError("nothing was forgotten")
        with Ledger(settings.ledger) as ledger:
            found = request.erase(ledger)
        typer.echo("\n".join(describe_found(found, warnings, done=True)))


def _name_output(output: str | None) -> tuple[Settings, str]:
    """The settings, and the name of the output."""
    from extractors.config.output_name import name_output
    from extractors.config.settings import read_settings

    settings = read_settings()
    return settings, name_output(output or settings.output)


def _is_missing(output: str) -> bool:
    """Whether there is no such folder; a bucket is not asked."""
    from extractors.core.buckets import is_bucket_url

    return not is_bucket_url(output) and not Path(output).exists()


def _prune(place: Tables, settings: Settings, ages: dict[str, timedelta], *, dry_run: bool) -> dict[str, int]:
    """Deletes what has expired, under a lease on the output; returns the number of files by table."""
    from datetime import UTC, datetime

    from extractors.record.ledger import Ledger
    from extractors.record.output.base import reading
    from extractors.record.tables.retention import list_expired, remove_files

    with reading(place):
        now = datetime.now(UTC)
        expired = {table: list_expired(place, table, age, now) for table, age in ages.items()}
        if not dry_run and any(expired.values()):
            with Ledger(settings.ledger) as ledger, ledger.output_leases.hold(str(place)):
                for keys in expired.values():
                    remove_files(place, keys)
    return {table: len(keys) for table, keys in expired.items()}
