"""responses.py: faults as a client receives them from the app: refusals, errors, and corrupt answers.

Covers `extractors.endpoint.faults.corrupt`, too.
"""

import contextlib
import json
import re
from collections import Counter

import httpx
import orjson
import pytest

from extractors.endpoint.app import create_app
from extractors.endpoint.extra import EndpointError
from extractors.endpoint.faults.spec import KINDS, iter_draws, read_faults
from extractors.endpoint.readers import EchoReader

pytestmark = pytest.mark.anyio

SCHEMA = {
    "type": "object",
    "properties": {"company": {"type": "string"}, "total": {"type": "number"}},
    "required": ["company", "total"],
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "receipt", "schema": SCHEMA}}
TOOLS = [{"type": "function", "function": {"name": "save", "parameters": SCHEMA}}]
COMPLETE = [kind for kind in KINDS if kind not in {"reset", "stall", "drip"}]  # kinds whose response ends
ANSWER = {"company": "echo", "total": 1}


@pytest.fixture
def write_faults(tmp_path):
    """Write a file of faults."""

    def write(text="", seed=7, options="", **shares):
        path = tmp_path / "faults.toml"
        lines = [f"{kind} = {share}" for kind, share in shares.items()]
        generated = "\n".join([f"seed = {seed}", "[shares]", *lines, "[options]", options])
        path.write_text(text or generated)
        return path

    return write


def open_client(path):
    app = create_app(EchoReader(), faults=read_faults(path))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x")


async def post(http, **more):
    body = {"messages": [{"role": "user", "content": "Read it."}], **more}
    if "tools" not in body:
        body["response_format"] = FORMAT
    return await http.post("/v1/chat/completions", json=body)


class ClientReply:
    """A reply as a client reads it, streamed or not."""

    def __init__(self, reply):
        self.reply = reply
        texts = [text.removeprefix("data: ") for text in reply.text.split("\n\n") if text.startswith("data: {")]
        self.events = [orjson.loads(text) for text in texts] or [self._parse(reply.text)]
        choices = [event["choices"][0] for event in self.events if "choices" in event]
        messages = [choice.get("message") or choice["delta"] for choice in choices]
        contents = [message["content"] for message in messages if message.get("content") is not None]
        calls = [call["function"]["arguments"] for message in messages for call in message.get("tool_calls", [])]
        self.choices = choices
        self.text = "".join(calls or contents) if calls or any(contents) else None
        self.finish = choices[-1]["finish_reason"] if choices else None
        self.usage = self.events[-1].get("usage")

    @staticmethod
    def _parse(text):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return {}

    @property
    def kind(self):
        """The kind of fault that the reply shows."""
        status = {429: "rate_limited", 500: "server_error", 503: "capacity"}
        if self.reply.status_code != 200:
            return status[self.reply.status_code]
        if not self.choices:
            return "error_body" if "error" in self.events[0] else "html"
        return "truncated" if self.finish == "length" else self._content()

    def _content(self):
        if self.text is None:
            return "empty"
        value = self._parse(self.text)
        if value == ANSWER:
            return "no_usage" if self.usage is None else "answered"
        if value:
            return "off_schema"
        if "```json" in self.text:
            return "fenced"
        return "truncated" if self.text.startswith("{") else "prose"


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"tools": TOOLS}, {"tools": TOOLS, "stream": True}], ids=str)
@pytest.mark.parametrize("kind", COMPLETE)
async def test_fault_has_its_kind_for_client_and_server(write_faults, kind, more):
    """Requests are plain or streamed, with a format or a tool."""
    async with open_client(write_faults(**{kind: 1})) as http:
        replies = [ClientReply(await post(http, **more)) for _ in range(12)]
        state = (await http.get("/rehearsal")).json()
    assert [reply.kind for reply in replies] == [kind] * 12
    assert state["kinds"] == {kind: 12}


async def test_rehearsal_counts_equal_those_of_the_client(write_faults):
    """Kinds and tokens are compared; an answer without `usage` is billed like an equal answer."""
    async with open_client(write_faults(**dict.fromkeys(COMPLETE, 0.08))) as http:
        replies = [ClientReply(await post(http)) for _ in range(400)]
        state = (await http.get("/rehearsal")).json()
    answered = next(reply.usage for reply in replies if reply.kind == "answered")
    usages = [reply.usage or answered for reply in replies if reply.usage or reply.kind == "no_usage"]
    assert Counter(reply.kind for reply in replies) == state["kinds"]
    assert set(state["kinds"]) == {*COMPLETE, "answered"}
    assert state["requests"] == 400
    assert state["prompt_tokens"] == sum(usage["prompt_tokens"] for usage in usages)
    assert state["completion_tokens"] == sum(usage["completion_tokens"] for usage in usages)


async def test_same_seed_gives_the_same_faults(write_faults):
    """Faults follow the order of requests; another seed gives other faults."""
    shares = dict.fromkeys(COMPLETE, 0.08)
    runs = []
    for seed in (7, 7, 8):
        async with open_client(write_faults(seed=seed, **shares)) as http:
            runs.append([(await post(http)).content.partition(b'"created"')[2] for _ in range(60)])
    bodies = [[re.sub(rb":\d{10},", b"", body) for body in run] for run in runs]
    assert bodies[0] == bodies[1]
    assert bodies[0] != bodies[2]


def test_draws_have_the_configured_shares(write_faults):
    source = iter_draws(read_faults(write_faults(server_error=0.1, reset=0.02)))
    counts = Counter(next(source).kind for _ in range(20_000))
    assert counts["server_error"] == pytest.approx(2000, abs=150)
    assert counts["reset"] == pytest.approx(400, abs=80)
    assert counts["answered"] == pytest.approx(17_600, abs=200)


async def test_rate_limited_request_draws_no_fault(write_faults):
    """The faults of the requests that pass stay the same."""
    path = write_faults(server_error=0.5)
    app = create_app(EchoReader(), faults=read_faults(path), rpm=60, clock=lambda: 0.0)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        limited = [(await post(http)).status_code for _ in range(4)]
        await http.put("/rehearsal", json={"rpm": None})
        later = [(await post(http)).status_code for _ in range(10)]
    source = iter_draws(read_faults(path))
    expected = [500 if next(source).kind == "server_error" else 200 for _ in range(12)]
    assert limited[2:] == [429, 429]
    assert limited[:2] + later == expected


@pytest.mark.parametrize(("kind", "status"), [("rate_limited", 429), ("capacity", 503)])
async def test_retry_after_has_the_configured_seconds(write_faults, kind, status):
    """It may be a fraction of a second; capacity errors sometimes omit it."""
    async with open_client(write_faults(**{kind: 1}, options="retry_after = 0.25")) as http:
        replies = [await post(http) for _ in range(20)]
    seconds = {reply.headers.get("retry-after") for reply in replies}
    assert {reply.status_code for reply in replies} == {status}
    assert seconds == ({"0.25"} if kind == "rate_limited" else {"0.25", None})


async def test_rate_limited_response_has_its_type_in_one_of_three_places(write_faults):
    """It is the error's type, the error's code, or a field beside the error."""
    async with open_client(write_faults(rate_limited=1)) as http:
        bodies = [(await post(http)).json() for _ in range(40)]
    places = {(b["error"].get("type"), b["error"].get("code"), b.get("error_type")) for b in bodies}
    assert places == {
        ("dynamic_request_limited", None, None),
        ("rate_limit", "dynamic_request_limited", None),
        (None, None, "dynamic_request_limited"),
        ("dynamic_token_limited", None, None),
    }


async def test_server_error_is_json_html_or_text(write_faults):
    """A proxy in front answers, too."""
    async with open_client(write_faults(server_error=1)) as http:
        types = {(await post(http)).headers["content-type"].partition(";")[0] for _ in range(30)}
    assert types == {"application/json", "text/html", "text/plain"}


async def test_truncated_answer_finishes_with_length_or_stop(write_faults):
    """Neither can be parsed, and both are billed up to the cut."""
    async with open_client(write_faults(truncated=1)) as http:
        replies = [ClientReply(await post(http)) for _ in range(30)]
    parsed = []
    for reply in replies:
        with contextlib.suppress(json.JSONDecodeError):
            parsed.append(json.loads(reply.text))
    assert {reply.finish for reply in replies} == {"length", "stop"}
    assert parsed == []
    assert all(reply.usage["completion_tokens"] == -(-len(reply.text) // 4) for reply in replies)


async def test_off_schema_answer_is_an_object_of_wrong_types_or_a_list(write_faults):
    async with open_client(write_faults(off_schema=1)) as http:
        values = [json.loads(ClientReply(await post(http)).text) for _ in range(20)]
    assert {json.dumps(value) for value in values} == {
        '{"company": [["echo"]], "total": [[1]]}',
        '["company", "total"]',
    }


async def test_fenced_answer_is_valid_after_its_reasoning_is_removed(write_faults):
    """The reasoning contains text that looks like JSON."""
    async with open_client(write_faults(fenced=1)) as http:
        text = ClientReply(await post(http)).text
    thought, _, rest = text.partition("</think>")
    (fenced,) = re.findall(r"```json\n(.*?)\n```", rest, re.DOTALL)
    assert "{" in thought
    assert json.loads(fenced) == ANSWER


async def test_answer_cut_by_max_tokens_is_counted_as_truncated(write_faults):
    async with open_client(write_faults(fenced=0.5)) as http:
        replies = [ClientReply(await post(http, max_tokens=3)) for _ in range(10)]
        state = (await http.get("/rehearsal")).json()
    assert {reply.finish for reply in replies} == {"length"}
    assert max(reply.usage["completion_tokens"] for reply in replies) == 3
    assert state["kinds"] == {"truncated": 10}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[shares]\nreset = -0.1", "shares.reset: input should be greater than or equal to 0, not -0.1"),
        ("[shares]\nreset = 1.5", "shares.reset: input should be less than or equal to 1, not 1.5"),
        ("[shares]\nreset = nan", "shares.reset: "),
        ("[shares]\nreset = '0.1'", "shares.reset: input should be a valid number, not '0.1'"),
        ("[shares]\nreset = 0.6\nstall = 0.6", "shares: they add up to 1.2, more than 1"),
        ("[shares]\nresets = 0.1", "shares.resets: unknown; known here are rate_limited, server_error, "),
        ("[options]\nstall = 1", "options.stall: unknown; known here are retry_after, stall_seconds, drip_seconds"),
        ("[options]\nstall_seconds = 0", "options.stall_seconds: "),
        ("reset = 0.1", "reset: unknown; known here are seed, shares, options"),
        ("shares = 1", "shares: "),
        ("seed = 'x'", "seed: "),
        ("[shares", "not TOML: "),
    ],
)
def test_read_faults_refuses_an_invalid_file_by_name_and_key(write_faults, text, message):
    """The message has one line."""
    path = write_faults(text)
    with pytest.raises(EndpointError) as raised:
        read_faults(path)
    assert str(raised.value).startswith(f"{path}: {message}")
    assert "\n" not in str(raised.value)


def test_read_faults_refuses_a_missing_file(tmp_path):
    """It is not read as a file without faults."""
    with pytest.raises(EndpointError, match=r"none\.toml: no such file or directory"):
        read_faults(tmp_path / "none.toml")


def test_read_faults_accepts_shares_that_add_up_to_1(write_faults):
    """Rounding errors are tolerated."""
    assert sum(
        read_faults(write_faults(**dict.fromkeys(KINDS[:10], 0.1))).shares.model_dump().values()
    ) == pytest.approx(1)
