"""Stopping a run: by signals, by the clock, by what is wrong; what was answered is kept, and the next run does the rest."""

import signal
import subprocess

import pytest

pytestmark = pytest.mark.slow

RUN = ("run", "in", "--schema", "caption")
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@pytest.fixture(autouse=True)
def six_images_held(workspace, server, replies):
    """Six images, of which two are sent at a time, and wait until the server's gate is opened."""
    server.hold(replies.ok())
    workspace.with_images(*(f"{number}.png" for number in range(6))).using(server, concurrency="2")


@pytest.fixture
def running(workspace, server, wait):
    """A run, in a process of its own, with two calls on their way."""
    with workspace.start(*RUN, **PIPES) as process:
        wait(lambda: len(server.asked) == 2)
        yield process
        process.kill()


def read_to_end(process):
    """What a process says until it ends, and its exit code."""
    stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_lets_the_calls_on_their_way_finish(running, workspace, server, number):
    """What they answer is published, the rest remains, and the exit code is 3."""
    running.send_signal(number)
    said = running.stderr.readline()
    server.gate.set()
    code, stdout, _ = read_to_end(running)
    run = workspace.only("runs")
    assert said.startswith(f"{number.name}: ")
    assert code == 3
    assert f"stopped: {number.name} was received; 2 accepted documents are kept in" in stdout
    assert (run["status"], run["found"], run["accepted"], run["remaining"]) == ("stopped", 6, 2, 4)
    assert workspace.table("results").height == workspace.table("calls").height == 2


def test_the_next_run_does_the_rest(running, workspace, server):
    """No document is asked for twice, and all have a row."""
    running.send_signal(signal.SIGINT)
    running.stderr.readline()
    server.gate.set()
    read_to_end(running)
    again = workspace.run(*RUN)
    assert again.exit_code == 0
    assert len(server.documents) == len(set(server.documents)) == 6
    assert workspace.table("results")["_document"].n_unique() == 6
    assert workspace.table("runs").sort("started_at")["skipped"].to_list() == [0, 2]


def test_a_second_signal_stops_at_once(running, workspace):
    """Calls on their way are cut; nobody knows whether they are billed, and the run says what they may cost."""
    running.send_signal(signal.SIGINT)
    running.stderr.readline()
    running.send_signal(signal.SIGINT)
    code, _, _ = read_to_end(running)
    calls, run = workspace.table("calls"), workspace.only("runs")
    assert code == 3
    assert calls.select("outcome", "billed").rows() == [("aborted", "unknown")] * 2
    assert (run["status"], run["accepted"], run["remaining"]) == ("stopped", 0, 6)
    assert run["cost_unknown_usd"] == calls["reserved_usd"].sum() > 0


def test_max_time_takes_no_new_documents(workspace, server):
    """Calls on their way are given TILEWISE_DRAIN and then cut, the rest remains, and the exit code is 3."""
    ended = workspace.run(*RUN, "--max-time", "0.5s", env={"TILEWISE_DRAIN": "0.2"})
    run = workspace.only("runs")
    assert ended.exit_code == 3
    assert "the time limit of 0.5 s is reached" in ended.stdout
    assert workspace.table("calls")["outcome"].to_list() == ["aborted"] * 2
    assert (run["status"], run["accepted"], run["remaining"]) == ("stopped", 0, 6)


def test_a_time_that_suffices_stops_nothing(workspace, server):
    """A run that ends before its time is completed."""
    server.gate.set()
    assert workspace.run(*RUN, "--max-time", "1h").exit_code == 0
    assert workspace.only("runs")["status"] == "completed"


def test_a_killed_run_leaves_no_half_volume(running, workspace):
    """What SIGKILL leaves behind is in no published table."""
    running.kill()
    running.wait()
    assert [each for each in workspace.files("out") if not each.startswith("staging/")] == []


def test_a_run_in_which_most_documents_fail_is_stopped(workspace, server, replies):
    """After 200 documents the pilot looks: status failing, exit 2, and the rest is not paid for."""
    workspace.images(*(f"{number}.png" for number in range(280)), size=(20, 20))
    server.script = [replies.ok({"tags": []})]
    ended = workspace.run(*RUN, env={"TILEWISE_REASKS": "0", "TILEWISE_CONCURRENCY": "64"})
    run = workspace.only("runs")
    assert ended.exit_code == 2
    assert "200 of the first 200 documents failed, more than 50%" in ended.stdout
    assert run["status"] == "failing"
    assert (run["found"], run["failed"] + run["remaining"]) == (280, 280)
    assert 200 <= len(server.asked) == run["failed"] < 280


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_offline_leaves_no_process_behind(workspace, wait, descendants, gone, number):
    """The endpoint goes when its run goes, however it goes."""
    with workspace.start("run", "in", "--schema", "caption", "--offline", **PIPES) as process:
        children = wait(lambda: descendants(process.pid))
        process.send_signal(number)
        code, _, _ = read_to_end(process)
    assert gone(children)
    assert code == {signal.SIGINT: 3, signal.SIGKILL: -9}[number]


def test_a_flow_that_is_interrupted_drains_like_a_direct_run(workspace, server, wait, descendants, gone):
    """Ctrl-C in the flow publishes what was answered, exits with 3, and leaves no server behind."""
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


def test_a_killed_flow_leaves_no_server_behind(workspace, server, wait, descendants, gone):
    """The temporary server goes with the run that started it."""
    with workspace.start(*RUN, "--prefect", **PIPES) as process:
        wait(lambda: server.asked)
        children = descendants(process.pid)
        process.kill()
    assert children
    assert gone(children)
