"""`prefect --no-prompt deploy --all` on a server of one's own, with a worker on a process pool; and a server that goes away."""

import contextlib
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
FILE = Path(__file__).parents[3] / "prefect.yaml"
PATIENCE = 120  # seconds


@pytest.fixture(scope="module")
def workspace_to_deploy(workspaces, echo):
    """Where deployments are made: a folder with its own prefect.yaml and .env, and images where `nightly` looks."""
    workspace = workspaces(TILEWISE_MODEL=None, TILEWISE_OUTPUT=None)
    shutil.copy(FILE, workspace.folder)
    (workspace.folder / ".env").write_text(f"TILEWISE_MODEL=maker/model\nTILEWISE_BASE_URL={echo}\n")
    workspace.images("a.jpg", "b.jpg", folder="data/in")
    return workspace


def at_a_terminal(workspace, *args):
    """Runs Prefect's own command where it may ask, and nobody answers; gives its exit code."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "prefect", *args]
    with subprocess.Popen(
        command, cwd=workspace.folder, env=workspace.environment(), stdin=theirs, stdout=theirs
    ) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # nobody has it open any more
            while os.read(ours, 4096):
                pass
    os.close(ours)
    return process.returncode


@pytest.fixture(scope="module")
def prefect(workspace_to_deploy, free, answering):
    """Runs Prefect's own command at a server of the workspace's, which is started first."""
    port = free()
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    workspace_to_deploy.env |= quiet
    with contextlib.ExitStack() as stack:

        def run(*args, cwd=workspace_to_deploy.folder):
            command = [sys.executable, "-m", "prefect", *map(str, args)]
            silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            process = subprocess.Popen(command, cwd=cwd, env=workspace_to_deploy.environment(), **silent)
            stack.callback(process.wait, PATIENCE)
            stack.callback(process.terminate)
            return process

        run.server = run("server", "start", "--port", port)
        run.api = answering(f"http://127.0.0.1:{port}")
        workspace_to_deploy.env["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        yield run


@pytest.fixture(scope="module")
def api(prefect, workspace_to_deploy, tmp_path_factory):
    """The server's API, once everything is deployed and a worker waits, which was started somewhere else."""
    assert prefect("work-pool", "create", "tilewise", "--type", "process").wait(PATIENCE) == 0
    assert at_a_terminal(workspace_to_deploy, "--no-prompt", "deploy", "--all") == 0
    prefect("worker", "start", "--pool", "tilewise", cwd=tmp_path_factory.mktemp("elsewhere"))
    return prefect.api


def test_everything_is_deployed(api):
    """With its limits, its schedule and its parameters."""
    nightly = api.deployment("extract/nightly")
    assert nightly["work_pool_name"] == "tilewise"
    assert nightly["global_concurrency_limit"]["limit"] == 1
    assert nightly["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert [each["schedule"]["cron"] for each in nightly["schedules"]] == ["15 2 * * *"]
    assert nightly["parameters"]["job"]["when_expensive"] == "run"
    assert api.deployment("backfill/backfill")["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert api.deployment("estimate/estimate")["enforce_parameter_schema"]


def test_the_worker_runs_nightly(api, workspace_to_deploy):
    """With the settings of the folder that it was deployed from, and its output there."""
    job = api.deployment("extract/nightly")["parameters"]["job"] | {"schema_name": "caption"}
    run = api.run_to_end("extract/nightly", job=job)
    assert run["state"]["message"] == "2 accepted"
    assert workspace_to_deploy.table("runs", output="data/out")["prefect_flow_run_id"].to_list() == [run["id"]]


def test_the_worker_calibrates(api):
    """The form of two fields; the rule that was found is shown."""
    run = api.run_to_end("calibrate/calibrate", yes=True)
    assert run["state_name"] == "Completed"
    assert run["name"].startswith("calibrate, 20")
    assert "bills images by the rule formula" in run["state"]["message"]
    assert "formula" in api.artifacts(run)["tilewise-calibration"]["data"]


def test_a_parameter_beside_the_job_ends_the_run(api):
    """Prefect's own `deploy` lets it pass: the run does nothing, and its log names what it does not know."""
    run = api.run_to_end("backfill/backfill", job={"source": "data/in"}, jobs=1)
    assert run["state_type"] in {"FAILED", "CRASHED"}
    assert any("['job', 'jobs']" in line for line in api.logs(run, "Engine execution"))


def test_a_server_that_goes_away_costs_nothing(api, prefect, workspace_to_deploy, serve, replies, wait):
    """The run finishes its work and publishes it."""
    server = serve(replies.ok())
    server.hold(replies.ok())
    job = {"source": "data/in", "schema_name": "caption", "base_url": server.url, "redo": "all", "yes": True}
    run = api.start("backfill/backfill", job=job)
    wait(lambda: server.asked)
    prefect.server.kill()
    prefect.server.wait()
    server.gate.set()
    [row] = wait(
        lambda: [
            row for row in workspace_to_deploy.table("runs", output="data/out").to_dicts() if row["accepted"] == 2
        ][1:]
    )
    assert row["prefect_flow_run_id"] == run["id"]
    assert row["status"] == "completed"
