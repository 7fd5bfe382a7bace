"""What becomes of `tilewise serve` and its runs when Prefect's server ends in the middle."""

import os
import signal

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def end_server(server_of, gone):
    """Kills the server of a `serve`."""

    def end(served):
        pid = server_of(served)
        os.kill(pid, signal.SIGKILL)
        gone([pid])

    return end


def test_a_run_goes_on_and_reports_to_the_next_server(running_at_shared, end_server, answering, wait):
    """It is started again, and the run publishes all of its work; its state says so, and its slot is free for the next.

    The run renews the lease by which it holds its slot: Prefect would cancel it otherwise.
    """
    served, server, run = running_at_shared.served, running_at_shared.server, running_at_shared.run
    wait(lambda: server.asked)
    lease = served.api.flow_run(run)["state"]["state_details"]["deployment_concurrency_lease_id"]
    end_server(served)
    served.wait_for_line("server ended with exit code -9")
    api = answering(served.api.url)
    renewed = api.send("POST", f"v2/concurrency_limits/leases/{lease}/renew", {"lease_duration": 300})
    server.gate.set()
    assert renewed is None
    assert api.until(run)["state"]["message"] == "2 accepted"
    assert running_at_shared.row()["status"] == "completed"
    assert api.run_to_end("extract/nightly", job=run["parameters"]["job"])["state_name"] == "Completed"


def test_a_run_is_cancelled_also_on_the_next_server(running_at_shared, end_server, answering, wait):
    """It is told to end, though the runner's connection for such news has ended with the server."""
    served, server, run = running_at_shared.served, running_at_shared.server, running_at_shared.run
    wait(lambda: server.asked)
    end_server(served)
    answering(served.api.url)
    served.api.send("POST", f"flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})
    served.api.until(run)
    assert running_at_shared.row()["status"] == "stopped"


def test_a_server_that_does_not_come_back_is_given_up(running, end_server, wait):
    """After three ends in a row the command ends as with bad input; the run publishes what it has done."""
    served, server = running.served, running.server
    wait(lambda: server.asked)
    end_server(served)
    end_server(served)
    end_server(served)
    server.gate.set()
    assert served.process.wait(90) == 2
    assert served.process.stdout.read().count("starting it again") == 2
    assert running.row()["accepted"] > 0


def test_a_stop_is_heard_while_the_server_is_started_again(running, end_server, wait):
    """The run publishes what it has done, as at any other stop."""
    served, server = running.served, running.server
    wait(lambda: server.asked)
    end_server(served)
    served.wait_for_line("starting it again")
    served.process.send_signal(signal.SIGTERM)
    served.wait_for_line("stopping flow runs")
    server.gate.set()
    assert served.process.wait(60) == 0
    assert running.row()["status"] == "stopped"
