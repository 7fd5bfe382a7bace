"""The daily budget is shared by all runs on one ledger, in sequence and in parallel."""

import subprocess
import time
from decimal import Decimal

import pytest

pytestmark = pytest.mark.slow

RUN = ("run", "in", "--schema", "caption")
COST = (1000 * Decimal("0.30") + 100 * Decimal("1.50")) / 1_000_000  # of one answer of the server
BUDGET = Decimal("0.012")
IMAGES = [f"{number:02}.png" for number in range(34)]


@pytest.fixture(autouse=True)
def more_images_than_budget(workspace, server, replies):
    """More images than the daily budget pays for; every answer has the same cost and takes 50 ms."""

    def script(asked):
        time.sleep(0.05)
        return replies.ok()

    server.answers_with(script)
    workspace.with_images(*IMAGES).using(server, daily_budget=str(BUDGET))


def test_sequential_runs_share_daily_budget(workspace, server):
    """Also with different outputs; the message says when the budget is available again."""
    assert workspace.run(*RUN, "--limit", "5").exit_code == 0
    assert workspace.run(*RUN, "--limit", "5", "--output", "other").exit_code == 0
    result = workspace.run(*RUN)
    [reserved] = set(workspace.table("calls")["reserved_usd"])
    assert (result.exit_code, sorted(workspace.table("runs")["status"])) == (3, ["budget_spent", "completed"])
    assert BUDGET - reserved < len(server.asked) * COST <= BUDGET
    assert "the day's budget (TILEWISE_DAILY_BUDGET) of $0.012 is spent" in result.stdout
    assert "it is free again tomorrow (UTC)" in result.stdout


def test_spent_daily_budget_sends_nothing_until_raised(workspace, server):
    workspace.run(*RUN)
    sent = len(server.asked)
    assert workspace.run(*RUN).exit_code == 3
    assert len(server.asked) == sent
    assert workspace.run(*RUN, env={"TILEWISE_DAILY_BUDGET": "1"}).exit_code == 0
    assert len(server.asked) == len(set(server.documents)) == 34


def test_parallel_runs_share_daily_budget(workspace, server):
    """Two processes over two folders never exceed it together, and use it up to one reservation."""
    workspace.images(*IMAGES, size=(310, 200), folder="more")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    first = workspace.start(*RUN, **pipes)
    second = workspace.start("run", "more", "--schema", "caption", "--output", "other", **pipes)
    outputs = [process.communicate(timeout=120) for process in (first, second)]
    assert [first.returncode, second.returncode] == [3, 3], outputs
    reserved = max(workspace.table("calls")["reserved_usd"])
    spent = workspace.only("runs")["cost_usd"] + workspace.table("runs", "other")["cost_usd"].sum()
    assert spent == len(server.asked) * COST
    assert BUDGET - reserved < spent <= BUDGET


def test_smaller_of_run_and_daily_budget_stops_the_run(workspace, server):
    """The message names it."""
    result = workspace.run(*RUN, "--budget", "0.006")
    assert "the run's budget of $0.006 is spent" in result.stdout
    assert len(server.asked) * COST <= Decimal("0.006")
    result = workspace.run(*RUN, "--budget", "1")
    assert "the day's budget (TILEWISE_DAILY_BUDGET) of $0.012 is spent" in result.stdout
    assert len(server.asked) * COST <= BUDGET


def test_calls_of_unknown_billing_stay_reserved(workspace, serve, replies):
    """A lost connection may have been billed: its reservation counts against the run's and the daily budget."""
    server = serve(replies.reset)
    flags = ("--base-url", server.url, "--fail-above", "1")
    result = workspace.run(*RUN, *flags, env={"TILEWISE_ATTEMPTS": "1"})
    row, calls = workspace.only("runs"), workspace.table("calls")
    [reserved] = set(calls["reserved_usd"])
    assert (result.exit_code, row["status"], set(calls["billed"])) == (3, "budget_spent", {"unknown"})
    assert len(server.asked) == calls.height == BUDGET // reserved
    assert (row["cost_usd"], row["cost_unknown_usd"]) == (0, calls.height * reserved)
    assert workspace.run(*RUN, *flags).exit_code == 3
    assert len(server.asked) == calls.height


def test_daily_budget_is_counted_by_ledger(workspace, server):
    workspace.run(*RUN)
    sent = len(server.asked)
    result = workspace.run(*RUN, env={"TILEWISE_LEDGER": f"sqlite:///{workspace.folder / 'other.db'}"})
    assert (result.exit_code, len(server.asked)) == (0, 34)
    assert sent < 34
