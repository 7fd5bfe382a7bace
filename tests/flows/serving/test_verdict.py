"""Whether scheduled deployments can run, printed when `serve` starts."""

import contextlib
import sqlite3

import pytest

from flows.serving.deployment_file import DeploymentSpec
from flows.serving.verdict import check_schedules, find_older_deployments


def schedule(**job):
    """A deployment with a schedule."""
    schedules = [{"cron": "15 2 * * *"}]
    return DeploymentSpec(
        name="nightly", entrypoint="flows.extract.extract", parameters={"job": job}, schedules=schedules
    )


@pytest.mark.anyio
async def test_check_schedules_names_a_deployment_that_would_fail(workspace, monkeypatch):
    """Key, model and source are checked; a deployment without a schedule is not."""
    workspace.with_images("a.jpg")
    monkeypatch.chdir(workspace.folder)
    for name, value in workspace.environment({"TILEWISE_API_KEY": "key", "TILEWISE_BASE_URL": "offline"}).items():
        monkeypatch.setenv(name, value)
    unscheduled = DeploymentSpec(name="backfill", entrypoint="flows.backfill.backfill")
    ready, failing = await check_schedules([schedule(source="in"), unscheduled, schedule(source="nowhere")])
    assert ready.startswith("nightly is ready: ")
    assert failing.startswith("WARNING: nightly would fail: source: ")
    assert "nowhere" in failing


def test_find_older_deployments_counts_those_in_prefects_home(tmp_path, monkeypatch):
    """All folders once shared that database; without a deployment in it, there is no message."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    assert find_older_deployments() is None
    with contextlib.closing(sqlite3.connect(tmp_path / "prefect.db")) as database:
        database.execute("create table deployment (entrypoint)")
        database.commit()
        assert find_older_deployments() is None
        database.execute("insert into deployment values ('flows.extract.extract')")
        database.commit()
    assert find_older_deployments().startswith("1 deployments of tilewise are in ")
