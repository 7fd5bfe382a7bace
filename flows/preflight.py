"""Preflight: a job is resolved and checked before anything is started for it, by the command and by the flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extractors.config.run_config import resolve
from extractors.core.errors import ConfigurationError
from extractors.record.output import open_output
from extractors.record.tables.compatibility import check_compatible
from extractors.scan import scan_documents
from flows.adapters.prefect_api import is_prefect_configured

if TYPE_CHECKING:
    from extractors.config.job import Job
    from extractors.config.run_config import RunConfig
    from extractors.config.settings import Settings


def check_job(job: Job, settings: Settings) -> RunConfig:
    """Resolves the job, and checks output and source. Raises ConfigurationError before anything is started for the run."""
    config = resolve(job, settings)
    if job.shard_size is not None and not job.plan_only and not is_prefect_configured():
        raise ConfigurationError(
            f"--shard-size {job.shard_size} needs a Prefect server with a work pool: set PREFECT_API_URL and run"
            " `prefect --no-prompt deploy --all`, or leave out --shard-size"
        )
    check_compatible(open_output(config.output), config.schema)
    scan_documents(job.source, job.document_by, job.selection)
    return config
