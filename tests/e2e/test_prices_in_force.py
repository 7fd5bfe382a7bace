"""Which price applies, where it comes from, and which warnings it causes."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

RUN = ("run", "in", "--schema", "caption")
SHIPPED = "Qwen/Qwen3.5-9B"  # input 0.17, output 0.25
PRICING = {"input": 0.2, "output": 0.9, "cached_input": 0.05, "hourly": 0}
USAGE = {"prompt_tokens": 1234, "completion_tokens": 56, "cached_tokens": 1000}


@pytest.fixture(autouse=True)
def one_image_at_shipped_prices(workspace, server, replies):
    """One image, a model in the shipped table, no price file, and answers with cached tokens."""
    server.answers_with(replies.ok(usage=USAGE))
    workspace.with_images("a.png").using(server, model=SHIPPED, prices=None)
    workspace.env["TILEWISE_PROFILE"] = "together"  # its prices are in dollars for a million tokens


@pytest.fixture
def write_prices(workspace):
    """Writes the user's price file, and sets it."""

    def write(words, model=SHIPPED):
        path = workspace.folder / "own.toml"
        path.write_text(f'[models."{model}"]\n{words}\n')
        workspace.env["TILEWISE_PRICES"] = str(path)

    return write


def read_prices(workspace):
    """The prices of the only call: input, output, cached, and their day."""
    row = workspace.only("calls")
    return row["price_input"], row["price_output"], row["price_cached"], row["price_as_of"]


def list_models(replies, wrapped=None):
    """The answer of `/v1/models`: an array, or an object that holds it."""
    models = [{"id": "another/model"}, {"id": SHIPPED, "pricing": PRICING}]
    return replies.raw(json.dumps({wrapped: models} if wrapped else models))


def today():
    return datetime.now(UTC).date()


def test_shipped_price_applies_by_default(workspace):
    """With the day of the shipped table."""
    assert workspace.run(*RUN).exit_code == 0
    assert read_prices(workspace) == (Decimal("0.17"), Decimal("0.25"), None, date(2026, 7, 1))


def test_cached_tokens_without_a_price_cost_as_input(workspace):
    workspace.run(*RUN)
    assert workspace.only("calls")["cost_usd"] == (1234 * Decimal("0.17") + 56 * Decimal("0.25")) / 1_000_000


@pytest.mark.parametrize("wrapped", [None, "data"])
def test_server_price_overrides_shipped_price(workspace, server, replies, wrapped):
    """From an array or under `data`, with today's day; cached tokens have their own price."""
    server.listed = list_models(replies, wrapped)
    assert workspace.run(*RUN).exit_code == 0
    assert read_prices(workspace) == (Decimal("0.2"), Decimal("0.9"), Decimal("0.05"), today())
    cost = (234 * Decimal("0.2") + 1000 * Decimal("0.05") + 56 * Decimal("0.9")) / 1_000_000
    assert workspace.only("calls")["cost_usd"] == workspace.only("runs")["cost_usd"] == cost


def test_price_file_overrides_server_price(workspace, server, replies, write_prices):
    server.listed = list_models(replies)
    write_prices("input = 1\noutput = 2\ncached_input = 0.5\nas_of = 2026-11-01")
    assert workspace.run(*RUN).exit_code == 0
    assert read_prices(workspace) == (1, 2, Decimal("0.5"), date(2026, 11, 1))


def test_price_file_without_the_model_overrides_nothing(workspace, server, replies, write_prices):
    write_prices("input = 1\noutput = 2", model="somebody/else")
    assert workspace.run(*RUN).exit_code == 0
    assert read_prices(workspace)[:2] == (Decimal("0.17"), Decimal("0.25"))


def test_estimate_uses_the_server_price_of_the_last_run(workspace, server, replies):
    """It sends nothing; before any run it uses the shipped price."""
    estimate = ("estimate", "in", "--schema", "caption", "--bill", "formula", "--json")
    before = json.loads(workspace.run(*estimate).stdout)["cost_usd"]["low"]
    server.listed = list_models(replies)
    workspace.run(*RUN)
    calls = len(server.asked)
    after = json.loads(workspace.run(*estimate).stdout)["cost_usd"]["low"]
    assert after / before > 1
    assert len(server.asked) == calls


def test_last_server_price_applies_if_its_list_fails(workspace, server, replies):
    server.listed = list_models(replies)
    workspace.run(*RUN)
    server.listed = replies.error(500)
    assert workspace.run(*RUN, "--redo", "all", "--output", "again").exit_code == 0
    assert set(workspace.table("calls", "again")["price_input"]) == {Decimal("0.2")}


def test_price_of_0_in_price_file_is_free(workspace, write_prices, server, replies):
    """As of a dedicated endpoint; a budget accepts it."""
    write_prices("input = 0\noutput = 0", model="mine/model")
    result = workspace.run(*RUN, "--model", "mine/model", "--budget", "0.01", env={"TILEWISE_ASK_ABOVE": "0"})
    assert result.exit_code == 0, result.stderr
    assert read_prices(workspace) == (0, 0, None, None)
    row = workspace.only("runs")
    assert [row[name] for name in row if name.endswith("_usd")] == [0] * 6
    assert any(line.split() == ["cost,", "paid", "$0"] for line in result.stdout.splitlines())


@pytest.mark.parametrize("pricing", [{"input": 0, "output": 0}, {"hourly": 5}, None])
def test_server_price_of_0_is_unknown(workspace, server, replies, pricing):
    """Servers list 0 for models that are not billed by the token."""
    server.listed = replies.raw(json.dumps([{"id": "mine/model", "pricing": pricing}]))
    result = workspace.run(*RUN, "--model", "mine/model")
    assert (result.exit_code, server.asked) == (2, [])
    assert "the price of mine/model is unknown" in result.stderr


@pytest.mark.parametrize(("days", "expected"), [(0, False), (90, False), (91, True), (400, True)])
def test_price_older_than_90_days_is_a_warning(workspace, write_prices, days, expected):
    """In the row of the run and on the terminal."""
    as_of = today() - timedelta(days=days)
    write_prices(f"input = 1\noutput = 2\nas_of = {as_of}")
    result = workspace.run(*RUN)
    sentence = f"the price of {SHIPPED} is of {as_of}, {days} days old: name today's in TILEWISE_PRICES"
    assert (sentence in workspace.only("runs")["warnings"]) is expected
    assert (f"warning: {sentence}\n" in result.stdout) is expected
    assert result.exit_code == 0


def test_price_without_a_day_is_no_warning(workspace, write_prices):
    write_prices("input = 1\noutput = 2")
    workspace.run(*RUN)
    assert not any("price" in warning for warning in workspace.only("runs")["warnings"])


def test_server_price_of_unknown_unit_is_refused(workspace, server, replies):
    """Some gateways list dollars for one token under the same names, with which no budget would hold."""
    server.listed = replies.raw(
        json.dumps([{"id": "mine/model", "pricing": {"input": "0.000003", "output": "0.000015"}}])
    )
    env = {"TILEWISE_PROFILE": None}
    result = workspace.run(*RUN, "--model", "mine/model", "--budget", "0.001", env=env)
    assert result.exit_code == 2
    assert "TILEWISE_PRICES" in result.stderr
    assert server.asked == []


def test_openrouter_price_for_one_token_is_converted(workspace, server, replies):
    """A budget holds with it."""
    pricing = {"prompt": "0.000003", "completion": "0.000015", "input_cache_read": "0.0000003", "request": "0"}
    server.listed = replies.raw(json.dumps({"data": [{"id": "mine/model", "pricing": pricing}]}))
    workspace.run(*RUN, "--model", "mine/model", "--yes")
    assert read_prices(workspace) == (3, 15, Decimal("0.3"), today())
    assert workspace.run(*RUN, "--model", "mine/model", "--redo", "all", "--budget", "0.001").exit_code == 3
    assert len(server.asked) == 1
