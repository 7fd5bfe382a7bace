"""permits: a rate limit on a real Prefect server, leased by one process and by two."""

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
    """A Prefect server of these tests' own."""

    process: subprocess.Popen
    url: str
    env: dict

    def make(self, name=NAME, **limit):
        """A limit."""
        url = f"{self.url}/v2/concurrency_limits/"
        httpx.post(url, json={"name": name, **limit}, trust_env=False, timeout=30).raise_for_status()

    def clear(self):
        """No limit, as in the beginning."""
        httpx.delete(f"{self.url}/v2/concurrency_limits/{NAME}", trust_env=False, timeout=30)


@contextmanager
def prefect_server(folder):
    """A server with a database of its own, until it is left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    own = {"PREFECT_HOME": str(folder), "PREFECT_API_URL": url, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | own
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(
        [sys.executable, "-m", "flows.serving.server", TEMPORARY, str(port)], cwd=ROOT, env=env, **pipes
    ) as process:
        try:
            healthy(process, url)
            yield Prefect(process, url, env)
        finally:
            process.kill()


def healthy(process, url):
    """Returns when the server answers."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", trust_env=False, timeout=10).is_success:
                return
        time.sleep(0.2)
    pytest.fail("Prefect's server did not start")


@pytest.fixture(scope="module")
def prefect_process(tmp_path_factory):
    """The server of all tests that leave it alive."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture
def prefect(prefect_process):
    """The server without a limit; Prefect's clients in this process go to it."""
    prefect_process.clear()
    with temporary_settings({PREFECT_API_URL: prefect_process.url}):
        yield prefect_process


@pytest.fixture
def nowhere():
    """Prefect's clients in this process go to a port that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{taken.getsockname()[1]}/api"}):
            yield


@pytest.mark.parametrize(
    ("endpoint", "model", "name"),
    [
        (ENDPOINT, MODEL, NAME),
        ("http://me:secret@127.0.0.1:8399/v1", "llama3:8b", "tilewise-127.0.0.1-8399-llama3-8b"),
        ("https://api.example/v1", "a%b&c>d<e?f#g", "tilewise-api.example-a-b-c-d-e-f-g"),
    ],
)
def test_a_limit_is_named_after_host_and_model(endpoint, model, name):
    """With no user, no path, and none of the characters that Prefect refuses or a URL would lose."""
    assert limit_name(endpoint, model) == name


def test_a_second_of_the_rate_lies_ready_and_two_blocks_at_least():
    assert [limit_size(rate) for rate in (40, 40.2, 0.5)] == [40, 41, 10]


@pytest.mark.slow
@pytest.mark.anyio
async def test_shards_need_their_deployment(prefect):
    """A server without it is noticed, with the command that makes it."""
    with pytest.raises(ConfigurationError, match="run `prefect --no-prompt deploy --all`"):
        await PrefectShards().ready()


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_limit_is_made_from_the_settings_and_follows_them(prefect):
    """Made with a second of the rate ready; a changed TILEWISE_RPM changes it; nothing to share makes none."""
    asked = {"base_url": ENDPOINT, "model": MODEL}
    assert await ensure_limit(Settings(**asked, rpm=2400)) == NAME
    async with get_client() as client:
        made = await PrefectRateLimit(client, NAME).read()
        assert await ensure_limit(Settings(**asked, rpm=1200)) == NAME
        changed = await PrefectRateLimit(client, NAME).read()
    assert (made, changed) == (Limit(40.0, 40), Limit(20.0, 20))
    assert await ensure_limit(Settings(**asked)) is None
    assert await ensure_limit(Settings(base_url="offline", model=MODEL, rpm=60)) is None


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_limit_lets_through_what_it_has_and_nothing_when_it_is_gone(prefect):
    """What is taken is counted, what is too much is denied, what is given back can be taken; a missing limit raises."""
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
async def test_a_limit_without_decay_is_said(prefect):
    """It would hold nobody back, or everybody for ever: a run goes by its own rate, and a person is told."""
    prefect.make(limit=40)
    async with lease_rate(ENDPOINT, MODEL, None, lambda _: None) as permits:
        assert permits.wait() == 0.0
        assert "its limit and its slot decay must be above 0" in permits.warning()


@pytest.mark.slow
@pytest.mark.anyio
async def test_without_a_limit_a_run_goes_by_its_own_rate_and_says_nothing(prefect):
    async with (
        lease_rate(ENDPOINT, MODEL, None, lambda _: None) as free,
        lease_rate(ENDPOINT, MODEL, 2400, lambda _: None) as alone,
    ):
        assert (free, alone) == (None, None)


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_limit_that_is_missed_is_said_with_the_command_that_makes_it(prefect):
    """Two runs at once that each go by TILEWISE_RPM send twice that."""
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
async def test_the_command_in_the_warning_makes_the_limit(prefect):
    """As Prefect's own command line understands it."""
    words = ["gcl", "create", NAME, "--limit", "40", "--slot-decay-per-second", "40"]
    command = [sys.executable, "-m", "prefect", *words]
    made = await asyncio.to_thread(
        subprocess.run, command, env=prefect.env, capture_output=True, timeout=120, check=False
    )
    assert made.returncode == 0, made.stderr
    async with get_client() as client:
        assert await PrefectRateLimit(client, NAME).read() == Limit(40.0, 40)


async def count_sent_after(permits, happens):
    """What leaves in the last 3 of 8 seconds after something happens."""
    end, sent = time.monotonic() + 8, []
    happens()
    while time.monotonic() < end:
        await asyncio.sleep(wait := permits.wait())
        if wait == 0.0:
            permits.take()
            sent.append(time.monotonic())
    return [at for at in sent if at > end - 3]


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_killed_server_is_survived(tmp_path):
    """Calls go on leaving, at half of the limit at most, and it is said in words."""
    said = []
    with prefect_server(tmp_path / "prefect") as server, temporary_settings({PREFECT_API_URL: server.url}):
        server.make(limit=40, slot_decay_per_second=40)
        async with lease_rate(ENDPOINT, MODEL, None, said.append) as permits:
            after = await count_sent_after(permits, server.process.kill)
    assert 10 <= len(after) <= 62
    assert len(said) == 1
    assert "the shared rate limit was unavailable" in permits.warning()


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_server_that_is_not_there_is_an_error_for_who_makes_the_limit(nowhere):
    """In one line, with the limit's name."""
    with pytest.raises(
        ConfigurationError, match=f"the rate limit {NAME} cannot be created from TILEWISE_RPM: the Prefect"
    ):
        await ensure_limit(Settings(base_url=ENDPOINT, model=MODEL, rpm=2400))
    async with get_client() as client:
        with pytest.raises(LimitUnavailableError, match="does not answer"):
            await PrefectRateLimit(client, NAME).read()


@pytest.mark.slow
@pytest.mark.anyio
async def test_server_that_never_answers_is_an_error_with_the_time_that_was_waited(monkeypatch):
    """It accepts the connection and stays silent."""
    monkeypatch.setattr("flows.adapters.rate_limit.CREATE_SECONDS", 1.0)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{silent.getsockname()[1]}/api"}),
        pytest.raises(ConfigurationError, match="the Prefect server did not answer within 1 s"),
    ):
        await ensure_limit(Settings(base_url=ENDPOINT, model=MODEL, rpm=2400))


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_server_that_is_not_there_leaves_half_of_what_is_set(nowhere):
    """Or, where nothing is set, a run's own rate; both are said."""
    said: asyncio.Queue[str] = asyncio.Queue()
    async with lease_rate(ENDPOINT, MODEL, 2400, said.put_nowait):
        async with asyncio.timeout(30):
            assert (await said.get()).endswith(": continuing at 20 calls per second")
    async with lease_rate(ENDPOINT, MODEL, None, said.put_nowait) as permits:
        assert permits.wait() == 0.0
        assert permits.warning().endswith(": this run applied its own limits")


@pytest.mark.anyio
async def test_something_else_at_the_servers_address_is_no_server(serve, replies):
    """A page with status 200 is no limit: it counts as no answer."""
    answering = serve(replies.ok())
    answering.listed = replies.raw("<html>welcome</html>", kind="text/html")
    with temporary_settings({PREFECT_API_URL: answering.url}):
        async with lease_rate(ENDPOINT, MODEL, None, lambda _: None) as permits:
            assert "did not return a valid Prefect response" in permits.warning()


@pytest.mark.slow
def test_a_flow_leases_from_the_limit(prefect_process, workspace, echo):
    """A limit of one call in two seconds, of which a newcomer sends a part, keeps two calls seconds apart."""
    prefect_process.make(limit_name(echo, "maker/model"), limit=10, slot_decay_per_second=0.5)
    workspace.images("a.jpg", "b.png")
    env = {"TILEWISE_BASE_URL": echo, "PREFECT_API_URL": prefect_process.url}
    ended = workspace.tilewise("run", "in", "--schema", "caption", "--bill", "formula", env=env)
    first, second = workspace.table("calls")["started_at"].sort().to_list()
    assert ended.returncode == 0, ended.stderr
    assert (second - first).total_seconds() >= 3
    assert workspace.only("runs")["warnings"] == []


@pytest.mark.slow
def test_two_processes_stay_within_the_limit(prefect_process):
    """Over 15 seconds they make 36 to 42 calls of the 40 a second, each a good part of them."""
    prefect_process.clear()
    prefect_process.make(limit=40, slot_decay_per_second=40)
    command = [sys.executable, "-c", SEND, "21"]
    pipes = {"stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, cwd=ROOT, env=prefect_process.env, **pipes) for _ in range(2)]
    said = [json.loads(each.communicate(timeout=150)[0]) for each in both]
    begin = max(each["sent"][0] for each in said)
    times = sorted(at for each in said for at in each["sent"] if begin <= at < begin + 15)
    worst = max(bisect_left(times, at + 1) - number for number, at in enumerate(times))
    assert [each["warning"] for each in said] == [None, None]
    assert 36 <= len(times) / 15 <= 42
    assert worst <= 55  # a machine that is busy sends late, and then two seconds' calls in one
    assert min(len(each["sent"]) for each in said) >= 150
