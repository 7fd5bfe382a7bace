"""Which price is in force, where it comes from, and what is said of it."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

RUN = ("run", "in", "--schema", "caption")
SHIPPED = "Qwen/Qwen3.5-9B"  # at 0.17 and 0.25
PRICING = {"input": 0.2, "output": 0.9, "cached_input": 0.05, "hourly": 0}
USAGE = {"prompt_tokens": 1234, "completion_tokens": 56, "cached_tokens": 1000}


@pytest.fixture(autouse=True)
def one_image_at_shipped_prices(workspace, server, replies):
    """One image, a model that is in the shipped table, no price file, and a usage with cached tokens."""
    server.answers_with(replies.ok(usage=USAGE))
    workspace.with_images("a.png").using(server, model=SHIPPED, prices=None)
    workspace.env["TILEWISE_PROFILE"] = "together"  # whose prices are dollars for a million tokens


@pytest.fixture
def own(workspace):
    """Writes the user's own price file, and has it in force."""

    def write(words, model=SHIPPED):
        path = workspace.folder / "own.toml"
        path.write_text(f'[models."{model}"]\n{words}\n')
        workspace.env["TILEWISE_PRICES"] = str(path)

    return write


def prices(workspace):
    """The price in the row of the one call: input, output, cached, and its day."""
    row = workspace.only("calls")
    return row["price_input"], row["price_output"], row["price_cached"], row["price_as_of"]


def list_models(replies, wrapped=None):
    """What `/v1/models` says: a bare array, or wrapped in an object."""
    models = [{"id": "another/model"}, {"id": SHIPPED, "pricing": PRICING}]
    return replies.raw(json.dumps({wrapped: models} if wrapped else models))


def today():
    return datetime.now(UTC).date()


def test_the_shipped_table_is_the_last_resort(workspace):
    """Its price has the day on which it was looked up."""
    assert workspace.run(*RUN).exit_code == 0
    assert prices(workspace) == (Decimal("0.17"), Decimal("0.25"), None, date(2026, 7, 1))


def test_cached_tokens_without_a_price_of_their_own_cost_as_input(workspace):
    workspace.run(*RUN)
    assert workspace.only("calls")["cost_usd"] == (1234 * Decimal("0.17") + 56 * Decimal("0.25")) / 1_000_000


@pytest.mark.parametrize("wrapped", [None, "data"])
def test_the_server_s_price_comes_before_the_shipped_one(workspace, server, replies, wrapped):
    """As a bare array or under `data`, as seen today; cached tokens at their own price."""
    server.listed = list_models(replies, wrapped)
    assert workspace.run(*RUN).exit_code == 0
    assert prices(workspace) == (Decimal("0.2"), Decimal("0.9"), Decimal("0.05"), today())
    cost = (234 * Decimal("0.2") + 1000 * Decimal("0.05") + 56 * Decimal("0.9")) / 1_000_000
    assert workspace.only("calls")["cost_usd"] == workspace.only("runs")["cost_usd"] == cost


def test_the_own_file_comes_before_the_server_s_price(workspace, server, replies, own):
    server.listed = list_models(replies)
    own("input = 1\noutput = 2\ncached_input = 0.5\nas_of = 2026-11-01")
    assert workspace.run(*RUN).exit_code == 0
    assert prices(workspace) == (1, 2, Decimal("0.5"), date(2026, 11, 1))


def test_a_file_that_does_not_name_the_model_leaves_the_others(workspace, server, replies, own):
    own("input = 1\noutput = 2", model="somebody/else")
    assert workspace.run(*RUN).exit_code == 0
    assert prices(workspace)[:2] == (Decimal("0.17"), Decimal("0.25"))


def test_an_estimate_knows_the_price_that_the_server_was_last_seen_to_list(workspace, server, replies):
    """It sends nothing, so what the last run saw is all that it has; without one, what is shipped."""
    estimate = ("estimate", "in", "--schema", "caption", "--bill", "formula", "--json")
    before = json.loads(workspace.run(*estimate).stdout)["cost_usd"]["low"]
    server.listed = list_models(replies)
    workspace.run(*RUN)
    asked = len(server.asked)
    after = json.loads(workspace.run(*estimate).stdout)["cost_usd"]["low"]
    assert after / before > 1
    assert len(server.asked) == asked


def test_a_server_that_lists_no_price_any_more_is_remembered(workspace, server, replies):
    """A list that cannot be read for once does not make the price another one."""
    server.listed = list_models(replies)
    workspace.run(*RUN)
    server.listed = replies.error(500)
    assert workspace.run(*RUN, "--redo", "all", "--output", "again").exit_code == 0
    assert set(workspace.table("calls", "again")["price_input"]) == {Decimal("0.2")}


def test_a_price_of_0_in_the_own_file_is_0(workspace, own, server, replies):
    """A dedicated endpoint costs nothing a token, where that is said; a budget can be held with it."""
    own("input = 0\noutput = 0", model="mine/model")
    ended = workspace.run(*RUN, "--model", "mine/model", "--budget", "0.01", env={"TILEWISE_ASK_ABOVE": "0"})
    assert ended.exit_code == 0, ended.stderr
    assert prices(workspace) == (0, 0, None, None)
    row = workspace.only("runs")
    assert [row[name] for name in row if name.endswith("_usd")] == [0] * 6
    assert any(line.split() == ["cost,", "paid", "$0"] for line in ended.stdout.splitlines())


@pytest.mark.parametrize("pricing", [{"input": 0, "output": 0}, {"hourly": 5}, None])
def test_a_price_of_0_in_a_list_is_no_price(workspace, server, replies, pricing):
    """Servers list 0 for what they do not bill by the token: that is not known, and never taken as 0."""
    server.listed = replies.raw(json.dumps([{"id": "mine/model", "pricing": pricing}]))
    ended = workspace.run(*RUN, "--model", "mine/model")
    assert (ended.exit_code, server.asked) == (2, [])
    assert "the price of mine/model is unknown" in ended.stderr


@pytest.mark.parametrize(("days", "warned"), [(0, False), (90, False), (91, True), (400, True)])
def test_an_old_price_is_a_warning(workspace, own, days, warned):
    """A price that is older than 90 days is said to be, in the row of the run and on the terminal."""
    as_of = today() - timedelta(days=days)
    own(f"input = 1\noutput = 2\nas_of = {as_of}")
    ended = workspace.run(*RUN)
    sentence = f"the price of {SHIPPED} is of {as_of}, {days} days old: name today's in TILEWISE_PRICES"
    assert (sentence in workspace.only("runs")["warnings"]) is warned
    assert (f"warning: {sentence}\n" in ended.stdout) is warned
    assert ended.exit_code == 0


def test_a_price_without_a_day_is_no_warning(workspace, own):
    own("input = 1\noutput = 2")
    workspace.run(*RUN)
    assert not any("price" in warning for warning in workspace.only("runs")["warnings"])


def test_price_of_an_unknown_unit_is_refused(workspace, server, replies):
    """Some gateways list dollars for one token under the same names: a budget would hold nothing."""
    server.listed = replies.raw(
        json.dumps([{"id": "mine/model", "pricing": {"input": "0.000003", "output": "0.000015"}}])
    )
    env = {"TILEWISE_PROFILE": None}
    ended = workspace.run(*RUN, "--model", "mine/model", "--budget", "0.001", env=env)
    assert ended.exit_code == 2
    assert "TILEWISE_PRICES" in ended.stderr
    assert server.asked == []


def test_price_for_one_token_holds_a_budget(workspace, server, replies):
    """OpenRouter's names, in dollars for one token."""
    pricing = {"prompt": "0.000003", "completion": "0.000015", "input_cache_read": "0.0000003", "request": "0"}
    server.listed = replies.raw(json.dumps({"data": [{"id": "mine/model", "pricing": pricing}]}))
    workspace.run(*RUN, "--model", "mine/model", "--yes")
    assert prices(workspace) == (3, 15, Decimal("0.3"), today())
    assert workspace.run(*RUN, "--model", "mine/model", "--redo", "all", "--budget", "0.001").exit_code == 3
    assert len(server.asked) == 1
