"""Faults on purpose, as a client sees them, through the app: refusals, errors, and answers that are no good.

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
WHOLE = [kind for kind in KINDS if kind not in {"reset", "stall", "drip"}]  # kinds whose reply has an end
ANSWER = {"company": "echo", "total": 1}


@pytest.fixture
def toml(tmp_path):
    """Write a file of faults."""

    def write(text="", seed=7, options="", **shares):
        path = tmp_path / "faults.toml"
        lines = [f"{kind} = {share}" for kind, share in shares.items()]
        made = "\n".join([f"seed = {seed}", "[shares]", *lines, "[options]", options])
        path.write_text(text or made)
        return path

    return write


def client(path):
    app = create_app(EchoReader(), faults=read_faults(path))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x")


async def parse_request(http, **more):
    body = {"messages": [{"role": "user", "content": "Read it."}], **more}
    if "tools" not in body:
        body["response_format"] = FORMAT
    return await http.post("/v1/chat/completions", json=body)


class Seen:
    """A reply as a client reads it, streamed or not."""

    def __init__(self, reply):
        self.reply = reply
        texts = [text.removeprefix("data: ") for text in reply.text.split("\n\n") if text.startswith("data: {")]
        self.parts = [orjson.loads(text) for text in texts] or [self._loaded(reply.text)]
        choices = [part["choices"][0] for part in self.parts if "choices" in part]
        messages = [choice.get("message") or choice["delta"] for choice in choices]
        said = [message["content"] for message in messages if message.get("content") is not None]
        calls = [call["function"]["arguments"] for message in messages for call in message.get("tool_calls", [])]
        self.choices = choices
        self.text = "".join(calls or said) if calls or any(said) else None
        self.finish = choices[-1]["finish_reason"] if choices else None
        self.usage = self.parts[-1].get("usage")

    @staticmethod
    def _loaded(text):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return {}

    @property
    def kind(self):
        """The kind of fault that this must be."""
        status = {429: "rate_limited", 500: "server_error", 503: "capacity"}
        if self.reply.status_code != 200:
            return status[self.reply.status_code]
        if not self.choices:
            return "error_body" if "error" in self.parts[0] else "html"
        return "truncated" if self.finish == "length" else self._content()

    def _content(self):
        if self.text is None:
            return "empty"
        value = self._loaded(self.text)
        if value == ANSWER:
            return "no_usage" if self.usage is None else "answered"
        if value:
            return "off_schema"
        if "```json" in self.text:
            return "fenced"
        return "truncated" if self.text.startswith("{") else "prose"


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"tools": TOOLS}, {"tools": TOOLS, "stream": True}], ids=str)
@pytest.mark.parametrize("kind", WHOLE)
async def test_every_kind_that_ends_is_seen(toml, kind, more):
    """In plain and streaming requests, with a format or a tool; and the server counts what the client saw."""
    async with client(toml(**{kind: 1})) as http:
        seen = [Seen(await parse_request(http, **more)) for _ in range(12)]
        state = (await http.get("/rehearsal")).json()
    assert [each.kind for each in seen] == [kind] * 12
    assert state["kinds"] == {kind: 12}


async def test_counts_and_tokens_equal_what_the_client_saw(toml):
    """By kind, and in the sum of `usage`; an answer without `usage` is billed like its like."""
    async with client(toml(**dict.fromkeys(WHOLE, 0.08))) as http:
        seen = [Seen(await parse_request(http)) for _ in range(400)]
        state = (await http.get("/rehearsal")).json()
    answered = next(each.usage for each in seen if each.kind == "answered")
    usages = [each.usage or answered for each in seen if each.usage or each.kind == "no_usage"]
    assert Counter(each.kind for each in seen) == state["kinds"]
    assert set(state["kinds"]) == {*WHOLE, "answered"}
    assert state["requests"] == 400
    assert state["prompt_tokens"] == sum(usage["prompt_tokens"] for usage in usages)
    assert state["completion_tokens"] == sum(usage["completion_tokens"] for usage in usages)


async def test_same_seed_same_faults(toml):
    """In the order in which requests arrive; another seed gives others."""
    shares = dict.fromkeys(WHOLE, 0.08)
    runs = []
    for seed in (7, 7, 8):
        async with client(toml(seed=seed, **shares)) as http:
            runs.append([(await parse_request(http)).content.partition(b'"created"')[2] for _ in range(60)])
    bodies = [[re.sub(rb":\d{10},", b"", body) for body in run] for run in runs]
    assert bodies[0] == bodies[1]
    assert bodies[0] != bodies[2]


def test_shares_are_kept(toml):
    """Within what chance allows."""
    source = iter_draws(read_faults(toml(server_error=0.1, reset=0.02)))
    counts = Counter(next(source).kind for _ in range(20_000))
    assert counts["server_error"] == pytest.approx(2000, abs=150)
    assert counts["reset"] == pytest.approx(400, abs=80)
    assert counts["answered"] == pytest.approx(17_600, abs=200)


async def test_a_request_above_the_limit_draws_nothing(toml):
    """The faults of the requests that pass stay the same ones."""
    path = toml(server_error=0.5)
    app = create_app(EchoReader(), faults=read_faults(path), rpm=60, clock=lambda: 0.0)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        limited = [(await parse_request(http)).status_code for _ in range(4)]
        await http.put("/rehearsal", json={"rpm": None})
        later = [(await parse_request(http)).status_code for _ in range(10)]
    source = iter_draws(read_faults(path))
    drawn = [500 if next(source).kind == "server_error" else 200 for _ in range(12)]
    assert limited[2:] == [429, 429]
    assert limited[:2] + later == drawn


@pytest.mark.parametrize(("kind", "status"), [("rate_limited", 429), ("capacity", 503)])
async def test_retry_after_is_as_asked(toml, kind, status):
    """A fraction of a second may be told; capacity sometimes tells nothing."""
    async with client(toml(**{kind: 1}, options="retry_after = 0.25")) as http:
        replies = [await parse_request(http) for _ in range(20)]
    told = {reply.headers.get("retry-after") for reply in replies}
    assert {reply.status_code for reply in replies} == {status}
    assert told == ({"0.25"} if kind == "rate_limited" else {"0.25", None})


async def test_a_rate_refusal_has_its_type_in_any_of_three_places(toml):
    """As error type, as error code, or beside the error."""
    async with client(toml(rate_limited=1)) as http:
        bodies = [(await parse_request(http)).json() for _ in range(40)]
    places = {(b["error"].get("type"), b["error"].get("code"), b.get("error_type")) for b in bodies}
    assert places == {
        ("dynamic_request_limited", None, None),
        ("rate_limit", "dynamic_request_limited", None),
        (None, None, "dynamic_request_limited"),
        ("dynamic_token_limited", None, None),
    }


async def test_a_server_error_comes_in_json_html_and_text(toml):
    """The proxy in front speaks too."""
    async with client(toml(server_error=1)) as http:
        types = {(await parse_request(http)).headers["content-type"].partition(";")[0] for _ in range(30)}
    assert types == {"application/json", "text/html", "text/plain"}


async def test_truncated_json_ends_with_length_and_sometimes_with_stop(toml):
    """Neither can be parsed, and what was said is billed."""
    async with client(toml(truncated=1)) as http:
        seen = [Seen(await parse_request(http)) for _ in range(30)]
    parsed = []
    for each in seen:
        with contextlib.suppress(json.JSONDecodeError):
            parsed.append(json.loads(each.text))
    assert {each.finish for each in seen} == {"length", "stop"}
    assert parsed == []
    assert all(each.usage["completion_tokens"] == -(-len(each.text) // 4) for each in seen)


async def test_off_schema_is_an_object_of_wrong_values_or_no_object(toml):
    """JSON either way, and no value has the type that was asked for."""
    async with client(toml(off_schema=1)) as http:
        values = [json.loads(Seen(await parse_request(http)).text) for _ in range(20)]
    assert {json.dumps(value) for value in values} == {
        '{"company": [["echo"]], "total": [[1]]}',
        '["company", "total"]',
    }


async def test_a_fenced_answer_is_good_once_the_thought_is_taken_off(toml):
    """The thought holds a lure that looks like JSON."""
    async with client(toml(fenced=1)) as http:
        text = Seen(await parse_request(http)).text
    thought, _, rest = text.partition("</think>")
    (fenced,) = re.findall(r"```json\n(.*?)\n```", rest, re.DOTALL)
    assert "{" in thought
    assert json.loads(fenced) == ANSWER


async def test_what_max_tokens_cut_counts_as_truncated(toml):
    """Whoever cut it."""
    async with client(toml(fenced=0.5)) as http:
        seen = [Seen(await parse_request(http, max_tokens=3)) for _ in range(10)]
        state = (await http.get("/rehearsal")).json()
    assert {each.finish for each in seen} == {"length"}
    assert max(each.usage["completion_tokens"] for each in seen) == 3
    assert state["kinds"] == {"truncated": 10}


@pytest.mark.parametrize(
    ("text", "says"),
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
def test_a_bad_file_is_refused_by_its_name_and_key(toml, text, says):
    """In one line."""
    path = toml(text)
    with pytest.raises(EndpointError) as raised:
        read_faults(path)
    assert str(raised.value).startswith(f"{path}: {says}")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_refused_by_its_name(tmp_path):
    """It is not taken for one without faults."""
    with pytest.raises(EndpointError, match=r"none\.toml: no such file or directory"):
        read_faults(tmp_path / "none.toml")


def test_shares_that_fill_the_whole_are_taken(toml):
    """Rounding is no reason to refuse."""
    assert sum(read_faults(toml(**dict.fromkeys(KINDS[:10], 0.1))).shares.model_dump().values()) == pytest.approx(1)
