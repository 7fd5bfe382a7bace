"""rate_limit.py: the rate limit, and the route that changes a rehearsal while it runs.

Covers `extractors.endpoint.faults.rehearsal`, too.
"""

import asyncio
from pathlib import Path

import httpx
import orjson
import pytest

from extractors.endpoint.app import create_app
from extractors.endpoint.faults.rate_limit import TokenBucket
from extractors.endpoint.readers import EchoReader
from extractors.endpoint.refusal import RequestError
from extractors.endpoint.serve import Options

pytestmark = pytest.mark.anyio

REQUEST = {"model": "some/model", "messages": [{"role": "user", "content": "Say it."}]}


class Clock:
    """A clock that tests set."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        """Return the seconds."""
        return self.now


def open_client(**options):
    transport = httpx.ASGITransport(create_app(EchoReader(), **options), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://x")


async def post(http, body=REQUEST):
    return await http.post("/v1/chat/completions", json=body)


def count_accepted(limit, clock, per_second, seconds):
    """Count the evenly spaced requests that pass."""
    count = 0
    for _ in range(round(per_second * seconds)):
        clock.now += 1 / per_second
        count += limit.take()
    return count


@pytest.mark.parametrize("rpm", [30, 600, 1200, 6000, 60_000])
def test_limit_accepts_steady_traffic_at_its_rate(rpm):
    clock = Clock()
    assert count_accepted(TokenBucket(rpm, clock), clock, rpm / 60, 30) == rpm / 2


@pytest.mark.parametrize("early", [0.5, 0.9])
def test_limit_accepts_jitter_of_less_than_one_interval(early):
    clock = Clock()
    limit = TokenBucket(60, clock)
    gaps = [1 - early, 1 + early] * 20
    accepted = []
    for gap in gaps:
        clock.now += gap
        accepted.append(limit.take())
    assert all(accepted)


@pytest.mark.parametrize(("times", "share"), [(1.25, 0.8), (2, 0.5), (10, 0.1)])
def test_limit_accepts_a_sixtieth_of_rpm_each_second_of_faster_traffic(times, share):
    clock = Clock()
    limit = TokenBucket(1200, clock)
    requests = 20 * times * 60
    assert count_accepted(limit, clock, 20 * times, 60) == pytest.approx(requests * share, abs=3)


def test_limit_accepts_a_burst_of_a_tenth_of_a_second():
    """A quiet minute does not save up requests."""
    clock = Clock()
    limit = TokenBucket(6000, clock)
    clock.now += 60
    assert sum(limit.take() for _ in range(100)) == 10


def test_changed_limit_holds_from_the_next_request():
    clock = Clock()
    limit = TokenBucket(1200, clock)
    assert count_accepted(limit, clock, 100, 10) == pytest.approx(200, abs=3)
    limit.rpm = 2400
    assert count_accepted(limit, clock, 100, 10) == pytest.approx(400, abs=5)
    limit.rpm = 600
    assert count_accepted(limit, clock, 100, 10) == pytest.approx(100, abs=3)
    limit.rpm = None
    assert count_accepted(limit, clock, 100, 10) == 1000


async def test_rate_limited_request_has_the_documented_response():
    """It has status 429, its error code and the rate limit headers."""
    async with open_client(rpm=1200, clock=Clock()) as http:
        replies = [await post(http) for _ in range(3)]
    refused = replies[-1]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert refused.json()["error"]["code"] == "dynamic_request_limited"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-ratelimit-limit"] == "20"
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert float(refused.headers["x-ratelimit-reset"]) == pytest.approx(0.05)


async def test_rehearsal_changes_limit_and_latency_while_running():
    """Omitted settings stay as they are, and null removes the limit."""
    async with open_client(rpm=1200, clock=Clock()) as http:
        state_with_new_limit = (await http.put("/rehearsal", json={"rpm": 2400})).json()
        state_with_new_latency = (await http.put("/rehearsal", json={"latency": 0.01})).json()
        state_without_limit = (await http.put("/rehearsal", json={"rpm": None})).json()
        replies = [await post(http) for _ in range(50)]
    assert (state_with_new_limit["rpm"], state_with_new_limit["latency"]) == (2400, 0.0)
    assert (state_with_new_latency["rpm"], state_with_new_latency["latency"]) == (2400, 0.01)
    assert (state_without_limit["rpm"], state_without_limit["latency"]) == (None, 0.01)
    assert {reply.status_code for reply in replies} == {200}


@pytest.mark.parametrize(
    ("body", "key"),
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
async def test_rehearsal_refuses_an_invalid_change(body, key):
    """The message names the invalid key, and no setting changes."""
    async with open_client(rpm=1200, latency=0.0) as http:
        reply = await http.put("/rehearsal", content=body)
        state = (await http.get("/rehearsal")).json()
    assert reply.status_code == 400
    assert key in reply.json()["error"]["message"]
    assert (state["rpm"], state["latency"]) == (1200, 0.0)


async def test_rehearsal_counts_requests_by_kind_and_tokens_of_answers():
    async with open_client(rpm=1200, clock=Clock()) as http:
        replies = [await post(http), await post(http, {"messages": []}), await post(http)]
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


async def test_rehearsal_changes_faults_while_running():
    """The same faults start from their seed again; null and an empty object remove them."""
    faults = {"seed": 3, "shares": {"server_error": 0.5}, "options": {"retry_after": 0.25}}
    async with open_client() as http:
        state = (await http.put("/rehearsal", json={"faults": faults})).json()
        statuses = [(await post(http)).status_code for _ in range(20)]
        await http.put("/rehearsal", json={"faults": faults})
        repeated_statuses = [(await post(http)).status_code for _ in range(20)]
        state_after_null = (await http.put("/rehearsal", json={"faults": None})).json()
        statuses_without_faults = {(await post(http)).status_code for _ in range(20)}
        state_after_empty_object = (await http.put("/rehearsal", json={"faults": {}})).json()
    assert state["faults"] == faults
    assert set(statuses) == {200, 500}
    assert repeated_statuses == statuses
    assert statuses_without_faults == {200}
    assert (state_after_null["faults"], state_after_empty_object["faults"]) == ({}, {})


async def test_rehearsal_keeps_faults_that_a_change_omits():
    async with open_client() as http:
        await http.put("/rehearsal", json={"faults": {"shares": {"capacity": 1}}})
        await http.put("/rehearsal", json={"latency": 0.0})
        assert (await post(http)).status_code == 503


class BlockedReader(EchoReader):
    """A reader that answers when a test releases it."""

    def __init__(self):
        self.request_arrived, self.released = asyncio.Event(), asyncio.Event()

    async def answer(self, ask):
        """Wait for the release."""
        self.request_arrived.set()
        await self.released.wait()
        return await super().answer(ask)


async def test_reset_starts_the_counts_from_requests_in_flight():
    """A request in flight at the reset is counted as a request, and later by its kind."""
    reader = BlockedReader()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(reader)), base_url="http://x") as http:
        await post(http, {"messages": []})
        in_flight = asyncio.create_task(post(http))
        await reader.request_arrived.wait()
        at_reset = (await http.put("/rehearsal", json={"reset": True})).json()
        reader.released.set()
        await in_flight
        state = (await http.get("/rehearsal")).json()
    assert (at_reset["requests"], at_reset["kinds"], at_reset["prompt_tokens"]) == (1, {}, 0)
    assert (state["requests"], state["kinds"]) == (1, {"answered": 1})
    assert state["prompt_tokens"] > 0


def test_description_names_limit_and_faults():
    plain, faulty = Options(reader="echo"), Options(reader="echo", rpm=1200, faults=Path("bad.toml"))
    assert plain.describe("U") == "tilewise endpoint: U echoes the schema, bills by formula"
    assert faulty.describe("U") == f"{plain.describe('U')}, at 1,200 requests a minute, with the faults of bad.toml"


class FailingReader:
    """A reader that raises an error."""

    model = "offline/broken"

    def __init__(self, error):
        self._error = error

    async def answer(self, ask):
        raise self._error


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [(RequestError("overloaded", status=503), "crowded", 503), (RuntimeError("a bug"), "failed", 500)],
)
async def test_errors_of_the_endpoint_itself_are_not_counted_as_faults(error, kind, status):
    """Each is counted as a kind of its own."""
    transport = httpx.ASGITransport(create_app(FailingReader(error)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        reply = await post(http)
        state = (await http.get("/rehearsal")).json()
    assert reply.status_code == status
    assert state["kinds"] == {kind: 1}
