"""network.py: resets, stalls and drips over a real socket, from an endpoint in its own process.

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
def write_faults(tmp_path):
    """Write a file of faults."""

    def write(options="", **shares):
        path = tmp_path / "faults.toml"
        lines = [f"{kind} = {share}" for kind, share in shares.items()]
        path.write_text("\n".join(["[shares]", *lines, "[options]", options]))
        return path

    return write


async def post(http, **more):
    return await http.post("/v1/chat/completions", json={**REQUEST, **more})


@contextlib.asynccontextmanager
async def run_endpoint(*arguments):
    """Run the endpoint in a process of its own; yield a client and a list that gets its stderr at the end."""
    command = (sys.executable, "-m", "extractors.endpoint", "--port", "0", "--reader", "echo", *map(str, arguments))
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    stderr_texts = []
    try:
        url = orjson.loads(await server.stdout.readline())["url"].removesuffix("/v1")
        async with httpx.AsyncClient(base_url=url, timeout=5) as http:
            yield http, stderr_texts
    finally:
        server.send_signal(signal.SIGTERM)
        _, stderr = await asyncio.wait_for(server.communicate(), 5)
        stderr_texts.append(stderr.decode())


async def read_state(http):
    return (await http.get("/rehearsal")).json()


@pytest.mark.parametrize("stream", [False, True])
async def test_reset_breaks_the_connection(write_faults, stream):
    """It breaks before or within the response, and the server logs no error."""
    errors = []
    async with run_endpoint("--faults", write_faults(reset=1)) as (http, stderr_texts):
        for _ in range(16):
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)) as raised:
                await post(http, stream=stream)
            errors.append(str(raised.value))
        assert (await read_state(http))["kinds"] == {"reset": 16}
    assert {"without sending a response" in error for error in errors} == {True, False}
    assert {"incomplete" in error or "received" in error for error in errors} == {True, False}
    assert stderr_texts == [""]


@pytest.mark.parametrize("stream", [False, True])
async def test_stall_sends_headers_only(write_faults, stream):
    """The client ends it by its read timeout."""
    async with run_endpoint("--faults", write_faults(stall=1)) as (http, stderr_texts):
        async with http.stream(
            "POST", "/v1/chat/completions", json={**REQUEST, "stream": stream}, timeout=0.2
        ) as reply:
            assert reply.status_code == 200
            with pytest.raises(httpx.ReadTimeout):
                await reply.aread()
        assert (await read_state(http))["kinds"] == {"stall": 1}
    assert stderr_texts == [""]


async def test_stall_breaks_the_connection_after_stall_seconds(write_faults):
    async with run_endpoint("--faults", write_faults(stall=1, options="stall_seconds = 0.1")) as (http, _):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await post(http)


@pytest.mark.parametrize("stream", [False, True])
async def test_drip_sends_bytes_without_an_answer(write_faults, stream):
    """Bytes keep coming, so no read times out."""
    received = b""
    async with run_endpoint("--faults", write_faults(drip=1, options="drip_seconds = 0.02")) as (http, stderr_texts):
        async with http.stream("POST", "/v1/chat/completions", json={**REQUEST, "stream": stream}) as reply:
            async for chunk in reply.aiter_raw():
                received += chunk
                if len(received) >= 10:
                    break
        assert (await read_state(http))["kinds"] == {"drip": 1}
    assert received.startswith(b": wait\n\n" if stream else b" " * 8)
    assert stderr_texts == [""]


async def test_server_stops_with_a_stalled_response(write_faults):
    """It breaks the stalled connection."""
    async with run_endpoint("--faults", write_faults(stall=1)) as (http, stderr_texts):
        request = asyncio.create_task(post(http))
        while not (await read_state(http))["kinds"]:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.01)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await request
    assert stderr_texts == [""]


async def test_client_that_disconnects_while_sending_is_counted_as_gone(write_faults):
    """The server logs no error."""
    async with run_endpoint() as (http, stderr_texts):
        _, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        await writer.drain()
        while not (await read_state(http))["requests"]:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.01)
        writer.close()
        while not (state := await read_state(http))["kinds"]:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.01)
    assert (state["requests"], state["kinds"]) == (1, {"gone": 1})
    assert stderr_texts == [""]


async def test_counts_of_parallel_requests_equal_those_of_the_client(write_faults):
    """Every request is counted once, by its kind, including broken connections."""
    shares = {"server_error": 0.2, "reset": 0.2, "prose": 0.2, "rate_limited": 0.1}

    async def post_and_classify(http):
        try:
            reply = await post(http)
        except (httpx.ReadError, httpx.RemoteProtocolError):
            return "reset"
        statuses = {429: "rate_limited", 500: "server_error", 200: "answered"}
        return "prose" if "picture" in reply.text else statuses[reply.status_code]

    async with run_endpoint("--faults", write_faults(**shares), "--latency", 0.02) as (http, _):
        kinds = await asyncio.gather(*(post_and_classify(http) for _ in range(120)))
        state = await read_state(http)
    assert Counter(kinds) == state["kinds"]
    assert state["requests"] == 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--faults", "none.toml"), "none.toml: no such file or directory"), (("--rpm", "0"), "rpm: above 0")],
)
async def test_invalid_option_ends_the_endpoint_with_one_line(arguments, message):
    """The process listens nowhere, and stderr has the reason without a traceback."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "extractors.endpoint", "--reader", "echo", *arguments)
    server = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    stdout, stderr = await server.communicate()
    assert server.returncode == 2
    assert stdout == b""
    assert message in stderr.decode()
    assert stderr.count(b"\n") == 1
