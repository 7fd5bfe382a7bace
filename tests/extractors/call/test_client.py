"""call/client.py over real sockets: retries, deadlines, and a note of every attempt.

Covers `extractors.call.request`, too.
"""

import asyncio
import contextlib
import itertools
import random
from dataclasses import dataclass, field, replace
from decimal import Decimal

import httpx
import orjson
import pytest
from pydantic import SecretStr

from extractors.call.circuit_breaker import CircuitBreaker
from extractors.call.client import ChatClient
from extractors.call.model_list import fetch_models, parse_models
from extractors.call.profiles import PROFILES, Endpoint
from extractors.call.rate_limit import Limits, RateLimiter
from extractors.call.request import RequestBody
from extractors.call.retry import Retries
from extractors.call.transport import build_client
from extractors.core import Verdict
from extractors.core.errors import BudgetSpent, ConfigurationError, DocumentError, Failing, Refused, Stopped

pytestmark = pytest.mark.anyio

ANSWER = orjson.dumps(
    {
        "model": "maker/model",
        "choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1701, "completion_tokens": 5},
    }
)


def http(status=200, body=ANSWER, **headers):
    """The bytes of a whole reply."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class WireServer:
    """A socket that sends the scripted bytes, one script entry a request; the last is repeated.

    An entry is bytes, or a coroutine function that is given the writer.
    """

    script: list
    requests: list = field(default_factory=list)
    url: str = ""
    handlers: set = field(default_factory=set)

    async def _serve(self, reader, writer):
        self.handlers.add(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.splitlines()
                    if line.lower().startswith(b"content-length")
                )
                self.requests.append((head, await reader.readexactly(length)))
                entry = self.script[min(len(self.requests), len(self.script)) - 1]
                if isinstance(entry, bytes):
                    writer.write(entry)
                    await writer.drain()
                else:
                    await entry(writer)

    @contextlib.asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        try:
            yield self
        finally:
            server.close()
            [handler.cancel() for handler in self.handlers]
            await asyncio.gather(*self.handlers, return_exceptions=True)


@contextlib.asynccontextmanager
async def calling(server, attempts=3, timeout=5.0, secret="", traffic=None):
    """A caller to this server whose waits are short."""
    endpoint = Endpoint(server.url, SecretStr(secret) if secret else None, timeout)
    retries = Retries(attempts, first=0.001, longest=0.002, random=random.Random(1))
    async with build_client(endpoint) as opened:
        yield ChatClient(
            opened,
            traffic or RateLimiter(Limits(), rate=1000),
            retries,
            CircuitBreaker(),
            timeout=timeout,
            secret=secret,
        )


async def call_once(script, an_order, notes, judge, **options):
    """The outcome of one order against this script: the reply, or the error that was raised."""
    async with WireServer(script).running() as server, calling(server, **options) as caller:
        try:
            reply, _ = await caller.call(an_order, RequestBody(b"{}"), notes, judge)
        except (DocumentError, Refused) as error:
            return error, server
        return reply, server


async def test_an_answer_is_noted_as_billed(an_order, notes, judge):
    reply, _ = await call_once([http()], an_order, notes, judge)
    assert reply.content == "{}"
    assert notes.outcomes == [("accepted", "yes")]
    assert notes.attempts[0].residual == 0


async def test_a_fault_that_may_pass_is_tried_again(an_order, notes, judge):
    """Every attempt has its own note; what failed was not billed."""
    await call_once([http(500), http(503), http()], an_order, notes, judge)
    assert notes.outcomes == [("server_error", "no"), ("capacity", "no"), ("accepted", "yes")]


async def test_attempts_have_an_end(an_order, notes, judge):
    """After as many tries as allowed the document fails, but not for good."""
    error, _ = await call_once([http(500)], an_order, notes, judge, attempts=3)
    assert (error.kind, error.stage, error.final) == ("server_error", "call", False)
    assert len(notes.attempts) == 3


async def test_attempts_are_the_documents_not_the_orders(an_order, notes, judge):
    """What earlier orders of a document have used up is not to be had again; one try is left in any case."""
    async with WireServer([http(500)]).running() as server, calling(server, attempts=4) as caller:
        for spent in (3, 99):
            with pytest.raises(DocumentError):
                await caller.call(an_order, RequestBody(b"{}"), notes, judge, spent)
    assert len(notes.attempts) == 2


async def test_a_cut_while_an_accepted_answer_is_noted_loses_nothing(an_order, notes, judge):
    """It is paid for: the document is accepted, whatever came in that moment."""
    noting = asyncio.Event()
    settle = notes.settle

    async def slowly(handle, attempt):
        await settle(handle, attempt)
        noting.set()
        await asyncio.sleep(0.05)

    notes.settle = slowly
    async with WireServer([http()]).running() as server, calling(server) as caller:
        task = asyncio.create_task(caller.call(an_order, RequestBody(b"{}"), notes, judge))
        await noting.wait()
        task.cancel()
        reply, _ = await task
    assert reply.content == "{}"


async def test_a_call_without_room_in_the_budget_is_sent_when_there_is_some(an_order, notes, judge):
    """It asks again until calls on their way have left what it needs; until then nothing is sent."""
    intend, answers = notes.reserve, [None, None]

    async def no_room(order):
        return answers.pop() if answers else await intend(order)

    notes.reserve = no_room
    reply, server = await call_once([http()], an_order, notes, judge)
    assert reply.content == "{}"
    assert (answers, len(server.requests), notes.outcomes) == ([], 1, [("accepted", "yes")])


async def test_a_spent_budget_sends_nothing(an_order, notes, judge):
    async def spent(order):
        raise BudgetSpent("the run's budget is spent")

    notes.reserve = spent
    async with WireServer([http()]).running() as server, calling(server) as caller:
        with pytest.raises(BudgetSpent):
            await caller.call(an_order, RequestBody(b"{}"), notes, judge)
    assert (server.requests, notes.outcomes) == ([], [])


async def test_a_cut_before_the_call_is_sent_settles_its_note(an_order, notes, judge):
    """What was reserved for it is free again: it was not sent, so it is not billed."""
    noting, intend = asyncio.Event(), notes.reserve

    async def slowly(order):
        noting.set()
        await asyncio.sleep(0.05)
        return await intend(order)

    notes.reserve = slowly
    async with WireServer([http()]).running() as server, calling(server) as caller:
        task = asyncio.create_task(caller.call(an_order, RequestBody(b"{}"), notes, judge))
        await noting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (server.requests, notes.outcomes) == ([], [("aborted", "no")])


async def test_refusals_for_rate_use_up_no_attempt(an_order, notes, judge):
    """Ten refusals and an answer, with three attempts allowed."""
    refusal = http(429, b"", **{"retry-after": "0"})
    reply, _ = await call_once([refusal] * 10 + [http()], an_order, notes, judge, attempts=3)
    assert reply.content == "{}"
    assert notes.outcomes[:10] == [("rate_limited", "no")] * 10


async def test_what_is_permanent_is_tried_once(an_order, notes, judge):
    error, server = await call_once([http(400, b'{"error":{"message":"bad image"}}')], an_order, notes, judge)
    assert (str(error), error.kind, error.final) == ("400 bad image", "client_error", True)
    assert len(server.requests) == 1


async def test_a_403_is_final_once_the_key_is_known_to_be_good(an_order, notes, judge):
    """Before the first answer it may be the key, so the document is taken again; after it, it is the length."""
    forbidden = http(403, b"no")
    async with WireServer([forbidden, http(), forbidden]).running() as server, calling(server) as caller:
        with pytest.raises(DocumentError) as before:
            await caller.call(an_order, RequestBody(b"{}"), notes, judge)
        await caller.call(an_order, RequestBody(b"{}"), notes, judge)
        with pytest.raises(DocumentError) as after:
            await caller.call(an_order, RequestBody(b"{}"), notes, judge)
    assert (before.value.final, after.value.final) == (False, True)


@pytest.mark.parametrize("refusal", [http(403, b"<title>403 Forbidden</title>"), http(413, b"<title>413</title>")])
async def test_what_a_gateway_refuses_is_never_final(an_order, notes, judge, refusal):
    """Its rules may change before the next run."""
    async with WireServer([http(), refusal]).running() as server, calling(server) as caller:
        await caller.call(an_order, RequestBody(b"{}"), notes, judge)
        with pytest.raises(DocumentError) as refused:
            await caller.call(an_order, RequestBody(b"{}"), notes, judge)
    assert (refused.value.kind, refused.value.final) == ("context_exceeded", False)


@pytest.mark.parametrize(("status", "mend"), [(401, "TILEWISE_API_KEY"), (402, "spending limit"), (404, "--model")])
async def test_what_no_document_can_pass_stops_the_run(an_order, notes, judge, status, mend):
    """The message says what to do, and the attempt is noted all the same."""
    error, _ = await call_once([http(status, b"no")], an_order, notes, judge)
    assert isinstance(error, Refused)
    assert mend in str(error)
    assert notes.outcomes == [("client_error", "no")]


async def test_a_key_that_the_server_repeats_is_masked(an_order, notes, judge):
    """The key is sent, and stands in no message and in no note."""
    error, server = await call_once([http(401, b"bad key geheim-7")], an_order, notes, judge, secret="geheim-7")
    assert b"Bearer geheim-7" in server.requests[0][0]
    assert "geheim-7" not in str(error) + str(notes.attempts[0].error)


async def test_a_placeholder_for_a_key_changes_no_answer(an_order, notes, judge):
    """Local servers take any key: an answer that holds its letters is kept as it is."""
    reply, _ = await call_once([http()], an_order, notes, judge, secret="e")
    assert (reply.content, notes.outcomes) == ("{}", [("accepted", "yes")])
    assert reply.usage is not None


@pytest.mark.parametrize(
    ("profile", "path", "line"),
    [
        ("generic", "/v1", b"POST /v1/chat/completions?code=Geheim-4711-abc HTTP/1.1"),
        ("azure", "/v1", b"POST /v1/chat/completions?code=Geheim-4711-abc HTTP/1.1"),
        (
            "azure",
            "/openai/deployments/dep",
            b"POST /openai/deployments/dep/chat/completions?code=Geheim-4711-abc&api-version=2024-10-21 HTTP/1.1",
        ),
        (
            "azure",
            "",
            b"POST /openai/deployments/gpt-4o/chat/completions?code=Geheim-4711-abc&api-version=2024-10-21 HTTP/1.1",
        ),
    ],
)
async def test_extra_headers_and_query_reach_the_base_url(an_order, notes, judge, profile, path, line):
    """And the key stands where this kind of server looks for it."""
    async with WireServer([http()]).running() as server:
        endpoint = Endpoint(
            server.url.removesuffix("/v1") + path,
            SecretStr("geheim-7"),
            profile=PROFILES[profile],
            headers={"X-Team": SecretStr("invoices")},
            query=(("code", "Geheim-4711-abc"),),
        )
        async with build_client(endpoint.for_model("gpt-4o")) as opened:
            chat = ChatClient(opened, RateLimiter(Limits()), Retries(), CircuitBreaker(), secret="geheim-7")
            await chat.call(an_order, RequestBody(b"{}"), notes, judge)
    head = server.requests[0][0]
    assert head.startswith(line)
    assert b"x-team: invoices" in head.lower()
    assert (b"api-key: geheim-7" if profile == "azure" else b"authorization: bearer geheim-7") in head.lower()


async def test_a_redirect_is_not_followed(an_order, notes, judge):
    """Key, headers and query go to the base URL's address only."""
    elsewhere = WireServer([http()])
    async with elsewhere.running():
        redirect = http(307, b"", location=f"{elsewhere.url}/chat/completions")
        error, _ = await call_once([redirect], an_order, notes, judge, secret="geheim-7")
    assert isinstance(error, Refused)
    assert elsewhere.requests == []


async def test_values_of_headers_and_query_are_masked_but_in_answers(an_order, notes, judge):
    """An ordinary word among them may stand in an answer, which must stay as it is; a key may not."""
    content = "2024-10-21 tok-4f1c9e77a2b8"
    answer = orjson.dumps({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})
    script = [http(500, b'{"error":{"message":"bad 2024-10-21 tok-4f1c9e77a2b8"}}'), http(200, answer)]
    async with WireServer(script).running() as server, build_client(Endpoint(server.url)) as opened:
        retries = Retries(3, first=0.001, longest=0.002)
        masked = ["2024-10-21", "tok-4f1c9e77a2b8"]
        chat = ChatClient(opened, RateLimiter(Limits()), retries, CircuitBreaker(), masked=masked)
        reply, _ = await chat.call(an_order, RequestBody(b"{}"), notes, judge)
    assert notes.attempts[0].error == "500 bad ********** **********"
    assert "tok-4f1c" not in notes.attempts[0].reply.body
    assert reply.content == "2024-10-21 **********"


async def test_a_stream_that_breaks_off_is_called_again(an_order, notes):
    """Unless its answer is complete, which the verdict tells."""
    events = [b'data: {"choices":[{"delta":{"content":"{"}}]}\n\n', ANSWER]
    verdicts = iter([Verdict("connection", errors="broke off"), Verdict("accepted")])
    await call_once([http(200, each) for each in events], an_order, notes, lambda _: next(verdicts))
    assert notes.outcomes == [("connection", "unknown"), ("accepted", "yes")]


async def test_a_429_inside_a_200_uses_up_no_attempt(an_order, notes, judge):
    """The code in the body is the status."""
    limited = http(200, b'{"error":{"code":429,"message":"free-models-per-min"}}', **{"retry-after": "0"})
    reply, _ = await call_once([limited] * 8 + [http()], an_order, notes, judge, attempts=2)
    assert reply.content == "{}"
    assert notes.outcomes[:8] == [("rate_limited", "no")] * 8


async def test_what_stops_a_run_quotes_no_answer(an_order, notes, judge):
    """A minute of answers that were cut short: their words stand in the notes, and in no message."""
    async with WireServer([http(200, ANSWER[:60])]).running() as server, calling(server) as caller:
        caller.breaker = CircuitBreaker(clock=itertools.count(step=60).__next__)
        with pytest.raises(Failing) as stopped:
            await caller.call(an_order, RequestBody(b"{}"), notes, judge)
    assert str(stopped.value) == "no call was answered for 60 s (last: 200 without an answer)"
    assert "maker/model" in notes.attempts[0].error


@pytest.mark.parametrize("status", [200, 400])
async def test_a_signature_that_the_server_repeats_is_masked(status, an_order, notes, judge):
    """As it was sent, and as it is meant: neither the kept reply nor its error lets anybody fetch the image."""
    link = "https://store.example/a.jpg?id=42&X-Amz-Signature=5e1f0a77%2Bc43b9e2d"
    said = f"cannot fetch {link} (signed 5e1f0a77+c43b9e2d)".encode()
    order = replace(an_order, links=(SecretStr(link),))
    await call_once([http(status, said)], order, notes, judge)
    assert "5e1f0a77" not in str(notes.attempts)
    assert "id=42" in notes.attempts[0].reply.body


async def test_a_password_in_a_url_that_the_server_repeats_is_masked(an_order, notes, judge):
    """However short it is: it opens the place where the image lies."""
    link = "https://me:pw-77@store.example/a.jpg"
    order = replace(an_order, links=(SecretStr(link),))
    await call_once([http(400, f"cannot fetch {link}".encode())], order, notes, judge)
    assert "pw-77" not in str(notes.attempts)
    assert "store.example/a.jpg" in notes.attempts[0].reply.body


async def never(writer):
    """Says nothing."""
    del writer
    await asyncio.Event().wait()


async def drip(writer):
    """A byte now and then, without end."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def half(writer):
    """The connection breaks in the middle of the reply."""
    writer.write(http()[:-20])
    await writer.drain()
    writer.transport.abort()


async def hang_up(writer):
    """The connection breaks before the reply."""
    writer.transport.abort()


@pytest.mark.parametrize(
    ("behaviour", "outcome"), [(never, "timeout"), (drip, "timeout"), (half, "connection"), (hang_up, "connection")]
)
async def test_a_reply_that_does_not_come_is_cut_and_counted(an_order, notes, judge, behaviour, outcome):
    """Nobody knows whether it is billed; the next attempt may be answered."""
    reply, _ = await call_once([behaviour, http()], an_order, notes, judge, timeout=1.0)
    assert reply.content == "{}"
    assert notes.outcomes == [(outcome, "unknown"), ("accepted", "yes")]


async def test_a_slow_call_does_not_block_the_others(an_order, notes, judge):
    """While one call hangs, another one is answered."""
    async with WireServer([never, http()]).running() as server, calling(server) as caller:
        slow = asyncio.create_task(caller.call(an_order, RequestBody(b"{}"), notes, judge))
        await asyncio.to_thread(lambda: None)
        while not server.requests:  # noqa: ASYNC110 - until the slow one is there
            await asyncio.sleep(0.001)
        reply, _ = await caller.call(an_order, RequestBody(b"{}"), notes, judge)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
    assert reply.content == "{}"
    assert ("aborted", "unknown") in notes.outcomes


async def test_a_reply_of_50_megabytes_is_not_read_to_its_end(an_order, notes, judge):
    """It is no answer; what was read of it is not kept whole."""
    error, _ = await call_once([http(200, b" " * 50_000_000)], an_order, notes, judge, attempts=1)
    assert error.kind == "server_error"
    assert notes.outcomes == [("server_error", "unknown")]
    assert len(notes.attempts[0].reply.body) <= 2**20


async def test_an_answer_without_usage_may_have_been_billed(an_order, notes, judge):
    body = orjson.dumps({"choices": [{"message": {"content": "{}"}}]})
    await call_once([http(200, body)], an_order, notes, judge)
    assert notes.outcomes == [("accepted", "unknown")]


async def test_a_stop_ends_the_wait_between_attempts(an_order, notes, judge):
    """Who waits for a retry is told at once; what was sent stays noted."""
    traffic = RateLimiter(Limits(), rate=1000)
    refusal = http(429, b"", **{"retry-after": "300"})
    async with WireServer([refusal]).running() as server, calling(server, traffic=traffic) as caller:
        waiting = asyncio.create_task(caller.call(an_order, RequestBody(b"{}"), notes, judge))
        while not notes.attempts:  # noqa: ASYNC110 - until it was refused
            await asyncio.sleep(0.001)
        traffic.stop(Stopped("enough"))
        with pytest.raises(Stopped, match="enough"):
            await waiting
    assert notes.outcomes == [("rate_limited", "no")]


async def test_an_endpoint_that_is_not_there_is_named():
    async with build_client(Endpoint("http://127.0.0.1:9/v1")) as opened:
        with pytest.raises(ConfigurationError, match=r"http://127\.0\.0\.1:9/v1/ cannot be reached"):
            await fetch_models(opened, PROFILES["together"])


@pytest.mark.parametrize(
    ("profile", "pricing", "dollars"),
    [
        ("together", {"input": 0.5, "output": 2.8}, "0.5"),
        ("openrouter", {"prompt": "0.0000005", "completion": "0.0000028"}, "0.5"),
        ("generic", {"prompt": "0.0000005", "completion": "0.0000028"}, "0.5"),
        ("generic", {"input": "0.0000005", "output": "0.0000028"}, None),
        ("generic", {"input": 0.5, "output": 2.8}, None),
        ("vllm", {"input": 0.5, "output": 2.8}, None),
        ("openrouter", {"prompt": "-1", "completion": "-1"}, None),
        ("openrouter", {"prompt": "0", "completion": "0"}, None),
        ("openrouter", {"prompt": "0.0000005", "completion": "0.0000028", "request": "0.005"}, None),
        ("openrouter", {"prompt": "0.0000005", "completion": "0.0000028", "request": "0.0001"}, None),
        ("openrouter", {"prompt": "3", "completion": "15"}, None),
        ("together", {"input": 0.0000005, "output": 0.0000028}, None),
        ("together", {"input": 0.5, "output": 2.8, "currency": "EUR"}, None),
        ("generic", {"prompt": 0.5, "completion": 2.8}, None),
    ],
)
def test_the_unit_of_a_price_is_known_or_the_price_is_refused(profile, pricing, dollars):
    """A price for one token read as one for a million would let a budget hold nothing."""
    request = httpx.Request("GET", "https://gateway.example/v1/models")
    response = httpx.Response(200, json={"data": [{"id": "a", "pricing": pricing}]}, request=request)
    price = parse_models(response, PROFILES[profile])["a"]
    assert (price and str(price.input.normalize())) == dollars


def test_the_host_tells_the_unit_of_a_price():
    """Vercel's gateway lists dollars for one token under Together's names."""
    request = httpx.Request("GET", "https://ai-gateway.vercel.sh/v1/models")
    pricing = {"input": "0.000003", "output": "0.000015", "input_cache_read": "0.0000003"}
    response = httpx.Response(200, json={"data": [{"id": "a", "pricing": pricing}]}, request=request)
    price = parse_models(response, PROFILES["generic"])["a"]
    assert (price.input, price.output, price.cached) == (3, 15, Decimal("0.3"))


@pytest.mark.parametrize(
    ("body", "models"),
    [
        ([{"id": "a", "pricing": {"input": 0.5, "output": 2.8}}], {"a": "0.5"}),
        ({"data": [{"id": "a"}]}, {"a": None}),
        ([{"id": "a", "pricing": {"input": 0, "output": 0}}], {"a": None}),
        ([{"id": "a", "pricing": {"input": "x", "output": 1}}], {"a": None}),
        ([{"id": "a", "pricing": {"input": 1, "output": 1, "cached_input": -5}}], {"a": None}),
        ([{"id": "a", "pricing": {"input": 1, "output": 1, "cached_input": "NaN"}}], {"a": None}),
        ([{"id": "a", "pricing": {"input": 1, "output": 1e40}}], {"a": None}),
        ([{"id": 5}, "b", None], {}),
        ({"data": "no"}, {}),
        ("no", {}),
    ],
)
async def test_the_models_that_a_server_lists(body, models):
    """A bare array or `data`; prices where they are given and not all nothing."""

    async def listing(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(200, orjson.dumps(body)))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(listing, "127.0.0.1", 0)
    async with server, build_client(Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")) as opened:
        listed = await fetch_models(opened, PROFILES["together"])
    assert {name: price and str(price.input) for name, price in listed.items()} == models
