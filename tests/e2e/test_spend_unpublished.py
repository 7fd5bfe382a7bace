"""The command `spend` for calls that are not published yet, and for calls without a price."""

import json
import signal

import pytest

pytestmark = pytest.mark.slow

RUN = ("run", "in", "--schema", "caption")


@pytest.fixture(autouse=True)
def eight_images(workspace):
    """A workspace with eight images."""
    workspace.with_images(*(f"{number:02}.png" for number in range(8)))


@pytest.fixture
def read_total(workspace):
    """Reads the total of `spend`."""
    return lambda: json.loads(workspace.run("spend", "--json").stdout)["total"]


def hold_after(server, replies, answers):
    """The server answers this many requests, and holds all others until its gate is opened."""

    def script(request):
        server.gate.wait(0 if len(server.asked) <= answers else 30)
        return replies.ok()

    server.script = script


@pytest.fixture
def server_of_killed_run(workspace, serve, replies, wait, read_total):
    """The server of a run that was killed with three calls answered and two in flight."""
    server = serve(replies.ok())
    hold_after(server, replies, 3)
    workspace.env["TILEWISE_BASE_URL"] = server.url
    run = workspace.start(*RUN, env={"TILEWISE_CONCURRENCY": "2"})
    wait(lambda: len(server.asked) == 5)
    wait(lambda: read_total()["billed_usd"] > 0.0013)
    run.send_signal(signal.SIGKILL)
    run.wait(30)
    server.gate.set()
    return server


def test_spend_counts_calls_of_a_killed_run_before_recovery(workspace, server_of_killed_run, read_total):
    """Its answered calls are billed, those in flight are unknown."""
    total = read_total()
    assert (workspace.files("out/calls"), total["calls"], total["prompt_tokens"]) == ([], 5, 3000)
    assert total["billed_usd"] == pytest.approx(3 * 0.00045)
    assert total["wasted_usd"] == 0
    assert total["unknown_usd"] > 2 * 2048 * 1.5e-6


def test_spend_counts_recovered_calls_once(workspace, server_of_killed_run, read_total):
    """The next run publishes them beside its own."""
    before = read_total()
    assert workspace.run(*RUN).exit_code == 0
    after = read_total()
    assert after["calls"] == before["calls"] + 5 == len(server_of_killed_run.asked) == workspace.table("calls").height
    assert after["billed_usd"] == pytest.approx(before["billed_usd"] + 5 * 0.00045)
    assert after["unknown_usd"] == before["unknown_usd"]
    runs = workspace.table("runs")
    assert after["billed_usd"] == float(runs["cost_usd"].sum())
    assert after["unknown_usd"] == float(runs["cost_unknown_usd"].sum())


def test_spend_ignores_ledger_calls_of_other_outputs(workspace, server_of_killed_run):
    spend = json.loads(workspace.run("spend", "--json", "--output", "elsewhere").stdout)
    assert spend["total"]["calls"] == 0


def test_spend_counts_calls_in_flight_as_unknown(workspace, serve, replies, wait, read_total):
    server = serve(replies.ok())
    server.hold(replies.ok())
    run = workspace.start(*RUN, "--base-url", server.url, env={"TILEWISE_CONCURRENCY": "2"})
    wait(lambda: len(server.asked) == 2)
    total = read_total()
    server.gate.set()
    run.wait(60)
    assert (total["calls"], total["billed_usd"]) == (2, 0)
    assert total["unknown_usd"] > 0
    assert (read_total()["calls"], read_total()["unknown_usd"]) == (8, 0)


def test_spend_names_calls_without_a_price(workspace, serve, replies, read_total):
    """They are counted, but not in the sums."""
    server = serve(replies.ok())
    workspace.run(*RUN, "--base-url", server.url, "--model", "maker/unheard-of", "--yes")
    total = read_total()
    assert (total["calls"], total["unpriced"], total["billed_usd"]) == (8, 8, 0)
    summary = workspace.run("spend").stdout
    assert "8 calls have no known price and are in no sum" in " ".join(summary.split())
    assert "TILEWISE_PRICES" in summary


def test_spend_counts_calibration_calls(workspace, serve, replies):
    """They have no schema."""
    server = serve(replies.billing(lambda size: 280))
    workspace.run("calibrate", env={"TILEWISE_BASE_URL": server.url})
    [row] = json.loads(workspace.run("spend", "--json", "--by", "schema").stdout)["rows"]
    assert (row["schema"], row["calls"], row["wasted_usd"]) == ("", 5, 0)
    assert row["billed_usd"] == float(workspace.only("runs")["cost_usd"]) > 0


def test_spend_names_an_unreadable_output(workspace):
    broken = workspace.folder / "out" / "calls" / "run_date=2026-11-20" / "a.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no parquet")
    result = workspace.run("spend")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert f"output '{workspace.folder / 'out'}' cannot be read: " in result.stderr


def test_spend_without_tables_and_ledger_is_0(workspace):
    result = workspace.run("spend")
    assert result.exit_code == 0
    assert result.stdout.split()[-7:] == ["total", "0", "0", "0", "$0", "$0", "$0"]
