"""The limit and the rehearsal's own route: what passes, what is refused, and what can be changed while it runs.

Covers `extractors.endpoint.faults.rehearsal` and `extractors.endpoint.faults.rehearsal`, too.
"""

import asyncio
from pathlib import Path

import httpx
import orjson
import pytest

from extractors.endpoint.app import create_app
from extractors.endpoint.faults.rate_limit import Limit
from extractors.endpoint.readers import EchoReader
from extractors.endpoint.refusal import Refusal
from extractors.endpoint.serve import Options

pytestmark = pytest.mark.anyio

REQUEST = {"model": "some/model", "messages": [{"role": "user", "content": "Say it."}]}


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        """The seconds."""
        return self.now


def client(**options):
    transport = httpx.ASGITransport(create_app(EchoReader(), **options), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://x")


async def parse_request(http, body=REQUEST):
    return await http.post("/v1/chat/completions", json=body)


def count_passed(limit, clock, per_second, seconds):
    """How many of evenly spaced requests pass."""
    count = 0
    for _ in range(round(per_second * seconds)):
        clock.now += 1 / per_second
        count += limit.take()
    return count


@pytest.mark.parametrize("rpm", [30, 600, 1200, 6000, 60_000])
def test_smooth_traffic_at_the_limit_passes_whole(rpm):
    """Nothing is refused at the limit's own pace, up to rounding."""
    clock = Clock()
    assert count_passed(Limit(rpm, clock), clock, rpm / 60, 30) == rpm / 2


@pytest.mark.parametrize("early", [0.5, 0.9])
def test_a_request_that_comes_a_little_early_passes(early):
    """Jitter of less than one step is no burst."""
    clock = Clock()
    limit = Limit(60, clock)
    gaps = [1 - early, 1 + early] * 20
    passes = []
    for gap in gaps:
        clock.now += gap
        passes.append(limit.take())
    assert all(passes)


@pytest.mark.parametrize(("times", "share"), [(1.25, 0.8), (2, 0.5), (10, 0.1)])
def test_above_the_limit_a_sixtieth_of_it_passes_each_second(times, share):
    """However fast the requests come."""
    clock = Clock()
    limit = Limit(1200, clock)
    asked = 20 * times * 60
    assert count_passed(limit, clock, 20 * times, 60) == pytest.approx(asked * share, abs=3)


def test_a_burst_gets_a_tenth_of_a_second():
    """What a quiet minute did not use is not saved up."""
    clock = Clock()
    limit = Limit(6000, clock)
    clock.now += 60
    assert sum(limit.take() for _ in range(100)) == 10


def test_a_new_limit_holds_at_once():
    """Doubled or halved, from the next request on."""
    clock = Clock()
    limit = Limit(1200, clock)
    assert count_passed(limit, clock, 100, 10) == pytest.approx(200, abs=3)
    limit.rpm = 2400
    assert count_passed(limit, clock, 100, 10) == pytest.approx(400, abs=5)
    limit.rpm = 600
    assert count_passed(limit, clock, 100, 10) == pytest.approx(100, abs=3)
    limit.rpm = None
    assert count_passed(limit, clock, 100, 10) == 1000


async def test_a_refused_request_is_told_so_as_documented():
    """429, the type of a dynamic limit, and when to come back."""
    async with client(rpm=1200, clock=Clock()) as http:
        replies = [await parse_request(http) for _ in range(3)]
    refused = replies[-1]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert refused.json()["error"]["code"] == "dynamic_request_limited"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-ratelimit-limit"] == "20"
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert float(refused.headers["x-ratelimit-reset"]) == pytest.approx(0.05)


async def test_limit_and_latency_change_while_it_runs():
    """What a change leaves out stays as it is, and null lifts the limit."""
    async with client(rpm=1200, clock=Clock()) as http:
        doubled = (await http.put("/rehearsal", json={"rpm": 2400})).json()
        slowed = (await http.put("/rehearsal", json={"latency": 0.01})).json()
        lifted = (await http.put("/rehearsal", json={"rpm": None})).json()
        replies = [await parse_request(http) for _ in range(50)]
    assert (doubled["rpm"], doubled["latency"]) == (2400, 0.0)
    assert (slowed["rpm"], slowed["latency"]) == (2400, 0.01)
    assert (lifted["rpm"], lifted["latency"]) == (None, 0.01)
    assert {reply.status_code for reply in replies} == {200}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"rpm": 0}', "rpm"),
        (b'{"rpm": "fast"}', "rpm"),
        (b'{"latency": -1}', "latency"),
        (b'{"fault": 1}', "fault"),
        (b'{"faults": {"share": {}}}', "faults.share"),
        (b'{"faults": {"shares": {"resets": 0.1}}}', "faults.shares.resets"),
        (b'{"faults": {"shares": {"reset": "0.1"}}}', "faults.shares.reset"),
        (b'{"faults": {"shares": {"reset": 0.6, "stall": 0.6}}}', "faults.shares: they add up to 1.2, more than 1"),
        (b'{"faults": {"options": {"drip_seconds": 0}}}', "faults.options.drip_seconds"),
        (b'{"faults": [], "reset": true}', "faults"),
        (b'{"latency": 1, "reset": 1}', "reset"),
        (b"[]", "the body"),
        (b"{", "the body"),
    ],
)
async def test_a_change_that_makes_no_sense_changes_nothing(body, says):
    """It is refused by the name of what is wrong."""
    async with client(rpm=1200, latency=0.0) as http:
        reply = await http.put("/rehearsal", content=body)
        state = (await http.get("/rehearsal")).json()
    assert reply.status_code == 400
    assert says in reply.json()["error"]["message"]
    assert (state["rpm"], state["latency"]) == (1200, 0.0)


async def test_the_count_equals_what_the_client_saw():
    """By kind, with the tokens of the answers."""
    async with client(rpm=1200, clock=Clock()) as http:
        replies = [await parse_request(http), await parse_request(http, {"messages": []}), await parse_request(http)]
        state = (await http.get("/rehearsal")).json()
    usage = orjson.loads(replies[0].content)["usage"]
    assert [reply.status_code for reply in replies] == [200, 400, 429]
    assert state == {
        "rpm": 1200,
        "latency": 0.0,
        "faults": {},
        "requests": 3,
        "kinds": {"answered": 1, "limited": 1, "refused": 1},
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
    }


async def test_faults_change_while_it_runs():
    """The same faults draw from their seed again; null and an empty object end them."""
    halves = {"seed": 3, "shares": {"server_error": 0.5}, "options": {"retry_after": 0.25}}
    async with client() as http:
        told = (await http.put("/rehearsal", json={"faults": halves})).json()
        first = [(await parse_request(http)).status_code for _ in range(20)]
        await http.put("/rehearsal", json={"faults": halves})
        again = [(await parse_request(http)).status_code for _ in range(20)]
        ended = (await http.put("/rehearsal", json={"faults": None})).json()
        quiet = {(await parse_request(http)).status_code for _ in range(20)}
        emptied = (await http.put("/rehearsal", json={"faults": {}})).json()
    assert told["faults"] == halves
    assert set(first) == {200, 500}
    assert again == first
    assert quiet == {200}
    assert (ended["faults"], emptied["faults"]) == ({}, {})


async def test_faults_stay_where_a_change_leaves_them_out():
    """Their draws go on."""
    async with client() as http:
        await http.put("/rehearsal", json={"faults": {"shares": {"capacity": 1}}})
        await http.put("/rehearsal", json={"latency": 0.0})
        assert (await parse_request(http)).status_code == 503


class Held(EchoReader):
    """A reader that answers when it is let go."""

    def __init__(self):
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def answer(self, ask):
        """Wait."""
        self.asked.set()
        await self.go.wait()
        return await super().answer(ask)


async def test_the_count_starts_again_when_asked():
    """From the requests in flight: what it has more than all kinds together is still theirs."""
    reader = Held()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(reader)), base_url="http://x") as http:
        await parse_request(http, {"messages": []})
        flying = asyncio.create_task(parse_request(http))
        await reader.asked.wait()
        at_reset = (await http.put("/rehearsal", json={"reset": True})).json()
        reader.go.set()
        await flying
        state = (await http.get("/rehearsal")).json()
    assert (at_reset["requests"], at_reset["kinds"], at_reset["prompt_tokens"]) == (1, {}, 0)
    assert (state["requests"], state["kinds"]) == (1, {"answered": 1})
    assert state["prompt_tokens"] > 0


def test_the_announcement_names_what_is_rehearsed():
    """One sentence, as long as it has to be."""
    plain, hostile = Options(reader="echo"), Options(reader="echo", rpm=1200, faults=Path("bad.toml"))
    assert plain.describe("U") == "tilewise endpoint: U echoes the schema, bills by formula"
    assert hostile.describe("U") == f"{plain.describe('U')}, at 1,200 requests a minute, with the faults of bad.toml"


class Broken:
    """A reader that is too busy, or has a bug."""

    model = "offline/broken"

    def __init__(self, error):
        self._error = error

    async def answer(self, ask):
        """Raise it."""
        raise self._error


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [(Refusal("overloaded", status=503), "crowded", 503), (RuntimeError("a bug"), "failed", 500)],
)
async def test_what_is_the_endpoints_own_trouble_is_no_fault(error, kind, status):
    """It is counted under a name of its own."""
    transport = httpx.ASGITransport(create_app(Broken(error)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        reply = await parse_request(http)
        state = (await http.get("/rehearsal")).json()
    assert reply.status_code == status
    assert state["kinds"] == {kind: 1}
