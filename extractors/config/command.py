"""The command line that runs a job: what a message names to go on with an interrupted redo."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from extractors.config.job import Job

if TYPE_CHECKING:
    from extractors.core import RunInfo

_WITHOUT_FLAG = frozenset({"source", "when_expensive"})  # an argument, and a field of forms only


def format_command(job: Job) -> str:
    """The command line of a job: its source, and a flag for each field that differs from its default."""
    words = ["tilewise", "run", job.source]
    for name, field in Job.model_fields.items():
        value = getattr(job, name)
        if name not in _WITHOUT_FLAG and value != field.default and value is not False:
            words += _format_flag("--" + name.removesuffix("_name").replace("_", "-"), value)
    return shlex.join(words)


def describe_resume(run_info: RunInfo) -> str | None:
    """The command that goes on with an interrupted redo where it stopped; None for a run without `--redo`."""
    if run_info.flow != "run":
        return None
    try:
        job = Job.model_validate_json(run_info.job)
    except ValidationError:  # of a run of another version
        return None
    if job.redo is None:
        return None
    return format_command(job.model_copy(update={"redo_before": job.redo_before or run_info.started_at}))


def _format_flag(flag: str, value: object) -> list[str]:
    if value is True:
        return [flag]
    if isinstance(value, tuple):
        return [word for each in value for word in (flag, str(each))]
    if isinstance(value, datetime):
        return [flag, f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"]
    return [flag, f"{value:g}s" if flag == "--max-time" else str(value)]
