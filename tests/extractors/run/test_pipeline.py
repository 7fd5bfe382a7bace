"""pipeline.py: a whole run through its hooks: chunks, totals, approval, rate permits, and recovery after an error.

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
    """A folder of five images."""
    (tmp_path / "in").mkdir()
    for number in range(5):
        Image.new("RGB", (300, 200), (number, 90, 90)).save(tmp_path / "in" / f"{number}.png")
    return tmp_path / "in"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Makes settings that read no environment variable; further fields can be added."""
    monkeypatch.chdir(tmp_path)
    for name in [variable for variable in os.environ if variable.startswith(("TILEWISE_", "TOGETHER_API_KEY"))]:
        monkeypatch.delenv(name)

    def make(**fields):
        defaults = {"ledger": f"sqlite:///{tmp_path / 'ledger.db'}", "output": str(tmp_path / "out"), "model": "m/x"}
        return Settings(**defaults, **fields)

    return make


@pytest.fixture
def make_job(source):
    """Makes a job over the images, with these fields."""
    return lambda **fields: build_job(source=str(source), schema_name="caption", **fields)


@pytest.fixture(scope="module")
def anyio_backend():
    """One event loop for the module, so that its tests can share an endpoint."""
    return "asyncio"


@pytest.fixture(scope="module")
async def url():
    """The address of an endpoint that echoes the schema."""
    async with child("echo") as url:
        yield url


def read_table(tmp_path, name):
    """All published rows of a table."""
    return pl.read_parquet(sorted((tmp_path / "out" / name).rglob("*.parquet")), hive_partitioning=False)


async def test_on_document_gets_the_totals_of_each_document(make_job, settings, url):
    """Their sum is the totals of the run."""
    totals = []
    result = await run(resolve(make_job(), settings(base_url=url)), RunHooks(on_document=totals.append))
    assert len(totals) == 5
    assert sum(totals, RunTotals()) == result.counts.totals


async def test_on_calls_counts_a_refused_call_before_its_document_ends(make_job, settings, serve, replies):
    """The calls are a refusal, a retry that is not JSON, and an accepted retry; then the document ends."""
    server = serve(replies.error(429, **{"Retry-After": "0"}), replies.ok("sorry"), replies.ok())
    events = []
    hooks = RunHooks(on_calls=events.append, on_document=events.append)
    result = await run(resolve(make_job(limit=1, yes=True), settings(base_url=server.url)), hooks)
    *calls, document = events
    assert [(call.refusals, call.retries, dict(call.failures)) for call in calls] == [
        (1, 0, {}),
        (0, 1, {"not_json": 1}),
        (0, 1, {}),
    ]
    assert (document.accepted, document.calls) == (1, 3)
    assert sum(calls, CallCounts()).cost_usd == result.counts.totals.cost_usd


async def test_run_chunk_hook_gets_numbered_chunks_of_the_configured_size(make_job, settings, url):
    """The run adds up the totals that the hook returns."""
    chunks = []

    async def run_chunk(chunk):
        chunks.append((chunk.part.part, len(chunk.documents)))
        return await chunk.run()

    result = await run(resolve(make_job(), settings(base_url=url, chunk=2)), RunHooks(run_chunk=run_chunk))
    assert sorted(chunks) == [(0, 2), (1, 2), (2, 1)]
    assert result.counts.totals.accepted == 5


async def test_row_of_a_run_has_its_flow_run_if_there_is_one(make_job, settings, url, tmp_path):
    await run(resolve(make_job(limit=1), settings(base_url=url)))
    await run(resolve(make_job(), settings(base_url=url)), RunHooks(flow_run_id="f10w"))
    assert read_table(tmp_path, "runs").sort("started_at")["prefect_flow_run_id"].to_list() == [None, "f10w"]


async def test_result_names_one_published_file_a_volume(make_job, settings, url):
    result = await run(resolve(make_job(), settings(base_url=url, volume=2)))
    assert [pl.read_parquet(path).height for path in result.results] == [2, 2, 1]
    assert result.exit_code == 0


async def test_missing_source_is_a_configuration_error_before_any_chunk(make_job, settings, url, tmp_path):
    """Nothing is published."""

    async def run_chunk(chunk):
        raise AssertionError("nothing is to be sent")

    config = resolve(build_job(source="nowhere", schema_name="caption"), settings(base_url=url))
    with pytest.raises(ConfigurationError, match="does not exist"):
        await run(config, RunHooks(run_chunk=run_chunk))
    assert not (tmp_path / "out").exists()


async def test_bug_in_a_chunk_is_raised_and_cancels_the_other_chunks(make_job, settings, url):
    """A TypeError becomes neither a row nor a status."""

    async def run_chunk(chunk):
        if chunk.part.part == 1:
            raise TypeError("a bug")
        return await chunk.run()

    with pytest.raises(TypeError, match="a bug"):
        await run(resolve(make_job(), settings(base_url=url, chunk=2)), RunHooks(run_chunk=run_chunk))
    assert [task for task in asyncio.all_tasks() if "chunk" in repr(task)] == []


async def test_run_after_a_bug_publishes_the_finished_documents_and_reads_the_rest(make_job, settings, url, tmp_path):
    """No document is paid for twice."""

    async def run_chunk(chunk):
        if chunk.part.part == 1:
            raise TypeError("a bug")
        return await chunk.run()

    with pytest.raises(TypeError):
        await run(resolve(make_job(), settings(base_url=url, chunk=2)), RunHooks(run_chunk=run_chunk))
    notices = []
    result = await run(resolve(make_job(), settings(base_url=url)), RunHooks(notify=notices.append))
    runs = read_table(tmp_path, "runs").sort("started_at").rows(named=True)
    assert [row["status"] for row in runs] == ["abandoned", "completed"]
    assert sum(row["accepted"] for row in runs) == 5
    assert (result.counts.totals.remaining, result.counts.found) == (0, 5)
    assert read_table(tmp_path, "results")["_document"].n_unique() == read_table(tmp_path, "results").height == 5
    assert read_table(tmp_path, "calls").height == sum(row["calls"] for row in runs)
    assert "ended without publishing" in notices[0]
    assert not (tmp_path / "out" / "staging").exists()


async def test_run_without_approval_releases_its_documents(make_job, settings, url, unused_server):
    """The next run claims all of them."""
    with pytest.raises(ApprovalRequired):
        await run(resolve(make_job(), settings(base_url=unused_server)))
    result = await run(resolve(make_job(), settings(base_url=url)))
    assert (result.counts.totals.accepted, result.counts.totals.remaining) == (5, 0)


async def test_two_runs_over_one_folder_read_each_image_once(make_job, settings, url, tmp_path):
    """Each run skips the documents that the other has in progress or has finished."""
    results = await asyncio.gather(*(run(resolve(make_job(), settings(base_url=url, chunk=1))) for _ in range(2)))
    assert sum(result.counts.totals.accepted for result in results) == 5
    assert [result.counts.found for result in results] == [5, 5]
    assert [result.exit_code for result in results] == [0, 0]
    assert read_table(tmp_path, "results")["_document"].n_unique() == read_table(tmp_path, "results").height == 5
    assert read_table(tmp_path, "calls").height == 5


async def test_simultaneous_runs_over_different_images_publish_their_own_rows(
    make_job, settings, url, tmp_path, source
):
    """They share a ledger and an output."""
    fields = {"schema_name": "caption"}
    jobs = [build_job(source=str(source / name), **fields) for name in ("0.png", "1.png")]
    await asyncio.gather(*(run(resolve(job, settings(base_url=url))) for job in jobs))
    assert read_table(tmp_path, "results")["_run"].n_unique() == 2
    assert read_table(tmp_path, "runs")["accepted"].to_list() == [1, 1]


async def test_free_run_needs_no_approval(make_job, settings, url):
    """The echo of local OCR costs nothing."""
    result = await run(resolve(make_job(), settings(base_url=url, ask_above=0)))
    assert result.row["cost_usd"] == 0


async def test_run_of_unknown_price_requires_approval_before_any_call(make_job, settings, unused_server):
    """The error is ApprovalRequired, so a caller can ask a person."""
    with pytest.raises(ApprovalRequired, match="TILEWISE_PRICES"):
        await run(resolve(make_job(), settings(base_url=unused_server)))


@pytest.fixture
async def unused_server():
    """A server that answers every request with 404, and so has neither prices nor OCR."""

    async def refuse(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"GET /v1/models ")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def test_chunk_is_logged_without_its_context(make_job):
    """The context holds the API key."""
    assert "context" not in repr(Chunk(PartId(3), (), context=object()))


async def test_pages_in_another_order_are_another_document(make_job, settings, url, source, tmp_path):
    """A document of several pages is a copy of one with the same pages in the same order."""
    one, two = (source / f"{number}.png" for number in range(2))
    for folder, pages in {"a": (one, two), "b": (one, two), "c": (two, one)}.items():
        (source / folder).mkdir()
        for number, page in enumerate(pages):
            shutil.copyfile(page, source / folder / f"{number}.png")
    for path in source.glob("*.png"):
        path.unlink()
    totals = (await run(resolve(make_job(document_by="folder"), settings(base_url=url)))).counts.totals
    assert (totals.accepted, totals.copied, totals.calls) == (2, 1, 2)
    [copy] = read_table(tmp_path, "results").filter(pl.col("_copied_from").is_not_null()).to_dicts()
    assert copy["_pages"] == [f"{copy['_document']}/{number}.png" for number in range(2)]
    assert {copy["_document"], copy["_copied_from"]} == {str(source / "a"), str(source / "b")}


async def test_images_sent_by_url_are_never_copied(bucket, source, settings, url):
    """The run does not read their bytes, so it cannot compare them."""
    for name in ("a.png", "b.png"):
        bucket.put(f"in/{name}", (source / "0.png").read_bytes())
    job = build_job(source=f"{bucket.url}/in", schema_name="caption", send_urls=True)
    totals = (await run(resolve(job, settings(base_url=url)))).counts.totals
    assert (totals.done, totals.copied, totals.copied_failed, totals.calls) == (2, 0, 0, 2)


@dataclass
class Permits:
    """Grants every permit at once, and ends with a warning."""

    count: int = 0

    def wait(self):
        return 0.0

    def take(self):
        self.count += 1

    def warning(self):
        return "the server was gone"


async def test_run_leases_permits_for_its_endpoint_model_and_limit_and_takes_one_a_call(
    make_job, settings, url, tmp_path
):
    """A warning of the permits is in the row of the run."""
    leases, permits = [], Permits()

    @asynccontextmanager
    async def lease(*arguments):
        leases.append(arguments[:3])
        yield permits

    await run(resolve(make_job(limit=2), settings(base_url=url, rpm=6e6)), RunHooks(permits=lease))
    assert leases == [(url, "m/x", 6e6)]
    assert permits.count == read_table(tmp_path, "calls").height == 2
    assert "the server was gone" in read_table(tmp_path, "runs")["warnings"].to_list()[0]


@pytest.mark.slow
async def test_local_ocr_needs_no_permits(make_job, settings):
    """The OCR process belongs to one run alone."""

    def lease(*arguments):
        raise AssertionError("permits were leased")

    result = await run(resolve(make_job(limit=1, offline=True), settings()), RunHooks(permits=lease))
    assert result.counts.totals.accepted == 1
