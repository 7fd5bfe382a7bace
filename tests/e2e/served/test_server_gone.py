"""`tilewise serve` and its runs when Prefect's server ends during a run."""

import os
import signal

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def kill_server(find_server_pid, gone):
    """Kills the server of a `serve`."""

    def kill(serve_process):
        pid = find_server_pid(serve_process)
        os.kill(pid, signal.SIGKILL)
        gone([pid])

    return kill


def test_run_continues_and_reports_to_the_restarted_server(shared_held_run, kill_server, wait_for_server, wait):
    """It publishes all of its work and renews the lease of its slot, without which Prefect would cancel it."""
    serve_process, server, run = shared_held_run.serve_process, shared_held_run.server, shared_held_run.run
    wait(lambda: server.asked)
    lease = serve_process.api.flow_run(run)["state"]["state_details"]["deployment_concurrency_lease_id"]
    kill_server(serve_process)
    serve_process.wait_for_line("server ended with exit code -9")
    api = wait_for_server(serve_process.api.url)
    renewed = api.send("POST", f"v2/concurrency_limits/leases/{lease}/renew", {"lease_duration": 300})
    server.gate.set()
    assert renewed is None
    assert api.wait_for_state(run)["state"]["message"] == "2 accepted"
    assert shared_held_run.row()["status"] == "completed"
    assert api.run_to_end("extract/nightly", job=run["parameters"]["job"])["state_name"] == "Completed"


def test_run_is_cancelled_through_the_restarted_server(shared_held_run, kill_server, wait_for_server, wait):
    """Although the runner's event connection ended with the first server."""
    serve_process, server, run = shared_held_run.serve_process, shared_held_run.server, shared_held_run.run
    wait(lambda: server.asked)
    kill_server(serve_process)
    wait_for_server(serve_process.api.url)
    serve_process.api.send("POST", f"flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})
    serve_process.api.wait_for_state(run)
    assert shared_held_run.row()["status"] == "stopped"


def test_serve_exits_after_the_server_ends_three_times(held_run, kill_server, wait):
    """It exits with 2, and the run publishes its answers."""
    serve_process, server = held_run.serve_process, held_run.server
    wait(lambda: server.asked)
    kill_server(serve_process)
    kill_server(serve_process)
    kill_server(serve_process)
    server.gate.set()
    assert serve_process.process.wait(90) == 2
    assert serve_process.process.stdout.read().count("starting it again") == 2
    assert held_run.row()["accepted"] > 0


def test_serve_stops_while_the_server_is_restarted(held_run, kill_server, wait):
    """The run publishes its answers."""
    serve_process, server = held_run.serve_process, held_run.server
    wait(lambda: server.asked)
    kill_server(serve_process)
    serve_process.wait_for_line("starting it again")
    serve_process.process.send_signal(signal.SIGTERM)
    serve_process.wait_for_line("stopping flow runs")
    server.gate.set()
    assert serve_process.process.wait(60) == 0
    assert held_run.row()["status"] == "stopped"
