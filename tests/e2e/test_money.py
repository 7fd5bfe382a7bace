"""Money: asked for before it is spent, and accounted for to the last digit."""

import json
from decimal import Decimal

import pytest

from extractors.core.money import dollars

RUN = ("run", "in", "--schema", "caption")
INPUT, CACHED, OUTPUT = Decimal("0.30"), Decimal("0.10"), Decimal("1.50")
MILLION = Decimal(1_000_000)


@pytest.fixture(autouse=True)
def two_images(workspace, server, replies):
    """Two images, a price list that names the model, and answers whose usage has all kinds of tokens."""
    usage = {
        "prompt_tokens": 1234,
        "completion_tokens": 56,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 6},
    }
    server.answers_with(replies.ok(usage=usage))
    workspace.with_images("a.jpg", "b.jpg").using(server)


COST = (234 * INPUT + 1000 * CACHED + 56 * OUTPUT) / MILLION


def test_more_than_may_be_spent_unasked_stops_the_run(workspace, server):
    """Where nobody can be asked, the figure is in the message, and nothing is sent or written."""
    ended = workspace.run(*RUN, env={"TILEWISE_ASK_ABOVE": "0"})
    assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "this may cost up to $0.0" in ended.stderr
    assert "TILEWISE_ASK_ABOVE=0" in ended.stderr
    assert server.asked == []
    assert workspace.files("out") == []


def test_the_figure_is_the_high_estimate(workspace):
    """What is asked for is what `--dry-run` says that it can cost at most."""
    (workspace.folder / "prices.toml").write_text('[models."maker/model"]\ninput = 3000\noutput = 15000\n')
    high = json.loads(workspace.run(*RUN, "--dry-run", "--json").stdout)["cost_usd"]["high"]
    assert f"up to {dollars(Decimal(str(high)))} (expected" in workspace.run(*RUN).stderr


def test_yes_goes_on(workspace, server):
    """The answer can be given beforehand."""
    assert workspace.run(*RUN, "--yes", env={"TILEWISE_ASK_ABOVE": "0"}).exit_code == 0
    assert len(server.asked) == 2


def test_nothing_to_do_needs_no_yes(workspace):
    """A second run spends nothing, so it asks nothing."""
    assert workspace.run(*RUN, "--yes").exit_code == 0
    assert workspace.run(*RUN, env={"TILEWISE_ASK_ABOVE": "0"}).exit_code == 0


def test_a_cost_is_usage_times_price(workspace):
    """Cached tokens have their own price, reasoning is part of completion; no digit is lost on the way."""
    workspace.run(*RUN)
    assert workspace.table("calls")["cost_usd"].to_list() == [COST] * 2
    assert workspace.table("results")["_cost_usd"].to_list() == [COST] * 2
    assert workspace.only("runs")["cost_usd"] == 2 * COST


def test_a_call_has_the_price_it_was_made_at(workspace):
    """With the day on which that price was looked up."""
    workspace.run(*RUN, "--limit", "1")
    row = workspace.only("calls")
    assert (row["price_input"], row["price_cached"], row["price_output"]) == (INPUT, CACHED, OUTPUT)
    assert str(row["price_as_of"]) == "2026-11-01"
    assert (row["cached_tokens"], row["reasoning_tokens"]) == (1000, 6)


def test_what_a_call_can_cost_is_reserved(workspace):
    """The reservation covers what was paid."""
    workspace.run(*RUN, "--limit", "1")
    row = workspace.only("calls")
    assert row["reserved_usd"] >= 2048 * OUTPUT / MILLION > row["cost_usd"]


def test_the_estimate_encloses_the_cost(workspace):
    """Low, expected and high are in order, and high is not passed."""
    workspace.run(*RUN)
    row = workspace.only("runs")
    assert 0 < row["estimated_low_usd"] <= row["estimated_expected_usd"] <= row["estimated_high_usd"]
    assert row["cost_usd"] <= row["estimated_high_usd"]
    assert row["cost_wasted_usd"] == row["cost_unknown_usd"] == 0


def test_a_price_that_nobody_knows_needs_a_yes(workspace, server):
    """The message names the model and where to put its price."""
    ended = workspace.run(*RUN, "--model", "maker/unheard-of")
    assert (ended.exit_code, ended.stderr.count("\n")) == (2, 1)
    assert "maker/unheard-of" in ended.stderr
    assert "TILEWISE_PRICES" in ended.stderr
    assert "--yes" in ended.stderr
    assert server.asked == []


def test_a_price_that_nobody_knows_makes_costs_null(workspace):
    """Unknown is never 0."""
    assert workspace.run(*RUN, "--model", "maker/unheard-of", "--yes").exit_code == 0
    calls, run = workspace.table("calls"), workspace.only("runs")
    assert calls.select("cost_usd", "reserved_usd", "price_input", "price_output").null_count().row(0) == (2,) * 4
    assert workspace.table("results")["_cost_usd"].to_list() == [None, None]
    assert [run[name] for name in run if name.endswith("_usd")] == [None] * 4 + [0, 0]


def test_the_cost_is_said_in_the_end(workspace):
    """The summary shows what was predicted and what was paid."""
    stdout = workspace.run(*RUN).stdout
    assert f"{dollars(2 * COST)}" in stdout
    assert "cost, predicted (low to high)" in stdout
