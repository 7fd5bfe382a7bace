"""What `tilewise serve` makes of flow runs that an earlier one left behind."""

import os
import signal

import pytest

pytestmark = pytest.mark.slow
MESSAGE = "its process ended without reporting a state"


@pytest.fixture
def pull_the_plug(descendants, gone):
    """Kills a `serve` with everything below it at once."""

    def kill(served):
        pids = [served.process.pid, *descendants(served.process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        gone(pids)

    return kill


@pytest.fixture
def begun(running):
    """A run of each state that holds its deployment's slot, by deployment."""
    served, server, run = running.served, running.server, running.run
    job = run["parameters"]["job"]
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
    runs = {"nightly": run}
    for name in ("backfill", "apply"):
        path = f"deployments/{served.api.deployment(f'{name}/{name}')['id']}/create_flow_run"
        parameters = {"job": job} if name == "backfill" else {"order": {"plan": "none"}}
        runs[name] = served.api.ask("POST", path, parameters=parameters, state=later)
        served.api.send("POST", f"flow_runs/{runs[name]['id']}/set_state", {"state": {"type": "PENDING"}})
    served.api.send("POST", f"flow_runs/{runs['apply']['id']}/set_state", {"state": {"type": "CANCELLING"}})
    return served, server, runs


def test_what_a_power_cut_left_is_ended_and_holds_up_nothing(begun, workspace, serve_at, pull_the_plug):
    """Runs that were Running, Pending or Cancelling are Crashed, a line says so, and the next night is not cancelled."""
    served, server, runs = begun
    held = [served.api.flow_run(run)["state_type"] for run in runs.values()]
    pull_the_plug(served)
    again = serve_at(workspace)
    api = again.api
    states = [api.flow_run(run) for run in runs.values()]
    assert held == ["RUNNING", "PENDING", "CANCELLING"]
    assert {(run["state_type"], run["state"]["message"]) for run in states} == {("CRASHED", MESSAGE)}
    again.wait_for_line("3 flow run(s) without a process")
    assert all(limit["active_slots"] == 0 for limit in api.send("POST", "v2/concurrency_limits/filter", {}))
    server.gate.set()
    assert api.run_to_end("extract/nightly", job=runs["nightly"]["parameters"]["job"])["state_name"] == "Completed"


def test_a_run_that_outlives_its_serve_is_left_to_end(running, workspace, serve_at, server_of, gone, wait):
    """A new `serve` on the same port does not touch it, and takes its report."""
    served, server, run = running.served, running.server, running.run
    wait(lambda: server.asked)
    prefect = server_of(served)
    served.process.kill()
    gone([prefect])
    api = serve_at(workspace, port=served.port).api
    before = api.flow_run(run)["state_name"]
    server.gate.set()
    assert before == "Running"
    assert api.until(run)["state_name"] == "Partial"
