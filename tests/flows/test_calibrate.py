"""The command `calibrate` identifies and stores the bill rule of a server from its token counts; estimates and runs use it."""

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
    """Three images that most rules bill differently."""
    workspace.with_images(*(f"{number:02}.png" for number in range(3)), size=(900, 700))


@pytest.fixture
def billing(workspace, serve, replies):
    """Starts a server that counts `tokens(size)` for each image, and uses it."""

    def start(tokens, **options):
        server = serve(replies.billing(tokens, **options))
        workspace.env["TILEWISE_BASE_URL"] = server.url
        return server

    return start


def count_tiles_of_1700(size):
    """Tiles as the rule `table` counts them, at 1,700 tokens each."""
    return get_rule("table").tokens(size) // 1601 * 1700


def count_unevenly(size):
    """Tokens that no number of tiles explains: three probes of at most four tiles have three different counts."""
    return size.width * size.height // 512


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_calibrate_identifies_every_rule(workspace, endpoints, name):
    """The offline endpoint bills by the rule; a text and four probes identify it."""
    workspace.env["TILEWISE_BASE_URL"] = endpoints("--bill", name)
    result = workspace.run("calibrate", "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert list(summary) == ["bill_rule", "model", "returned_model", "text_tokens", "probes", "cost_usd"]
    assert (summary["bill_rule"], summary["model"], summary["returned_model"]) == (name, "maker/model", "offline/echo")
    assert [probe["size"] for probe in summary["probes"]] == SIZES
    assert [set(probe) for probe in summary["probes"]] == [{"size", "image_tokens"}] * 4
    assert json.loads(workspace.run(*ESTIMATE).stdout)["bill_rule"] == name


def test_calibrate_json_has_the_counted_tokens(workspace, billing):
    """It has the tokens of the text alone, those of each probe beyond it, and the cost."""
    server = billing(get_rule("formula").tokens)
    summary = json.loads(workspace.run("calibrate", "--json").stdout)
    assert [probe["image_tokens"] for probe in summary["probes"]] == [1601, 1601, 3202, 3202]
    calls = workspace.table("calls")
    assert summary["text_tokens"] == calls["prompt_tokens"].min() > 0
    cost = (5 * summary["text_tokens"] + 9606) * INPUT + 5 * OUTPUT
    assert summary["cost_usd"] == float(cost / 1_000_000)
    assert len(server.asked) == 5


def test_probes_request_one_token(workspace, billing):
    """The first call is text alone, and each of the other four has an image."""
    server = billing(get_rule("formula").tokens)
    workspace.run("calibrate")
    assert [request["max_tokens"] for request in server.asked] == [1] * 5
    assert ["image_url" in json.dumps(request) for request in server.asked] == [False, True, True, True, True]


def test_calibrate_prints_maximum_cost_counts_and_rule(workspace, billing):
    """The maximum cost is printed before the first call."""
    billing(get_rule("table").tokens)
    result = workspace.run("calibrate")
    assert result.stderr.startswith("tilewise: calibrating maker/model at http://127.0.0.1:")
    assert ": 5 calls, at most $0.0" in result.stderr
    assert "561x561    6,404 image tokens, +0 beyond table\n" in result.stdout
    assert "maker/model bills images by the rule table: `--bill auto` uses it from now on\n" in result.stdout
    assert "the probes cost $0.0" in result.stdout


def test_calibrate_costs_no_more_than_announced(workspace, billing):
    """The announced cost is the worst case of every probe."""
    billing(get_rule("mllama").tokens)
    result = workspace.run("calibrate", "--json")
    maximum = float(result.stderr.rpartition("$")[2])
    assert json.loads(result.stdout)["cost_usd"] <= maximum


def test_calibrate_publishes_its_calls(workspace, billing):
    """Each of the five calls has its probe as document, its reservation and its cost."""
    billing(get_rule("formula").tokens)
    workspace.run("calibrate")
    calls = workspace.table("calls")
    assert calls["document"].to_list() == ["probe text", *(f"probe {size}" for size in SIZES)]
    assert set(calls["outcome"]) == {"accepted"}
    assert set(calls["schema"]) == {""}
    assert calls["sent_width"].to_list() == [None, 500, 561, 1280, 560]
    assert (calls["reserved_usd"] >= calls["cost_usd"]).all()


def test_calibrate_publishes_its_run(workspace, billing):
    """Its row of `runs` has no schema, source, policy or documents, and the tables of documents stay empty."""
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


def test_estimate_uses_the_calibrated_rule(workspace, billing):
    """The high cost is no longer that of the most expensive rule."""
    billing(get_rule("formula").tokens)
    before = json.loads(workspace.run(*ESTIMATE).stdout)
    workspace.run("calibrate")
    after = json.loads(workspace.run(*ESTIMATE).stdout)
    assert (before["bill_rule"], after["bill_rule"]) == ("table", "formula")
    assert after["tokens"]["planned"] == after["tokens"]["formula"] == 3 * 1601
    assert after["cost_usd"]["high"] < before["cost_usd"]["high"]
    assert after["cost_usd"]["low"] >= 3 * 1601 * 0.3e-6
    assert "formula (calibrated)" in workspace.run(*ESTIMATE[:-1]).stdout


def test_run_uses_the_calibrated_rule(workspace, billing):
    """Every row has the rule, its predictions hold, and reservations become smaller."""
    billing(get_rule("formula").tokens)
    workspace.run(*RUN, "--output", "before")
    workspace.run("calibrate")
    assert workspace.run(*RUN).exit_code == 0
    calls = workspace.table("calls").filter(schema="caption")
    [row] = workspace.table("runs").filter(flow="run").to_dicts()
    assert (set(calls["bill_rule"]), row["bill_rule"], row["warnings"]) == ({"formula"}, "formula", [])
    assert set(calls["estimated_image_tokens"]) == {1601}
    assert max(calls["reserved_usd"]) < min(workspace.table("calls", "before")["reserved_usd"])


def test_explicit_rule_wins_over_the_calibrated_rule(workspace, billing):
    billing(get_rule("formula").tokens)
    workspace.run("calibrate")
    assert json.loads(workspace.run(*ESTIMATE, "--bill", "kimi").stdout)["bill_rule"] == "kimi"
    workspace.run(*RUN, "--bill", "mllama")
    assert set(workspace.table("calls").filter(schema="caption")["bill_rule"]) == {"mllama"}


def test_calibrated_rule_holds_for_its_model_and_endpoint_alone(workspace, billing):
    billing(get_rule("formula").tokens)
    workspace.run("calibrate")
    assert json.loads(workspace.run(*ESTIMATE, "--model", "other/model").stdout)["bill_rule"] == "table"
    billing(get_rule("formula").tokens)
    assert json.loads(workspace.run(*ESTIMATE).stdout)["bill_rule"] == "table"


def test_last_calibration_wins(workspace, billing):
    """A server may change its rule."""
    server = billing(get_rule("formula").tokens)
    workspace.run("calibrate")
    server.script = billing(get_rule("kimi").tokens).script
    workspace.env["TILEWISE_BASE_URL"] = server.url
    assert workspace.run("calibrate").exit_code == 0
    assert json.loads(workspace.run(*ESTIMATE).stdout)["bill_rule"] == "kimi"


def test_calibrate_fits_tiles_of_other_token_counts(workspace, billing):
    """Where no shipped rule explains the counts, tiles of the measured size may; every column then has the rule `fitted`."""
    billing(count_tiles_of_1700)
    result = workspace.run("calibrate")
    assert "no shipped rule explains this; fitted by tiles: fitted:table:1=1700,2=3400,4=6800" in result.stdout
    assert json.loads(workspace.run("calibrate", "--json").stdout)["bill_rule"] == "fitted"
    assert workspace.run(*RUN).exit_code == 0
    calls = workspace.table("calls").filter(schema="caption")
    assert (set(calls["bill_rule"]), set(calls["estimated_image_tokens"])) == ({"fitted"}, {6800})
    assert set(workspace.table("runs").filter(flow="run")["bill_rule"]) == {"fitted"}
    assert workspace.table("runs")["warnings"].to_list() == [[]] * 3


def test_calibrate_reports_counts_that_no_rule_explains(workspace, billing):
    """The nearest fit is used, and the worst case stays that of all rules."""
    billing(count_unevenly)
    before = json.loads(workspace.run(*ESTIMATE).stdout)
    result = workspace.run("calibrate")
    assert result.exit_code == 0
    assert "no shipped rule explains this, and tiles do not either" in result.stdout
    after = json.loads(workspace.run(*ESTIMATE).stdout)
    assert after["bill_rule"] == "fitted"
    assert after["cost_usd"]["high"] >= before["cost_usd"]["high"]


@pytest.mark.slow
def test_second_run_after_a_calibration_has_no_residual_tokens(workspace, billing):
    """The tokens of the text are measured, too."""
    billing(get_rule("kimi").tokens, bytes_a_token=3)
    workspace.images(*(f"{number:02}.png" for number in range(25)), size=(900, 700))
    workspace.run("calibrate")
    assert workspace.run(*RUN).exit_code == 0
    assert workspace.run(*RUN, "--redo", "all", "--output", "again").exit_code == 0
    assert workspace.table("runs", "again")["residual_tokens"].to_list() == [0]
    assert set(workspace.table("calls", "again")["residual_tokens"]) == {0}
