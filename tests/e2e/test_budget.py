"""Budgets: never passed, by the server's own count, and used to the end."""

import json
from decimal import Decimal

import pytest

from extractors.core.money import dollars

RUN = ("run", "in", "--schema", "caption")
COST = (1000 * Decimal("0.30") + 100 * Decimal("1.50")) / 1_000_000  # of one answer of the server
BUDGET = Decimal("0.012")  # some 26 answers, of which three may be on their way at first
IMAGES = [f"{number:02}.png" for number in range(34)]


@pytest.fixture(autouse=True)
def more_images_than_budget(workspace, server):
    """A workspace with more images than the budget is for."""
    workspace.with_images(*IMAGES).using(server)


@pytest.fixture
def worst(workspace):
    """The most that one call may cost, as the ledger reserves it: of any run, as all pictures are alike."""
    workspace.run(*RUN, "--limit", "1", "--output", "first", "--yes")
    [reserved] = workspace.table("calls", "first")["reserved_usd"].to_list()
    workspace.env["TILEWISE_LEDGER"] = f"sqlite:///{workspace.folder / 'new.db'}"
    return reserved


def test_a_budget_is_held_and_used_to_the_end(worst, workspace, server):
    """Answers give back what they did not need, so what is spent comes within one worst case of the budget."""
    server.asked.clear()
    ended = workspace.run(*RUN, "--budget", BUDGET, "--json")
    row = json.loads(ended.stdout)
    assert (ended.exit_code, row["status"]) == (3, "budget_spent")
    assert BUDGET - worst < len(server.asked) * COST <= BUDGET
    assert workspace.only("runs")["cost_usd"] == len(server.asked) * COST == workspace.table("calls")["cost_usd"].sum()


def test_a_spent_budget_publishes_what_was_paid_for(workspace, server):
    """Every answer is a row, and the rest is counted as what remains."""
    workspace.run(*RUN, "--budget", BUDGET)
    row = workspace.only("runs")
    assert row["accepted"] == workspace.table("results").height == len(server.asked) > 0
    assert (row["found"], row["remaining"]) == (34, 34 - row["accepted"])
    assert not (workspace.folder / "out" / "staging").exists()


def test_a_spent_budget_is_said(workspace):
    """One line says what is spent, what was kept, and what to do."""
    ended = workspace.run(*RUN, "--budget", BUDGET)
    kept = workspace.only("runs")["accepted"]
    [line] = [line for line in ended.stdout.splitlines() if line.startswith("stopped: ")]
    assert line.startswith("stopped: the run's budget of $0.012 is spent: ")
    assert "raise --budget" in line
    assert f"{kept} accepted documents are kept in {workspace.folder / 'out'}, {34 - kept} remain" in line


def test_the_next_run_goes_on(workspace, server):
    """A budget is of one run: the next one may spend as much again, and nothing is paid for twice."""
    workspace.run(*RUN, "--budget", BUDGET)
    assert workspace.run(*RUN, "--budget", BUDGET).exit_code == 0
    assert len(server.asked) == len(set(server.documents)) == 34
    assert sorted(workspace.table("runs")["status"]) == ["budget_spent", "completed"]
    assert workspace.table("results")["_document"].n_unique() == workspace.table("results").height == 34


def test_a_budget_below_one_worst_case_sends_nothing(worst, workspace, server):
    """What could pass the budget is not begun, and the message says what it could cost."""
    server.asked.clear()
    ended = workspace.run(*RUN, "--budget", worst - Decimal("0.000001"))
    assert (ended.exit_code, server.asked) == (3, [])
    assert f"the next call may cost up to {dollars(worst)}" in ended.stdout
    row = workspace.only("runs")
    assert (row["status"], row["calls"], row["cost_usd"], row["remaining"]) == ("budget_spent", 0, 0, 34)


def test_a_budget_of_one_worst_case_is_enough_for_one_call_at_a_time(worst, workspace, server):
    """A call for which there is no room waits for the one on its way, whose surplus makes room."""
    server.asked.clear()
    assert workspace.run(*RUN, "--budget", worst + 4 * COST).exit_code == 3
    assert len(server.asked) == 5


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "lots"])
def test_a_budget_that_is_none_is_refused(workspace, server, value):
    """The flag, its value and what is allowed are named before anything is spent."""
    ended = workspace.run(*RUN, "--budget", value)
    assert (ended.exit_code, ended.stdout, server.asked) == (2, "", [])
    assert ended.stderr.startswith(f"tilewise: budget '{value}': must be ")
    assert workspace.files("out") == []


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "lots"])
def test_a_daily_budget_that_is_none_is_refused(workspace, server, value):
    """As the flag, under the name of the setting."""
    ended = workspace.run(*RUN, env={"TILEWISE_DAILY_BUDGET": value})
    assert (ended.exit_code, ended.stderr.count("\n"), server.asked) == (2, 1, [])
    assert f"TILEWISE_DAILY_BUDGET='{value}': must be " in ended.stderr


@pytest.mark.parametrize(("flags", "daily"), [(("--budget", "1"), None), ((), "1"), (("--budget", "1", "--yes"), None)])
def test_a_budget_needs_a_price(workspace, server, flags, daily):
    """Nothing is sent and nothing is left behind where no budget could be held; `--yes` does not help."""
    ended = workspace.run(*RUN, "--model", "maker/unheard-of", *flags, env={"TILEWISE_DAILY_BUDGET": daily})
    assert (ended.exit_code, ended.stderr.count("\n"), server.asked) == (2, 1, [])
    assert "the price of maker/unheard-of is unknown" in ended.stderr
    assert "TILEWISE_PRICES" in ended.stderr
    assert workspace.files("out") == []


def test_what_costs_nothing_runs_within_any_budget(workspace, echo):
    """Local reading has a price, which is 0."""
    ended = workspace.run(*RUN, "--base-url", echo, "--budget", "0.000001", env={"TILEWISE_PRICES": None})
    assert ended.exit_code == 0, ended.stderr
    assert (workspace.only("runs")["accepted"], workspace.only("runs")["cost_usd"]) == (34, 0)


def test_a_budget_answers_what_may_be_spent_unasked(workspace):
    """Who names a limit has said how much."""
    assert workspace.run(*RUN, "--budget", "1", env={"TILEWISE_ASK_ABOVE": "0"}).exit_code == 0


def test_a_daily_budget_does_not(workspace, server):
    """It is meant for all runs, not for this one."""
    ended = workspace.run(*RUN, env={"TILEWISE_ASK_ABOVE": "0", "TILEWISE_DAILY_BUDGET": "1"})
    assert (ended.exit_code, server.asked) == (2, [])
    assert "above TILEWISE_ASK_ABOVE=0" in ended.stderr


def test_an_answer_that_has_to_be_asked_for_again_is_within_the_budget(workspace, serve, replies):
    """Whatever is billed counts, also what no row came of."""
    server = serve(replies.ok("no JSON at all"))
    ended = workspace.run(*RUN, "--base-url", server.url, "--budget", BUDGET, "--fail-above", "1")
    row = workspace.only("runs")
    assert ended.exit_code == 3
    assert row["cost_usd"] == row["cost_wasted_usd"] == len(server.asked) * COST <= BUDGET
    assert row["accepted"] == 0


@pytest.mark.slow
def test_a_refusal_gives_its_reservation_back(workspace, serve, replies):
    """What is not billed costs nothing: a budget of a few calls outlives many refusals."""
    refused = [replies.error(429, **{"Retry-After": "0"}), replies.error(503)] * 4
    server = serve(*refused, replies.ok())
    assert workspace.run(*RUN, "--base-url", server.url, "--budget", BUDGET, "--limit", "15").exit_code == 0
    assert len(server.asked) == 23
