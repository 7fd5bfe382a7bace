"""How a server is asked: the modes that hold an answer to its schema, streaming, and what differs between servers."""

import pytest

RUN = ("run", "in", "--schema", "caption", "--bill", "formula")


@pytest.fixture(autouse=True)
def one_image(workspace):
    """A workspace with one image."""
    workspace.with_images("a.jpg")


@pytest.fixture
def request_of(workspace, serve, replies):
    """The one request that a run with these settings sends."""

    def run(answer=None, **env):
        server = serve(answer or replies.ok())
        ended = workspace.run(*RUN, env={"TILEWISE_BASE_URL": server.url, **env})
        assert ended.exit_code == 0, ended.output
        [asked] = server.asked
        return asked

    return run


@pytest.mark.parametrize("mode", ["json_schema", "json_object", "tools", "prompt"])
@pytest.mark.parametrize("stream", ["0", "1"])
def test_every_mode_is_answered_by_the_endpoint(workspace, echo, mode, stream):
    """Plain or streamed, the echo is a row, and its bill is foreseen to the token."""
    ended = workspace.run(*RUN, env={"TILEWISE_BASE_URL": echo, "TILEWISE_MODE": mode, "TILEWISE_STREAM": stream})
    assert ended.exit_code == 0
    assert workspace.only("results")["caption"] == "echo"
    assert workspace.only("runs")["residual_tokens"] == 0


def test_the_picture_and_its_question_come_after_the_constant_text(request_of):
    """A server can cache the prompt, with the schema in it, as a prefix."""
    system, user = request_of()["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert '"caption"' in system["content"]
    assert [each["type"] for each in user["content"]] == ["text", "image_url"]
    assert user["content"][1]["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")


def test_the_defaults_of_a_request(request_of):
    """The model as asked for, temperature 0, no stream, 2,048 tokens of answer."""
    asked = request_of()
    assert (asked["model"], asked["temperature"], asked["stream"]) == ("maker/model", 0, False)
    assert asked["max_tokens"] == 2048
    assert "stream_options" not in asked
    assert "tools" not in asked


def test_json_schema_mode_sends_the_schema_in_both_forms(request_of):
    """Strict, every property required, none beside; and flat, for the servers that know only that."""
    form = request_of()["response_format"]
    schema = form["json_schema"]["schema"]
    assert (form["type"], form["json_schema"]["name"], form["json_schema"]["strict"]) == (
        "json_schema",
        "caption",
        True,
    )
    assert schema["required"] == list(schema["properties"]) == ["caption", "alt_text", "tags"]
    assert schema["additionalProperties"] is False
    assert form["schema"] == schema


def test_json_object_mode_asks_for_json(request_of):
    """The schema stands in the prompt alone."""
    asked = request_of(TILEWISE_MODE="json_object")
    assert asked["response_format"] == {"type": "json_object"}
    assert '"alt_text"' in asked["messages"][0]["content"]


def test_prompt_mode_asks_in_words_alone(request_of):
    """Neither a response format nor tools."""
    asked = request_of(TILEWISE_MODE="prompt")
    assert not {"response_format", "tools", "tool_choice"} & set(asked)
    assert '"alt_text"' in asked["messages"][0]["content"]


def test_tools_mode_asks_for_one_call_and_reads_its_arguments(workspace, request_of, replies):
    """The answer is the JSON text in the arguments; content is null."""
    call = {"id": "call_1", "type": "function", "function": {"name": "caption", "arguments": '{"caption": "A door"}'}}
    asked = request_of(replies.ok(None, finish="tool_calls", tool_calls=[call]), TILEWISE_MODE="tools")
    [tool] = asked["tools"]
    assert (tool["type"], tool["function"]["name"]) == ("function", "caption")
    assert list(tool["function"]["parameters"]["properties"]) == ["caption", "alt_text", "tags"]
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "caption"}}
    assert "response_format" not in asked
    assert workspace.only("results")["caption"] == "A door"


@pytest.mark.parametrize(
    ("profile", "sent"),
    [
        ("together", {"reasoning": {"enabled": False}}),
        ("vllm", {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
        ("openai", {"max_completion_tokens": 2048}),
    ],
)
def test_reasoning_is_off_in_the_words_of_the_server(request_of, profile, sent):
    """Each kind of server is told in its own way, or not at all."""
    asked = request_of(TILEWISE_PROFILE=profile)
    assert asked | sent == asked
    assert ("max_tokens" in asked) == (profile != "openai")


def test_reasoning_can_be_left_on(request_of):
    """Then nothing is said of it."""
    assert "reasoning" not in request_of(TILEWISE_PROFILE="together", TILEWISE_REASONING="on")


def test_settings_of_the_answer_are_sent(request_of):
    """Temperature and the limit of the answer are the user's."""
    asked = request_of(TILEWISE_TEMPERATURE="0.7", TILEWISE_MAX_TOKENS="300")
    assert (asked["temperature"], asked["max_tokens"]) == (0.7, 300)


USAGE = {"prompt_tokens": 700, "completion_tokens": 70, "total_tokens": 770}


def chunk(delta, finish=None, usage=None):
    """One event of a streamed answer."""
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "cmpl-9", "model": "maker/model-2", "choices": choices, "usage": usage}


PARTS = [chunk({"content": part}) for part in ('{"capt', 'ion": "A ', 'gate"}')]
THOUGHTS = [chunk({"reasoning": "hm {"}), chunk({"reasoning_content": "} hm", "content": None})]
TRAILING = {"id": "cmpl-9", "model": "maker/model-2", "choices": [], "usage": USAGE}
STREAMS = {
    "usage on the last chunk": [chunk({"role": "assistant", "content": ""}), *PARTS, chunk({}, "stop", USAGE)],
    "usage on a trailing chunk": [*PARTS, chunk({}, "stop"), TRAILING],
    "reasoning before the answer": [*THOUGHTS, *PARTS, chunk({}, "stop", USAGE)],
    "comments and blank events": [": ping", "", *PARTS, chunk({}, "stop", USAGE)],
}


@pytest.mark.parametrize("events", STREAMS.values(), ids=STREAMS)
def test_a_streamed_answer_is_joined_and_billed(workspace, request_of, replies, events):
    """Wherever its usage stands, and without its thoughts."""
    asked = request_of(replies.events(*events), TILEWISE_STREAM="1")
    row = workspace.only("calls")
    assert (asked["stream"], asked["stream_options"]) == (True, {"include_usage": True})
    assert workspace.only("results")["caption"] == "A gate"
    assert (row["prompt_tokens"], row["completion_tokens"], row["billed"]) == (700, 70, "yes")
    assert (row["finish_reason"], row["model_returned"]) == ("stop", "maker/model-2")


def test_a_stream_that_ends_early_is_not_taken_for_an_answer(workspace, serve, replies):
    """Half an answer is a truncated one, and nobody knows what it cost."""
    server = serve(replies.events(*PARTS[:2]), replies.events(*STREAMS["usage on the last chunk"]))
    ended = workspace.run(*RUN, env={"TILEWISE_BASE_URL": server.url, "TILEWISE_STREAM": "1"})
    assert ended.exit_code == 0
    calls = workspace.table("calls").sort("attempt").to_dicts()
    assert [(each["outcome"], each["billed"]) for each in calls] == [("truncated", "unknown"), ("accepted", "yes")]
