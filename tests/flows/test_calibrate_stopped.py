"""The command `calibrate` where it cannot begin, fails, is stopped, or learns no rule."""

import json
import signal
import subprocess

import pytest

from extractors.core.tiles import get_rule

pytestmark = pytest.mark.slow

ESTIMATE = ("estimate", "in", "--schema", "caption", "--json")


@pytest.fixture(autouse=True)
def one_image(workspace):
    """One image to estimate."""
    workspace.with_images("a.png", size=(900, 700))


@pytest.fixture
def calibrate(workspace, serve):
    """Calibrates against a server with this script; returns the result of the command and the server."""

    def run_calibrate(*script, flags=(), **env):
        server = serve(*script)
        workspace.env["TILEWISE_BASE_URL"] = server.url
        return workspace.run("calibrate", *flags, env=env), server

    return run_calibrate


@pytest.fixture
def is_uncalibrated(workspace):
    """Checks that estimates still use the default rule."""
    return lambda: json.loads(workspace.run(*ESTIMATE).stdout)["bill_rule"] == "table"


def test_calibrate_fails_for_a_server_that_counts_no_images(workspace, calibrate, replies, is_uncalibrated):
    """No rule is stored, and the calls are published."""
    result, server = calibrate(replies.billing(lambda size: 0))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the server's usage does not count images" in result.stderr
    assert len(server.asked) == workspace.table("calls").height == 5
    assert is_uncalibrated()


def test_calibrate_fails_for_a_server_without_usage(workspace, calibrate, replies, is_uncalibrated):
    """The first reply shows it, so the other probes are not sent."""
    result, server = calibrate(replies.ok(usage=None))
    assert result.exit_code == 2
    assert "the server's replies have no `usage`: the bill rule cannot be identified" in result.stderr
    assert len(server.asked) == 1
    assert (workspace.only("calls")["billed"], workspace.only("runs")["status"]) == ("unknown", "failing")
    assert is_uncalibrated()


def test_calibrate_stops_at_a_refused_key(workspace, calibrate, replies, is_uncalibrated):
    """It prints the message of a run, and its row has the status refused."""
    result, server = calibrate(replies.error(401, "bad key"))
    assert (result.exit_code, len(server.asked)) == (2, 1)
    assert "the key was refused: set TILEWISE_API_KEY or TOGETHER_API_KEY" in result.stderr
    row = workspace.only("runs")
    assert (row["flow"], row["status"], row["cost_usd"]) == ("calibrate", "refused", 0)
    assert is_uncalibrated()


def test_calibrate_fails_for_a_model_without_vision(workspace, calibrate, replies, is_uncalibrated):
    """The model answers the text and refuses the first image."""
    result, _ = calibrate(
        replies.billing(lambda size: 0)({"messages": [{"content": "text"}]}), replies.error(400, "no images")
    )
    assert result.exit_code == 2
    assert "a probe was not answered: 400 no images" in result.stderr
    assert workspace.table("calls")["outcome"].to_list() == ["accepted", "client_error"]
    assert is_uncalibrated()


def test_calibrate_prints_no_text_of_a_truncated_reply(workspace, calibrate, replies, is_uncalibrated):
    """The table of calls has it."""
    result, _ = calibrate(replies.raw('{"choices":[{"message":{"content":"Acme, 12.50'), TILEWISE_ATTEMPTS="1")
    assert "a probe was not answered: 200 without an answer;" in result.stderr
    assert "Acme" not in result.stdout + result.stderr + workspace.only("runs")["error"]
    assert "Acme, 12.50" in workspace.only("calls")["error"]
    assert is_uncalibrated()


def test_probes_are_retried_like_calls(workspace, calibrate, replies):
    """A connection that was reset may have been billed, so its cost is unknown."""
    bill, faults = replies.billing(get_rule("formula").tokens), iter([replies.error(500), replies.reset])
    result, server = calibrate(lambda request: next(faults, None) or bill(request), flags=["--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["bill_rule"] == "formula"
    assert len(server.asked) == workspace.table("calls").height == 7
    assert workspace.only("runs")["cost_unknown_usd"] > 0


def test_calibrate_at_an_unknown_price_needs_yes(workspace, calibrate, replies):
    """The message names the setting and the flag, and no call is made."""
    result, server = calibrate(replies.billing(get_rule("formula").tokens), flags=["--model", "maker/unheard-of"])
    assert (result.exit_code, server.asked, workspace.files("out")) == (2, [], [])
    assert "the price of maker/unheard-of is unknown" in result.stderr
    assert "TILEWISE_PRICES" in result.stderr
    assert "--yes" in result.stderr


def test_calibrate_with_yes_continues_without_a_price(workspace, calibrate, replies):
    """The cost is null, never 0."""
    flags = ["--model", "maker/unheard-of", "--yes", "--json"]
    result, _ = calibrate(replies.billing(get_rule("formula").tokens), flags=flags)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["cost_usd"] is None
    assert workspace.only("runs")["cost_usd"] is None
    assert "at an unknown price" in result.stderr


def test_calibrate_above_the_limit_needs_yes(workspace, calibrate, replies):
    """The message has the cost and the limit."""
    script = replies.billing(get_rule("formula").tokens)
    result, server = calibrate(script, TILEWISE_ASK_ABOVE="0.0001")
    assert (result.exit_code, server.asked) == (2, [])
    assert "this may cost up to $" in result.stderr
    assert "above TILEWISE_ASK_ABOVE=0.0001" in result.stderr
    result, _ = calibrate(script, flags=["--yes"], TILEWISE_ASK_ABOVE="0.0001")
    assert result.exit_code == 0


def test_calibrate_stops_at_the_daily_budget(workspace, calibrate, replies, is_uncalibrated):
    """A probe that might exceed it is not sent."""
    result, server = calibrate(replies.billing(get_rule("formula").tokens), TILEWISE_DAILY_BUDGET="0.002")
    assert result.exit_code == 3
    assert "the day's budget (TILEWISE_DAILY_BUDGET) of $0.002 is spent" in result.stderr
    assert len(server.asked) == workspace.table("calls").height < 5
    assert workspace.only("runs")["status"] == "budget_spent"
    assert is_uncalibrated()


@pytest.fixture
def calibration_in_flight(workspace, serve, replies, wait):
    """A calibration whose third call is in flight, and its server, whose gate releases the call."""
    bill = replies.billing(get_rule("formula").tokens)

    def script(request):
        server.gate.wait(0 if len(server.asked) <= 2 else 30)
        return bill(request)

    server = serve(script)
    workspace.env["TILEWISE_BASE_URL"] = server.url
    process = workspace.start("calibrate", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait(lambda: len(server.asked) == 3)
    return process, server


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_calibrate_finishes_its_call_in_flight_on_a_signal(
    workspace, calibration_in_flight, wait, is_uncalibrated, number
):
    """Paid calls are published, and no rule is stored."""
    process, server = calibration_in_flight
    process.send_signal(number)
    assert number.name in process.stderr.readline() + process.stderr.readline()
    server.gate.set()
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (3, "")
    assert f"tilewise: {number.name} was received; no rule is stored, and the calls are in {workspace.folder}" in stderr
    assert workspace.table("calls")["outcome"].to_list() == ["accepted"] * 3
    assert (workspace.only("runs")["status"], len(server.asked)) == ("stopped", 3)
    assert is_uncalibrated()


def test_calibrate_cuts_its_call_in_flight_on_a_second_signal(workspace, calibration_in_flight, is_uncalibrated):
    """It is unknown whether that call was billed."""
    process, _ = calibration_in_flight
    process.send_signal(signal.SIGINT)
    assert "SIGINT" in process.stderr.readline() + process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 3
    assert workspace.table("calls")["billed"].to_list() == ["yes", "yes", "unknown"]
    assert workspace.only("runs")["cost_unknown_usd"] > 0
    assert is_uncalibrated()


def test_next_calibration_publishes_a_killed_one(workspace, calibration_in_flight, is_uncalibrated):
    """Its row has the status abandoned and its cost, and no documents."""
    process, server = calibration_in_flight
    process.kill()
    process.communicate(timeout=60)
    server.gate.set()
    assert is_uncalibrated()
    assert workspace.run("calibrate").exit_code == 0
    [killed, finished] = workspace.table("runs").sort("started_at").to_dicts()
    assert [killed["flow"], killed["status"], killed["calls"]] == ["calibrate", "abandoned", 3]
    assert (killed["found"], killed["remaining"], finished["status"]) == (0, 0, "completed")
    assert killed["cost_usd"] > 0
    assert killed["cost_unknown_usd"] > 0
    assert len(server.asked) == workspace.table("calls").height == 8


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"TILEWISE_MODEL": None}, "no model: name one"),
        ({"TILEWISE_API_KEY": None, "TILEWISE_BASE_URL": None}, "no key"),
    ],
)
def test_calibrate_names_a_missing_model_or_key(workspace, env, message):
    """It prints one line and exits with code 2."""
    result = workspace.run("calibrate", env={"TILEWISE_BASE_URL": "http://127.0.0.1:9/v1", **env})
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert message in result.stderr


def test_calibrate_accepts_local_ocr(workspace):
    """The tables name the endpoint `offline`, as its address changes."""
    result = workspace.run("calibrate", "--json", env={"TILEWISE_BASE_URL": "offline", "TILEWISE_MODEL": None})
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["bill_rule"], summary["model"], summary["cost_usd"]) == ("formula", "offline/rapidocr", 0)
    assert workspace.only("runs")["endpoint"] == "offline"
