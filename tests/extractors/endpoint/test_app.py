"""app.py, chat.py and `extractors.endpoint.chat_response`: requests, responses, streams, bills and errors, with the echo reader.

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
from extractors.endpoint.refusal import Refusal

pytestmark = pytest.mark.anyio

PRICE = {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "price", "schema": PRICE, "strict": True}}


def data_url(width=600, height=400, kind="PNG"):
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(stream, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def request(*urls, text="Read it.", **more):
    blocks = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {
        "model": "some/model",
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}, *blocks]}],
        **more,
    }


def client(reader=None, **options):
    app = create_app(reader or EchoReader(), **options)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://x/v1")


async def parse_request(body, reader=None, **options):
    async with client(reader, **options) as http:
        if isinstance(body, bytes):
            return await http.post("/chat/completions", content=body)
        return await http.post("/chat/completions", json=body)


async def answer(body, **options):
    reply = await parse_request(body, **options)
    assert reply.status_code == 200, reply.text
    return reply.json()


class Failing:
    """A reader that is always too busy."""

    model = "offline/failing"

    async def answer(self, ask):
        """Refuse."""
        raise Refusal("overloaded", status=503, code="overloaded")


async def test_reply_has_the_documented_shape():
    """Any model id is taken, and the reply says who answered."""
    reply = await answer(request(data_url(), response_format=FORMAT))
    assert reply["model"] == "offline/echo"
    assert reply["object"] == "chat.completion"
    assert reply["choices"][0]["message"]["role"] == "assistant"
    assert orjson.loads(reply["choices"][0]["message"]["content"]) == {"price": 1}
    assert reply["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(("rule", "tokens"), [("formula", 1601), ("table", 3202), ("flat:7", 7)])
async def test_every_image_is_billed_by_the_rule(rule, tokens):
    """Prompt tokens are the rule's for each image as sent, and a quarter of the text's bytes."""
    reply = await answer(request(data_url(640, 480), data_url(640, 480), text="ü" * 8), bill=rule)
    assert reply["usage"]["prompt_tokens"] == 2 * tokens + 4


async def test_system_text_is_billed_too():
    """The text of every message counts."""
    body = request(data_url(100, 100), text="1234")
    body["messages"].insert(0, {"role": "system", "content": "12345678"})
    assert (await answer(body))["usage"]["prompt_tokens"] == 1601 + 3


async def test_a_header_beyond_the_first_bytes_is_found():
    """A picture whose size stands late in its bytes is billed like any other."""
    stream = io.BytesIO()
    Image.new("RGB", (700, 500)).save(stream, "JPEG", comment=b"x" * 60_000, icc_profile=b"p" * 60_000)
    url = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
    assert (await answer(request(url), bill="table"))["usage"]["prompt_tokens"] == 3202 + 2


@pytest.mark.parametrize(
    "response_format",
    [
        FORMAT,
        {"type": "json_schema", "schema": PRICE},
        {"type": "json_object", "schema": PRICE},
    ],
)
async def test_schema_is_found_in_both_forms_of_the_format(response_format):
    """Newer and older clients put the schema in different places."""
    reply = await answer(request(data_url(), response_format=response_format))
    assert orjson.loads(reply["choices"][0]["message"]["content"]) == {"price": 1}


async def test_schema_is_found_in_the_prompt():
    """Where the request has no field for the schema, the one that the prompt shows is filled."""
    text = f"Answer only in {{JSON}} of this schema: {orjson.dumps(PRICE).decode()} Thank you."
    reply = await answer(request(data_url(), text=text))
    assert orjson.loads(reply["choices"][0]["message"]["content"]) == {"price": 1}


async def test_a_tool_is_answered_as_a_call():
    """Arguments are a JSON string, and there is no content."""
    tools = [{"type": "function", "function": {"name": "save", "parameters": PRICE}}]
    choice = (await answer(request(data_url(), tools=tools)))["choices"][0]
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "save", "arguments": '{"price":1}'}
    assert choice["finish_reason"] == "tool_calls"


async def test_without_a_schema_the_answer_is_text():
    """No schema, no JSON."""
    assert (await answer(request(data_url())))["choices"][0]["message"]["content"] == "echo"


async def test_max_tokens_cuts_the_answer():
    """A longer answer ends with the finish reason that says so, and is billed as far as it got."""
    reply = await answer(request(data_url(), response_format=FORMAT, max_tokens=2))
    assert reply["choices"][0]["message"]["content"] == '{"price"'
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 2


async def test_stream_has_usage_on_its_last_chunk():
    """The pieces make the whole answer; usage comes with the finish reason; then the stream is done."""
    reply = await parse_request(request(data_url(), response_format=FORMAT, stream=True))
    assert reply.headers["content-type"].startswith("text/event-stream")
    *events, done = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    chunks = [orjson.loads(event) for event in events]
    assert done == "[DONE]"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == '{"price":1}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["total_tokens"] == 1601 + 2 + 3
    assert {bool(chunk["usage"]) for chunk in chunks[:-1]} == {False}


async def test_a_streamed_tool_call_is_put_together_by_its_pieces():
    """The name comes once, the arguments in pieces."""
    schema = {"type": "object", "properties": {f"field_{number}": {"type": "string"} for number in range(30)}}
    tools = [{"type": "function", "function": {"name": "save", "parameters": schema}}]
    reply = await parse_request(request(data_url(), tools=tools, stream=True))
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
    ("body", "says"),
    [
        (b'{"messages": [', "not JSON"),
        (b'{"model": "x"}', "messages"),
        (b'{"messages": []}', "messages"),
        (b"[]", "the body"),
        (request("https://example.com/a.png"), "this endpoint reads data URLs only"),
        (request("data:image/png;base64,SECRETSECRET"), "not a readable"),
        (request("data:image/png,SECRETSECRET"), "base64"),
        (request(data_url(kind="GIF")), "not a readable"),
        (request(data_url(), max_tokens=0), "max_tokens"),
    ],
)
async def test_what_cannot_be_answered_is_refused_for_good(body, says):
    """A bad request or image is a 400 with the documented body, which never repeats what was sent."""
    reply = await parse_request(body)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert says in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert "SECRET" not in reply.text


async def test_content_other_than_images_is_refused():
    """A video is not read here."""
    body = request()
    body["messages"][0]["content"].append({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}})
    assert (await parse_request(body)).status_code == 400


async def test_overload_says_so():
    """A reader that is full is a 503 of the documented type."""
    reply = await parse_request(request(data_url()), reader=Failing())
    assert reply.status_code == 503
    assert reply.json()["error"]["type"] == "service_unavailable"


async def test_other_paths_are_not_served():
    """An unknown path is a 404 with the documented body."""
    async with client() as http:
        reply = await http.get("/embeddings")
    assert reply.status_code == 404
    assert reply.json()["error"]["type"] == "not_found_error"


async def test_models_are_a_bare_array_with_prices():
    """As the API lists them; this one is free."""
    async with client() as http:
        models = (await http.get("/models")).json()
    assert [model["id"] for model in models] == ["offline/echo"]
    assert (models[0]["pricing"]["input"], models[0]["pricing"]["output"]) == (0, 0)


async def test_latency_is_the_least_that_an_answer_takes():
    """Each answer waits, and answers wait side by side."""
    clock = asyncio.get_running_loop().time
    started = clock()
    await asyncio.gather(*(parse_request(request(data_url()), latency=0.2) for _ in range(5)))
    assert 0.2 <= clock() - started < 0.8


def test_an_unknown_rule_is_refused_at_the_start():
    """A bad rule's name stops the app before it listens."""
    with pytest.raises(ValueError, match="formula"):
        create_app(EchoReader(), bill="formular")


def join(logprobs):
    """The text of the tokens, in both forms."""
    if "content" in logprobs:
        return b"".join(bytes(each["bytes"]) for each in logprobs["content"]).decode()
    return "".join(logprobs["tokens"])


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ({"logprobs": True}, {"content", "refusal"}),
        ({"logprobs": 1}, {"tokens", "token_ids", "token_logprobs", "top_logprobs"}),
    ],
)
@pytest.mark.parametrize("tool", [False, True])
async def test_log_probabilities_come_in_the_form_that_is_asked_for(asked, keys, tool):
    """Plain or streamed; the tokens of the choice are its content or the arguments of its call."""
    tools = [{"type": "function", "function": {"name": "price", "parameters": PRICE}}]
    body = request(data_url(), **asked, **({"tools": tools} if tool else {"response_format": FORMAT}))
    plain = (await answer(body))["choices"][0]
    assert set(plain["logprobs"]) == keys
    assert join(plain["logprobs"]) == '{"price":1}'
    reply = await parse_request({**body, "stream": True})
    events = [orjson.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    parts = [each["choices"][0]["logprobs"] for each in events if "logprobs" in each["choices"][0]]
    assert "".join(map(join, parts)) == '{"price":1}'
    without = await answer({key: value for key, value in body.items() if key != "logprobs"})
    assert without["choices"][0]["logprobs"] is None
    assert without["choices"][0]["message"] == plain["message"]


@pytest.mark.parametrize("value", [21, -1, "true", 0.5])
async def test_wrong_number_of_log_probabilities_is_refused(value):
    reply = await parse_request(request(data_url(), logprobs=value))
    assert (reply.status_code, reply.json()["error"]["param"].startswith("logprobs")) == (400, True)


async def test_log_probabilities_can_be_refused():
    """As servers do for some models; other requests are answered."""
    faults = Faults.model_validate({"options": {"refuse_logprobs": True}})
    reply = await parse_request(request(data_url(), logprobs=True), faults=faults)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "logprobs")
    assert (await parse_request(request(data_url()), faults=faults)).status_code == 200
