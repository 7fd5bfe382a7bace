"""How `tilewise serve` ends: with what runs drained, and nothing left behind."""

import signal
from contextlib import suppress

import pytest

pytestmark = pytest.mark.slow


def test_a_stop_drains_what_runs(running, workspace, descendants, gone, wait):
    """The run publishes what its calls brought, its state says so, and no process is left."""
    served, server, run = running
    wait(lambda: server.asked)
    below = descendants(served.process.pid)
    served.process.send_signal(signal.SIGTERM)
    assert "stopping flow runs" in served.process.stdout.readline()
    server.gate.set()
    code = served.process.wait(60)
    gone(below)
    assert code == 0
    assert len(below) >= 3
    assert served.states()[run["id"]] == "Partial"
    assert workspace.only("runs")["status"] == "stopped"
    assert workspace.only("runs")["accepted"] > 0


def test_a_kill_leaves_no_process(running, descendants, gone, wait):
    """Server, runner and runs go when who started them is gone."""
    served, server, _ = running
    wait(lambda: server.asked)
    below = descendants(served.process.pid)
    served.process.kill()
    server.gate.set()
    with suppress(AssertionError):
        gone(below)  # their grace is as long as this waits
    gone(below)


def test_who_asks_twice_is_not_kept_waiting(running, wait):
    """The second signal ends the calls that are on their way."""
    served, server, _ = running
    wait(lambda: server.asked)
    served.process.send_signal(signal.SIGINT)
    served.process.stdout.readline()
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(15) == 0  # less than the 20 seconds of TILEWISE_DRAIN
