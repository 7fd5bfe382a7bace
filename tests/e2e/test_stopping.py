"""A run is stopped by signals, a time limit or failures; paid answers are published, and the next run does the rest."""

import signal
import subprocess

import pytest

pytestmark = pytest.mark.slow

RUN = ("run", "in", "--schema", "caption")
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@pytest.fixture(autouse=True)
def six_held_images(workspace, server, replies):
    """Six images, of which two are sent at a time; the server holds them until its gate is opened."""
    server.hold(replies.ok())
    workspace.with_images(*(f"{number}.png" for number in range(6))).using(server, concurrency="2")


@pytest.fixture
def running_process(workspace, server, wait):
    """A run in its own process, with two calls in flight."""
    with workspace.start(*RUN, **PIPES) as process:
        wait(lambda: len(server.asked) == 2)
        yield process
        process.kill()


def read_to_end(process):
    """The exit code, stdout and stderr of a process that ends by itself."""
    stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_signal_lets_calls_in_flight_finish(running_process, workspace, server, number):
    """Their answers are published, the rest remains, and the exit code is 3."""
    running_process.send_signal(number)
    notice = running_process.stderr.readline()
    server.gate.set()
    code, stdout, _ = read_to_end(running_process)
    run = workspace.only("runs")
    assert notice.startswith(f"{number.name}: ")
    assert code == 3
    assert f"stopped: {number.name} was received; 2 accepted documents are kept in" in stdout
    assert (run["status"], run["found"], run["accepted"], run["remaining"]) == ("stopped", 6, 2, 4)
    assert workspace.table("results").height == workspace.table("calls").height == 2


def test_next_run_completes_a_stopped_run(running_process, workspace, server):
    """No document is sent twice."""
    running_process.send_signal(signal.SIGINT)
    running_process.stderr.readline()
    server.gate.set()
    read_to_end(running_process)
    second = workspace.run(*RUN)
    assert second.exit_code == 0
    assert len(server.documents) == len(set(server.documents)) == 6
    assert workspace.table("results")["_document"].n_unique() == 6
    assert workspace.table("runs").sort("started_at")["skipped"].to_list() == [0, 2]


def test_second_signal_aborts_calls_in_flight(running_process, workspace):
    """Their billing is unknown, and the run records what they may cost."""
    running_process.send_signal(signal.SIGINT)
    running_process.stderr.readline()
    running_process.send_signal(signal.SIGINT)
    code, _, _ = read_to_end(running_process)
    calls, run = workspace.table("calls"), workspace.only("runs")
    assert code == 3
    assert calls.select("outcome", "billed").rows() == [("aborted", "unknown")] * 2
    assert (run["status"], run["accepted"], run["remaining"]) == ("stopped", 0, 6)
    assert run["cost_unknown_usd"] == calls["reserved_usd"].sum() > 0


def test_max_time_aborts_calls_after_drain(workspace, server):
    """The rest remains, and the exit code is 3."""
    result = workspace.run(*RUN, "--max-time", "0.5s", env={"TILEWISE_DRAIN": "0.2"})
    run = workspace.only("runs")
    assert result.exit_code == 3
    assert "the time limit of 0.5 s is reached" in result.stdout
    assert workspace.table("calls")["outcome"].to_list() == ["aborted"] * 2
    assert (run["status"], run["accepted"], run["remaining"]) == ("stopped", 0, 6)


def test_run_within_max_time_is_completed(workspace, server):
    server.gate.set()
    assert workspace.run(*RUN, "--max-time", "1h").exit_code == 0
    assert workspace.only("runs")["status"] == "completed"


def test_killed_run_publishes_no_file(running_process, workspace):
    running_process.kill()
    running_process.wait()
    assert [file for file in workspace.files("out") if not file.startswith("staging/")] == []


def test_run_is_stopped_if_most_documents_fail(workspace, server, replies):
    """After 200 documents: status failing, exit 2, and the rest is not sent."""
    workspace.images(*(f"{number}.png" for number in range(280)), size=(20, 20))
    server.script = [replies.ok({"tags": []})]
    result = workspace.run(*RUN, env={"TILEWISE_REASKS": "0", "TILEWISE_CONCURRENCY": "64"})
    run = workspace.only("runs")
    assert result.exit_code == 2
    assert "200 of the first 200 documents failed, more than 50%" in result.stdout
    assert run["status"] == "failing"
    assert (run["found"], run["failed"] + run["remaining"]) == (280, 280)
    assert 200 <= len(server.asked) == run["failed"] < 280


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_offline_run_ends_its_endpoint_process(workspace, wait, descendants, gone, number):
    with workspace.start("run", "in", "--schema", "caption", "--offline", **PIPES) as process:
        children = wait(lambda: descendants(process.pid))
        process.send_signal(number)
        code, _, _ = read_to_end(process)
    assert gone(children)
    assert code == {signal.SIGINT: 3, signal.SIGKILL: -9}[number]


def test_interrupted_flow_drains_and_ends_its_server(workspace, server, wait, descendants, gone):
    """It publishes the answers and exits with 3."""
    with workspace.start(*RUN, "--prefect", **PIPES) as process:
        wait(lambda: len(server.asked) == 2)
        children = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        server.gate.set()
        code, _, _ = read_to_end(process)
    run = workspace.only("runs")
    assert children
    assert gone(children)
    assert code == 3
    assert run["status"] == "stopped"
    assert run["accepted"] + run["remaining"] == 6


def test_killed_flow_ends_its_server(workspace, server, wait, descendants, gone):
    with workspace.start(*RUN, "--prefect", **PIPES) as process:
        wait(lambda: server.asked)
        children = descendants(process.pid)
        process.kill()
    assert children
    assert gone(children)
