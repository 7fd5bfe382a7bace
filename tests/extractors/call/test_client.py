"""call/client.py over real sockets: retries, deadlines, and the record of every attempt.

Also covers `extractors.call.request`.
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
    """A socket that sends the scripted bytes, one entry of the script per request; the last one is repeated.

    An entry is bytes, or a coroutine function that is called with the writer.
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
async def open_client(server, attempts=3, timeout=5.0, secret="", limiter=None):
    """A chat client of this server with short waits between attempts."""
    endpoint = Endpoint(server.url, SecretStr(secret) if secret else None, timeout)
    retries = Retries(attempts, first=0.001, longest=0.002, random=random.Random(1))
    async with build_client(endpoint) as http_client:
        yield ChatClient(
            http_client,
            limiter or RateLimiter(Limits(), rate=1000),
            retries,
            CircuitBreaker(),
            timeout=timeout,
            secret=secret,
        )


async def call_once(script, call_request, journal, judge, **options):
    """Sends one request against this script, and returns the reply or the error that was raised."""
    async with WireServer(script).running() as server, open_client(server, **options) as chat:
        try:
            reply, _ = await chat.call(call_request, RequestBody(b"{}"), journal, judge)
        except (DocumentError, Refused) as error:
            return error, server
        return reply, server


async def test_answered_call_is_settled_as_billed(call_request, journal, judge):
    reply, _ = await call_once([http()], call_request, journal, judge)
    assert reply.content == "{}"
    assert journal.outcomes == [("accepted", "yes")]
    assert journal.attempts[0].residual == 0


async def test_transient_error_is_retried(call_request, journal, judge):
    """Every attempt is recorded separately; failed attempts are not billed."""
    await call_once([http(500), http(503), http()], call_request, journal, judge)
    assert journal.outcomes == [("server_error", "no"), ("capacity", "no"), ("accepted", "yes")]


async def test_last_allowed_attempt_fails_the_document(call_request, journal, judge):
    """The failure is not final: a later run tries the document again."""
    error, _ = await call_once([http(500)], call_request, journal, judge, attempts=3)
    assert (error.kind, error.stage, error.final) == ("server_error", "call", False)
    assert len(journal.attempts) == 3


async def test_attempts_are_counted_across_requests_of_a_document(call_request, journal, judge):
    """Attempts that earlier requests used are not available again, but each request may send at least one."""
    async with WireServer([http(500)]).running() as server, open_client(server, attempts=4) as chat:
        for spent in (3, 99):
            with pytest.raises(DocumentError):
                await chat.call(call_request, RequestBody(b"{}"), journal, judge, spent)
    assert len(journal.attempts) == 2


async def test_cancellation_while_an_accepted_answer_is_settled_keeps_the_reply(call_request, journal, judge):
    """The answer is billed, so the document is accepted in spite of the cancellation."""
    settling = asyncio.Event()
    settle = journal.settle

    async def settle_slowly(handle, attempt):
        await settle(handle, attempt)
        settling.set()
        await asyncio.sleep(0.05)

    journal.settle = settle_slowly
    async with WireServer([http()]).running() as server, open_client(server) as chat:
        task = asyncio.create_task(chat.call(call_request, RequestBody(b"{}"), journal, judge))
        await settling.wait()
        task.cancel()
        reply, _ = await task
    assert reply.content == "{}"


async def test_call_waits_until_the_budget_has_room(call_request, journal, judge):
    """Calls in flight hold the budget: the client reserves again until it succeeds, and sends nothing before."""
    reserve, refusals = journal.reserve, [None, None]

    async def reserve_later(request):
        return refusals.pop() if refusals else await reserve(request)

    journal.reserve = reserve_later
    reply, server = await call_once([http()], call_request, journal, judge)
    assert reply.content == "{}"
    assert (refusals, len(server.requests), journal.outcomes) == ([], 1, [("accepted", "yes")])


async def test_spent_budget_sends_no_request(call_request, journal, judge):
    async def raise_spent(request):
        raise BudgetSpent("the run's budget is spent")

    journal.reserve = raise_spent
    async with WireServer([http()]).running() as server, open_client(server) as chat:
        with pytest.raises(BudgetSpent):
            await chat.call(call_request, RequestBody(b"{}"), journal, judge)
    assert (server.requests, journal.outcomes) == ([], [])


async def test_cancellation_before_sending_settles_the_reservation(call_request, journal, judge):
    """The call was not sent, so it is not billed, and the reserved amount is available again."""
    reserving, reserve = asyncio.Event(), journal.reserve

    async def reserve_slowly(request):
        reserving.set()
        await asyncio.sleep(0.05)
        return await reserve(request)

    journal.reserve = reserve_slowly
    async with WireServer([http()]).running() as server, open_client(server) as chat:
        task = asyncio.create_task(chat.call(call_request, RequestBody(b"{}"), journal, judge))
        await reserving.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (server.requests, journal.outcomes) == ([], [("aborted", "no")])


async def test_rate_limited_calls_use_no_attempt(call_request, journal, judge):
    """Ten rate-limited calls precede the answer, with three attempts allowed."""
    refusal = http(429, b"", **{"retry-after": "0"})
    reply, _ = await call_once([refusal] * 10 + [http()], call_request, journal, judge, attempts=3)
    assert reply.content == "{}"
    assert journal.outcomes[:10] == [("rate_limited", "no")] * 10


async def test_permanent_error_is_not_retried(call_request, journal, judge):
    error, server = await call_once([http(400, b'{"error":{"message":"bad image"}}')], call_request, journal, judge)
    assert (str(error), error.kind, error.final) == ("400 bad image", "client_error", True)
    assert len(server.requests) == 1


async def test_403_is_final_only_after_an_answer(call_request, journal, judge):
    """Before the first answer the key may be wrong and a later run tries again; after it, the request is too long."""
    forbidden = http(403, b"no")
    async with WireServer([forbidden, http(), forbidden]).running() as server, open_client(server) as chat:
        with pytest.raises(DocumentError) as before:
            await chat.call(call_request, RequestBody(b"{}"), journal, judge)
        await chat.call(call_request, RequestBody(b"{}"), journal, judge)
        with pytest.raises(DocumentError) as after:
            await chat.call(call_request, RequestBody(b"{}"), journal, judge)
    assert (before.value.final, after.value.final) == (False, True)


@pytest.mark.parametrize("refusal", [http(403, b"<title>403 Forbidden</title>"), http(413, b"<title>413</title>")])
async def test_gateway_refusal_is_not_final(call_request, journal, judge, refusal):
    """The gateway's rules may change before the next run."""
    async with WireServer([http(), refusal]).running() as server, open_client(server) as chat:
        await chat.call(call_request, RequestBody(b"{}"), journal, judge)
        with pytest.raises(DocumentError) as refused:
            await chat.call(call_request, RequestBody(b"{}"), journal, judge)
    assert (refused.value.kind, refused.value.final) == ("context_exceeded", False)


@pytest.mark.parametrize(("status", "remedy"), [(401, "TILEWISE_API_KEY"), (402, "spending limit"), (404, "--model")])
async def test_error_of_all_documents_stops_the_run(call_request, journal, judge, status, remedy):
    """The message names the setting to correct, and the attempt is settled."""
    error, _ = await call_once([http(status, b"no")], call_request, journal, judge)
    assert isinstance(error, Refused)
    assert remedy in str(error)
    assert journal.outcomes == [("client_error", "no")]


async def test_key_repeated_by_the_server_is_masked(call_request, journal, judge):
    """The key is sent, but no message and no recorded attempt contains it."""
    error, server = await call_once([http(401, b"bad key geheim-7")], call_request, journal, judge, secret="geheim-7")
    assert b"Bearer geheim-7" in server.requests[0][0]
    assert "geheim-7" not in str(error) + str(journal.attempts[0].error)


async def test_placeholder_key_is_not_masked_in_answers(call_request, journal, judge):
    """Local servers accept any key: an answer that contains the key's letters is kept unchanged."""
    reply, _ = await call_once([http()], call_request, journal, judge, secret="e")
    assert (reply.content, journal.outcomes) == ("{}", [("accepted", "yes")])
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
async def test_extra_headers_and_query_are_sent_to_the_base_url(call_request, journal, judge, profile, path, line):
    """The key is sent in the header that this kind of server reads."""
    async with WireServer([http()]).running() as server:
        endpoint = Endpoint(
            server.url.removesuffix("/v1") + path,
            SecretStr("geheim-7"),
            profile=PROFILES[profile],
            headers={"X-Team": SecretStr("invoices")},
            query=(("code", "Geheim-4711-abc"),),
        )
        async with build_client(endpoint.for_model("gpt-4o")) as http_client:
            chat = ChatClient(http_client, RateLimiter(Limits()), Retries(), CircuitBreaker(), secret="geheim-7")
            await chat.call(call_request, RequestBody(b"{}"), journal, judge)
    head = server.requests[0][0]
    assert head.startswith(line)
    assert b"x-team: invoices" in head.lower()
    assert (b"api-key: geheim-7" if profile == "azure" else b"authorization: bearer geheim-7") in head.lower()


async def test_redirect_is_not_followed(call_request, journal, judge):
    """Key, headers and query are sent only to the address of the base URL."""
    elsewhere = WireServer([http()])
    async with elsewhere.running():
        redirect = http(307, b"", location=f"{elsewhere.url}/chat/completions")
        error, _ = await call_once([redirect], call_request, journal, judge, secret="geheim-7")
    assert isinstance(error, Refused)
    assert elsewhere.requests == []


async def test_header_and_query_values_are_masked_outside_answers(call_request, journal, judge):
    """An ordinary word among them may occur in an answer, which stays unchanged; a key is masked there, too."""
    content = "2024-10-21 tok-4f1c9e77a2b8"
    answer = orjson.dumps({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})
    script = [http(500, b'{"error":{"message":"bad 2024-10-21 tok-4f1c9e77a2b8"}}'), http(200, answer)]
    async with WireServer(script).running() as server, build_client(Endpoint(server.url)) as http_client:
        retries = Retries(3, first=0.001, longest=0.002)
        masked = ["2024-10-21", "tok-4f1c9e77a2b8"]
        chat = ChatClient(http_client, RateLimiter(Limits()), retries, CircuitBreaker(), masked=masked)
        reply, _ = await chat.call(call_request, RequestBody(b"{}"), journal, judge)
    assert journal.attempts[0].error == "500 bad ********** **********"
    assert "tok-4f1c" not in journal.attempts[0].reply.body
    assert reply.content == "2024-10-21 **********"


async def test_interrupted_stream_is_retried(call_request, journal):
    """The judge accepts or refuses the interrupted answer: here it refuses the first one."""
    events = [b'data: {"choices":[{"delta":{"content":"{"}}]}\n\n', ANSWER]
    verdicts = iter([Verdict("connection", errors="broke off"), Verdict("accepted")])
    await call_once([http(200, event) for event in events], call_request, journal, lambda _: next(verdicts))
    assert journal.outcomes == [("connection", "unknown"), ("accepted", "yes")]


async def test_429_inside_a_200_uses_no_attempt(call_request, journal, judge):
    """The error code in the body counts as the status."""
    rate_limited = http(200, b'{"error":{"code":429,"message":"free-models-per-min"}}', **{"retry-after": "0"})
    reply, _ = await call_once([rate_limited] * 8 + [http()], call_request, journal, judge, attempts=2)
    assert reply.content == "{}"
    assert journal.outcomes[:8] == [("rate_limited", "no")] * 8


async def test_message_of_a_stopped_run_quotes_no_answer(call_request, journal, judge):
    """After a minute of truncated answers the message has none of their text; the recorded attempts have it."""
    async with WireServer([http(200, ANSWER[:60])]).running() as server, open_client(server) as chat:
        chat.breaker = CircuitBreaker(clock=itertools.count(step=60).__next__)
        with pytest.raises(Failing) as stopped:
            await chat.call(call_request, RequestBody(b"{}"), journal, judge)
    assert str(stopped.value) == "no call was answered for 60 s (last: 200 without an answer)"
    assert "maker/model" in journal.attempts[0].error


@pytest.mark.parametrize("status", [200, 400])
async def test_link_signature_repeated_by_the_server_is_masked(status, call_request, journal, judge):
    """It is masked in both its quoted and its decoded form, in the kept reply and in its error."""
    link = "https://store.example/a.jpg?id=42&X-Amz-Signature=5e1f0a77%2Bc43b9e2d"
    message = f"cannot fetch {link} (signed 5e1f0a77+c43b9e2d)".encode()
    request = replace(call_request, links=(SecretStr(link),))
    await call_once([http(status, message)], request, journal, judge)
    assert "5e1f0a77" not in str(journal.attempts)
    assert "id=42" in journal.attempts[0].reply.body


async def test_link_password_repeated_by_the_server_is_masked(call_request, journal, judge):
    """A password is masked at any length, because it gives access to the image."""
    link = "https://me:pw-77@store.example/a.jpg"
    request = replace(call_request, links=(SecretStr(link),))
    await call_once([http(400, f"cannot fetch {link}".encode())], request, journal, judge)
    assert "pw-77" not in str(journal.attempts)
    assert "store.example/a.jpg" in journal.attempts[0].reply.body


async def stay_silent(writer):
    """Sends no reply."""
    del writer
    await asyncio.Event().wait()


async def drip(writer):
    """Sends one byte every 20 ms, without end."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def send_half(writer):
    """Breaks the connection in the middle of the reply."""
    writer.write(http()[:-20])
    await writer.drain()
    writer.transport.abort()


async def hang_up(writer):
    """Breaks the connection before the reply."""
    writer.transport.abort()


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [(stay_silent, "timeout"), (drip, "timeout"), (send_half, "connection"), (hang_up, "connection")],
)
async def test_missing_reply_is_recorded_with_unknown_billing(call_request, journal, judge, behaviour, outcome):
    """The call is ended and sent again, because the next attempt may be answered."""
    reply, _ = await call_once([behaviour, http()], call_request, journal, judge, timeout=1.0)
    assert reply.content == "{}"
    assert journal.outcomes == [(outcome, "unknown"), ("accepted", "yes")]


async def test_slow_call_does_not_block_others(call_request, journal, judge):
    """A second call is answered while the first one hangs."""
    async with WireServer([stay_silent, http()]).running() as server, open_client(server) as chat:
        slow = asyncio.create_task(chat.call(call_request, RequestBody(b"{}"), journal, judge))
        await asyncio.to_thread(lambda: None)
        while not server.requests:  # noqa: ASYNC110 - until the server has received the slow call
            await asyncio.sleep(0.001)
        reply, _ = await chat.call(call_request, RequestBody(b"{}"), journal, judge)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
    assert reply.content == "{}"
    assert ("aborted", "unknown") in journal.outcomes


async def test_reply_of_50_megabytes_is_not_read_whole(call_request, journal, judge):
    """It counts as no answer, and at most 1 MiB of it is kept."""
    error, _ = await call_once([http(200, b" " * 50_000_000)], call_request, journal, judge, attempts=1)
    assert error.kind == "server_error"
    assert journal.outcomes == [("server_error", "unknown")]
    assert len(journal.attempts[0].reply.body) <= 2**20


async def test_billing_of_an_answer_without_usage_is_unknown(call_request, journal, judge):
    body = orjson.dumps({"choices": [{"message": {"content": "{}"}}]})
    await call_once([http(200, body)], call_request, journal, judge)
    assert journal.outcomes == [("accepted", "unknown")]


async def test_stop_ends_the_wait_between_attempts(call_request, journal, judge):
    """The waiting call raises at once; its attempt that was sent stays recorded."""
    limiter = RateLimiter(Limits(), rate=1000)
    refusal = http(429, b"", **{"retry-after": "300"})
    async with WireServer([refusal]).running() as server, open_client(server, limiter=limiter) as chat:
        waiting = asyncio.create_task(chat.call(call_request, RequestBody(b"{}"), journal, judge))
        while not journal.attempts:  # noqa: ASYNC110 - until the first attempt is rate limited
            await asyncio.sleep(0.001)
        limiter.stop(Stopped("enough"))
        with pytest.raises(Stopped, match="enough"):
            await waiting
    assert journal.outcomes == [("rate_limited", "no")]


async def test_error_names_an_unreachable_endpoint():
    async with build_client(Endpoint("http://127.0.0.1:9/v1")) as http_client:
        with pytest.raises(ConfigurationError, match=r"http://127\.0\.0\.1:9/v1/ cannot be reached"):
            await fetch_models(http_client, PROFILES["together"])


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
def test_price_of_unknown_unit_is_refused(profile, pricing, dollars):
    """A price per token read as a price per million tokens would make a budget ineffective."""
    request = httpx.Request("GET", "https://gateway.example/v1/models")
    response = httpx.Response(200, json={"data": [{"id": "a", "pricing": pricing}]}, request=request)
    price = parse_models(response, PROFILES[profile])["a"]
    assert (price and str(price.input.normalize())) == dollars


def test_unit_of_a_price_is_taken_from_the_host():
    """Vercel's gateway lists dollars per token under the field names of Together."""
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
async def test_models_and_prices_are_read_from_a_model_list(body, models):
    """The list is a bare array or `data`; a price that is absent, invalid or zero is unknown."""

    async def send_list(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(200, orjson.dumps(body)))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(send_list, "127.0.0.1", 0)
    async with (
        server,
        build_client(Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")) as http_client,
    ):
        prices = await fetch_models(http_client, PROFILES["together"])
    assert {name: price and str(price.input) for name, price in prices.items()} == models
