"""Preflight: a job is resolved and checked before anything is started for it, by the command and by the flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extractors.config.run_config import resolve
from extractors.core.errors import ConfigurationError
from extractors.core.schema_files import list_shipped
from extractors.scan import check_source, is_bucket_url, is_manifest, scan_documents
from flows.adapters.prefect_api import is_prefect_configured

if TYPE_CHECKING:
    from extractors.config.job import Job
    from extractors.config.run_config import RunConfig
    from extractors.config.settings import Settings


def check_job(job: Job, settings: Settings) -> RunConfig:
    """Resolves the job, and checks source and output. Raises ConfigurationError before anything is started for the run."""
    check_local_source(job)
    scan_documents(job.source, job.document_by, job.selection)  # also a manifest, and the settings of a bucket
    if job.shard_size is not None and not job.plan_only and not is_prefect_configured():
        raise ConfigurationError(
            f"--shard-size {job.shard_size} needs a Prefect server with a work pool: set PREFECT_API_URL and run"
            " `prefect --no-prompt deploy --all`, or leave out --shard-size"
        )
    config = resolve(job, settings)
    _check_output(config)
    return config


def check_local_source(job: Job) -> None:
    """Raises ConfigurationError for a local source that is not there or empty, before anything heavy is imported for it.

    With a schema of the user's own, an empty one is refused later: after the schema, which may have an error.
    """
    if not is_bucket_url(job.source) and not is_manifest(job.source):
        scan_documents(job.source, job.document_by, job.selection)
    if job.schema_name in {"", *list_shipped()}:
        check_source(job.source, job.document_by, job.selection)


def _check_output(config: RunConfig) -> None:
    from extractors.record.output import open_output  # noqa: PLC0415 - polars, which the errors above need not wait for
    from extractors.record.tables.compatibility import check_compatible  # noqa: PLC0415 - as above

    check_compatible(open_output(config.output), config.schema)
