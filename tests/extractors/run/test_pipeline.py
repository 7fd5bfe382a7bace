"""pipeline: a whole run as its callers see it: how a chunk is run, who is told, what is kept when it is cancelled.

Covers `extractors.run.approval`, `extractors.run.context`, `extractors.run.journal` and `extractors.run.scheduler`,
too.
"""

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass

import polars as pl
import pytest
from PIL import Image

from extractors.config.job import build_job
from extractors.config.run_config import resolve
from extractors.config.settings import Settings
from extractors.core.call_counts import CallCounts
from extractors.core.errors import ApprovalRequired, ConfigurationError
from extractors.core.totals import RunTotals
from extractors.endpoint.child import child
from extractors.record.tables.volume import PartId
from extractors.run.chunk import Chunk
from extractors.run.pipeline import RunHooks, run

pytestmark = pytest.mark.anyio


@pytest.fixture
def source(tmp_path):
    """Five images."""
    (tmp_path / "in").mkdir()
    for number in range(5):
        Image.new("RGB", (300, 200), (number, 90, 90)).save(tmp_path / "in" / f"{number}.png")
    return tmp_path / "in"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Settings of a run that asks nobody outside; more can be given."""
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith(("TILEWISE_", "TOGETHER_API_KEY"))]:
        monkeypatch.delenv(name)

    def make(**given):
        kept = {"ledger": f"sqlite:///{tmp_path / 'ledger.db'}", "output": str(tmp_path / "out"), "model": "m/x"}
        return Settings(**kept, **given)

    return make


@pytest.fixture
def asked(source):
    """A job over the images; more can be asked."""
    return lambda **fields: build_job(source=str(source), schema_name="caption", **fields)


@pytest.fixture(scope="module")
def anyio_backend():
    """As everywhere, but one event loop for the module, so that its tests can share an endpoint."""
    return "asyncio"


@pytest.fixture(scope="module")
async def url():
    """An endpoint that echoes the schema."""
    async with child("echo") as url:
        yield url


def table(tmp_path, name):
    """What is published in this table."""
    return pl.read_parquet(sorted((tmp_path / "out" / name).rglob("*.parquet")), hive_partitioning=False)


async def test_its_caller_is_told_of_every_document(asked, settings, url):
    """One tally a document, as it ends; together they are the run's."""
    told = []
    closing = await run(resolve(asked(), settings(base_url=url)), RunHooks(on_document=told.append))
    assert len(told) == 5
    assert sum(told, RunTotals()) == closing.counts.totals


async def test_on_calls_counts_a_refused_call_before_its_document_ends(asked, settings, serve, replies):
    """Every call as it ends: a refusal, a retry that is no JSON, and the retry that is accepted; then the document."""
    server = serve(replies.error(429, **{"Retry-After": "0"}), replies.ok("sorry"), replies.ok())
    told = []
    hooks = RunHooks(on_calls=told.append, on_document=told.append)
    closing = await run(resolve(asked(limit=1, yes=True), settings(base_url=server.url)), hooks)
    *calls, document = told
    assert [(each.refusals, each.retries, dict(each.failures)) for each in calls] == [
        (1, 0, {}),
        (0, 1, {"not_json": 1}),
        (0, 1, {}),
    ]
    assert (document.accepted, document.calls) == (1, 3)
    assert sum(calls, CallCounts()).cost_usd == closing.counts.totals.cost_usd


async def test_its_caller_runs_the_chunks(asked, settings, url):
    """Chunks are handed over one by one, numbered, with their documents; what comes back is their tally."""
    handed = []

    async def run_chunk(chunk):
        handed.append((chunk.part.part, len(chunk.documents)))
        return await chunk.run()

    closing = await run(resolve(asked(), settings(base_url=url, chunk=2)), RunHooks(run_chunk=run_chunk))
    assert sorted(handed) == [(0, 2), (1, 2), (2, 1)]
    assert closing.counts.totals.accepted == 5


async def test_a_run_outside_of_a_flow_has_no_flow_run(asked, settings, url, tmp_path):
    """The row of a run names its flow run where there is one."""
    await run(resolve(asked(limit=1), settings(base_url=url)))
    await run(resolve(asked(), settings(base_url=url)), RunHooks(flow_run_id="f10w"))
    assert table(tmp_path, "runs").sort("started_at")["prefect_flow_run_id"].to_list() == [None, "f10w"]


async def test_the_closing_says_where_the_rows_are(asked, settings, url):
    """Its results are the published files, one a volume."""
    closing = await run(resolve(asked(), settings(base_url=url, volume=2)))
    assert [pl.read_parquet(path).height for path in closing.results] == [2, 2, 1]
    assert closing.exit_code == 0


async def test_what_cannot_begin_raises(asked, settings, url, tmp_path):
    """Nothing is published, and no chunk is run."""

    async def run_chunk(chunk):
        raise AssertionError("nothing is to be sent")

    config = resolve(build_job(source="nowhere", schema_name="caption"), settings(base_url=url))
    with pytest.raises(ConfigurationError, match="does not exist"):
        await run(config, RunHooks(run_chunk=run_chunk))
    assert not (tmp_path / "out").exists()


async def test_a_bug_in_a_chunk_is_raised_and_ends_the_others(asked, settings, url):
    """An error that is nobody's is neither a row nor a stop: it comes out as it is."""

    async def run_chunk(chunk):
        if chunk.part.part == 1:
            raise TypeError("a bug")
        return await chunk.run()

    with pytest.raises(TypeError, match="a bug"):
        await run(resolve(asked(), settings(base_url=url, chunk=2)), RunHooks(run_chunk=run_chunk))
    assert [each for each in asyncio.all_tasks() if "chunk" in repr(each)] == []


async def test_a_run_that_broke_off_is_published_and_its_documents_are_taken(asked, settings, url, tmp_path):
    """The next run publishes what was done, does the rest, and pays for nothing twice."""

    async def run_chunk(chunk):
        if chunk.part.part == 1:
            raise TypeError("a bug")
        return await chunk.run()

    with pytest.raises(TypeError):
        await run(resolve(asked(), settings(base_url=url, chunk=2)), RunHooks(run_chunk=run_chunk))
    said = []
    closing = await run(resolve(asked(), settings(base_url=url)), RunHooks(notify=said.append))
    runs = table(tmp_path, "runs").sort("started_at").rows(named=True)
    assert [row["status"] for row in runs] == ["abandoned", "completed"]
    assert sum(row["accepted"] for row in runs) == 5
    assert (closing.counts.totals.remaining, closing.counts.found) == (0, 5)
    assert table(tmp_path, "results")["_document"].n_unique() == table(tmp_path, "results").height == 5
    assert table(tmp_path, "calls").height == sum(row["calls"] for row in runs)
    assert "ended without publishing" in said[0]
    assert not (tmp_path / "out" / "staging").exists()


async def test_what_a_run_had_taken_before_it_asked_is_free_again(asked, settings, url, unused_server):
    """Nothing was sent: who answers with yes, or asks another endpoint, has all documents."""
    with pytest.raises(ApprovalRequired):
        await run(resolve(asked(), settings(base_url=unused_server)))
    closing = await run(resolve(asked(), settings(base_url=url)))
    assert (closing.counts.totals.accepted, closing.counts.totals.remaining) == (5, 0)


async def test_two_runs_over_one_folder_read_each_image_once(asked, settings, url, tmp_path):
    """What one is at, the other leaves to it, or finds done."""
    both = await asyncio.gather(*(run(resolve(asked(), settings(base_url=url, chunk=1))) for _ in range(2)))
    assert sum(each.counts.totals.accepted for each in both) == 5
    assert [each.counts.found for each in both] == [5, 5]
    assert [each.exit_code for each in both] == [0, 0]
    assert table(tmp_path, "results")["_document"].n_unique() == table(tmp_path, "results").height == 5
    assert table(tmp_path, "calls").height == 5


async def test_two_runs_share_a_ledger_and_an_output(asked, settings, url, tmp_path, source):
    """Two runs at the same time over different images publish both, whole."""
    half = {"schema_name": "caption"}
    jobs = [build_job(source=str(source / name), **half) for name in ("0.png", "1.png")]
    await asyncio.gather(*(run(resolve(each, settings(base_url=url))) for each in jobs))
    assert table(tmp_path, "results")["_run"].n_unique() == 2
    assert table(tmp_path, "runs")["accepted"].to_list() == [1, 1]


async def test_no_yes_is_needed_where_nothing_is_to_be_paid(asked, settings, url):
    """Local OCR is free, and so is its echo."""
    closing = await run(resolve(asked(), settings(base_url=url, ask_above=0)))
    assert closing.row["cost_usd"] == 0


async def test_a_yes_is_asked_for_before_anything_is_sent(asked, settings, unused_server):
    """The error says that it is a question, so a caller can put it to a person."""
    with pytest.raises(ApprovalRequired, match="TILEWISE_PRICES"):
        await run(resolve(asked(), settings(base_url=unused_server)))


@pytest.fixture
async def unused_server():
    """A server that knows no path at all, and so no price and no OCR."""

    async def refuse(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"GET /v1/models ")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def test_chunk_is_logged_without_its_context(asked):
    """The context has the key of the API."""
    assert "context" not in repr(Chunk(PartId(3), (), context=object()))


async def test_pages_in_another_order_are_another_document(asked, settings, url, source, tmp_path):
    """A document of several pages is a copy of one with the same pages in the same order."""
    one, two = (source / f"{number}.png" for number in range(2))
    for folder, pages in {"a": (one, two), "b": (one, two), "c": (two, one)}.items():
        (source / folder).mkdir()
        for number, page in enumerate(pages):
            shutil.copyfile(page, source / folder / f"{number}.png")
    for path in source.glob("*.png"):
        path.unlink()
    tally = (await run(resolve(asked(document_by="folder"), settings(base_url=url)))).counts.totals
    assert (tally.accepted, tally.copied, tally.calls) == (2, 1, 2)
    [copy] = table(tmp_path, "results").filter(pl.col("_copied_from").is_not_null()).to_dicts()
    assert copy["_pages"] == [f"{copy['_document']}/{number}.png" for number in range(2)]
    assert {copy["_document"], copy["_copied_from"]} == {str(source / "a"), str(source / "b")}


async def test_what_is_passed_on_is_never_copied(bucket, source, settings, url):
    """Nobody here has seen its bytes."""
    for name in ("a.png", "b.png"):
        bucket.put(f"in/{name}", (source / "0.png").read_bytes())
    by_url = build_job(source=f"{bucket.url}/in", schema_name="caption", send_urls=True)
    tally = (await run(resolve(by_url, settings(base_url=url)))).counts.totals
    assert (tally.done, tally.copied, tally.copied_failed, tally.calls) == (2, 0, 0, 2)


@dataclass
class Permits:
    """Permits that let everything through, with a warning in the end."""

    taken: int = 0

    def wait(self):
        return 0.0

    def take(self):
        self.taken += 1

    def warning(self):
        return "the server was gone"


async def test_a_run_asks_for_permits_where_it_is_told_of_whom(asked, settings, url, tmp_path):
    """They are leased for its endpoint, model and ceiling; every call takes one; what they warn of is in its row."""
    leased, permits = [], Permits()

    @asynccontextmanager
    async def leasing(*asked_for):
        leased.append(asked_for[:3])
        yield permits

    await run(resolve(asked(limit=2), settings(base_url=url, rpm=6e6)), RunHooks(permits=leasing))
    assert leased == [(url, "m/x", 6e6)]
    assert permits.taken == table(tmp_path, "calls").height == 2
    assert "the server was gone" in table(tmp_path, "runs")["warnings"].to_list()[0]


@pytest.mark.slow
async def test_local_ocr_needs_no_permits(asked, settings):
    """It is one child of one run."""

    def leasing(*asked_for):
        raise AssertionError("nobody shares it")

    closing = await run(resolve(asked(limit=1, offline=True), settings()), RunHooks(permits=leasing))
    assert closing.counts.totals.accepted == 1
