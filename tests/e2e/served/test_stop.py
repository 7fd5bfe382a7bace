"""How `tilewise serve` ends: with what runs drained, and nothing left behind."""

import signal
from contextlib import suppress

import pytest

pytestmark = pytest.mark.slow


def test_a_kill_leaves_no_process(running, descendants, gone, wait):
    """Server, runner and runs go when who started them is gone."""
    served, server = running.served, running.server
    wait(lambda: server.asked)
    below = descendants(served.process.pid)
    served.process.kill()
    server.gate.set()
    with suppress(AssertionError):
        gone(below)  # their grace is as long as this waits
    gone(below)


def test_who_asks_twice_is_not_kept_waiting(running, wait):
    """The second signal ends the calls that are on their way."""
    served, server = running.served, running.server
    wait(lambda: server.asked)
    served.process.send_signal(signal.SIGINT)
    served.wait_for_line("stopping flow runs")
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(15) == 0  # less than the 20 seconds of TILEWISE_DRAIN


@pytest.mark.parametrize("name", ["Suspended", pytest.param("Paused", marks=pytest.mark.soak)])
def test_a_suspended_run_drains_and_publishes(running_at_shared, wait, name):
    """No call is sent after it, Resume does nothing, and the state says how to go on."""
    served, server, run = running_at_shared.served, running_at_shared.server, running_at_shared.run
    wait(lambda: server.asked)
    state = {"type": "PAUSED", "name": name, "state_details": {"pause_reschedule": name == "Suspended"}}
    served.api.send("POST", f"flow_runs/{run['id']}/set_state", {"state": state})
    wait(lambda: served.api.flow_run(run)["state_name"] == "Stopping")
    resumed = served.api.send("POST", f"flow_runs/{run['id']}/resume", {})
    server.gate.set()
    ended = served.api.until(run)
    assert resumed["status"] == "ABORT"
    assert (ended["state_type"], ended["state_name"]) == ("COMPLETED", "Partial")
    assert "run it again to continue" in ended["state"]["message"]
    assert running_at_shared.row()["status"] == "stopped"
    assert running_at_shared.row()["accepted"] == len(server.asked)


def test_a_cancelled_run_publishes_without_a_traceback(running_at_shared, wait):
    """What its calls brought is published; the console of `serve` says that it was cancelled."""
    served, server, run = running_at_shared.served, running_at_shared.server, running_at_shared.run
    wait(lambda: server.asked)
    served.api.send("POST", f"flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})
    wait(lambda: any("SIGTERM" in line for line in served.api.logs(run, "SIGTERM")))
    server.gate.set()
    assert served.api.until(run)["state_name"] == "Cancelled"
    assert running_at_shared.row()["accepted"] == len(server.asked)
    assert "Traceback" not in served.errors.read_text()


def test_a_stop_drains_what_runs(running_at_shared, descendants, gone, wait):
    """The run publishes what its calls brought, its state says so, and no process is left.

    This is the last test of the file: it ends the `serve` that the others share.
    """
    served, server, run = running_at_shared.served, running_at_shared.server, running_at_shared.run
    wait(lambda: server.asked)
    below = descendants(served.process.pid)
    served.process.send_signal(signal.SIGTERM)
    served.wait_for_line("stopping flow runs")
    server.gate.set()
    code = served.process.wait(60)
    gone(below)
    assert code == 0
    assert len(below) >= 3
    assert served.states()[run["id"]] == "Partial"
    assert running_at_shared.row()["status"] == "stopped"
    assert running_at_shared.row()["accepted"] > 0
