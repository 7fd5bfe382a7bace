"""`tilewise serve` ends: its runs drain, and no process is left."""

import signal
from contextlib import suppress

import pytest

pytestmark = pytest.mark.slow


def test_killed_serve_leaves_no_process(held_run, descendants, gone, wait):
    """Server, runner and runs end after their parent."""
    serve_process, server = held_run.serve_process, held_run.server
    wait(lambda: server.asked)
    pids = descendants(serve_process.process.pid)
    serve_process.process.kill()
    server.gate.set()
    with suppress(AssertionError):
        gone(pids)  # their grace period is as long as one wait
    gone(pids)


def test_second_signal_ends_serve_before_the_drain_time(held_run, wait):
    """It aborts the calls in flight."""
    serve_process, server = held_run.serve_process, held_run.server
    wait(lambda: server.asked)
    serve_process.process.send_signal(signal.SIGINT)
    serve_process.wait_for_line("stopping flow runs")
    serve_process.process.send_signal(signal.SIGTERM)
    assert serve_process.process.wait(15) == 0  # less than the 20 seconds of TILEWISE_DRAIN


@pytest.mark.parametrize("name", ["Suspended", pytest.param("Paused", marks=pytest.mark.soak)])
def test_suspended_run_drains_and_publishes(shared_held_run, wait, name):
    """No further call is sent, Resume has no effect, and the state says how to continue."""
    serve_process, server, run = shared_held_run.serve_process, shared_held_run.server, shared_held_run.run
    wait(lambda: server.asked)
    state = {"type": "PAUSED", "name": name, "state_details": {"pause_reschedule": name == "Suspended"}}
    serve_process.api.send("POST", f"flow_runs/{run['id']}/set_state", {"state": state})
    wait(lambda: serve_process.api.flow_run(run)["state_name"] == "Stopping")
    resumed = serve_process.api.send("POST", f"flow_runs/{run['id']}/resume", {})
    server.gate.set()
    final = serve_process.api.wait_for_state(run)
    assert resumed["status"] == "ABORT"
    assert (final["state_type"], final["state_name"]) == ("COMPLETED", "Partial")
    assert "run it again to continue" in final["state"]["message"]
    assert shared_held_run.row()["status"] == "stopped"
    assert shared_held_run.row()["accepted"] == len(server.asked)


def test_cancelled_run_publishes_answers_without_a_traceback(shared_held_run, wait):
    serve_process, server, run = shared_held_run.serve_process, shared_held_run.server, shared_held_run.run
    wait(lambda: server.asked)
    serve_process.api.send("POST", f"flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})
    wait(lambda: any("SIGTERM" in line for line in serve_process.api.logs(run, "SIGTERM")))
    server.gate.set()
    assert serve_process.api.wait_for_state(run)["state_name"] == "Cancelled"
    assert shared_held_run.row()["accepted"] == len(server.asked)
    assert "Traceback" not in serve_process.errors.read_text()


def test_stopped_serve_drains_its_run_and_leaves_no_process(shared_held_run, descendants, gone, wait):
    """It must be the last test of the file, as it ends the shared `serve`."""
    serve_process, server, run = shared_held_run.serve_process, shared_held_run.server, shared_held_run.run
    wait(lambda: server.asked)
    pids = descendants(serve_process.process.pid)
    serve_process.process.send_signal(signal.SIGTERM)
    serve_process.wait_for_line("stopping flow runs")
    server.gate.set()
    code = serve_process.process.wait(60)
    gone(pids)
    assert code == 0
    assert len(pids) >= 3
    assert serve_process.states()[run["id"]] == "Partial"
    assert shared_held_run.row()["status"] == "stopped"
    assert shared_held_run.row()["accepted"] > 0
