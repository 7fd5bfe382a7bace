"""The day's budget: held over all runs on one ledger, one after the other and side by side."""

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
    """More images than the day's budget is for; every answer costs the same, and takes a while."""

    def script(asked):
        time.sleep(0.05)
        return replies.ok()

    server.answers_with(script)
    workspace.with_images(*IMAGES).using(server, daily_budget=str(BUDGET))


def test_runs_one_after_the_other_share_it(workspace, server):
    """Whatever their source and output: the day's sum is held, and the message says when there is more."""
    assert workspace.run(*RUN, "--limit", "5").exit_code == 0
    assert workspace.run(*RUN, "--limit", "5", "--output", "other").exit_code == 0
    ended = workspace.run(*RUN)
    [worst] = set(workspace.table("calls")["reserved_usd"])
    assert (ended.exit_code, sorted(workspace.table("runs")["status"])) == (3, ["budget_spent", "completed"])
    assert BUDGET - worst < len(server.asked) * COST <= BUDGET
    assert "the day's budget (TILEWISE_DAILY_BUDGET) of $0.012 is spent" in ended.stdout
    assert "it is free again tomorrow (UTC)" in ended.stdout


def test_a_day_that_is_spent_sends_nothing(workspace, server):
    """The next run of the day ends at once, and one with a larger budget goes on."""
    workspace.run(*RUN)
    sent = len(server.asked)
    assert workspace.run(*RUN).exit_code == 3
    assert len(server.asked) == sent
    assert workspace.run(*RUN, env={"TILEWISE_DAILY_BUDGET": "1"}).exit_code == 0
    assert len(server.asked) == len(set(server.documents)) == 34


def test_two_runs_at_once_share_it(workspace, server):
    """Two processes over two folders never pass it together, and use it to the end."""
    workspace.images(*IMAGES, size=(310, 200), folder="more")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    one = workspace.start(*RUN, **pipes)
    two = workspace.start("run", "more", "--schema", "caption", "--output", "other", **pipes)
    said = [process.communicate(timeout=120) for process in (one, two)]
    assert [one.returncode, two.returncode] == [3, 3], said
    worst = max(workspace.table("calls")["reserved_usd"])
    spent = workspace.only("runs")["cost_usd"] + workspace.table("runs", "other")["cost_usd"].sum()
    assert spent == len(server.asked) * COST
    assert BUDGET - worst < spent <= BUDGET


def test_a_run_s_budget_holds_below_it(workspace, server):
    """Of two budgets the one that is reached first stops the run, and is named."""
    ended = workspace.run(*RUN, "--budget", "0.006")
    assert "the run's budget of $0.006 is spent" in ended.stdout
    assert len(server.asked) * COST <= Decimal("0.006")
    ended = workspace.run(*RUN, "--budget", "1")
    assert "the day's budget (TILEWISE_DAILY_BUDGET) of $0.012 is spent" in ended.stdout
    assert len(server.asked) * COST <= BUDGET


def test_what_nobody_knows_to_be_billed_stays_reserved(workspace, serve, replies):
    """Lost connections may have been billed: their worst case counts against the run and against the day."""
    server = serve(replies.reset)
    flags = ("--base-url", server.url, "--fail-above", "1")
    ended = workspace.run(*RUN, *flags, env={"TILEWISE_ATTEMPTS": "1"})
    row, calls = workspace.only("runs"), workspace.table("calls")
    [worst] = set(calls["reserved_usd"])
    assert (ended.exit_code, row["status"], set(calls["billed"])) == (3, "budget_spent", {"unknown"})
    assert len(server.asked) == calls.height == BUDGET // worst
    assert (row["cost_usd"], row["cost_unknown_usd"]) == (0, calls.height * worst)
    assert workspace.run(*RUN, *flags).exit_code == 3
    assert len(server.asked) == calls.height


def test_another_ledger_is_another_account(workspace, server):
    """What is reserved is known to those who share a ledger."""
    workspace.run(*RUN)
    sent = len(server.asked)
    ended = workspace.run(*RUN, env={"TILEWISE_LEDGER": f"sqlite:///{workspace.folder / 'other.db'}"})
    assert (ended.exit_code, len(server.asked)) == (0, 34)
    assert sent < 34
