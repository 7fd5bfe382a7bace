"""The command `calibrate` where it cannot begin, or what it is told says nothing."""

import json
import signal
import subprocess

import pytest

from extractors.core.tiles import get_rule

pytestmark = pytest.mark.slow

ESTIMATE = ("estimate", "in", "--schema", "caption", "--json")


@pytest.fixture(autouse=True)
def one_image(workspace):
    """A workspace with one picture to estimate."""
    workspace.with_images("a.png", size=(900, 700))


@pytest.fixture
def calibrated(workspace, serve):
    """Calibrates against a server of this script, and gives what came out, the workspace and the server."""

    def calibrate(*script, flags=(), **env):
        server = serve(*script)
        workspace.env["TILEWISE_BASE_URL"] = server.url
        return workspace.run("calibrate", *flags, env=env), server

    return calibrate


@pytest.fixture
def uncalibrated(workspace):
    """Whether estimates go by the larger reading still."""
    return lambda: json.loads(workspace.run(*ESTIMATE).stdout)["bill_rule"] == "table"


def test_a_server_that_does_not_count_images_is_said_to(workspace, calibrated, replies, uncalibrated):
    """No bill can be known from it; what was asked is in the tables all the same."""
    ended, server = calibrated(replies.billing(lambda size: 0))
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "the server's usage does not count images" in ended.stderr
    assert len(server.asked) == workspace.table("calls").height == 5
    assert uncalibrated()


def test_a_server_without_usage_is_said_to_have_none(workspace, calibrated, replies, uncalibrated):
    """The first reply tells, so the others are not asked for."""
    ended, server = calibrated(replies.ok(usage=None))
    assert ended.exit_code == 2
    assert "the server's replies have no `usage`: the bill rule cannot be identified" in ended.stderr
    assert len(server.asked) == 1
    assert (workspace.only("calls")["billed"], workspace.only("runs")["status"]) == ("unknown", "failing")
    assert uncalibrated()


def test_a_refused_key_stops_it(workspace, calibrated, replies, uncalibrated):
    """Said as in a run, with the row that tells of it."""
    ended, server = calibrated(replies.error(401, "bad key"))
    assert (ended.exit_code, len(server.asked)) == (2, 1)
    assert "the key was refused: set TILEWISE_API_KEY or TOGETHER_API_KEY" in ended.stderr
    row = workspace.only("runs")
    assert (row["flow"], row["status"], row["cost_usd"]) == ("calibrate", "refused", 0)
    assert uncalibrated()


def test_a_server_that_takes_no_pictures_is_said_to(workspace, calibrated, replies, uncalibrated):
    """A model without vision answers the text, and refuses the first picture."""
    ended, _ = calibrated(
        replies.billing(lambda size: 0)({"messages": [{"content": "text"}]}), replies.error(400, "no images")
    )
    assert ended.exit_code == 2
    assert "a probe was not answered: 400 no images" in ended.stderr
    assert workspace.table("calls")["outcome"].to_list() == ["accepted", "client_error"]
    assert uncalibrated()


def test_part_of_an_answer_is_for_the_tables_alone(workspace, calibrated, replies, uncalibrated):
    """A probe that is answered by half a body is told of without its words, which the calls have."""
    ended, _ = calibrated(replies.raw('{"choices":[{"message":{"content":"Acme, 12.50'), TILEWISE_ATTEMPTS="1")
    assert "a probe was not answered: 200 without an answer;" in ended.stderr
    assert "Acme" not in ended.stdout + ended.stderr + workspace.only("runs")["error"]
    assert "Acme, 12.50" in workspace.only("calls")["error"]
    assert uncalibrated()


def test_a_short_fault_is_outlived(workspace, calibrated, replies):
    """Probes are retried as calls are."""
    good, faults = replies.billing(get_rule("formula").tokens), iter([replies.error(500), replies.reset])
    ended, server = calibrated(lambda asked: next(faults, None) or good(asked), flags=["--json"])
    assert ended.exit_code == 0, ended.stderr
    assert json.loads(ended.stdout)["bill_rule"] == "formula"
    assert len(server.asked) == workspace.table("calls").height == 7
    assert workspace.only("runs")["cost_unknown_usd"] > 0


def test_an_unknown_price_needs_a_yes(workspace, calibrated, replies):
    """Nothing is sent before; afterwards the cost is null and said to be unknown."""
    ended, server = calibrated(replies.billing(get_rule("formula").tokens), flags=["--model", "maker/unheard-of"])
    assert (ended.exit_code, server.asked, workspace.files("out")) == (2, [], [])
    assert "the price of maker/unheard-of is unknown" in ended.stderr
    assert "TILEWISE_PRICES" in ended.stderr
    assert "--yes" in ended.stderr


def test_a_yes_goes_on_without_a_price(workspace, calibrated, replies):
    """The cost is null, never 0."""
    flags = ["--model", "maker/unheard-of", "--yes", "--json"]
    ended, _ = calibrated(replies.billing(get_rule("formula").tokens), flags=flags)
    assert ended.exit_code == 0
    assert json.loads(ended.stdout)["cost_usd"] is None
    assert workspace.only("runs")["cost_usd"] is None
    assert "at an unknown price" in ended.stderr


def test_more_than_may_be_spent_unasked_needs_a_yes(workspace, calibrated, replies):
    """The figure is in the message."""
    script = replies.billing(get_rule("formula").tokens)
    ended, server = calibrated(script, TILEWISE_ASK_ABOVE="0.0001")
    assert (ended.exit_code, server.asked) == (2, [])
    assert "this may cost up to $" in ended.stderr
    assert "above TILEWISE_ASK_ABOVE=0.0001" in ended.stderr
    ended, _ = calibrated(script, flags=["--yes"], TILEWISE_ASK_ABOVE="0.0001")
    assert ended.exit_code == 0


def test_the_day_s_budget_holds_for_probes(workspace, calibrated, replies, uncalibrated):
    """A probe that might pass it is not sent."""
    ended, server = calibrated(replies.billing(get_rule("formula").tokens), TILEWISE_DAILY_BUDGET="0.002")
    assert ended.exit_code == 3
    assert "the day's budget (TILEWISE_DAILY_BUDGET) of $0.002 is spent" in ended.stderr
    assert len(server.asked) == workspace.table("calls").height < 5
    assert workspace.only("runs")["status"] == "budget_spent"
    assert uncalibrated()


@pytest.fixture
def stopping(workspace, serve, replies, wait):
    """A calibration of which the third call is on its way; gives it and the server, whose gate lets the call end."""
    bill = replies.billing(get_rule("formula").tokens)

    def script(asked):
        server.gate.wait(0 if len(server.asked) <= 2 else 30)
        return bill(asked)

    server = serve(script)
    workspace.env["TILEWISE_BASE_URL"] = server.url
    process = workspace.start("calibrate", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait(lambda: len(server.asked) == 3)
    return process, server


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_it_can_be_stopped(workspace, stopping, wait, uncalibrated, number):
    """The call on its way may finish, and what was paid for is in the tables."""
    process, server = stopping
    process.send_signal(number)
    assert number.name in process.stderr.readline() + process.stderr.readline()
    server.gate.set()
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (3, "")
    assert f"tilewise: {number.name} was received; no rule is stored, and the calls are in {workspace.folder}" in stderr
    assert workspace.table("calls")["outcome"].to_list() == ["accepted"] * 3
    assert (workspace.only("runs")["status"], len(server.asked)) == ("stopped", 3)
    assert uncalibrated()


def test_it_can_be_stopped_at_once(workspace, stopping, uncalibrated):
    """The second time the call on its way is cut: nobody knows whether it was billed."""
    process, _ = stopping
    process.send_signal(signal.SIGINT)
    assert "SIGINT" in process.stderr.readline() + process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 3
    assert workspace.table("calls")["billed"].to_list() == ["yes", "yes", "unknown"]
    assert workspace.only("runs")["cost_unknown_usd"] > 0
    assert uncalibrated()


def test_one_that_was_killed_is_published_by_the_next(workspace, stopping, uncalibrated):
    """Under its own name, with what it has cost, and without documents that anybody would have to take again."""
    process, server = stopping
    process.kill()
    process.communicate(timeout=60)
    server.gate.set()
    assert uncalibrated()
    assert workspace.run("calibrate").exit_code == 0
    [killed, done] = workspace.table("runs").sort("started_at").to_dicts()
    assert [killed["flow"], killed["status"], killed["calls"]] == ["calibrate", "abandoned", 3]
    assert (killed["found"], killed["remaining"], done["status"]) == (0, 0, "completed")
    assert killed["cost_usd"] > 0
    assert killed["cost_unknown_usd"] > 0
    assert len(server.asked) == workspace.table("calls").height == 8


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"TILEWISE_MODEL": None}, "no model: name one"),
        ({"TILEWISE_API_KEY": None, "TILEWISE_BASE_URL": None}, "no key"),
    ],
)
def test_what_is_missing_is_said(workspace, env, said):
    """As for a run."""
    ended = workspace.run("calibrate", env={"TILEWISE_BASE_URL": "http://127.0.0.1:9/v1", **env})
    assert (ended.exit_code, ended.stderr.count("\n")) == (2, 1)
    assert said in ended.stderr


def test_local_reading_can_be_calibrated(workspace):
    """The offline endpoint is a server like others; its address changes, its name does not."""
    ended = workspace.run("calibrate", "--json", env={"TILEWISE_BASE_URL": "offline", "TILEWISE_MODEL": None})
    assert ended.exit_code == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert (found["bill_rule"], found["model"], found["cost_usd"]) == ("formula", "offline/rapidocr", 0)
    assert workspace.only("runs")["endpoint"] == "offline"
