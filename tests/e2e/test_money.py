"""Costs: confirmed before they are spent, and computed exactly."""

import json
from decimal import Decimal

import pytest

from extractors.core.money import dollars

RUN = ("run", "in", "--schema", "caption")
INPUT, CACHED, OUTPUT = Decimal("0.30"), Decimal("0.10"), Decimal("1.50")
MILLION = Decimal(1_000_000)


@pytest.fixture(autouse=True)
def two_images(workspace, server, replies):
    """Two images, a price list with the model, and answers with cached and reasoning tokens."""
    usage = {
        "prompt_tokens": 1234,
        "completion_tokens": 56,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 6},
    }
    server.answers_with(replies.ok(usage=usage))
    workspace.with_images("a.jpg", "b.jpg").using(server)


COST = (234 * INPUT + 1000 * CACHED + 56 * OUTPUT) / MILLION


def test_cost_above_the_limit_is_refused_without_a_terminal(workspace, server):
    """The message names the cost, and nothing is sent or written."""
    result = workspace.run(*RUN, env={"TILEWISE_ASK_ABOVE": "0"})
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "this may cost up to $0.0" in result.stderr
    assert "TILEWISE_ASK_ABOVE=0" in result.stderr
    assert server.asked == []
    assert workspace.files("out") == []


def test_confirmation_names_the_high_estimate(workspace):
    (workspace.folder / "prices.toml").write_text('[models."maker/model"]\ninput = 3000\noutput = 15000\n')
    high = json.loads(workspace.run(*RUN, "--dry-run", "--json").stdout)["cost_usd"]["high"]
    assert f"up to {dollars(Decimal(str(high)))} (expected" in workspace.run(*RUN).stderr


def test_yes_skips_the_confirmation(workspace, server):
    assert workspace.run(*RUN, "--yes", env={"TILEWISE_ASK_ABOVE": "0"}).exit_code == 0
    assert len(server.asked) == 2


def test_run_without_work_needs_no_confirmation(workspace):
    assert workspace.run(*RUN, "--yes").exit_code == 0
    assert workspace.run(*RUN, env={"TILEWISE_ASK_ABOVE": "0"}).exit_code == 0


def test_cost_is_usage_times_price(workspace):
    """Cached tokens have their own price, reasoning is part of completion; the sums are exact."""
    workspace.run(*RUN)
    assert workspace.table("calls")["cost_usd"].to_list() == [COST] * 2
    assert workspace.table("results")["_cost_usd"].to_list() == [COST] * 2
    assert workspace.only("runs")["cost_usd"] == 2 * COST


def test_call_records_its_prices(workspace):
    """With the day of the price list."""
    workspace.run(*RUN, "--limit", "1")
    row = workspace.only("calls")
    assert (row["price_input"], row["price_cached"], row["price_output"]) == (INPUT, CACHED, OUTPUT)
    assert str(row["price_as_of"]) == "2026-11-01"
    assert (row["cached_tokens"], row["reasoning_tokens"]) == (1000, 6)


def test_reservation_covers_the_cost_of_a_call(workspace):
    workspace.run(*RUN, "--limit", "1")
    row = workspace.only("calls")
    assert row["reserved_usd"] >= 2048 * OUTPUT / MILLION > row["cost_usd"]


def test_cost_is_at_most_the_high_estimate(workspace):
    workspace.run(*RUN)
    row = workspace.only("runs")
    assert 0 < row["estimated_low_usd"] <= row["estimated_expected_usd"] <= row["estimated_high_usd"]
    assert row["cost_usd"] <= row["estimated_high_usd"]
    assert row["cost_wasted_usd"] == row["cost_unknown_usd"] == 0


def test_unknown_price_needs_yes(workspace, server):
    """The message names the model and the setting for its price."""
    result = workspace.run(*RUN, "--model", "maker/unheard-of")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "maker/unheard-of" in result.stderr
    assert "TILEWISE_PRICES" in result.stderr
    assert "--yes" in result.stderr
    assert server.asked == []


def test_unknown_price_makes_costs_null(workspace):
    """Never 0."""
    assert workspace.run(*RUN, "--model", "maker/unheard-of", "--yes").exit_code == 0
    calls, run = workspace.table("calls"), workspace.only("runs")
    assert calls.select("cost_usd", "reserved_usd", "price_input", "price_output").null_count().row(0) == (2,) * 4
    assert workspace.table("results")["_cost_usd"].to_list() == [None, None]
    assert [run[name] for name in run if name.endswith("_usd")] == [None] * 4 + [0, 0]


def test_summary_has_predicted_and_paid_cost(workspace):
    stdout = workspace.run(*RUN).stdout
    assert f"{dollars(2 * COST)}" in stdout
    assert "cost, predicted (low to high)" in stdout
