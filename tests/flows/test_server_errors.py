"""Error replies of a server: what becomes of the document and of the run."""

from decimal import Decimal

import pytest

RUN = ("run", "in", "--schema", "caption")
KEY = "sk-test-4f1c9e77a2"


@pytest.fixture(autouse=True)
def one_image(workspace):
    """One image."""
    workspace.with_images("a.jpg")


@pytest.fixture
def run_against(workspace, serve):
    """Runs against a server with this script; returns the result of the command and the server."""

    def run(*script, args=(), **env):
        server = serve(*script)
        return workspace.run(*RUN, *args, env={"TILEWISE_BASE_URL": server.url, **env}), server

    return run


def list_outcomes(workspace):
    """The outcomes of the calls in their order."""
    return workspace.table("calls").sort("started_at")["outcome"].to_list()


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "set TILEWISE_API_KEY"), (402, "spending limit"), (404, "check --model")]
)
def test_refused_key_spending_limit_or_model_stops_the_run(workspace, run_against, replies, status, advice):
    """The status is refused, the exit code is 2, and the message quotes the server and says what to do."""
    result, _ = run_against(replies.error(status, "it is so"))
    run = workspace.only("runs")
    assert result.exit_code == 2
    assert advice in result.stdout
    assert f"(the server says: {status} it is so)" in result.stdout
    assert (run["status"], run["accepted"], run["remaining"], run["failed"]) == ("refused", 0, 1, 0)
    assert advice in run["error"]
    assert (list_outcomes(workspace), workspace.only("calls")["http_status"]) == (["client_error"], status)


def test_refused_run_stops_sending(workspace, run_against, replies):
    """The other documents remain for the next run."""
    workspace.images(*(f"{number}.jpg" for number in range(30)))
    _, server = run_against(replies.error(401))
    assert len(server.asked) < 10
    assert workspace.only("runs")["remaining"] == 31
    assert workspace.table("failures").height == 0


def test_output_masks_a_key_that_the_server_repeats(workspace, run_against, replies):
    result, server = run_against(replies.error(401, f"Incorrect API key provided: {KEY}."))
    assert server.keys == [f"Bearer {KEY}"]
    assert "Incorrect API key provided: **********" in result.stdout
    assert KEY not in result.stdout + result.stderr


def test_files_of_a_run_do_not_hold_the_key(workspace, run_against, replies):
    run_against(replies.ok())
    assert KEY not in workspace.read_all_bytes()
    assert "A wall" in workspace.read_all_bytes()


def test_403_for_every_call_is_a_refused_key(workspace, run_against, replies):
    """The length of one request is then not the cause."""
    workspace.images(*(f"{number}.jpg" for number in range(12)))
    result, _ = run_against(replies.error(403, "forbidden"))
    assert result.exit_code == 2
    assert "every call was forbidden: check the key" in result.stdout
    assert workspace.only("runs")["status"] == "refused"


def test_403_after_an_answer_is_a_request_that_is_too_long(workspace, run_against, replies):
    """Its document alone fails, without a retry at the same size."""
    workspace.images("b.jpg")
    result, server = run_against(replies.ok(), replies.error(403, "too long"))
    assert result.exit_code == 1
    assert workspace.only("failures")["kind"] == "context_exceeded"
    assert len(server.asked) == 2


def test_request_that_is_too_long_steps_one_rung_down(workspace, run_against, replies):
    """The picture that a refused value climbs to is too long, so the smaller picture is sent again."""
    workspace.images("a.jpg", size=(2000, 1500))
    name = workspace.module(
        "from pydantic import BaseModel, field_validator\n\n\nclass Red(BaseModel):\n    color: str\n\n"
        "    @field_validator('color')\n    @classmethod\n    def _red(cls, value):\n"
        "        if value != 'red':\n            raise ValueError('not red')\n        return value\n"
    )
    server = [replies.ok({"color": "blue"}), replies.error(403, "too long"), replies.ok({"color": "red"})]
    result, server = run_against(*server, args=("--schema", f"{name}:Red", "--bill", "formula"))
    assert result.exit_code == 0
    assert list_outcomes(workspace) == ["refused", "context_exceeded", "accepted"]
    assert server.pictures[0] == server.pictures[2] < server.pictures[1]


@pytest.mark.parametrize("status", [400, 415, 422])
def test_bad_request_is_a_final_failure(workspace, run_against, replies, status):
    """It has one call, and the exit code is 1."""
    result, server = run_against(replies.error(status, "unusable image", "invalid_image"))
    row = workspace.only("failures")
    assert result.exit_code == 1
    assert len(server.asked) == 1
    assert (row["stage"], row["kind"], row["final"], row["attempts"]) == ("call", "client_error", True, 1)
    assert "unusable image" in row["message"]


@pytest.mark.parametrize("status", [500, 503])
def test_server_error_is_retried(workspace, run_against, replies, status):
    """Of two errors and an answer only the answer is billed."""
    result, _ = run_against(replies.error(status), replies.error(status), replies.ok())
    run, last = workspace.only("runs"), workspace.table("calls").sort("attempt").to_dicts()[-1]
    assert result.exit_code == 0
    assert list_outcomes(workspace) == ["capacity" if status == 503 else "server_error"] * 2 + ["accepted"]
    assert workspace.table("calls").sort("attempt")["attempt"].to_list() == [1, 2, 3]
    assert workspace.table("calls").sort("attempt")["billed"].to_list() == ["no", "no", "yes"]
    assert (run["cost_wasted_usd"], run["cost_unknown_usd"]) == (0, 0)
    assert run["cost_usd"] == last["cost_usd"] > 0


def test_server_error_in_every_attempt_is_a_failure(workspace, run_against, replies):
    """The failure is not final."""
    result, server = run_against(replies.error(500, "out of order"), TILEWISE_ATTEMPTS="2")
    row = workspace.only("failures")
    assert result.exit_code == 1
    assert len(server.asked) == 2
    assert (row["stage"], row["kind"], row["final"], row["attempts"]) == ("call", "server_error", False, 2)


def test_rate_limited_call_uses_no_attempt(workspace, run_against, replies):
    """Four calls are rate limited where two attempts are allowed, and the fifth is answered."""
    refusals = [replies.error(429, "slow down", **{"Retry-After": "0"})] * 4
    result, _ = run_against(*refusals, replies.ok(), TILEWISE_ATTEMPTS="2")
    assert result.exit_code == 0
    assert list_outcomes(workspace) == ["rate_limited"] * 4 + ["accepted"]
    assert workspace.only("results")["_attempts"] == 5


def test_html_page_is_retried_as_a_server_error(workspace, run_against, replies):
    """The error of the call quotes the page."""
    result, _ = run_against(replies.raw("<html><h1>Be right back</h1></html>", kind="text/html"), replies.ok())
    assert result.exit_code == 0
    assert list_outcomes(workspace) == ["server_error", "accepted"]
    assert "Be right back" in workspace.table("calls").sort("attempt")["error"][0]


def test_broken_connection_has_an_unknown_cost(workspace, run_against, replies):
    """The amount reserved for the call is the unknown cost of the run."""
    result, _ = run_against(replies.reset, replies.ok())
    calls, run = workspace.table("calls").sort("attempt").to_dicts(), workspace.only("runs")
    assert result.exit_code == 0
    assert (calls[0]["outcome"], calls[0]["billed"], calls[0]["cost_usd"]) == ("connection", "unknown", None)
    assert run["cost_unknown_usd"] == calls[0]["reserved_usd"] > 0
    assert run["cost_usd"] == calls[1]["cost_usd"]


def test_silent_server_is_a_timeout(workspace, run_against, replies):
    """The call is retried after the timeout of one call, and its cost is unknown."""
    result, _ = run_against(replies.nothing, replies.ok(), TILEWISE_TIMEOUT="1")
    calls = workspace.table("calls").sort("attempt").to_dicts()
    assert result.exit_code == 0
    assert (calls[0]["outcome"], calls[0]["billed"]) == ("timeout", "unknown")
    assert calls[0]["seconds"] >= 1
    assert workspace.only("runs")["cost_unknown_usd"] > Decimal(0)
