"""What a model answers when it is not the document asked for: what is asked next, and what is kept."""

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
    """A workspace with one image, large enough to be sent smaller first."""
    workspace.with_images("a.jpg", size=(2000, 2000))


@pytest.fixture
def answered(workspace, serve):
    """Runs against a server with this script; gives the ended command and the server."""

    def run(*script, args=(), **env):
        server = serve(*script)
        ended = workspace.run(*RUN, "--bill", "formula", *args, env={"TILEWISE_BASE_URL": server.url, **env})
        return ended, server

    return run


def calls(workspace):
    """The calls in their order."""
    return workspace.table("calls").sort("attempt").to_dicts()


def outcomes(workspace):
    """The outcomes of the calls in their order."""
    return [each["outcome"] for each in calls(workspace)]


def test_no_content_is_asked_for_again(workspace, answered, replies):
    """`content: null` is an empty answer; it was billed, so it is wasted."""
    ended, server = answered(replies.ok(None), replies.ok())
    assert ended.exit_code == 0
    assert outcomes(workspace) == ["empty", "accepted"]
    assert server.asked[0] == server.asked[1]
    assert workspace.only("runs")["cost_wasted_usd"] == calls(workspace)[0]["cost_usd"] > 0


def test_a_cut_answer_is_given_more_room(workspace, answered, replies):
    """The next request raises `max_tokens`, and changes nothing else."""
    ended, server = answered(replies.ok('{"caption": "A wa', finish="length"), replies.ok())
    assert ended.exit_code == 0
    assert outcomes(workspace) == ["truncated", "accepted"]
    assert [each["max_tokens"] for each in server.asked] == [2048, 4096]
    assert server.asked[0] | {"max_tokens": 4096} == server.asked[1]


def test_an_answer_cut_without_saying_so_is_cut_all_the_same(workspace, answered, replies):
    """Servers cut answers with `stop`, too."""
    ended, server = answered(replies.ok('{"caption": "A wa', finish="stop"), replies.ok())
    assert ended.exit_code == 0
    assert [each["max_tokens"] for each in server.asked] == [2048, 4096]


def test_an_answer_that_is_always_cut_is_a_failure(workspace, answered, replies):
    """`max_tokens` is raised to four times what is set, and no further."""
    ended, server = answered(replies.ok('{"caption": "A wa', finish="length"), TILEWISE_MAX_TOKENS="100")
    assert ended.exit_code == 1
    assert [each["max_tokens"] for each in server.asked] == [100, 200, 400]
    assert (workspace.only("failures")["stage"], workspace.only("failures")["kind"]) == ("validate", "truncated")


def test_an_answer_off_the_schema_is_asked_for_again_in_words(workspace, answered, replies):
    """The model sees its own answer and what was wrong with it, about the same picture."""
    ended, server = answered(replies.ok(OFF_SCHEMA), replies.ok())
    first, again = (each["messages"] for each in server.asked)
    assert ended.exit_code == 0
    assert outcomes(workspace) == ["off_schema", "accepted"]
    assert again[:2] == first
    assert again[2] == {"role": "assistant", "content": json.dumps(OFF_SCHEMA)}
    assert again[3]["role"] == "user"
    assert "caption: Field required" in again[3]["content"]


def test_an_answer_that_is_no_json_is_asked_for_again(workspace, answered, replies):
    """Chatter is an answer like any other."""
    ended, server = answered(replies.ok("I cannot see {anything} here."), replies.ok())
    assert ended.exit_code == 0
    assert outcomes(workspace) == ["not_json", "accepted"]
    assert server.asked[1]["messages"][2]["content"] == "I cannot see {anything} here."


def test_an_answer_is_asked_for_again_once(workspace, answered, replies):
    """The second answer off the schema is the failure, which is not final."""
    ended, server = answered(replies.ok(OFF_SCHEMA))
    row = workspace.only("failures")
    assert ended.exit_code == 1
    assert len(server.asked) == 2
    assert (row["stage"], row["kind"], row["final"], row["attempts"]) == ("validate", "off_schema", False, 2)
    assert "caption: Field required" in row["message"]
    assert row["cost_usd"] == workspace.only("runs")["cost_usd"] == workspace.only("runs")["cost_wasted_usd"] > 0


def test_without_reasks_the_first_answer_counts(workspace, answered, replies):
    """TILEWISE_REASKS=0 asks once."""
    ended, server = answered(replies.ok(OFF_SCHEMA), TILEWISE_REASKS="0")
    assert ended.exit_code == 1
    assert len(server.asked) == 1
    assert workspace.only("failures")["kind"] == "off_schema"


def test_a_refused_value_is_looked_at_with_more_pixels(workspace, answered, replies):
    """The next rung is asked without the old answer; what the first look cost is wasted."""
    schema = f"{workspace.module(RED)}:Red"
    ended, server = answered(replies.ok({"color": "blue"}), replies.ok({"color": "red"}), args=("--schema", schema))
    row = workspace.only("results")
    assert ended.exit_code == 0
    assert outcomes(workspace) == ["refused", "accepted"]
    assert server.pictures[0] < server.pictures[1]
    assert len(server.asked[1]["messages"]) == 2
    assert (row["_attempts"], row["_rung"]) == (2, calls(workspace)[1]["rung"])
    assert (row["_sent_width"], row["_sent_height"]) == server.pictures[1]
    assert row["_prompt_tokens"] == 2000
    assert workspace.only("runs")["cost_wasted_usd"] == calls(workspace)[0]["cost_usd"] > 0


def test_the_top_of_the_ladder_is_a_final_failure(workspace, answered, replies):
    """Refused with every pixel, a value will not get better; the reason is the validator's."""
    ended, server = answered(replies.ok({"color": "blue"}), args=("--schema", f"{workspace.module(RED)}:Red"))
    row = workspace.only("failures")
    assert ended.exit_code == 1
    assert server.pictures[-1] == (2000, 2000)
    assert (row["stage"], row["kind"], row["final"]) == ("validate", "refused", True)
    assert "not red at all" in row["message"]


def test_faithful_has_no_rung_to_climb(workspace, answered, replies):
    """Every pixel was there the first time."""
    ended, server = answered(
        replies.ok({"color": "blue"}), args=("--schema", f"{workspace.module(RED)}:Red", "--policy", "faithful")
    )
    assert ended.exit_code == 1
    assert server.pictures == [(2000, 2000)]


ODD = {
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


@pytest.mark.parametrize(("body", "outcome"), ODD.values(), ids=ODD)
def test_an_odd_reply_is_a_recorded_attempt(workspace, answered, replies, body, outcome):
    """It is in the tables with its outcome and in words, and the document has failed, not the run."""
    ended, _ = answered(replies.raw(body), TILEWISE_ATTEMPTS="1", TILEWISE_REASKS="0")
    assert ended.exit_code == 1
    assert (workspace.only("runs")["status"], workspace.only("failures")["kind"]) == ("completed", outcome)
    assert outcomes(workspace) == [outcome]
    assert calls(workspace)[0]["error"]


def test_a_reply_that_does_not_end_is_cut(workspace, answered, replies):
    """Fifty megabytes are no answer; what is kept of them is small."""
    ended, _ = answered(replies.ok("x" * 50_000_000), replies.ok())
    assert ended.exit_code == 0
    assert outcomes(workspace) == ["server_error", "accepted"]
    assert "longer than 16,777,216 bytes" in calls(workspace)[0]["error"]
    assert calls(workspace)[0]["billed"] == "unknown"
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
def test_a_usage_that_makes_no_sense_is_unknown(workspace, answered, replies, usage):
    """The answer counts, and nobody claims to know what it cost."""
    ended, _ = answered(replies.ok(usage=usage))
    row, run = workspace.only("calls"), workspace.only("runs")
    assert ended.exit_code == 0
    assert (row["outcome"], row["billed"], row["prompt_tokens"], row["cost_usd"]) == ("accepted", "unknown", None, None)
    assert run["cost_unknown_usd"] == row["reserved_usd"] > 0


def test_fields_that_nobody_asked_for_do_no_harm(workspace, answered, replies):
    """A seed beyond 64 bits, warnings and a redirected model are taken as they come."""
    whole = json.loads(replies.ok().body) | {"seed": 2**70, "warnings": ["w"], "model": "maker/other", "choices": None}
    whole["choices"] = [json.loads(replies.ok().body)["choices"][0] | {"seed": 2**70, "index": "first"}]
    ended, _ = answered(replies.raw(json.dumps(whole)))
    assert ended.exit_code == 0
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
def test_an_answer_is_found_in_what_surrounds_it(workspace, answered, replies, content):
    """Fences, thinking and politeness are no reason to pay again."""
    ended, server = answered(replies.ok(content))
    assert ended.exit_code == 0
    assert len(server.asked) == 1
    assert workspace.only("results")["caption"] == "A wall"
