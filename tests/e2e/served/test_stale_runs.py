"""`tilewise serve` handles flow runs that an earlier process left behind."""

import os
import signal

import pytest

pytestmark = pytest.mark.slow
MESSAGE = "its process ended without reporting a state"


@pytest.fixture
def kill_process_tree(descendants, gone):
    """Kills a `serve` with all of its descendants."""

    def kill(serve_process):
        pids = [serve_process.process.pid, *descendants(serve_process.process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        gone(pids)

    return kill


@pytest.fixture
def runs_with_slots(held_run):
    """Runs in each state that holds its deployment's slot, by deployment; with their `serve` and server."""
    serve_process, server, run = held_run.serve_process, held_run.server, held_run.run
    job = run["parameters"]["job"]
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
    runs = {"nightly": run}
    for name in ("backfill", "apply"):
        path = f"deployments/{serve_process.api.deployment(f'{name}/{name}')['id']}/create_flow_run"
        parameters = {"job": job} if name == "backfill" else {"order": {"plan": "none"}}
        runs[name] = serve_process.api.request("POST", path, parameters=parameters, state=later)
        serve_process.api.send("POST", f"flow_runs/{runs[name]['id']}/set_state", {"state": {"type": "PENDING"}})
    serve_process.api.send("POST", f"flow_runs/{runs['apply']['id']}/set_state", {"state": {"type": "CANCELLING"}})
    return serve_process, server, runs


def test_serve_sets_abandoned_runs_to_crashed_and_frees_their_slots(
    runs_with_slots, workspace, serve_at, kill_process_tree
):
    """Runs that were Running, Pending or Cancelling; a line names their number, and the next run is not cancelled."""
    serve_process, server, runs = runs_with_slots
    earlier_states = [serve_process.api.flow_run(run)["state_type"] for run in runs.values()]
    kill_process_tree(serve_process)
    second_serve = serve_at(workspace)
    api = second_serve.api
    states = [api.flow_run(run) for run in runs.values()]
    assert earlier_states == ["RUNNING", "PENDING", "CANCELLING"]
    assert {(run["state_type"], run["state"]["message"]) for run in states} == {("CRASHED", MESSAGE)}
    second_serve.wait_for_line("3 flow run(s) without a process")
    assert all(limit["active_slots"] == 0 for limit in api.send("POST", "v2/concurrency_limits/filter", {}))
    server.gate.set()
    assert api.run_to_end("extract/nightly", job=runs["nightly"]["parameters"]["job"])["state_name"] == "Completed"


def test_serve_leaves_a_live_run_of_an_earlier_serve_alone(held_run, workspace, serve_at, find_server_pid, gone, wait):
    """A new `serve` on the same port takes its report."""
    serve_process, server, run = held_run.serve_process, held_run.server, held_run.run
    wait(lambda: server.asked)
    prefect = find_server_pid(serve_process)
    serve_process.process.kill()
    gone([prefect])
    api = serve_at(workspace, port=serve_process.port).api
    before = api.flow_run(run)["state_name"]
    server.gate.set()
    assert before == "Running"
    assert api.wait_for_state(run)["state_name"] == "Partial"
