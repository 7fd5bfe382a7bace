"""`prefect --no-prompt deploy --all` on a separate Prefect server with a worker of a process pool; the server may fail."""

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
    """A workspace with its own prefect.yaml and .env, and images in the folder that `nightly` reads."""
    workspace = workspaces(TILEWISE_MODEL=None, TILEWISE_OUTPUT=None)
    shutil.copy(FILE, workspace.folder)
    (workspace.folder / ".env").write_text(f"TILEWISE_MODEL=maker/model\nTILEWISE_BASE_URL={echo}\n")
    workspace.images("a.jpg", "b.jpg", folder="data/in")
    return workspace


def run_at_terminal(workspace, *args):
    """Runs Prefect's command at a terminal without input, and returns its exit code."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "prefect", *args]
    with subprocess.Popen(
        command, cwd=workspace.folder, env=workspace.environment(), stdin=terminal, stdout=terminal
    ) as process:
        os.close(terminal)
        with contextlib.suppress(OSError):  # the process has closed its end
            while os.read(controller, 4096):
                pass
    os.close(controller)
    return process.returncode


@pytest.fixture(scope="module")
def prefect(workspace_to_deploy, free_port, wait_for_server):
    """Starts a Prefect server, and runs Prefect's command against it."""
    port = free_port()
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
        run.api = wait_for_server(f"http://127.0.0.1:{port}")
        workspace_to_deploy.env["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        yield run


@pytest.fixture(scope="module")
def api(prefect, workspace_to_deploy, tmp_path_factory):
    """The server's API, after all deployments are made and a worker was started in another folder."""
    assert prefect("work-pool", "create", "tilewise", "--type", "process").wait(PATIENCE) == 0
    assert run_at_terminal(workspace_to_deploy, "--no-prompt", "deploy", "--all") == 0
    prefect("worker", "start", "--pool", "tilewise", cwd=tmp_path_factory.mktemp("elsewhere"))
    return prefect.api


def test_deploy_creates_limits_schedule_and_parameters(api):
    nightly = api.deployment("extract/nightly")
    assert nightly["work_pool_name"] == "tilewise"
    assert nightly["global_concurrency_limit"]["limit"] == 1
    assert nightly["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert [schedule["schedule"]["cron"] for schedule in nightly["schedules"]] == ["15 2 * * *"]
    assert nightly["parameters"]["job"]["when_expensive"] == "run"
    assert api.deployment("backfill/backfill")["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert api.deployment("estimate/estimate")["enforce_parameter_schema"]


def test_worker_runs_nightly_with_the_deployed_settings(api, workspace_to_deploy):
    """Settings and output are those of the folder from which it was deployed."""
    job = api.deployment("extract/nightly")["parameters"]["job"] | {"schema_name": "caption"}
    run = api.run_to_end("extract/nightly", job=job)
    assert run["state"]["message"] == "2 accepted"
    assert workspace_to_deploy.table("runs", output="data/out")["prefect_flow_run_id"].to_list() == [run["id"]]


def test_worker_runs_calibrate(api):
    """It shows the rule that it has found."""
    run = api.run_to_end("calibrate/calibrate", yes=True)
    assert run["state_name"] == "Completed"
    assert run["name"].startswith("calibrate, 20")
    assert "bills images by the rule formula" in run["state"]["message"]
    assert "formula" in api.artifacts(run)["tilewise-calibration"]["data"]


def test_unknown_parameter_ends_the_run(api):
    """Prefect's `deploy` accepts it: the run does nothing, and its log names the parameter."""
    run = api.run_to_end("backfill/backfill", job={"source": "data/in"}, jobs=1)
    assert run["state_type"] in {"FAILED", "CRASHED"}
    assert any("['job', 'jobs']" in line for line in api.logs(run, "Engine execution"))


def test_run_completes_after_the_prefect_server_is_killed(api, prefect, workspace_to_deploy, serve, replies, wait):
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
