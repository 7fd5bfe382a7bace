"""command.py: the command line formatted from a job gives the same job."""

import shlex
from datetime import UTC, datetime

import pytest
from support.command import COMMAND
from support.runs import vary

from extractors.config.command import describe_resume, format_command
from extractors.config.job import Job, build_job

STARTED = datetime(2026, 11, 20, 2, 15, 0, 123_456, tzinfo=UTC)
JOBS = {
    "plain": {"source": "in voices", "schema_name": "receipt"},
    "all": {
        "source": "s3://b/in",
        "schema_name": "receipt",
        "output": "out",
        "redo": "failed",
        "kind": "timeout",
        "budget": "20",
        "max_time": "6h",
        "include": ["*.png", "b/**"],
        "limit": 3,
        "offline": True,
        "yes": True,
        "modified_since": "2026-11-01",
        "modified_until": "2026-11-20",
        "fail_above": 0.2,
        "bill": "flat:280",
    },
}


def parse(command):
    """The job fields that the command line parses from this command."""
    _, name, *words = shlex.split(command)
    with COMMAND.commands[name].make_context(name, words) as context:
        params = dict(context.params)
    params["schema_name"] = params.pop("schema")
    return {name: value for name, value in params.items() if name in Job.model_fields and value}


@pytest.mark.parametrize("name", JOBS)
def test_command_of_a_job_gives_the_same_job(name):
    job = build_job(**JOBS[name])
    assert build_job(**parse(format_command(job))) == job


def test_resume_command_of_a_redo_excludes_documents_read_since_its_start(terms):
    job = build_job(source="in", schema_name="receipt", redo="all")
    run = vary(terms, job=job.model_dump_json(), started_at=STARTED, flow="run")
    expected = "tilewise run in --schema receipt --redo all --redo-before 2026-11-20T02:15:00.123456Z"
    assert describe_resume(run) == expected


def test_resume_command_of_a_resumed_redo_keeps_the_first_start(terms):
    job = build_job(source="in", schema_name="receipt", redo="all", redo_before="2026-11-19")
    run = vary(terms, job=job.model_dump_json(), started_at=STARTED, flow="run")
    assert describe_resume(run).endswith("--redo-before 2026-11-19T00:00:00.000000Z")


@pytest.mark.parametrize(("flow", "redo"), [("run", None), ("apply", "all")])
def test_run_that_resumes_by_itself_has_no_resume_command(terms, flow, redo):
    job = build_job(source="in", schema_name="receipt", redo=redo)
    assert describe_resume(vary(terms, job=job.model_dump_json(), flow=flow)) is None
