"""Replies of a model that are not the requested document: what is retried, asked again and recorded."""

import json

import pytest

RUN = ("run", "in", "--schema", "caption")
OFF_SCHEMA = {"tags": ["wall"]}
RED = """from pydantic import BaseModel, field_validator


class Red(BaseModel):
    color: str

    @field_validator("color")
    @classmethod
    def _red(cls, value):
        if value != "red":
            raise ValueError("not red at all")
        return value
"""


@pytest.fixture(autouse=True)
def one_large_image(workspace):
    """One image, large enough to be sent smaller first."""
    workspace.with_images("a.jpg", size=(2000, 2000))


@pytest.fixture
def run_against(workspace, serve):
    """Runs against a server with this script; returns the result of the command and the server."""

    def run(*script, args=(), **env):
        server = serve(*script)
        result = workspace.run(*RUN, "--bill", "formula", *args, env={"TILEWISE_BASE_URL": server.url, **env})
        return result, server

    return run


def list_calls(workspace):
    """The calls in their order."""
    return workspace.table("calls").sort("attempt").to_dicts()


def list_outcomes(workspace):
    """The outcomes of the calls in their order."""
    return [call["outcome"] for call in list_calls(workspace)]


def test_empty_answer_is_retried(workspace, run_against, replies):
    """`content: null` is an empty answer; it was billed, so its cost is wasted."""
    result, server = run_against(replies.ok(None), replies.ok())
    assert result.exit_code == 0
    assert list_outcomes(workspace) == ["empty", "accepted"]
    assert server.asked[0] == server.asked[1]
    assert workspace.only("runs")["cost_wasted_usd"] == list_calls(workspace)[0]["cost_usd"] > 0


def test_truncated_answer_is_retried_with_more_tokens(workspace, run_against, replies):
    """The next request raises `max_tokens` and changes nothing else."""
    result, server = run_against(replies.ok('{"caption": "A wa', finish="length"), replies.ok())
    assert result.exit_code == 0
    assert list_outcomes(workspace) == ["truncated", "accepted"]
    assert [request["max_tokens"] for request in server.asked] == [2048, 4096]
    assert server.asked[0] | {"max_tokens": 4096} == server.asked[1]


def test_truncated_answer_is_detected_despite_finish_reason_stop(workspace, run_against, replies):
    """Some servers report `stop` for a truncated answer."""
    result, server = run_against(replies.ok('{"caption": "A wa', finish="stop"), replies.ok())
    assert result.exit_code == 0
    assert [request["max_tokens"] for request in server.asked] == [2048, 4096]


def test_answer_that_is_always_truncated_is_a_failure(workspace, run_against, replies):
    """`max_tokens` is raised to at most four times the setting."""
    result, server = run_against(replies.ok('{"caption": "A wa', finish="length"), TILEWISE_MAX_TOKENS="100")
    assert result.exit_code == 1
    assert [request["max_tokens"] for request in server.asked] == [100, 200, 400]
    assert (workspace.only("failures")["stage"], workspace.only("failures")["kind"]) == ("validate", "truncated")


def test_off_schema_answer_is_asked_again_with_its_errors(workspace, run_against, replies):
    """The next request adds the model's answer and its errors to the same messages."""
    result, server = run_against(replies.ok(OFF_SCHEMA), replies.ok())
    first, second = (request["messages"] for request in server.asked)
    assert result.exit_code == 0
    assert list_outcomes(workspace) == ["off_schema", "accepted"]
    assert second[:2] == first
    assert second[2] == {"role": "assistant", "content": json.dumps(OFF_SCHEMA)}
    assert second[3]["role"] == "user"
    assert "caption: Field required" in second[3]["content"]


def test_answer_without_json_is_asked_again(workspace, run_against, replies):
    result, server = run_against(replies.ok("I cannot see {anything} here."), replies.ok())
    assert result.exit_code == 0
    assert list_outcomes(workspace) == ["not_json", "accepted"]
    assert server.asked[1]["messages"][2]["content"] == "I cannot see {anything} here."


def test_off_schema_answer_is_asked_again_once(workspace, run_against, replies):
    """The second answer off the schema is a failure that is not final."""
    result, server = run_against(replies.ok(OFF_SCHEMA))
    row = workspace.only("failures")
    assert result.exit_code == 1
    assert len(server.asked) == 2
    assert (row["stage"], row["kind"], row["final"], row["attempts"]) == ("validate", "off_schema", False, 2)
    assert "caption: Field required" in row["message"]
    assert row["cost_usd"] == workspace.only("runs")["cost_usd"] == workspace.only("runs")["cost_wasted_usd"] > 0


def test_off_schema_answer_is_a_failure_without_reasks(workspace, run_against, replies):
    result, server = run_against(replies.ok(OFF_SCHEMA), TILEWISE_REASKS="0")
    assert result.exit_code == 1
    assert len(server.asked) == 1
    assert workspace.only("failures")["kind"] == "off_schema"


def test_refused_value_climbs_to_more_pixels(workspace, run_against, replies):
    """The next request omits the refused answer, whose cost is wasted."""
    schema = f"{workspace.module(RED)}:Red"
    result, server = run_against(replies.ok({"color": "blue"}), replies.ok({"color": "red"}), args=("--schema", schema))
    row = workspace.only("results")
    assert result.exit_code == 0
    assert list_outcomes(workspace) == ["refused", "accepted"]
    assert server.pictures[0] < server.pictures[1]
    assert len(server.asked[1]["messages"]) == 2
    assert (row["_attempts"], row["_rung"]) == (2, list_calls(workspace)[1]["rung"])
    assert (row["_sent_width"], row["_sent_height"]) == server.pictures[1]
    assert row["_prompt_tokens"] == 2000
    assert workspace.only("runs")["cost_wasted_usd"] == list_calls(workspace)[0]["cost_usd"] > 0


def test_refused_value_on_the_top_rung_is_a_final_failure(workspace, run_against, replies):
    """The message is that of the validator."""
    result, server = run_against(replies.ok({"color": "blue"}), args=("--schema", f"{workspace.module(RED)}:Red"))
    row = workspace.only("failures")
    assert result.exit_code == 1
    assert server.pictures[-1] == (2000, 2000)
    assert (row["stage"], row["kind"], row["final"]) == ("validate", "refused", True)
    assert "not red at all" in row["message"]


def test_refused_value_under_faithful_does_not_climb(workspace, run_against, replies):
    """The first picture has every pixel."""
    result, server = run_against(
        replies.ok({"color": "blue"}), args=("--schema", f"{workspace.module(RED)}:Red", "--policy", "faithful")
    )
    assert result.exit_code == 1
    assert server.pictures == [(2000, 2000)]


MALFORMED = {
    "deep": ('{"choices": [{"message": {"content": ' + "[" * 20_000 + "]" * 20_000 + "}}]}", "server_error"),
    "deep answer": (json.dumps({"choices": [{"message": {"content": "[" * 2000 + "]" * 2000}}]}), "not_json"),
    "NaN": ('{"choices": [{"message": {"content": "{}"}}], "usage": NaN}', "off_schema"),
    "NaN answer": (json.dumps({"choices": [{"message": {"content": '{"caption": NaN}'}}]}), "not_json"),
    "invalid UTF-8": (b'{"choices": [{"message": {"content": "\xff\xfe"}}]}', "server_error"),
    "half a surrogate": (b'{"choices": [{"message": {"content": "{\\"caption\\": \\"\\ud800\\"}"}}]}', "server_error"),
    "an empty body": (b"", "server_error"),
    "null": (b"null", "server_error"),
    "a list": (b"[1, 2]", "server_error"),
    "no choices": (b'{"choices": []}', "server_error"),
    "choices of text": (b'{"choices": "none"}', "server_error"),
    "an error with status 200": (b'{"error": {"message": "overloaded"}}', "server_error"),
    "a NUL": (json.dumps({"choices": [{"message": {"content": "\0"}}]}), "not_json"),
}


@pytest.mark.parametrize(("body", "outcome"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_reply_is_a_recorded_attempt(workspace, run_against, replies, body, outcome):
    """The call has its outcome and a message; the document fails, and the run completes."""
    result, _ = run_against(replies.raw(body), TILEWISE_ATTEMPTS="1", TILEWISE_REASKS="0")
    assert result.exit_code == 1
    assert (workspace.only("runs")["status"], workspace.only("failures")["kind"]) == ("completed", outcome)
    assert list_outcomes(workspace) == [outcome]
    assert list_calls(workspace)[0]["error"]


def test_reply_beyond_the_size_limit_is_cut_and_retried(workspace, run_against, replies):
    """At most 1 MiB of a reply of 50 MB is stored."""
    result, _ = run_against(replies.ok("x" * 50_000_000), replies.ok())
    assert result.exit_code == 0
    assert list_outcomes(workspace) == ["server_error", "accepted"]
    assert "longer than 16,777,216 bytes" in list_calls(workspace)[0]["error"]
    assert list_calls(workspace)[0]["billed"] == "unknown"
    assert workspace.table("replies")["reply"].str.len_bytes().max() <= 2**20


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "none",
        {},
        {"prompt_tokens": "1000", "completion_tokens": 100},
        {"prompt_tokens": -1, "completion_tokens": 100},
        {"prompt_tokens": 10**30, "completion_tokens": 100},
        {"prompt_tokens": 1000, "completion_tokens": 1.5},
    ],
    ids=str,
)
def test_invalid_usage_is_an_unknown_cost(workspace, run_against, replies, usage):
    """The answer is accepted, and its reserved amount is the unknown cost."""
    result, _ = run_against(replies.ok(usage=usage))
    row, run = workspace.only("calls"), workspace.only("runs")
    assert result.exit_code == 0
    assert (row["outcome"], row["billed"], row["prompt_tokens"], row["cost_usd"]) == ("accepted", "unknown", None, None)
    assert run["cost_unknown_usd"] == row["reserved_usd"] > 0


def test_additional_fields_of_a_reply_are_ignored(workspace, run_against, replies):
    """A seed above 64 bits and warnings do not fail the reply, and the returned model is recorded."""
    reply = json.loads(replies.ok().body) | {"seed": 2**70, "warnings": ["w"], "model": "maker/other", "choices": None}
    reply["choices"] = [json.loads(replies.ok().body)["choices"][0] | {"seed": 2**70, "index": "first"}]
    result, _ = run_against(replies.raw(json.dumps(reply)))
    assert result.exit_code == 0
    assert (workspace.only("calls")["model_returned"], workspace.only("results")["_model"]) == (
        "maker/other",
        "maker/other",
    )
    assert workspace.only("results")["_model_requested"] == "maker/model"


@pytest.mark.parametrize(
    "content",
    [
        '```json\n{"caption": "A wall"}\n```',
        '<think>{"caption": "no"} hm</think>\n{"caption": "A wall"}',
        'Here it is: {"caption": "A wall"} I hope it helps.',
        '\ufeff{"caption": "A wall"}',
    ],
)
def test_json_is_found_in_surrounding_text(workspace, run_against, replies, content):
    """Code fences, reasoning and polite phrases cause no second call."""
    result, server = run_against(replies.ok(content))
    assert result.exit_code == 0
    assert len(server.asked) == 1
    assert workspace.only("results")["caption"] == "A wall"
