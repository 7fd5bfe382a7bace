"""Rate limits on a real Prefect server, leased by one process and by two."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from bisect import bisect_left
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from extractors.config.settings import Settings
from extractors.core.errors import ConfigurationError
from flows.adapters.rate_limit import PrefectRateLimit, ensure_limit, lease_rate, limit_name, limit_size
from flows.adapters.rate_share import Limit, LimitNotFoundError, LimitUnavailableError
from flows.adapters.shards import PrefectShards
from flows.serving.server import TEMPORARY

ROOT = Path(__file__).parents[3]
ENDPOINT, MODEL = "https://api.example/v1", "maker/model"
NAME = "tilewise-api.example-maker-model"
SEND = """
import asyncio, json, sys, time
from extractors.call.rate_limit import Limits, RateLimiter
from flows.adapters.rate_limit import lease_rate

async def main():
    sent, running, end = [], set(), time.monotonic() + float(sys.argv[1])
    async with lease_rate("https://api.example/v1", "maker/model", None, lambda _: None) as permits:
        traffic = RateLimiter(Limits(100), 40, permits=permits)

        async def call():
            async with traffic.slot(1) as ticket:
                sent.append(time.time())
                await asyncio.sleep(0.05)
                traffic.record_answer(ticket, 1)

        while time.monotonic() < end:
            running |= {asyncio.create_task(call()) for _ in range(20 - len(running))}
            _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        [each.cancel() for each in running]
        await asyncio.gather(*running, return_exceptions=True)
    print(json.dumps({"sent": sent, "warning": permits.warning()}))

asyncio.run(main())
"""


@dataclass
class Prefect:
    """A Prefect server of these tests."""

    process: subprocess.Popen
    url: str
    env: dict

    def make(self, name=NAME, **limit):
        """Creates a limit."""
        url = f"{self.url}/v2/concurrency_limits/"
        httpx.post(url, json={"name": name, **limit}, trust_env=False, timeout=30).raise_for_status()

    def clear(self):
        """Deletes the limit."""
        httpx.delete(f"{self.url}/v2/concurrency_limits/{NAME}", trust_env=False, timeout=30)


@contextmanager
def prefect_server(folder):
    """Starts a server with its own database, and kills it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    settings = {"PREFECT_HOME": str(folder), "PREFECT_API_URL": url, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | settings
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(
        [sys.executable, "-m", "flows.serving.server", TEMPORARY, str(port)], cwd=ROOT, env=env, **pipes
    ) as process:
        try:
            wait_until_healthy(process, url)
            yield Prefect(process, url, env)
        finally:
            process.kill()


def wait_until_healthy(process, url):
    """Waits until the server answers."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", trust_env=False, timeout=10).is_success:
                return
        time.sleep(0.2)
    pytest.fail("Prefect's server did not start")


@pytest.fixture(scope="module")
def prefect_process(tmp_path_factory):
    """The server of all tests that do not kill it."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture
def prefect(prefect_process):
    """The server without a limit; Prefect's clients in this process use it."""
    prefect_process.clear()
    with temporary_settings({PREFECT_API_URL: prefect_process.url}):
        yield prefect_process


@pytest.fixture
def unreachable_server():
    """Prefect's clients in this process connect to a port where no server listens."""
    with socket.socket() as unused_port:
        unused_port.bind(("127.0.0.1", 0))
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{unused_port.getsockname()[1]}/api"}):
            yield


@pytest.mark.parametrize(
    ("endpoint", "model", "name"),
    [
        (ENDPOINT, MODEL, NAME),
        ("http://me:secret@127.0.0.1:8399/v1", "llama3:8b", "tilewise-127.0.0.1-8399-llama3-8b"),
        ("https://api.example/v1", "a%b&c>d<e?f#g", "tilewise-api.example-a-b-c-d-e-f-g"),
    ],
)
def test_limit_name_has_host_and_model(endpoint, model, name):
    """It omits user and path, and replaces characters that Prefect refuses or a URL would lose."""
    assert limit_name(endpoint, model) == name


def test_limit_size_is_one_second_of_the_rate_and_at_least_two_blocks():
    assert [limit_size(rate) for rate in (40, 40.2, 0.5)] == [40, 41, 10]


@pytest.mark.slow
@pytest.mark.anyio
async def test_prefect_shards_refuse_a_server_without_their_deployment(prefect):
    """The message has the command that creates the deployment."""
    with pytest.raises(ConfigurationError, match="run `prefect --no-prompt deploy --all`"):
        await PrefectShards().ready()


@pytest.mark.slow
@pytest.mark.anyio
async def test_ensure_limit_creates_and_updates_the_limit(prefect):
    """The limit follows TILEWISE_RPM; without a rate, and offline, none is created."""
    common = {"base_url": ENDPOINT, "model": MODEL}
    assert await ensure_limit(Settings(**common, rpm=2400)) == NAME
    async with get_client() as client:
        created = await PrefectRateLimit(client, NAME).read()
        assert await ensure_limit(Settings(**common, rpm=1200)) == NAME
        updated = await PrefectRateLimit(client, NAME).read()
    assert (created, updated) == (Limit(40.0, 40), Limit(20.0, 20))
    assert await ensure_limit(Settings(**common)) is None
    assert await ensure_limit(Settings(base_url="offline", model=MODEL, rpm=60)) is None


@pytest.mark.slow
@pytest.mark.anyio
async def test_rate_limit_grants_denies_and_takes_back_permits(prefect):
    """A deleted limit raises an error."""
    prefect.make(limit=40, slot_decay_per_second=0.001)
    async with get_client() as client:
        counter = PrefectRateLimit(client, NAME)
        assert [await counter.take(30), await counter.take(30)] == [True, False]
        assert (await counter.read()).taken == 30
        await counter.give_back(30)
        assert await counter.take(30)
        await client.delete_global_concurrency_limit_by_name(NAME)
        with pytest.raises(LimitNotFoundError, match=f"the rate limit {NAME} does not exist"):
            await counter.take(1)
        with pytest.raises(LimitNotFoundError):
            await counter.read()


@pytest.mark.slow
@pytest.mark.anyio
async def test_lease_rate_warns_of_a_limit_without_decay(prefect):
    """Such a limit would hold all calls for ever or none, so the run applies its own rate."""
    prefect.make(limit=40)
    async with lease_rate(ENDPOINT, MODEL, None, lambda _: None) as permits:
        assert permits.wait() == 0.0
        assert "its limit and its slot decay must be above 0" in permits.warning()


@pytest.mark.slow
@pytest.mark.anyio
async def test_lease_rate_leases_nothing_without_a_limit(prefect):
    async with (
        lease_rate(ENDPOINT, MODEL, None, lambda _: None) as unlimited,
        lease_rate(ENDPOINT, MODEL, 2400, lambda _: None) as limited,
    ):
        assert (unlimited, limited) == (None, None)


@pytest.mark.slow
@pytest.mark.anyio
async def test_lease_rate_warns_of_concurrent_runs_without_a_limit(prefect):
    """Two runs that each apply TILEWISE_RPM send twice that rate; the warning has the command that creates the limit."""
    async with get_client() as client:
        flow = (await client.request("POST", "/flows/", json={"name": "extract"})).json()["id"]
        running = {"flow_id": flow, "state": {"type": "RUNNING"}}
        [await client.request("POST", "/flow_runs/", json=running) for _ in range(2)]
    async with lease_rate(ENDPOINT, MODEL, 2400, lambda _: None) as permits:
        assert permits.warning() == (
            f"TILEWISE_RPM=2400 applied to each of 2 concurrent runs, because the rate limit {NAME} does not exist:"
            f" create it with `prefect gcl create {NAME} --limit 40 --slot-decay-per-second 40`"
        )
    async with get_client() as client:
        await client.delete_flow(flow)


@pytest.mark.slow
@pytest.mark.anyio
async def test_command_of_the_warning_creates_the_limit(prefect):
    """Prefect's own command line runs it."""
    words = ["gcl", "create", NAME, "--limit", "40", "--slot-decay-per-second", "40"]
    command = [sys.executable, "-m", "prefect", *words]
    process = await asyncio.to_thread(
        subprocess.run, command, env=prefect.env, capture_output=True, timeout=120, check=False
    )
    assert process.returncode == 0, process.stderr
    async with get_client() as client:
        assert await PrefectRateLimit(client, NAME).read() == Limit(40.0, 40)


async def list_calls_after(permits, trigger):
    """The times of the calls in the last 3 of the 8 seconds after an event."""
    end, sent = time.monotonic() + 8, []
    trigger()
    while time.monotonic() < end:
        await asyncio.sleep(wait := permits.wait())
        if wait == 0.0:
            permits.take()
            sent.append(time.monotonic())
    return [at for at in sent if at > end - 3]


@pytest.mark.slow
@pytest.mark.anyio
async def test_lease_rate_continues_at_half_the_limit_after_a_killed_server(tmp_path):
    """It reports that once."""
    messages = []
    with prefect_server(tmp_path / "prefect") as server, temporary_settings({PREFECT_API_URL: server.url}):
        server.make(limit=40, slot_decay_per_second=40)
        async with lease_rate(ENDPOINT, MODEL, None, messages.append) as permits:
            calls = await list_calls_after(permits, server.process.kill)
    assert 10 <= len(calls) <= 62
    assert len(messages) == 1
    assert "the shared rate limit was unavailable" in permits.warning()


@pytest.mark.slow
@pytest.mark.anyio
async def test_ensure_limit_fails_for_an_unreachable_server(unreachable_server):
    """The message names the limit; reading the limit fails, too."""
    with pytest.raises(
        ConfigurationError, match=f"the rate limit {NAME} cannot be created from TILEWISE_RPM: the Prefect"
    ):
        await ensure_limit(Settings(base_url=ENDPOINT, model=MODEL, rpm=2400))
    async with get_client() as client:
        with pytest.raises(LimitUnavailableError, match="does not answer"):
            await PrefectRateLimit(client, NAME).read()


@pytest.mark.slow
@pytest.mark.anyio
async def test_ensure_limit_fails_after_its_timeout(monkeypatch):
    """The server accepts the connection and never answers; the message has the timeout."""
    monkeypatch.setattr("flows.adapters.rate_limit.CREATE_SECONDS", 1.0)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{silent.getsockname()[1]}/api"}),
        pytest.raises(ConfigurationError, match="the Prefect server did not answer within 1 s"),
    ):
        await ensure_limit(Settings(base_url=ENDPOINT, model=MODEL, rpm=2400))


@pytest.mark.slow
@pytest.mark.anyio
async def test_lease_rate_applies_half_the_setting_for_an_unreachable_server(unreachable_server):
    """Without a setting the run applies its own limits; either is reported."""
    messages: asyncio.Queue[str] = asyncio.Queue()
    async with lease_rate(ENDPOINT, MODEL, 2400, messages.put_nowait):
        async with asyncio.timeout(30):
            assert (await messages.get()).endswith(": continuing at 20 calls per second")
    async with lease_rate(ENDPOINT, MODEL, None, messages.put_nowait) as permits:
        assert permits.wait() == 0.0
        assert permits.warning().endswith(": this run applied its own limits")


@pytest.mark.anyio
async def test_lease_rate_refuses_an_html_page(serve, replies):
    """A page with status 200 counts as no answer."""
    page_server = serve(replies.ok())
    page_server.listed = replies.raw("<html>welcome</html>", kind="text/html")
    with temporary_settings({PREFECT_API_URL: page_server.url}):
        async with lease_rate(ENDPOINT, MODEL, None, lambda _: None) as permits:
            assert "did not return a valid Prefect response" in permits.warning()


@pytest.mark.slow
def test_flow_leases_from_the_limit(prefect_process, workspace, echo):
    """At a limit of one call in two seconds, of which a new worker leases a part, two calls are seconds apart."""
    prefect_process.make(limit_name(echo, "maker/model"), limit=10, slot_decay_per_second=0.5)
    workspace.images("a.jpg", "b.png")
    env = {"TILEWISE_BASE_URL": echo, "PREFECT_API_URL": prefect_process.url}
    result = workspace.tilewise("run", "in", "--schema", "caption", "--bill", "formula", env=env)
    first, second = workspace.table("calls")["started_at"].sort().to_list()
    assert result.returncode == 0, result.stderr
    assert (second - first).total_seconds() >= 3
    assert workspace.only("runs")["warnings"] == []


@pytest.mark.slow
def test_two_processes_stay_within_the_limit(prefect_process):
    """At a limit of 40 they make 36 to 42 calls a second, and each at least 150 in all."""
    prefect_process.clear()
    prefect_process.make(limit=40, slot_decay_per_second=40)
    command = [sys.executable, "-c", SEND, "21"]
    pipes = {"stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=ROOT, env=prefect_process.env, **pipes) for _ in range(2)]
    reports = [json.loads(process.communicate(timeout=150)[0]) for process in processes]
    begin = max(report["sent"][0] for report in reports)
    times = sorted(at for report in reports for at in report["sent"] if begin <= at < begin + 15)
    peak = max(bisect_left(times, at + 1) - number for number, at in enumerate(times))
    assert [report["warning"] for report in reports] == [None, None]
    assert 36 <= len(times) / 15 <= 42
    assert peak <= 55  # a busy machine delays calls, and then sends those of two seconds in one
    assert min(len(report["sent"]) for report in reports) >= 150
