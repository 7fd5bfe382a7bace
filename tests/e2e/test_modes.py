"""The request that is sent: answer modes, streaming, and differences between servers."""

import pytest

RUN = ("run", "in", "--schema", "caption", "--bill", "formula")


@pytest.fixture(autouse=True)
def one_image(workspace):
    """A workspace with one image."""
    workspace.with_images("a.jpg")


@pytest.fixture
def send_request(workspace, serve, replies):
    """Runs with these settings, and returns the only request."""

    def run(answer=None, **env):
        server = serve(answer or replies.ok())
        result = workspace.run(*RUN, env={"TILEWISE_BASE_URL": server.url, **env})
        assert result.exit_code == 0, result.output
        [request] = server.asked
        return request

    return run


@pytest.mark.parametrize("mode", ["json_schema", "json_object", "tools", "prompt"])
@pytest.mark.parametrize("stream", ["0", "1"])
def test_endpoint_answers_every_mode(workspace, echo, mode, stream):
    """Plain or streamed, the answer is published, and the token estimate is exact."""
    result = workspace.run(*RUN, env={"TILEWISE_BASE_URL": echo, "TILEWISE_MODE": mode, "TILEWISE_STREAM": stream})
    assert result.exit_code == 0
    assert workspace.only("results")["caption"] == "echo"
    assert workspace.only("runs")["residual_tokens"] == 0


def test_constant_text_precedes_the_image(send_request):
    """A server can then cache the prompt with its schema as a prefix."""
    system, user = send_request()["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert '"caption"' in system["content"]
    assert [block["type"] for block in user["content"]] == ["text", "image_url"]
    assert user["content"][1]["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")


def test_request_defaults(send_request):
    request = send_request()
    assert (request["model"], request["temperature"], request["stream"]) == ("maker/model", 0, False)
    assert request["max_tokens"] == 2048
    assert "stream_options" not in request
    assert "tools" not in request


def test_json_schema_mode_sends_the_schema_in_both_forms(send_request):
    """Strict, with every property required and no others allowed; and at the top level, for servers that need that."""
    form = send_request()["response_format"]
    schema = form["json_schema"]["schema"]
    assert (form["type"], form["json_schema"]["name"], form["json_schema"]["strict"]) == (
        "json_schema",
        "caption",
        True,
    )
    assert schema["required"] == list(schema["properties"]) == ["caption", "alt_text", "tags"]
    assert schema["additionalProperties"] is False
    assert form["schema"] == schema


def test_json_object_mode_sends_schema_in_prompt(send_request):
    request = send_request(TILEWISE_MODE="json_object")
    assert request["response_format"] == {"type": "json_object"}
    assert '"alt_text"' in request["messages"][0]["content"]


def test_prompt_mode_sends_neither_response_format_nor_tools(send_request):
    request = send_request(TILEWISE_MODE="prompt")
    assert not {"response_format", "tools", "tool_choice"} & set(request)
    assert '"alt_text"' in request["messages"][0]["content"]


def test_tools_mode_requires_one_call_and_reads_its_arguments(workspace, send_request, replies):
    """The answer is the JSON text in the arguments; the content is null."""
    call = {"id": "call_1", "type": "function", "function": {"name": "caption", "arguments": '{"caption": "A door"}'}}
    request = send_request(replies.ok(None, finish="tool_calls", tool_calls=[call]), TILEWISE_MODE="tools")
    [tool] = request["tools"]
    assert (tool["type"], tool["function"]["name"]) == ("function", "caption")
    assert list(tool["function"]["parameters"]["properties"]) == ["caption", "alt_text", "tags"]
    assert request["tool_choice"] == {"type": "function", "function": {"name": "caption"}}
    assert "response_format" not in request
    assert workspace.only("results")["caption"] == "A door"


@pytest.mark.parametrize(
    ("profile", "sent"),
    [
        ("together", {"reasoning": {"enabled": False}}),
        ("vllm", {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
        ("openai", {"max_completion_tokens": 2048}),
    ],
)
def test_profile_decides_how_reasoning_is_turned_off(send_request, profile, sent):
    request = send_request(TILEWISE_PROFILE=profile)
    assert request | sent == request
    assert ("max_tokens" in request) == (profile != "openai")


def test_reasoning_on_sends_no_reasoning_parameter(send_request):
    assert "reasoning" not in send_request(TILEWISE_PROFILE="together", TILEWISE_REASONING="on")


def test_temperature_and_max_tokens_are_sent(send_request):
    request = send_request(TILEWISE_TEMPERATURE="0.7", TILEWISE_MAX_TOKENS="300")
    assert (request["temperature"], request["max_tokens"]) == (0.7, 300)


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
def test_streamed_answer_is_joined_and_billed(workspace, send_request, replies, events):
    """Reasoning is left out, and the usage is found on any chunk."""
    request = send_request(replies.events(*events), TILEWISE_STREAM="1")
    row = workspace.only("calls")
    assert (request["stream"], request["stream_options"]) == (True, {"include_usage": True})
    assert workspace.only("results")["caption"] == "A gate"
    assert (row["prompt_tokens"], row["completion_tokens"], row["billed"]) == (700, 70, "yes")
    assert (row["finish_reason"], row["model_returned"]) == ("stop", "maker/model-2")


def test_interrupted_stream_is_truncated_and_retried(workspace, serve, replies):
    """The billing of the interrupted call is unknown."""
    server = serve(replies.events(*PARTS[:2]), replies.events(*STREAMS["usage on the last chunk"]))
    result = workspace.run(*RUN, env={"TILEWISE_BASE_URL": server.url, "TILEWISE_STREAM": "1"})
    assert result.exit_code == 0
    calls = workspace.table("calls").sort("attempt").to_dicts()
    assert [(call["outcome"], call["billed"]) for call in calls] == [("truncated", "unknown"), ("accepted", "yes")]
