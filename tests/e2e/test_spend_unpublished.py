"""The command `spend` about what is in no table yet, and about what has no price."""

import json
import signal

import pytest

pytestmark = pytest.mark.slow

RUN = ("run", "in", "--schema", "caption")


@pytest.fixture(autouse=True)
def eight_images(workspace):
    """A workspace with a few images."""
    workspace.with_images(*(f"{number:02}.png" for number in range(8)))


@pytest.fixture
def total(workspace):
    """The sums over all calls."""
    return lambda: json.loads(workspace.run("spend", "--json").stdout)["total"]


def slow(server, replies, answers):
    """The server answers so many requests, and holds all others until its gate is opened."""

    def script(asked):
        server.gate.wait(0 if len(server.asked) <= answers else 30)
        return replies.ok()

    server.script = script


@pytest.fixture
def killed(workspace, serve, replies, wait, total):
    """A run that was killed with three calls answered and two on their way; gives the server."""
    server = serve(replies.ok())
    slow(server, replies, 3)
    workspace.env["TILEWISE_BASE_URL"] = server.url
    run = workspace.start(*RUN, env={"TILEWISE_CONCURRENCY": "2"})
    wait(lambda: len(server.asked) == 5)
    wait(lambda: total()["billed_usd"] > 0.0013)
    run.send_signal(signal.SIGKILL)
    run.wait(30)
    server.gate.set()
    return server


def test_a_killed_run_is_in_the_sums_before_anybody_takes_it_over(workspace, killed, total):
    """Its answers are billed, and its calls without one unknown."""
    found = total()
    assert (workspace.files("out/calls"), found["calls"], found["prompt_tokens"]) == ([], 5, 3000)
    assert found["billed_usd"] == pytest.approx(3 * 0.00045)
    assert found["wasted_usd"] == 0
    assert found["unknown_usd"] > 2 * 2048 * 1.5e-6


def test_what_was_taken_over_is_counted_once(workspace, killed, total):
    """The next run publishes those calls: they are the same, beside its own."""
    before = total()
    assert workspace.run(*RUN).exit_code == 0
    after = total()
    assert after["calls"] == before["calls"] + 5 == len(killed.asked) == workspace.table("calls").height
    assert after["billed_usd"] == pytest.approx(before["billed_usd"] + 5 * 0.00045)
    assert after["unknown_usd"] == before["unknown_usd"]
    runs = workspace.table("runs")
    assert after["billed_usd"] == float(runs["cost_usd"].sum())
    assert after["unknown_usd"] == float(runs["cost_unknown_usd"].sum())


def test_calls_of_another_output_are_not_in_the_sums(workspace, killed):
    """The ledger is of all outputs, a sum of one."""
    found = json.loads(workspace.run("spend", "--json", "--output", "elsewhere").stdout)
    assert found["total"]["calls"] == 0


def test_calls_on_their_way_are_unknown(workspace, serve, replies, wait, total):
    """A run that is live is in the sums as far as it has come."""
    server = serve(replies.ok())
    server.hold(replies.ok())
    run = workspace.start(*RUN, "--base-url", server.url, env={"TILEWISE_CONCURRENCY": "2"})
    wait(lambda: len(server.asked) == 2)
    found = total()
    server.gate.set()
    run.wait(60)
    assert (found["calls"], found["billed_usd"]) == (2, 0)
    assert found["unknown_usd"] > 0
    assert (total()["calls"], total()["unknown_usd"]) == (8, 0)


def test_what_has_no_price_is_said(workspace, serve, replies, total):
    """Unknown is never 0: the calls are counted, and the sums say that they are not in them."""
    server = serve(replies.ok())
    workspace.run(*RUN, "--base-url", server.url, "--model", "maker/unheard-of", "--yes")
    found = total()
    assert (found["calls"], found["unpriced"], found["billed_usd"]) == (8, 8, 0)
    said = workspace.run("spend").stdout
    assert "8 calls have no known price and are in no sum" in " ".join(said.split())
    assert "TILEWISE_PRICES" in said


def test_a_calibration_is_in_the_sums(workspace, serve, replies):
    """Probes have no schema and no source, and a price."""
    server = serve(replies.billing(lambda size: 280))
    workspace.run("calibrate", env={"TILEWISE_BASE_URL": server.url})
    [row] = json.loads(workspace.run("spend", "--json", "--by", "schema").stdout)["rows"]
    assert (row["schema"], row["calls"], row["wasted_usd"]) == ("", 5, 0)
    assert row["billed_usd"] == float(workspace.only("runs")["cost_usd"]) > 0


def test_a_table_that_cannot_be_read_is_said(workspace):
    """The output is named, in one line."""
    broken = workspace.folder / "out" / "calls" / "run_date=2026-11-20" / "a.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no parquet")
    ended = workspace.run("spend")
    assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert f"output '{workspace.folder / 'out'}' cannot be read: " in ended.stderr


def test_what_the_command_says_of_nothing(workspace):
    """No tables, no ledger: a total of 0."""
    ended = workspace.run("spend")
    assert ended.exit_code == 0
    assert ended.stdout.split()[-7:] == ["total", "0", "0", "0", "$0", "$0", "$0"]
