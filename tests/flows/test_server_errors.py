"""What a server answers instead of an answer, and what becomes of the document and of the run."""

from decimal import Decimal

import pytest

RUN = ("run", "in", "--schema", "caption")
KEY = "sk-test-4f1c9e77a2"


@pytest.fixture(autouse=True)
def one_image(workspace):
    """A workspace with one image."""
    workspace.with_images("a.jpg")


@pytest.fixture
def answered(workspace, serve):
    """Runs against a server with this script; gives the ended command and the server."""

    def run(*script, args=(), **env):
        server = serve(*script)
        return workspace.run(*RUN, *args, env={"TILEWISE_BASE_URL": server.url, **env}), server

    return run


def outcomes(workspace):
    """The outcomes of the calls in their order."""
    return workspace.table("calls").sort("started_at")["outcome"].to_list()


@pytest.mark.parametrize(
    ("status", "mend"), [(401, "set TILEWISE_API_KEY"), (402, "spending limit"), (404, "check --model")]
)
def test_what_only_a_person_can_change_stops_the_run(workspace, answered, replies, status, mend):
    """Exit 2, the status in `runs` is refused, and the message says what to do and what the server said."""
    ended, _ = answered(replies.error(status, "it is so"))
    run = workspace.only("runs")
    assert ended.exit_code == 2
    assert mend in ended.stdout
    assert f"(the server says: {status} it is so)" in ended.stdout
    assert (run["status"], run["accepted"], run["remaining"], run["failed"]) == ("refused", 0, 1, 0)
    assert mend in run["error"]
    assert (outcomes(workspace), workspace.only("calls")["http_status"]) == (["client_error"], status)


def test_a_refused_run_sends_nothing_more(workspace, answered, replies):
    """One refusal is enough; the other documents wait for the next run."""
    workspace.images(*(f"{number}.jpg" for number in range(30)))
    _, server = answered(replies.error(401))
    assert len(server.asked) < 10
    assert workspace.only("runs")["remaining"] == 31
    assert workspace.table("failures").height == 0


def test_the_key_is_in_no_line_of_output(workspace, answered, replies):
    """A server that repeats the key is quoted without it."""
    ended, server = answered(replies.error(401, f"Incorrect API key provided: {KEY}."))
    assert server.keys == [f"Bearer {KEY}"]
    assert "Incorrect API key provided: **********" in ended.stdout
    assert KEY not in ended.stdout + ended.stderr


def test_the_key_is_in_no_file_of_a_run(workspace, answered, replies):
    """Neither tables nor ledger hold it."""
    answered(replies.ok())
    assert KEY not in workspace.read_all_bytes()
    assert "A wall" in workspace.read_all_bytes()


def test_a_wall_of_403_is_a_refused_key(workspace, answered, replies):
    """Where every call is forbidden it is not the length of one."""
    workspace.images(*(f"{number}.jpg" for number in range(12)))
    ended, _ = answered(replies.error(403, "forbidden"))
    assert ended.exit_code == 2
    assert "every call was forbidden: check the key" in ended.stdout
    assert workspace.only("runs")["status"] == "refused"


def test_a_403_among_answers_is_a_request_that_is_too_long(workspace, answered, replies):
    """It fails that document alone, after no second try at the same size."""
    workspace.images("b.jpg")
    ended, server = answered(replies.ok(), replies.error(403, "too long"))
    assert ended.exit_code == 1
    assert workspace.only("failures")["kind"] == "context_exceeded"
    assert len(server.asked) == 2


def test_a_request_that_is_too_long_goes_one_rung_down(workspace, answered, replies):
    """After an answer that a validator refused, the larger picture may be too long: the smaller one is asked again."""
    workspace.images("a.jpg", size=(2000, 1500))
    name = workspace.module(
        "from pydantic import BaseModel, field_validator\n\n\nclass Red(BaseModel):\n    color: str\n\n"
        "    @field_validator('color')\n    @classmethod\n    def _red(cls, value):\n"
        "        if value != 'red':\n            raise ValueError('not red')\n        return value\n"
    )
    server = [replies.ok({"color": "blue"}), replies.error(403, "too long"), replies.ok({"color": "red"})]
    ended, server = answered(*server, args=("--schema", f"{name}:Red", "--bill", "formula"))
    assert ended.exit_code == 0
    assert outcomes(workspace) == ["refused", "context_exceeded", "accepted"]
    assert server.pictures[0] == server.pictures[2] < server.pictures[1]


@pytest.mark.parametrize("status", [400, 415, 422])
def test_a_bad_request_fails_its_document_for_good(workspace, answered, replies, status):
    """One call, one final failure, exit 1."""
    ended, server = answered(replies.error(status, "unusable image", "invalid_image"))
    row = workspace.only("failures")
    assert ended.exit_code == 1
    assert len(server.asked) == 1
    assert (row["stage"], row["kind"], row["final"], row["attempts"]) == ("call", "client_error", True, 1)
    assert "unusable image" in row["message"]


@pytest.mark.parametrize("status", [500, 503])
def test_what_passes_is_tried_again(workspace, answered, replies, status):
    """Two failures and an answer are three calls, of which only the answer cost anything."""
    ended, _ = answered(replies.error(status), replies.error(status), replies.ok())
    run, last = workspace.only("runs"), workspace.table("calls").sort("attempt").to_dicts()[-1]
    assert ended.exit_code == 0
    assert outcomes(workspace) == ["capacity" if status == 503 else "server_error"] * 2 + ["accepted"]
    assert workspace.table("calls").sort("attempt")["attempt"].to_list() == [1, 2, 3]
    assert workspace.table("calls").sort("attempt")["billed"].to_list() == ["no", "no", "yes"]
    assert (run["cost_wasted_usd"], run["cost_unknown_usd"]) == (0, 0)
    assert run["cost_usd"] == last["cost_usd"] > 0


def test_what_does_not_pass_is_a_failure(workspace, answered, replies):
    """After as many attempts as allowed the document has failed, not for good."""
    ended, server = answered(replies.error(500, "out of order"), TILEWISE_ATTEMPTS="2")
    row = workspace.only("failures")
    assert ended.exit_code == 1
    assert len(server.asked) == 2
    assert (row["stage"], row["kind"], row["final"], row["attempts"]) == ("call", "server_error", False, 2)


def test_too_fast_uses_up_no_attempt(workspace, answered, replies):
    """More refusals for rate than attempts allowed, and still an answer."""
    refusals = [replies.error(429, "slow down", **{"Retry-After": "0"})] * 4
    ended, _ = answered(*refusals, replies.ok(), TILEWISE_ATTEMPTS="2")
    assert ended.exit_code == 0
    assert outcomes(workspace) == ["rate_limited"] * 4 + ["accepted"]
    assert workspace.only("results")["_attempts"] == 5


def test_a_page_of_a_proxy_is_no_answer(workspace, answered, replies):
    """HTML with status 200 is tried again, and its words are kept."""
    ended, _ = answered(replies.raw("<html><h1>Be right back</h1></html>", kind="text/html"), replies.ok())
    assert ended.exit_code == 0
    assert outcomes(workspace) == ["server_error", "accepted"]
    assert "Be right back" in workspace.table("calls").sort("attempt")["error"][0]


def test_a_connection_that_breaks_may_have_been_billed(workspace, answered, replies):
    """The call is unknown in the table of calls, and what it can have cost is in the run's unknown cost."""
    ended, _ = answered(replies.reset, replies.ok())
    calls, run = workspace.table("calls").sort("attempt").to_dicts(), workspace.only("runs")
    assert ended.exit_code == 0
    assert (calls[0]["outcome"], calls[0]["billed"], calls[0]["cost_usd"]) == ("connection", "unknown", None)
    assert run["cost_unknown_usd"] == calls[0]["reserved_usd"] > 0
    assert run["cost_usd"] == calls[1]["cost_usd"]


def test_a_server_that_says_nothing_is_a_timeout(workspace, answered, replies):
    """After the time limit of one call it is sent again, and nobody knows whether the first is billed."""
    ended, _ = answered(replies.nothing, replies.ok(), TILEWISE_TIMEOUT="1")
    calls = workspace.table("calls").sort("attempt").to_dicts()
    assert ended.exit_code == 0
    assert (calls[0]["outcome"], calls[0]["billed"]) == ("timeout", "unknown")
    assert calls[0]["seconds"] >= 1
    assert workspace.only("runs")["cost_unknown_usd"] > Decimal(0)
