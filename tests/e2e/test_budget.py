"""Budgets: never exceeded by the server's own count, and used up."""

import json
from decimal import Decimal

import pytest

from extractors.core.money import dollars

RUN = ("run", "in", "--schema", "caption")
COST = (1000 * Decimal("0.30") + 100 * Decimal("1.50")) / 1_000_000  # of one answer of the server
BUDGET = Decimal("0.012")  # some 26 answers; at first, the reservations of three fit
IMAGES = [f"{number:02}.png" for number in range(34)]


@pytest.fixture(autouse=True)
def more_images_than_budget(workspace, server):
    """A workspace with more images than the budget is for."""
    workspace.with_images(*IMAGES).using(server)


@pytest.fixture
def highest_reservation(workspace):
    """The most that one call may cost, as the ledger reserves it; all images are alike."""
    workspace.run(*RUN, "--limit", "1", "--output", "first", "--yes")
    [reserved] = workspace.table("calls", "first")["reserved_usd"].to_list()
    workspace.env["TILEWISE_LEDGER"] = f"sqlite:///{workspace.folder / 'new.db'}"
    return reserved


def test_budget_is_used_to_within_one_reservation(highest_reservation, workspace, server):
    """Settled calls release what they did not use, so spending ends within one reservation of the budget."""
    server.asked.clear()
    result = workspace.run(*RUN, "--budget", BUDGET, "--json")
    row = json.loads(result.stdout)
    assert (result.exit_code, row["status"]) == (3, "budget_spent")
    assert BUDGET - highest_reservation < len(server.asked) * COST <= BUDGET
    assert workspace.only("runs")["cost_usd"] == len(server.asked) * COST == workspace.table("calls")["cost_usd"].sum()


def test_spent_budget_publishes_every_paid_answer(workspace, server):
    """The other documents are counted as remaining."""
    workspace.run(*RUN, "--budget", BUDGET)
    row = workspace.only("runs")
    assert row["accepted"] == workspace.table("results").height == len(server.asked) > 0
    assert (row["found"], row["remaining"]) == (34, 34 - row["accepted"])
    assert not (workspace.folder / "out" / "staging").exists()


def test_spent_budget_message_names_budget_kept_and_remaining(workspace):
    result = workspace.run(*RUN, "--budget", BUDGET)
    kept = workspace.only("runs")["accepted"]
    [line] = [line for line in result.stdout.splitlines() if line.startswith("stopped: ")]
    assert line.startswith("stopped: the run's budget of $0.012 is spent: ")
    assert "raise --budget" in line
    assert f"{kept} accepted documents are kept in {workspace.folder / 'out'}, {34 - kept} remain" in line


def test_next_run_has_a_new_budget_and_continues(workspace, server):
    """Nothing is paid for twice."""
    workspace.run(*RUN, "--budget", BUDGET)
    assert workspace.run(*RUN, "--budget", BUDGET).exit_code == 0
    assert len(server.asked) == len(set(server.documents)) == 34
    assert sorted(workspace.table("runs")["status"]) == ["budget_spent", "completed"]
    assert workspace.table("results")["_document"].n_unique() == workspace.table("results").height == 34


def test_budget_below_one_reservation_sends_nothing(highest_reservation, workspace, server):
    """The message names what the next call may cost."""
    server.asked.clear()
    result = workspace.run(*RUN, "--budget", highest_reservation - Decimal("0.000001"))
    assert (result.exit_code, server.asked) == (3, [])
    assert f"the next call may cost up to {dollars(highest_reservation)}" in result.stdout
    row = workspace.only("runs")
    assert (row["status"], row["calls"], row["cost_usd"], row["remaining"]) == ("budget_spent", 0, 0, 34)


def test_budget_of_one_reservation_runs_calls_one_by_one(highest_reservation, workspace, server):
    """A call that does not fit waits until the one in flight is settled."""
    server.asked.clear()
    assert workspace.run(*RUN, "--budget", highest_reservation + 4 * COST).exit_code == 3
    assert len(server.asked) == 5


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "lots"])
def test_invalid_budget_is_refused(workspace, server, value):
    """The flag, its value and what is allowed are named before anything is sent."""
    result = workspace.run(*RUN, "--budget", value)
    assert (result.exit_code, result.stdout, server.asked) == (2, "", [])
    assert result.stderr.startswith(f"tilewise: budget '{value}': must be ")
    assert workspace.files("out") == []


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "lots"])
def test_invalid_daily_budget_is_refused(workspace, server, value):
    result = workspace.run(*RUN, env={"TILEWISE_DAILY_BUDGET": value})
    assert (result.exit_code, result.stderr.count("\n"), server.asked) == (2, 1, [])
    assert f"TILEWISE_DAILY_BUDGET='{value}': must be " in result.stderr


@pytest.mark.parametrize(("flags", "daily"), [(("--budget", "1"), None), ((), "1"), (("--budget", "1", "--yes"), None)])
def test_budget_for_model_without_price_is_refused(workspace, server, flags, daily):
    """Nothing is sent or written, and `--yes` does not help."""
    result = workspace.run(*RUN, "--model", "maker/unheard-of", *flags, env={"TILEWISE_DAILY_BUDGET": daily})
    assert (result.exit_code, result.stderr.count("\n"), server.asked) == (2, 1, [])
    assert "the price of maker/unheard-of is unknown" in result.stderr
    assert "TILEWISE_PRICES" in result.stderr
    assert workspace.files("out") == []


def test_free_endpoint_runs_within_any_budget(workspace, echo):
    """Local reading has a price of 0."""
    result = workspace.run(*RUN, "--base-url", echo, "--budget", "0.000001", env={"TILEWISE_PRICES": None})
    assert result.exit_code == 0, result.stderr
    assert (workspace.only("runs")["accepted"], workspace.only("runs")["cost_usd"]) == (34, 0)


def test_budget_replaces_the_confirmation(workspace):
    assert workspace.run(*RUN, "--budget", "1", env={"TILEWISE_ASK_ABOVE": "0"}).exit_code == 0


def test_daily_budget_does_not_replace_the_confirmation(workspace, server):
    """It limits all runs of a day, not this one."""
    result = workspace.run(*RUN, env={"TILEWISE_ASK_ABOVE": "0", "TILEWISE_DAILY_BUDGET": "1"})
    assert (result.exit_code, server.asked) == (2, [])
    assert "above TILEWISE_ASK_ABOVE=0" in result.stderr


def test_budget_counts_invalid_answers(workspace, serve, replies):
    """Every billed call counts, also one without a row."""
    server = serve(replies.ok("no JSON at all"))
    result = workspace.run(*RUN, "--base-url", server.url, "--budget", BUDGET, "--fail-above", "1")
    row = workspace.only("runs")
    assert result.exit_code == 3
    assert row["cost_usd"] == row["cost_wasted_usd"] == len(server.asked) * COST <= BUDGET
    assert row["accepted"] == 0


@pytest.mark.slow
def test_unbilled_refusal_releases_its_reservation(workspace, serve, replies):
    """A budget of a few calls outlasts many refusals."""
    refused = [replies.error(429, **{"Retry-After": "0"}), replies.error(503)] * 4
    server = serve(*refused, replies.ok())
    assert workspace.run(*RUN, "--base-url", server.url, "--budget", BUDGET, "--limit", "15").exit_code == 0
    assert len(server.asked) == 23
