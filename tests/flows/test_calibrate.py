"""The command `calibrate`: which rule the server's count gives away, what is kept of it, and what that is used for."""

import json
from decimal import Decimal

import pytest

from extractors.core.tiles import get_rule

RULES = ["formula", "table", "mllama", "qwen2", "qwen3", "kimi", "openai", "flat:280"]
SIZES = ["500x500", "561x561", "1280x720", "560x2240"]
INPUT, OUTPUT = Decimal("0.30"), Decimal("1.50")
RUN = ("run", "in", "--schema", "caption")
ESTIMATE = ("estimate", "in", "--schema", "caption", "--json")


@pytest.fixture(autouse=True)
def three_images(workspace):
    """A workspace with pictures that most rules bill differently."""
    workspace.with_images(*(f"{number:02}.png" for number in range(3)), size=(900, 700))


@pytest.fixture
def billing(workspace, serve, replies):
    """Starts a server that counts so many tokens of a picture's size, and has it in force."""

    def start(tokens, **how):
        server = serve(replies.billing(tokens, **how))
        workspace.env["TILEWISE_BASE_URL"] = server.url
        return server

    return start


def tiles_of_1700(size):
    """What the table counts, at 1,700 tokens a tile."""
    return get_rule("table").tokens(size) // 1601 * 1700


def uneven(size):
    """What no count of tiles explains: three probes of four tiles or fewer, each with its own number."""
    return size.width * size.height // 512


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_found_at_an_endpoint_that_bills_by_it(workspace, endpoints, name):
    """The offline endpoint bills by any rule; text and four probes are enough to name it."""
    workspace.env["TILEWISE_BASE_URL"] = endpoints("--bill", name)
    ended = workspace.run("calibrate", "--json")
    assert ended.exit_code == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert list(found) == ["bill_rule", "model", "returned_model", "text_tokens", "probes", "cost_usd"]
    assert (found["bill_rule"], found["model"], found["returned_model"]) == (name, "maker/model", "offline/echo")
    assert [probe["size"] for probe in found["probes"]] == SIZES
    assert [set(probe) for probe in found["probes"]] == [{"size", "image_tokens"}] * 4
    assert json.loads(workspace.run(*ESTIMATE).stdout)["bill_rule"] == name


def test_json_holds_what_the_server_counted(workspace, billing):
    """The tokens of the text alone, those of each probe beyond it, and what it all cost."""
    server = billing(get_rule("formula").tokens)
    found = json.loads(workspace.run("calibrate", "--json").stdout)
    assert [probe["image_tokens"] for probe in found["probes"]] == [1601, 1601, 3202, 3202]
    calls = workspace.table("calls")
    assert found["text_tokens"] == calls["prompt_tokens"].min() > 0
    cost = (5 * found["text_tokens"] + 9606) * INPUT + 5 * OUTPUT
    assert found["cost_usd"] == float(cost / 1_000_000)
    assert len(server.asked) == 5


def test_probes_are_asked_for_one_token_and_no_reasoning(workspace, billing):
    """They are for the count alone."""
    server = billing(get_rule("formula").tokens)
    workspace.run("calibrate")
    assert [asked["max_tokens"] for asked in server.asked] == [1] * 5
    assert ["image_url" in json.dumps(asked) for asked in server.asked] == [False, True, True, True, True]


def test_a_calibration_is_said_for_people(workspace, billing):
    """What it may cost comes first, what was counted and which rule that is comes then."""
    billing(get_rule("table").tokens)
    ended = workspace.run("calibrate")
    assert ended.stderr.startswith("tilewise: calibrating maker/model at http://127.0.0.1:")
    assert ": 5 calls, at most $0.0" in ended.stderr
    assert "561x561    6,404 image tokens, +0 beyond table\n" in ended.stdout
    assert "maker/model bills images by the rule table: `--bill auto` uses it from now on\n" in ended.stdout
    assert "the probes cost $0.0" in ended.stdout


def test_what_is_said_beforehand_is_not_passed(workspace, billing):
    """The figure is the worst case of every probe."""
    billing(get_rule("mllama").tokens)
    ended = workspace.run("calibrate", "--json")
    most = float(ended.stderr.rpartition("$")[2])
    assert json.loads(ended.stdout)["cost_usd"] <= most


def test_its_calls_are_in_the_tables(workspace, billing):
    """Five calls, each with a probe as its document, its reservation and its cost."""
    billing(get_rule("formula").tokens)
    workspace.run("calibrate")
    calls = workspace.table("calls")
    assert calls["document"].to_list() == ["probe text", *(f"probe {size}" for size in SIZES)]
    assert set(calls["outcome"]) == {"accepted"}
    assert set(calls["schema"]) == {""}
    assert calls["sent_width"].to_list() == [None, 500, 561, 1280, 560]
    assert (calls["reserved_usd"] >= calls["cost_usd"]).all()


def test_its_run_is_in_the_tables(workspace, billing):
    """A row of `runs` without schema, source, policy and documents; the other tables have none."""
    billing(get_rule("formula").tokens)
    workspace.run("calibrate")
    row = workspace.only("runs")
    assert (row["flow"], row["schema"], row["source"], row["policy"]) == ("calibrate", "", "", "")
    assert (row["status"], row["calls"], row["found"], row["remaining"]) == ("completed", 5, 0, 0)
    assert row["cost_usd"] == workspace.table("calls")["cost_usd"].sum() > 0
    assert (row["cost_wasted_usd"], row["cost_unknown_usd"]) == (0, 0)
    assert {name: workspace.table(name).height for name in ("images", "failures", "results")} == dict.fromkeys(
        ("images", "failures", "results"), 0
    )


def test_what_the_model_bills_is_what_estimates_say(workspace, billing):
    """Low is what the rule says, high is no more the dearest of all rules."""
    billing(get_rule("formula").tokens)
    before = json.loads(workspace.run(*ESTIMATE).stdout)
    workspace.run("calibrate")
    after = json.loads(workspace.run(*ESTIMATE).stdout)
    assert (before["bill_rule"], after["bill_rule"]) == ("table", "formula")
    assert after["tokens"]["planned"] == after["tokens"]["formula"] == 3 * 1601
    assert after["cost_usd"]["high"] < before["cost_usd"]["high"]
    assert after["cost_usd"]["low"] >= 3 * 1601 * 0.3e-6
    assert "formula (calibrated)" in workspace.run(*ESTIMATE[:-1]).stdout


def test_what_the_model_bills_is_what_runs_plan_by(workspace, billing):
    """The rule is in every row, its predictions hold, and reservations come down to it."""
    billing(get_rule("formula").tokens)
    workspace.run(*RUN, "--output", "before")
    workspace.run("calibrate")
    assert workspace.run(*RUN).exit_code == 0
    calls = workspace.table("calls").filter(schema="caption")
    [row] = workspace.table("runs").filter(flow="run").to_dicts()
    assert (set(calls["bill_rule"]), row["bill_rule"], row["warnings"]) == ({"formula"}, "formula", [])
    assert set(calls["estimated_image_tokens"]) == {1601}
    assert max(calls["reserved_usd"]) < min(workspace.table("calls", "before")["reserved_usd"])


def test_a_rule_that_is_given_still_wins(workspace, billing):
    billing(get_rule("formula").tokens)
    workspace.run("calibrate")
    assert json.loads(workspace.run(*ESTIMATE, "--bill", "kimi").stdout)["bill_rule"] == "kimi"
    workspace.run(*RUN, "--bill", "mllama")
    assert set(workspace.table("calls").filter(schema="caption")["bill_rule"]) == {"mllama"}


def test_another_model_or_endpoint_is_not_affected(workspace, billing):
    """A calibration is of one model at one address."""
    billing(get_rule("formula").tokens)
    workspace.run("calibrate")
    assert json.loads(workspace.run(*ESTIMATE, "--model", "other/model").stdout)["bill_rule"] == "table"
    billing(get_rule("formula").tokens)
    assert json.loads(workspace.run(*ESTIMATE).stdout)["bill_rule"] == "table"


def test_the_last_calibration_counts(workspace, billing):
    """A server may change its mind."""
    server = billing(get_rule("formula").tokens)
    workspace.run("calibrate")
    server.script = billing(get_rule("kimi").tokens).script
    workspace.env["TILEWISE_BASE_URL"] = server.url
    assert workspace.run("calibrate").exit_code == 0
    assert json.loads(workspace.run(*ESTIMATE).stdout)["bill_rule"] == "kimi"


def test_tiles_of_another_price_are_fitted(workspace, billing):
    """Where no shipped rule explains the count, tiles at what was measured may; every column says `fitted`."""
    billing(tiles_of_1700)
    ended = workspace.run("calibrate")
    assert "no shipped rule explains this; fitted by tiles: fitted:table:1=1700,2=3400,4=6800" in ended.stdout
    assert json.loads(workspace.run("calibrate", "--json").stdout)["bill_rule"] == "fitted"
    assert workspace.run(*RUN).exit_code == 0
    calls = workspace.table("calls").filter(schema="caption")
    assert (set(calls["bill_rule"]), set(calls["estimated_image_tokens"])) == ({"fitted"}, {6800})
    assert set(workspace.table("runs").filter(flow="run")["bill_rule"]) == {"fitted"}
    assert workspace.table("runs")["warnings"].to_list() == [[]] * 3


def test_what_no_rule_explains_is_said(workspace, billing):
    """The nearest is used, and the worst case stays that of all rules."""
    billing(uneven)
    before = json.loads(workspace.run(*ESTIMATE).stdout)
    ended = workspace.run("calibrate")
    assert ended.exit_code == 0
    assert "no shipped rule explains this, and tiles do not either" in ended.stdout
    after = json.loads(workspace.run(*ESTIMATE).stdout)
    assert after["bill_rule"] == "fitted"
    assert after["cost_usd"]["high"] >= before["cost_usd"]["high"]


@pytest.mark.slow
def test_after_a_calibration_and_a_run_nothing_is_left_unexplained(workspace, billing):
    """The text's tokens are measured, too: of the second run not one token is unforeseen."""
    billing(get_rule("kimi").tokens, bytes_a_token=3)
    workspace.images(*(f"{number:02}.png" for number in range(25)), size=(900, 700))
    workspace.run("calibrate")
    assert workspace.run(*RUN).exit_code == 0
    assert workspace.run(*RUN, "--redo", "all", "--output", "again").exit_code == 0
    assert workspace.table("runs", "again")["residual_tokens"].to_list() == [0]
    assert set(workspace.table("calls", "again")["residual_tokens"]) == {0}
