"""Replies that never come whole, over a real socket: resets, stalls and drips, from an endpoint in its own process.

Covers `extractors.endpoint.faults.connection`, too.
"""

import asyncio
import contextlib
import signal
import sys
from collections import Counter

import httpx
import orjson
import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

REQUEST = {"messages": [{"role": "user", "content": "Read it."}]}


@pytest.fixture
def toml(tmp_path):
    """Write a file of faults."""

    def write(options="", **shares):
        path = tmp_path / "faults.toml"
        lines = [f"{kind} = {share}" for kind, share in shares.items()]
        path.write_text("\n".join(["[shares]", *lines, "[options]", options]))
        return path

    return write


async def parse_request(http, **more):
    return await http.post("/v1/chat/completions", json={**REQUEST, **more})


@contextlib.asynccontextmanager
async def process(*arguments):
    """The endpoint in a process of its own, with a list that gets what it said on stderr."""
    command = (sys.executable, "-m", "extractors.endpoint", "--port", "0", "--reader", "echo", *map(str, arguments))
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    said = []
    try:
        url = orjson.loads(await server.stdout.readline())["url"].removesuffix("/v1")
        async with httpx.AsyncClient(base_url=url, timeout=5) as http:
            yield http, said
    finally:
        server.send_signal(signal.SIGTERM)
        _, stderr = await asyncio.wait_for(server.communicate(), 5)
        said.append(stderr.decode())


async def state_of(http):
    return (await http.get("/rehearsal")).json()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reset_breaks_the_connection(toml, stream):
    """Before the reply or in its middle, and the server does not call it an error of its own."""
    errors = []
    async with process("--faults", toml(reset=1)) as (http, said):
        for _ in range(16):
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)) as raised:
                await parse_request(http, stream=stream)
            errors.append(str(raised.value))
        assert (await state_of(http))["kinds"] == {"reset": 16}
    assert {"without sending a response" in error for error in errors} == {True, False}
    assert {"incomplete" in error or "received" in error for error in errors} == {True, False}
    assert said == [""]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stall_sends_headers_and_then_nothing(toml, stream):
    """Until the client gives up."""
    async with process("--faults", toml(stall=1)) as (http, said):
        async with http.stream(
            "POST", "/v1/chat/completions", json={**REQUEST, "stream": stream}, timeout=0.2
        ) as reply:
            assert reply.status_code == 200
            with pytest.raises(httpx.ReadTimeout):
                await reply.aread()
        assert (await state_of(http))["kinds"] == {"stall": 1}
    assert said == [""]


async def test_a_stall_breaks_when_its_seconds_are_over(toml):
    """A client without patience of its own is let go."""
    async with process("--faults", toml(stall=1, options="stall_seconds = 0.1")) as (http, _):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await parse_request(http)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_drip_never_ends(toml, stream):
    """Bytes keep coming, so no read times out, and nothing is ever said."""
    dripped = b""
    async with process("--faults", toml(drip=1, options="drip_seconds = 0.02")) as (http, said):
        async with http.stream("POST", "/v1/chat/completions", json={**REQUEST, "stream": stream}) as reply:
            async for part in reply.aiter_raw():
                dripped += part
                if len(dripped) >= 10:
                    break
        assert (await state_of(http))["kinds"] == {"drip": 1}
    assert dripped.startswith(b": wait\n\n" if stream else b" " * 8)
    assert said == [""]


async def test_a_server_with_a_stalled_reply_still_stops(toml):
    """It breaks what would never end."""
    async with process("--faults", toml(stall=1)) as (http, said):
        waiting = asyncio.create_task(parse_request(http))
        while not (await state_of(http))["kinds"]:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.01)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await waiting
    assert said == [""]


async def test_a_client_that_leaves_while_it_sends_is_counted_as_gone(toml):
    """Its request never became one, and the server has nothing to complain about."""
    async with process() as (http, said):
        _, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        await writer.drain()
        while not (await state_of(http))["requests"]:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.01)
        writer.close()
        while not (state := await state_of(http))["kinds"]:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.01)
    assert (state["requests"], state["kinds"]) == (1, {"gone": 1})
    assert said == [""]


async def test_counts_hold_over_a_socket_with_many_at_once(toml):
    """Kinds that break included: every request is counted once, as what it became."""
    shares = {"server_error": 0.2, "reset": 0.2, "prose": 0.2, "rate_limited": 0.1}

    async def one(http):
        try:
            reply = await parse_request(http)
        except (httpx.ReadError, httpx.RemoteProtocolError):
            return "reset"
        statuses = {429: "rate_limited", 500: "server_error", 200: "answered"}
        return "prose" if "picture" in reply.text else statuses[reply.status_code]

    async with process("--faults", toml(**shares), "--latency", 0.02) as (http, _):
        kinds = await asyncio.gather(*(one(http) for _ in range(120)))
        state = await state_of(http)
    assert Counter(kinds) == state["kinds"]
    assert state["requests"] == 120


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--faults", "none.toml"), "none.toml: no such file or directory"), (("--rpm", "0"), "rpm: above 0")],
)
async def test_a_bad_start_is_one_line(arguments, says):
    """Nothing listens, and stderr has the reason and no traceback."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "extractors.endpoint", "--reader", "echo", *arguments)
    server = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    stdout, stderr = await server.communicate()
    assert server.returncode == 2
    assert stdout == b""
    assert says in stderr.decode()
    assert stderr.count(b"\n") == 1
