"""app.py, chat.py and `extractors.endpoint.chat_response`: requests, responses, streams, bills and errors of the echo reader.

Covers `extractors.endpoint.chat` and `extractors.endpoint.chat_response`, too.
"""

import asyncio
import base64
import io

import httpx
import orjson
import pytest
from PIL import Image

from extractors.endpoint.app import create_app
from extractors.endpoint.faults.spec import Faults
from extractors.endpoint.readers import EchoReader
from extractors.endpoint.refusal import RequestError

pytestmark = pytest.mark.anyio

PRICE = {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "price", "schema": PRICE, "strict": True}}


def build_data_url(width=600, height=400, kind="PNG"):
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(stream, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def build_body(*urls, text="Read it.", **more):
    blocks = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {
        "model": "some/model",
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}, *blocks]}],
        **more,
    }


def open_client(reader=None, **options):
    app = create_app(reader or EchoReader(), **options)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://x/v1")


async def post(body, reader=None, **options):
    async with open_client(reader, **options) as http:
        if isinstance(body, bytes):
            return await http.post("/chat/completions", content=body)
        return await http.post("/chat/completions", json=body)


async def post_and_parse(body, **options):
    reply = await post(body, **options)
    assert reply.status_code == 200, reply.text
    return reply.json()


class OverloadedReader:
    """A reader that is always overloaded."""

    model = "offline/failing"

    async def answer(self, ask):
        raise RequestError("overloaded", status=503, code="overloaded")


async def test_reply_has_the_documented_shape():
    """Any model id is accepted, and the reply names the reader's model."""
    reply = await post_and_parse(build_body(build_data_url(), response_format=FORMAT))
    assert reply["model"] == "offline/echo"
    assert reply["object"] == "chat.completion"
    assert reply["choices"][0]["message"]["role"] == "assistant"
    assert orjson.loads(reply["choices"][0]["message"]["content"]) == {"price": 1}
    assert reply["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(("rule", "tokens"), [("formula", 1601), ("table", 3202), ("flat:7", 7)])
async def test_usage_bills_every_image_by_the_rule(rule, tokens):
    """Prompt tokens are the rule's tokens of each image as sent, and a quarter of the text's bytes."""
    reply = await post_and_parse(
        build_body(build_data_url(640, 480), build_data_url(640, 480), text="ü" * 8), bill=rule
    )
    assert reply["usage"]["prompt_tokens"] == 2 * tokens + 4


async def test_usage_bills_the_text_of_every_message():
    body = build_body(build_data_url(100, 100), text="1234")
    body["messages"].insert(0, {"role": "system", "content": "12345678"})
    assert (await post_and_parse(body))["usage"]["prompt_tokens"] == 1601 + 3


async def test_usage_bills_an_image_whose_size_stands_late_in_its_bytes():
    stream = io.BytesIO()
    Image.new("RGB", (700, 500)).save(stream, "JPEG", comment=b"x" * 60_000, icc_profile=b"p" * 60_000)
    url = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
    assert (await post_and_parse(build_body(url), bill="table"))["usage"]["prompt_tokens"] == 3202 + 2


@pytest.mark.parametrize(
    "response_format",
    [
        FORMAT,
        {"type": "json_schema", "schema": PRICE},
        {"type": "json_object", "schema": PRICE},
    ],
)
async def test_schema_is_read_from_each_form_of_response_format(response_format):
    """Newer and older clients put the schema in different places."""
    reply = await post_and_parse(build_body(build_data_url(), response_format=response_format))
    assert orjson.loads(reply["choices"][0]["message"]["content"]) == {"price": 1}


async def test_schema_is_read_from_the_prompt():
    """A request without a schema field is answered by the schema in its prompt."""
    text = f"Answer only in {{JSON}} of this schema: {orjson.dumps(PRICE).decode()} Thank you."
    reply = await post_and_parse(build_body(build_data_url(), text=text))
    assert orjson.loads(reply["choices"][0]["message"]["content"]) == {"price": 1}


async def test_tool_is_answered_by_a_call():
    """Arguments are a JSON string, and there is no content."""
    tools = [{"type": "function", "function": {"name": "save", "parameters": PRICE}}]
    choice = (await post_and_parse(build_body(build_data_url(), tools=tools)))["choices"][0]
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "save", "arguments": '{"price":1}'}
    assert choice["finish_reason"] == "tool_calls"


async def test_answer_without_a_schema_is_text():
    assert (await post_and_parse(build_body(build_data_url())))["choices"][0]["message"]["content"] == "echo"


async def test_max_tokens_cuts_the_answer():
    """A longer answer has the finish reason `length` and is billed up to the cut."""
    reply = await post_and_parse(build_body(build_data_url(), response_format=FORMAT, max_tokens=2))
    assert reply["choices"][0]["message"]["content"] == '{"price"'
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 2


async def test_stream_has_usage_on_its_last_chunk():
    """The chunks join to the answer; the last one has usage and finish reason; then the stream is done."""
    reply = await post(build_body(build_data_url(), response_format=FORMAT, stream=True))
    assert reply.headers["content-type"].startswith("text/event-stream")
    *events, done = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    chunks = [orjson.loads(event) for event in events]
    assert done == "[DONE]"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == '{"price":1}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["total_tokens"] == 1601 + 2 + 3
    assert {bool(chunk["usage"]) for chunk in chunks[:-1]} == {False}


async def test_stream_sends_a_tool_call_in_pieces():
    """The name comes once, the arguments in pieces."""
    schema = {"type": "object", "properties": {f"field_{number}": {"type": "string"} for number in range(30)}}
    tools = [{"type": "function", "function": {"name": "save", "parameters": schema}}]
    reply = await post(build_body(build_data_url(), tools=tools, stream=True))
    events = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line.startswith("data: {")]
    calls = [
        call["function"]
        for event in events
        for call in orjson.loads(event)["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert [call["name"] for call in calls if "name" in call] == ["save"]
    assert len(calls) > 1
    assert len(orjson.loads("".join(call["arguments"] for call in calls))) == 30


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"messages": [', "not JSON"),
        (b'{"model": "x"}', "messages"),
        (b'{"messages": []}', "messages"),
        (b"[]", "the body"),
        (build_body("https://example.com/a.png"), "this endpoint reads data URLs only"),
        (build_body("data:image/png;base64,SECRETSECRET"), "not a readable"),
        (build_body("data:image/png,SECRETSECRET"), "base64"),
        (build_body(build_data_url(kind="GIF")), "not a readable"),
        (build_body(build_data_url(), max_tokens=0), "max_tokens"),
    ],
)
async def test_bad_request_is_answered_with_400(body, message):
    """The body is the documented one and never repeats the request's data."""
    reply = await post(body)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert message in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert "SECRET" not in reply.text


async def test_video_is_answered_with_400():
    body = build_body()
    body["messages"][0]["content"].append({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}})
    assert (await post(body)).status_code == 400


async def test_overloaded_reader_is_answered_with_503():
    """The error has the documented type."""
    reply = await post(build_body(build_data_url()), reader=OverloadedReader())
    assert reply.status_code == 503
    assert reply.json()["error"]["type"] == "service_unavailable"


async def test_unknown_path_is_answered_with_404():
    """The body is the documented one."""
    async with open_client() as http:
        reply = await http.get("/embeddings")
    assert reply.status_code == 404
    assert reply.json()["error"]["type"] == "not_found_error"


async def test_models_are_a_bare_array_with_prices():
    """The route lists them as the API does; this model is free."""
    async with open_client() as http:
        models = (await http.get("/models")).json()
    assert [model["id"] for model in models] == ["offline/echo"]
    assert (models[0]["pricing"]["input"], models[0]["pricing"]["output"]) == (0, 0)


def test_latency_delays_each_answer(loop):
    """Answers wait in parallel."""
    bodies = [build_body(build_data_url()) for _ in range(5)]
    loop.run_until_complete(asyncio.wait([loop.create_task(post(body, latency=0.2)) for body in bodies]))
    assert loop.time() == pytest.approx(0.2)


def test_app_refuses_an_unknown_bill_rule_at_its_start():
    with pytest.raises(ValueError, match="formula"):
        create_app(EchoReader(), bill="formular")


def join_tokens(logprobs):
    """Join the text of the tokens, in both forms."""
    if "content" in logprobs:
        return b"".join(bytes(token["bytes"]) for token in logprobs["content"]).decode()
    return "".join(logprobs["tokens"])


@pytest.mark.parametrize(
    ("option", "keys"),
    [
        ({"logprobs": True}, {"content", "refusal"}),
        ({"logprobs": 1}, {"tokens", "token_ids", "token_logprobs", "top_logprobs"}),
    ],
)
@pytest.mark.parametrize("tool", [False, True])
async def test_logprobs_have_the_requested_form(option, keys, tool):
    """Plain or streamed, the tokens are those of the content or of the call's arguments."""
    tools = [{"type": "function", "function": {"name": "price", "parameters": PRICE}}]
    body = build_body(build_data_url(), **option, **({"tools": tools} if tool else {"response_format": FORMAT}))
    plain = (await post_and_parse(body))["choices"][0]
    assert set(plain["logprobs"]) == keys
    assert join_tokens(plain["logprobs"]) == '{"price":1}'
    reply = await post({**body, "stream": True})
    events = [orjson.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    parts = [event["choices"][0]["logprobs"] for event in events if "logprobs" in event["choices"][0]]
    assert "".join(map(join_tokens, parts)) == '{"price":1}'
    without = await post_and_parse({key: value for key, value in body.items() if key != "logprobs"})
    assert without["choices"][0]["logprobs"] is None
    assert without["choices"][0]["message"] == plain["message"]


@pytest.mark.parametrize("value", [21, -1, "true", 0.5])
async def test_invalid_number_of_logprobs_is_answered_with_400(value):
    reply = await post(build_body(build_data_url(), logprobs=value))
    assert (reply.status_code, reply.json()["error"]["param"].startswith("logprobs")) == (400, True)


async def test_refuse_logprobs_refuses_only_requests_for_logprobs():
    """Some servers refuse log probabilities for some models."""
    faults = Faults.model_validate({"options": {"refuse_logprobs": True}})
    reply = await post(build_body(build_data_url(), logprobs=True), faults=faults)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "logprobs")
    assert (await post(build_body(build_data_url()), faults=faults)).status_code == 200
