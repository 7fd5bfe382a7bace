"""A sharded run: shards of one plan write under their coordinator's run, which folds and commits them once.

Covers `extractors.run.shards.fold`, `extractors.run.shards.audit` and `extractors.run.shards.audit_witness`, too.
"""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest
import sqlalchemy as sa
from PIL import Image, ImageDraw, ImageFont
from support.command import picture_size

from extractors.config.job import build_job
from extractors.config.run_config import resolve
from extractors.config.settings import Settings
from extractors.core import CallRequest, Fingerprint
from extractors.core.call_counts import CallCounts
from extractors.core.errors import ApprovalRequired, ConfigurationError, LedgerError, RunError
from extractors.core.schema import load
from extractors.core.shards import ShardExit, split_plan
from extractors.core.totals import RunTotals, WitnessTotals
from extractors.core.tuning import Certificate, Ladder, Tuning, TuningProtocol, parse_tuning
from extractors.plan.apply_request import build_request
from extractors.plan.stored_plan import StoredPlan, store_plan
from extractors.record.ledger import Ledger
from extractors.record.ledger.owner import current_process
from extractors.record.ledger.schema import RUNS, SHARDS
from extractors.record.tables.volume import Volume
from extractors.run import pipeline
from extractors.run.hooks import RunHooks
from extractors.run.shards import coordinator as watch
from extractors.run.shards.worker import run_shard

pytestmark = pytest.mark.slow

PRICES = '[models."maker/model"]\ninput = 0.30\noutput = 1.50\n'
COUNTS = ("found", "skipped", "duplicates", "rejected", "accepted", "failed", "remaining")


@dataclass
class InProcessBackend:
    """Runs each shard in this process when it is started; the hooks may kill an attempt."""

    settings: Settings
    hooks: RunHooks = field(default_factory=RunHooks)
    poll: float = 0.01
    hint: str = "nobody is there"
    specs: list = field(default_factory=list)
    exits: dict = field(default_factory=dict)
    given_up: list = field(default_factory=list)

    async def ready(self):
        """Accepts every run."""

    async def start(self, spec):
        """Runs the shard at once."""
        name = f"{spec.number}/{len(self.specs)}"
        self.specs.append(spec)
        try:
            self.exits[name] = ShardExit((await run_shard(spec, self.settings, self.hooks)).status)
        except ConfigurationError as error:
            self.exits[name] = ShardExit(error.message, refused=True)
        except RunError as error:
            self.exits[name] = ShardExit(error.message)
        except Killed:
            self.exits[name] = ShardExit("Crashed: killed")
        return name

    async def over(self, shards):
        """Returns the exits of these attempts."""
        return {attempt: self.exits[attempt] for attempt in shards}

    async def give_up(self, shards):
        """Records the attempts that were given up."""
        self.given_up += shards


class Killed(BaseException):
    """Ends a shard in the middle of its work, as a lost process does."""


@pytest.fixture
def settings(tmp_path, server):
    """Settings of a server that answers, with prices, and with a ledger and an output of this test."""
    (tmp_path / "prices.toml").write_text(PRICES)
    return Settings(
        base_url=server.url,
        api_key="sk-test",
        model="maker/model",
        prices=tmp_path / "prices.toml",
        ledger=f"sqlite:///{tmp_path / 'ledger.db'}",
        output=str(tmp_path / "out"),
        chunk=2,
    )


@pytest.fixture
def job(tmp_path):
    """Seven pictures, and a job that reads them in shards of three."""
    (tmp_path / "in").mkdir()
    for number in range(7):
        Image.new("RGB", (300, 200), (20 * number, 90, 60)).save(tmp_path / "in" / f"{number}.png")
    return build_job(source=str(tmp_path / "in"), schema_name="caption", bill="formula", shard_size=3, yes=True)


@pytest.fixture
def read_table(tmp_path):
    """Reads all published rows of a table."""

    def read(name):
        files = sorted((tmp_path / "out" / name).rglob("*.parquet"))
        return pl.read_parquet(files, hive_partitioning=False) if files else pl.DataFrame()

    return read


def select_counts(row):
    """Checks that the counts of a row add up, and returns those that are not 0."""
    assert row["found"] == sum(row[name] for name in COUNTS[1:])
    return {name: row[name] for name in COUNTS if row[name]}


@pytest.mark.anyio
async def test_sharded_run_pays_each_document_once_and_publishes_one_file_a_table(
    job, settings, server, read_table, tmp_path
):
    """It publishes one row of runs, and leaves no staged files."""
    backend = InProcessBackend(settings)
    result = await pipeline.run(resolve(job, settings), RunHooks(shards=backend))
    assert [(spec.first, spec.count) for spec in backend.specs] == [(0, 3), (3, 3), (6, 1)]
    assert select_counts(result.row) == {"found": 7, "accepted": 7}
    [row] = read_table("runs").to_dicts()
    assert (row["status"], row["calls"], row["flow"]) == ("completed", 7, "run")
    assert row["cost_usd"] == read_table("calls")["cost_usd"].sum() == 7 * Decimal("0.00045")
    assert len(set(server.documents)) == len(server.documents) == 7
    assert set(read_table("results")["_run"]) == {row["run"]}
    assert len(set(read_table("results")["_document"])) == 7
    assert not (tmp_path / "out" / "staging").exists()
    assert len(list((tmp_path / "out" / "results").rglob("*.parquet"))) == 1


@pytest.fixture
def unlistable_folder(job, tmp_path):
    """A folder below the source whose path is longer than the system accepts."""
    del job  # it makes the source folder
    folder = os.open(tmp_path / "in", os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=folder)
        folder, parent = os.open("d" * 200, os.O_RDONLY, dir_fd=folder), folder
        os.close(parent)
    os.close(folder)
    yield
    subprocess.run(["rm", "-rf", tmp_path / "in"], check=True)


@pytest.mark.anyio
@pytest.mark.usefixtures("unlistable_folder")
async def test_sharded_run_on_an_incomplete_listing_ends_incomplete(job, settings, read_table):
    """It publishes rows of the listed images, and its exit code is that of an error."""
    result = await pipeline.run(resolve(job, settings), RunHooks(shards=InProcessBackend(settings)))
    assert (result.row["status"], result.exit_code) == ("incomplete", 2)
    assert read_table("results").height == 7


@pytest.mark.anyio
async def test_sharded_run_starts_no_shard_when_all_documents_are_done(job, settings, server):
    """It skips all documents and sends nothing."""
    await pipeline.run(resolve(job, settings), RunHooks(shards=InProcessBackend(settings)))
    backend = InProcessBackend(settings)
    result = await pipeline.run(resolve(job, settings), RunHooks(shards=backend))
    assert select_counts(result.row) == {"found": 7, "skipped": 7}
    assert (backend.specs, len(server.documents)) == ([], 7)


@pytest.mark.anyio
async def test_stored_plan_is_applied_in_its_planned_shards(job, settings, server, tmp_path):
    """A changed document remains, and a document done since the plan is skipped."""
    small_job = job.model_copy(update={"shard_size": None, "limit": 2})
    _, url = store_plan(resolve(job, settings))
    await pipeline.run(resolve(small_job, settings))
    Image.new("RGB", (310, 210)).save(tmp_path / "in" / "5.png")
    request = build_request(plan=url, yes=True, approved_by="ann")
    result = await pipeline.apply(request.resolve(settings), RunHooks(shards=InProcessBackend(settings)))
    assert select_counts(result.row) == {"found": 7, "skipped": 2, "accepted": 4, "remaining": 1}
    assert (result.row["flow"], result.row["approved_by"], len(server.documents)) == ("apply", "ann", 6)


def kill_before_staging(number):
    """Hooks that run chunks one after the other, and kill the process once, before it stages the chunk of this number."""
    chunks, lock = [], asyncio.Lock()

    async def run_chunk(chunk):
        async with lock:
            chunks.append(chunk)
            tables = chunk.context.services.tables
            on_stage = tables.on_stage
            if len(chunks) == number:
                tables.on_stage = kill
            try:
                return await chunk.run()
            finally:
                tables.on_stage = on_stage

    return RunHooks(run_chunk=run_chunk)


def kill(results):
    """Ends the process."""
    raise Killed


@pytest.mark.anyio
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_restarted_shard_pays_for_no_document_twice(job, settings, server, read_table, number):
    """It keeps what the killed attempt staged, and stages the answers that are only in the ledger."""
    backend = InProcessBackend(settings, kill_before_staging(number))
    result = await pipeline.run(resolve(job, settings), RunHooks(shards=backend))
    assert len(backend.specs) == 4
    assert select_counts(result.row) == {"found": 7, "accepted": 7}
    assert len(set(server.documents)) == len(server.documents) == result.row["calls"] == 7
    results = read_table("results")
    assert sorted(results["_document"]) == sorted(set(results["_document"]))
    assert results["_cost_usd"].sum() == result.row["cost_usd"]


@pytest.mark.anyio
async def test_restarted_shard_climbs_on_and_pays_for_no_call_twice(settings, server, replies, read_table, tmp_path):
    """Each rung of a document is called once, the surest answer is published, and the sums are those of the calls."""

    def answer_unsure(request):
        words, lower = ('{"caption": "', "A wall", '", "alt_text": null, "tags": []}'), picture_size(request)[0] < 2000
        body = json.loads(replies.ok("".join(words)).body)
        logprobs = (0.0, -0.5 if lower else -0.9, 0.0)
        entries = [{"token": token, "logprob": logprob} for token, logprob in zip(words, logprobs, strict=True)]
        body["choices"][0]["logprobs"] = {"content": entries}
        return replies.raw(json.dumps(body))

    (tmp_path / "in").mkdir()
    for number in range(3):
        Image.new("RGB", (2000, 2000), (20 * number, 90, 60)).save(tmp_path / "in" / f"{number}.png", compress_level=1)
    server.answers_with(answer_unsure)
    job = build_job(
        source=str(tmp_path / "in"), schema_name="caption", bill="formula", shard_size=2, yes=True, climb_below=0.9
    )
    backend = InProcessBackend(settings, kill_before_staging(1))
    result = await pipeline.run(resolve(job, settings), RunHooks(shards=backend))
    assert len(backend.specs) == 3
    assert (select_counts(result.row), result.row["calls"]) == ({"found": 3, "accepted": 3}, 6)
    assert len(set(server.documents)) == len(server.documents) == 6
    results = read_table("results")
    assert results["_rung"].to_list() == [1601] * 3
    assert results["_cost_usd"].sum() == result.row["cost_usd"] == 2 * result.row["cost_wasted_usd"]
    assert json.loads(result.row["stopped_at_rung"]) == {"1601": 3}
    cascade = result.counts.totals.cascade
    assert (cascade.climbed, cascade.saved_tokens) == (3, -3 * 1601)


@pytest.mark.anyio
async def test_run_fails_after_three_attempts_at_a_shard_without_progress(job, settings, server, read_table):
    """The rows of the other shards are published, the error names the shard, and its documents remain."""

    async def run_chunk(chunk):
        if chunk.part.shard == 1:
            raise Killed
        return await chunk.run()

    live_run = resolve(job, settings).run_info(
        None
    )  # a run in progress, which may claim the documents that this one leaves
    with Ledger(settings.ledger) as ledger:
        ledger.runs.begin(live_run)
    backend = InProcessBackend(settings, RunHooks(run_chunk=run_chunk))
    result = await pipeline.run(resolve(job, settings), RunHooks(shards=backend))
    assert [spec.number for spec in backend.specs] == [0, 1, 2, 1, 1]
    assert (result.row["status"], result.exit_code) == ("failed", 2)
    assert "shard 1 was started 3 times and made no progress" in result.row["error"]
    assert select_counts(result.row) == {"found": 7, "accepted": 4, "remaining": 3}
    with Ledger(settings.ledger) as ledger:
        [planned] = StoredPlan(backend.specs[0].plan).iter_documents()
        assert ledger.claims.claim(live_run, planned) == ["done"] * 3 + ["ours"] * 3 + ["done"]
        ledger.runs.forget(live_run.run)
    next_result = await pipeline.run(resolve(job, settings), RunHooks(shards=InProcessBackend(settings)))
    assert select_counts(next_result.row) == {"found": 7, "skipped": 4, "accepted": 3}
    assert read_table("results").height == len(server.documents) == 7


@pytest.mark.anyio
async def test_shard_killed_by_one_document_is_not_restarted_without_end(job, settings, read_table, tmp_path):
    """A document that ends again in each attempt and is never staged is no progress."""
    (tmp_path / "in" / "0.png").write_bytes(b"no picture")

    async def run_chunk(chunk):
        if any(document.document.endswith("0.png") for document in chunk.documents):
            chunk.context.services.tables.on_stage = kill
        return await chunk.run()

    backend = InProcessBackend(settings, RunHooks(run_chunk=run_chunk))
    async with asyncio.timeout(30):
        result = await pipeline.run(resolve(job, settings), RunHooks(shards=backend))
    assert result.row["status"] == "failed"
    assert "shard 0 was started 3 times and made no progress" in result.row["error"]
    assert [spec.number for spec in backend.specs].count(0) <= 8  # three without progress, and those with progress
    assert select_counts(result.row)["accepted"] >= 4
    assert set(read_table("results")["_document"]) <= {str(tmp_path / "in" / f"{number}.png") for number in range(1, 7)}


@pytest.mark.anyio
async def test_refused_key_in_one_shard_stops_the_run(job, settings, server, replies):
    """No further shard is started, and all documents remain."""
    server.script = [replies.error(401)]
    backend = InProcessBackend(settings)
    result = await pipeline.run(resolve(job, settings), RunHooks(shards=backend))
    assert (result.row["status"], result.exit_code) == ("refused", 2)
    assert select_counts(result.row) == {"found": 7, "remaining": 7}


@pytest.mark.anyio
async def test_budget_holds_across_shards(job, settings, server):
    """The reservations of all shards count against the budget of the run."""
    limited = job.model_copy(update={"budget": Decimal("0.0055")})
    result = await pipeline.run(resolve(limited, settings), RunHooks(shards=InProcessBackend(settings)))
    assert (result.row["status"], result.exit_code) == ("budget_spent", 3)
    assert result.row["cost_usd"] <= Decimal("0.0055")
    assert result.row["accepted"] == len(server.documents) > 3
    assert select_counts(result.row)["remaining"] == 7 - len(server.documents)


@pytest.mark.anyio
async def test_sharded_run_without_a_backend_is_refused(job, settings, server, tmp_path):
    """The error names what is missing, and nothing is sent or published."""
    with pytest.raises(ConfigurationError, match="--shard-size 3 needs a Prefect server"):
        await pipeline.run(resolve(job, settings))
    assert (server.documents, (tmp_path / "out").exists()) == ([], False)


@pytest.mark.anyio
async def test_sharded_run_requires_approval_before_a_shard_is_started(job, settings, server):
    backend = InProcessBackend(replace_setting(settings, ask_above=Decimal("0.0001")))
    with pytest.raises(ApprovalRequired):
        await pipeline.run(resolve(job.model_copy(update={"yes": False}), backend.settings), RunHooks(shards=backend))
    assert (backend.specs, server.documents) == ([], [])


def replace_setting(settings, **changes):
    """Copies the settings with these changes."""
    return settings.model_copy(update=changes)


@dataclass
class OtherHostBackend(InProcessBackend):
    """Runs shards as if on another host than their coordinator, or with a ledger of their own."""

    ledger: str = ""

    async def start(self, spec):
        """Changes the ledger or the host of the run while the shard runs."""
        if self.ledger:
            self.settings = replace_setting(self.settings, ledger=self.ledger)
        else:
            engine = sa.create_engine(self.settings.ledger)
            with engine.begin() as connection:
                connection.execute(RUNS.update().values(host="elsewhere"))
            engine.dispose()
        name = await super().start(spec)
        if not self.ledger:
            engine = sa.create_engine(self.settings.ledger)
            with engine.begin() as connection:
                connection.execute(RUNS.update().values(host=current_process().host))
            engine.dispose()
        return name


@pytest.mark.anyio
@pytest.mark.parametrize("own_file", [False, True], ids=["a file both see", "a file of the worker's own"])
async def test_shard_on_another_host_is_refused_with_an_sqlite_ledger(job, settings, server, tmp_path, own_file):
    """It sends nothing, and the run fails at once with an error that names the setting and what to set."""
    backend = OtherHostBackend(settings, ledger=f"sqlite:///{tmp_path / 'other.db'}" if own_file else "")
    result = await pipeline.run(resolve(job, settings), RunHooks(shards=backend))
    assert (result.row["status"], server.documents) == ("failed", [])
    assert "TILEWISE_LEDGER is SQLite" in result.row["error"]
    assert "set TILEWISE_LEDGER to a postgresql+psycopg://" in result.row["error"]
    assert not any(number > 0 and spec.number == 0 for number, spec in enumerate(backend.specs))


@pytest.mark.anyio
async def test_shard_of_an_ended_run_is_refused(job, settings, server):
    """A person may start its flow run again by hand."""
    backend = InProcessBackend(settings)
    await pipeline.run(resolve(job, settings), RunHooks(shards=backend))
    with pytest.raises(ConfigurationError, match="has no live run"):
        await run_shard(backend.specs[0], settings)
    assert len(server.documents) == 7


@pytest.mark.anyio
async def test_second_worker_on_one_shard_is_refused(job, settings, server):
    """It sends nothing."""
    refused = []

    async def run_chunk(chunk):
        if not refused:
            with pytest.raises(LedgerError, match=r"shard 0 of run .* is in progress in another process"):
                await run_shard(backend.specs[0], settings)
            refused.append(True)
        return await chunk.run()

    backend = InProcessBackend(settings, RunHooks(run_chunk=run_chunk))
    result = await pipeline.run(resolve(job, settings), RunHooks(shards=backend))
    assert refused
    assert select_counts(result.row) == {"found": 7, "accepted": 7}


@pytest.mark.anyio
async def test_run_is_not_taken_over_while_a_shard_is_in_progress(job, settings, server):
    """A run whose coordinator is gone is not listed as abandoned while one of its shards is live."""
    observations = []

    async def run_chunk(chunk):
        run_info = chunk.context.run_info
        with Ledger(settings.ledger) as ledger:
            ledger.runs.release(run_info.run)
            observations.append(
                (ledger.runs.list_abandoned(run_info.output, run_info.schema), ledger.runs.adopt(run_info.run))
            )
        raise Killed

    with pytest.raises(LedgerError, match="taken over"):
        await pipeline.run(
            resolve(job, settings), RunHooks(shards=InProcessBackend(settings, RunHooks(run_chunk=run_chunk)))
        )
    assert observations[0] == ([], False)


@pytest.fixture
def change_leases(settings):
    """Changes the leases of the first attempt at a shard, as elapsed time or a network failure would."""
    engine = sa.create_engine(settings.ledger)

    def update(**values):
        with engine.begin() as connection:
            connection.execute(SHARDS.update().where(SHARDS.c.attempt == 0).values(values))

    yield update
    engine.dispose()


@dataclass
class OverlappingBackend(InProcessBackend):
    """Makes two attempts at one shard at the same time: the first is cut off, and comes back later."""

    change_leases: object = None
    first: asyncio.Future | None = None
    first_started: asyncio.Event = field(default_factory=asyncio.Event)
    second_ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, spec):
        """Cuts off the first attempt, and waits for it after the second."""
        if self.first is None:
            self.first = asyncio.ensure_future(run_shard(spec, self.settings, self.hooks))
            await self.first_started.wait()
            self.change_leases(host="elsewhere", lease_until=0.0)
            return "cut off"
        name = await super().start(spec)
        self.second_ended.set()
        await asyncio.wait([self.first])
        return name

    async def over(self, shards):
        """Omits the attempt that was cut off."""
        return {attempt: self.exits[attempt] for attempt in shards if attempt in self.exits}


@pytest.mark.anyio
async def test_superseded_attempt_stages_nothing(job, settings, server, read_table, change_leases):
    """It was cut off for longer than its lease, another attempt took its place, and each document has one row."""

    async def run_chunk(chunk):
        if not backend.first_started.is_set():
            backend.first_started.set()
            await backend.second_ended.wait()
        return await chunk.run()

    backend = OverlappingBackend(settings, RunHooks(run_chunk=run_chunk), change_leases=change_leases)
    result = await pipeline.run(resolve(job.model_copy(update={"shard_size": 10}), settings), RunHooks(shards=backend))
    assert select_counts(result.row) == {"found": 7, "accepted": 7}
    assert read_table("results")["_document"].n_unique() == read_table("results").height == 7
    assert backend.first.result().message.endswith("goes on without this attempt")


@pytest.mark.anyio
async def test_attempt_killed_between_two_tables_leaves_no_row_twice(job, settings, read_table):
    """Images of documents without staged results are staged again, and count once in the estimate."""
    killed_chunks = []

    async def run_chunk(chunk):
        volume = chunk.context.services.tables.volume
        stage = volume.stage

        def stage_until_results(name, *arguments):
            if name == "results":
                raise Killed
            stage(name, *arguments)

        if not killed_chunks:
            killed_chunks.append(chunk)
            chunk.context.services.tables.volume = replace_stage(volume, stage_until_results)
        return await chunk.run()

    result = await pipeline.run(
        resolve(job, settings), RunHooks(shards=InProcessBackend(settings, RunHooks(run_chunk=run_chunk)))
    )
    assert select_counts(result.row) == {"found": 7, "accepted": 7}
    assert (read_table("images").height, read_table("results").height) == (7, 7)
    assert result.row["estimated_expected_usd"] == read_table("images")["cost_expected_usd"].sum()


@pytest.mark.anyio
async def test_half_staged_rows_of_a_killed_attempt_are_not_published(job, settings, read_table, server, replies):
    """When the run is stopped before another attempt, a document that remains has no image row and no estimate."""
    killed_chunks = []
    server.script = lambda _: replies.error(401) if killed_chunks else replies.ok()

    async def run_chunk(chunk):
        volume = chunk.context.services.tables.volume
        stage = volume.stage

        def stage_until_results(name, part, rows, *arguments):
            if name == "results" and rows:
                killed_chunks.append(chunk)
                raise Killed
            stage(name, part, rows, *arguments)

        chunk.context.services.tables.volume = replace_stage(volume, stage_until_results)
        return await chunk.run()

    result = await pipeline.run(
        resolve(job, settings), RunHooks(shards=InProcessBackend(settings, RunHooks(run_chunk=run_chunk)))
    )
    assert result.row["status"] == "refused"
    assert select_counts(result.row) == {"found": 7, "remaining": 7}
    assert read_table("images").height == 0
    assert result.row["estimated_expected_usd"] == 0


def replace_stage(volume, stage):
    """Copies the volume with another `stage`."""
    broken = Volume(volume.output, volume.run_info, volume.number)
    broken.stage = stage
    return broken


@pytest.mark.anyio
async def test_budget_counts_the_reservations_of_a_killed_attempt_as_spent(job, settings):
    """Its calls in flight may have been billed, so the next attempt ends with a spent budget and does not wait."""
    killed_chunks = []

    async def run_chunk(chunk):
        if not killed_chunks:
            killed_chunks.append(chunk)
            call_in_flight = CallRequest(chunk.documents[0].document, "key", "asked", 0, (), 100, 2000, 128, 512)
            await chunk.context.services.writer.reserve(call_in_flight, 1, Decimal("0.006"))
            raise Killed
        return await chunk.run()

    limited = job.model_copy(update={"budget": Decimal("0.0062")})
    async with asyncio.timeout(20):
        result = await pipeline.run(
            resolve(limited, settings), RunHooks(shards=InProcessBackend(settings, RunHooks(run_chunk=run_chunk)))
        )
    assert (result.row["status"], result.exit_code) == ("budget_spent", 3)
    assert result.row["cost_unknown_usd"] == Decimal("0.006")
    assert select_counts(result.row) == {"found": 7, "remaining": 7}


class DeprivedBackend(InProcessBackend):
    """Runs the second attempt on a worker that lacks a resource."""

    async def start(self, spec):
        """Removes the resource during the second attempt."""
        with self.remove_resource() if len(self.specs) == 1 else nullcontext():
            return await super().start(spec)


@pytest.mark.anyio
@pytest.mark.parametrize("resource", ["in", "ledger", "plans"])
async def test_shard_is_retried_when_its_worker_lacks_the_source_the_ledger_or_the_plan(
    job, settings, server, tmp_path, resource
):
    """No document counts as changed, and all are accepted."""
    path = {"in": tmp_path / "in", "ledger": None, "plans": tmp_path / "out" / "plans"}[resource]
    backend = DeprivedBackend(settings)

    @contextmanager
    def remove_resource():
        if path is None:
            backend.settings = replace_setting(settings, ledger="sqlite:////proc/none/ledger.db")
        else:
            path.rename(tmp_path / "away")
        yield
        backend.settings = settings
        if path is not None:
            (tmp_path / "away").rename(path)

    backend.remove_resource = remove_resource
    result = await pipeline.run(resolve(job, settings), RunHooks(shards=backend))
    assert select_counts(result.row) == {"found": 7, "accepted": 7}
    assert [spec.number for spec in backend.specs] == [0, 1, 2, 1]
    assert len(server.documents) == 7


@pytest.mark.anyio
async def test_applied_plan_is_refused_when_its_source_does_not_exist(job, settings, tmp_path, server):
    """Nothing is sent, though a missing source shows no changed document."""
    _, url = store_plan(resolve(job.model_copy(update={"shard_size": None}), settings))
    (tmp_path / "in").rename(tmp_path / "away")
    with pytest.raises(ConfigurationError, match="does not exist"):
        await pipeline.apply(build_request(plan=url, yes=True).resolve(settings))
    assert server.documents == []


@pytest.mark.anyio
async def test_run_is_refused_before_planning_when_the_backend_is_not_ready(job, settings, tmp_path):
    """It leaves no plan, no table and no run to be recovered."""

    class UndeployedBackend(InProcessBackend):
        async def ready(self):
            raise ConfigurationError("there is no deployment")

    with pytest.raises(ConfigurationError, match="there is no deployment"):
        await pipeline.run(resolve(job, settings), RunHooks(shards=UndeployedBackend(settings)))
    assert not (tmp_path / "out").exists()


@pytest.mark.anyio
async def test_run_publishes_the_other_shards_when_one_cannot_be_started(job, settings, read_table):
    """The error of the run has the reason."""

    class SingleStartBackend(InProcessBackend):
        async def start(self, spec):
            if self.specs:
                raise ConfigurationError("the Prefect server refuses to start a shard: 403")
            return await super().start(spec)

    result = await pipeline.run(resolve(job, settings), RunHooks(shards=SingleStartBackend(settings)))
    assert (result.row["status"], result.exit_code) == ("failed", 2)
    assert "403" in result.row["error"]
    assert select_counts(result.row) == {"found": 7, "accepted": 3, "remaining": 4}
    assert read_table("results").height == 3


@pytest.mark.anyio
async def test_notice_names_shards_that_no_worker_has_started(job, settings, monkeypatch):
    """It has the backend's hint; after a signal the run gives these shards up and does not wait for them."""
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.05)
    notices = []

    class IdleBackend(InProcessBackend):
        async def start(self, spec):
            self.specs.append(spec)
            if len(self.specs) == 3:
                asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGTERM)
            return str(spec.number)

        async def over(self, shards):
            return {}

    backend = IdleBackend(settings)
    async with asyncio.timeout(10):  # less than the drain of calls in flight
        result = await pipeline.run(resolve(job, settings), RunHooks(shards=backend, notify=notices.append))
    assert "3 shards are waiting and no worker has started one: nobody is there" in notices
    assert (result.row["status"], result.exit_code) == ("stopped", 3)
    assert sorted(backend.given_up) == ["0", "1", "2"]


@dataclass
class BackgroundBackend(InProcessBackend):
    """Runs shards in the background, as on another machine."""

    tasks: list = field(default_factory=list)

    async def start(self, spec):
        """Starts the shard as a task."""
        self.tasks.append(asyncio.ensure_future(run_shard(spec, self.settings, self.hooks)))
        return str(spec.number)

    async def over(self, shards):
        """Reports no exit: only the ledger has it."""
        return {}


@pytest.mark.anyio
async def test_coordinator_folds_after_a_stopped_shard_has_staged_its_part(job, settings, read_table):
    """A shard that learns of the stop while it stages finishes its part first."""
    engine = sa.create_engine(settings.ledger)

    async def run_chunk(chunk):
        volume = chunk.context.services.tables.volume
        stage = volume.stage

        def stage_late(name, part, rows, *arguments):
            while name == "results" and rows and find_live_attempt():
                time.sleep(0.05)
            stage(name, part, rows, *arguments)

        chunk.context.services.tables.volume = replace_stage(volume, stage_late)
        return await chunk.run()

    def find_live_attempt():
        with engine.connect() as connection:
            return connection.execute(sa.select(SHARDS.c.run).where(SHARDS.c.host != "")).first()

    settings_without_drain = settings.model_copy(update={"drain": 0.0, "chunk": 10})
    backend = BackgroundBackend(settings_without_drain, RunHooks(run_chunk=run_chunk))
    limited_job = job.model_copy(update={"max_time": 1.0, "shard_size": 10})
    result = await pipeline.run(resolve(limited_job, settings_without_drain), RunHooks(shards=backend))
    await asyncio.wait(backend.tasks)
    engine.dispose()
    assert result.row["status"] == "stopped"
    assert select_counts(result.row) == {"found": 7, "accepted": 7}
    assert (read_table("results").height, read_table("images").height) == (7, 7)


@pytest.mark.anyio
async def test_coordinator_reports_documents_and_dollars_of_its_shards(job, settings):
    """A warning that all shards give is in the row once."""
    totals = []
    await asyncio.to_thread(settings.prices.write_text, PRICES + "as_of = 2025-01-01\n")
    result = await pipeline.run(
        resolve(job, settings), RunHooks(shards=InProcessBackend(settings), on_document=totals.append)
    )
    assert sum(document_totals.accepted for document_totals in totals) == 7
    assert sum(document_totals.cost_usd for document_totals in totals) == result.row["cost_usd"] > 0
    assert len([warning for warning in result.row["warnings"] if "days old" in warning]) == 1


@pytest.mark.anyio
async def test_coordinator_reports_retries_and_failures_by_kind_of_its_shards(job, settings, server, replies):
    """It reports those of calls and those of documents."""
    server.script = lambda _: replies.ok({"nonsense": 1})
    documents, calls = [], []
    hooks = RunHooks(shards=InProcessBackend(settings), on_document=documents.append, on_calls=calls.append)
    result = await pipeline.run(resolve(job, settings), hooks)
    call_counts = sum(calls, CallCounts())
    assert sum(documents, RunTotals()).kinds == Counter({("", "off_schema", False): 7})
    assert call_counts.calls == result.row["calls"] == call_counts.failures["off_schema"]
    assert (call_counts.retries, call_counts.cost_usd) == (call_counts.calls - 7, result.row["cost_usd"])


@pytest.mark.anyio
async def test_redo_skips_documents_recovered_from_the_shards_of_a_killed_coordinator(job, settings, read_table):
    """The killed run read them again already, and they are published under its name."""
    redo_job = job.model_copy(update={"redo": "all"})

    async def run_chunk(chunk):
        totals = await chunk.run()
        with Ledger(settings.ledger) as ledger:
            ledger.runs.release(chunk.context.run_info.run)
        return totals

    with pytest.raises(LedgerError, match="taken over"):
        await pipeline.run(
            resolve(redo_job, settings), RunHooks(shards=InProcessBackend(settings, RunHooks(run_chunk=run_chunk)))
        )
    rows_before = read_table("results").height
    result = await pipeline.run(resolve(redo_job, settings), RunHooks(shards=InProcessBackend(settings)))
    row = result.row
    recovered = read_table("runs").filter(pl.col("status") == "abandoned")["accepted"].sum()
    assert rows_before == 0 < recovered
    assert select_counts(row) == {"found": 7, "skipped": recovered, "accepted": 7 - recovered}


@pytest.mark.anyio
async def test_rejected_answers_of_a_killed_attempt_are_not_counted_as_copies(job, settings, server, replies):
    """The next attempt validates them again, and each document counts as failed."""
    server.script = lambda _: replies.ok({"nonsense": 1})
    killed_chunks = []

    async def run_chunk(chunk):
        if not killed_chunks:
            killed_chunks.append(chunk)
            chunk.context.services.tables.on_stage = kill
        return await chunk.run()

    result = await pipeline.run(
        resolve(job, settings), RunHooks(shards=InProcessBackend(settings, RunHooks(run_chunk=run_chunk)))
    )
    assert select_counts(result.row) == {"found": 7, "failed": 7}


def test_split_plan_puts_every_document_in_one_shard():
    """The last shard may be smaller."""
    specs = split_plan("/out/plans/p.parquet", "r", 10, 4, offline=False)
    assert [(spec.first, spec.count) for spec in specs] == [(0, 4), (4, 4), (8, 2)]


def test_redo_reparse_is_refused_in_shards():
    """It sends nothing, so there is nothing to distribute."""
    with pytest.raises(ConfigurationError, match="cannot be combined with --redo reparse"):
        build_job(source="in", schema_name="caption", redo="reparse", shard_size=3)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "--shard-size 2 needs a Prefect server with a work pool: set PREFECT_API_URL"),
        (("--direct",), "--direct and --shard-size exclude each other"),
    ],
)
def test_run_with_shard_size_needs_a_prefect_server(workspace, flags, words):
    """One line of error comes before any document is read or sent."""
    workspace.images("a.png")
    completed = workspace.run("run", "in", "--schema", "caption", "--shard-size", 2, *flags)
    assert (completed.exit_code, completed.stderr.count("\n")) == (2, 1)
    assert words in completed.stderr
    assert not (workspace.folder / "out").exists()


def test_apply_of_a_sharded_plan_needs_a_prefect_server(workspace, server):
    """Nothing is sent without one."""
    workspace.env["TILEWISE_BASE_URL"] = server.url
    workspace.images("a.png")
    flags = ("--schema", "caption", "--shard-size", 1, "--plan-only", "--json")
    plan = json.loads(workspace.run("run", "in", *flags).stdout)["plan"]
    completed = workspace.run("apply", plan, "--yes")
    assert (completed.exit_code, server.asked) == (2, [])
    assert "--shard-size 1 needs a Prefect server" in completed.stderr


@pytest.fixture
def run_audit(settings, server, replies, tmp_path):
    """Runs a job with an audit over nine documents with a ladder; the eighth is a copy, the ninth has only one size."""
    (tmp_path / "in").mkdir()
    for number in range(8):
        shade = (20 * min(number, 6), 90, 60)
        Image.new("RGB", (2000, 2000), shade).save(tmp_path / "in" / f"{number}.png", compress_level=1)
    Image.new("RGB", (300, 200)).save(tmp_path / "in" / "small.png")

    def answer(caption):
        body = json.loads(replies.ok("").body)
        body["choices"][0]["message"]["content"] = json.dumps({"caption": caption, "alt_text": None, "tags": []})
        return replies.raw(json.dumps(body))

    def run(size, *tops, shards=None, low="a  WALL", **changes):
        answers = iter(tops)

        def script(request):
            caption = next(answers, "A wall") if picture_size(request) == (2000, 2000) else low
            return answer(caption) if isinstance(caption, str) else caption

        server.answers_with(script)
        fields = {"source": str(tmp_path / "in"), "schema_name": "caption", "bill": "formula", "yes": True}
        job = build_job(**fields | {"shard_size": 3, "audit": size} | changes)
        return pipeline.run(resolve(job, settings), shards or RunHooks(shards=InProcessBackend(settings)))

    return run


@pytest.mark.anyio
async def test_audit_of_a_sharded_run_is_one_sample_of_the_whole_run(run_audit, server, read_table):
    """It reads exactly as many documents as configured at the top rung, from several shards, and keeps their rows."""
    result = await run_audit(4, "A door")
    [row], calls, results = read_table("runs").to_dicts(), read_table("calls"), read_table("results")
    audits = calls.filter(rung=0)
    assert select_counts(result.row) == {"found": 9, "accepted": 8, "duplicates": 1}
    assert (row["status"], row["audited"], row["audit_agreed"], row["calls"]) == ("completed", 4, 3, 12)
    assert (audits["document"].n_unique(), audits["attempt"].to_list(), len(server.pictures)) == (4, [2] * 4, 12)
    assert not {document[-9:] for document in audits["document"]} & {"small.png"}
    assert len({document[-5] for document in audits["document"]} & set("012")) < 4  # no shard has four of them
    assert row["cost_usd"] == calls["cost_usd"].sum()
    assert row["cost_wasted_usd"] == audits["cost_usd"].sum() > 0
    assert row["estimated_expected_usd"] > read_table("images")["cost_expected_usd"].sum() / 9 * 8
    assert set(results["caption"]) == {"a  WALL"}
    assert results["_attempts"].sum() == 8
    assert result.counts.totals.cascade.climbed == 0


@pytest.mark.anyio
async def test_audit_of_a_sharded_run_reads_at_most_all_documents_and_warns_of_refused_answers(
    run_audit, replies, read_table
):
    """A document whose answer is refused is not counted as audited."""
    result = await run_audit(100, replies.error(400))
    [row] = read_table("runs").to_dicts()
    assert (result.exit_code, row["audited"], row["audit_agreed"]) == (0, 6, 6)
    assert "audit: 1 of 7 documents have no accepted answer at the top rung" in row["warnings"]


@pytest.mark.anyio
async def test_budget_spent_during_the_audit_keeps_all_rows_of_the_shards(run_audit, read_table, settings):
    """The warning has the number of documents that were not read, and the status is budget_spent."""
    sequential_hooks = RunHooks(shards=InProcessBackend(replace_setting(settings, concurrency=1)))
    result = await run_audit(7, shards=sequential_hooks, budget=Decimal("0.0098"))
    [row] = read_table("runs").to_dicts()
    unread = 7 - row["audited"]
    assert (result.exit_code, row["status"], row["remaining"]) == (3, "budget_spent", 0), row
    assert 0 < row["audited"] == row["audit_agreed"] < 7
    assert f"audit: {unread} of 7 documents were not read again: the run was stopped" in row["warnings"]
    assert row["cost_usd"] <= Decimal("0.0098")
    assert read_table("results").height == 9


@pytest.mark.anyio
async def test_stopped_sharded_run_has_no_audit(run_audit, server, replies, read_table):
    """A warning says so, and no call is made at the top rung."""
    result = await run_audit(7, low=replies.error(401))
    [row] = read_table("runs").to_dicts()
    assert (result.row["status"], row["audited"], (2000, 2000) in server.pictures) == ("refused", 0, False)
    assert "audit: no document was read again: the run was stopped" in row["warnings"]


@pytest.mark.anyio
async def test_coordinator_withdraws_the_certificate_once_for_all_shards(run_audit, settings, read_table):
    """Three of three audited documents differ; one of 200 differed when the stored tuning was measured."""
    schema = load("caption")
    key = Fingerprint(settings.base_url, "maker/model", schema.name, schema.hash, schema.prompt_hash("0.0 False"))
    protocol = TuningProtocol(
        endpoint=key.endpoint,
        model=key.model,
        schema_name=key.schema,
        schema_hash=key.schema_hash,
        prompt_hash=key.prompt_hash,
        mode="json_schema",
    )
    tuning = Tuning(
        protocol=protocol,
        ladder=Ladder(rule="formula", budgets=(1601, 6404)),
        certificate=Certificate(target=0.9, documents=200, threshold=0.5, share=0.9, lower_bound=0.95),
        agreement=(200, 199),
        measured_at=datetime(2026, 11, 30, tzinfo=UTC),
        run="r",
    )
    with Ledger(settings.ledger) as ledger:
        ledger.memory.keep_tuning(key, "r", tuning.model_dump_json())
    await run_audit(3, *["A door"] * 3)
    [row] = read_table("runs").to_dicts()
    with Ledger(settings.ledger) as ledger:
        stored_tuning = parse_tuning(ledger.memory.tuning(key) or "")
    assert (row["audited"], row["audit_agreed"], stored_tuning.certificate) == (3, 0, None)
    assert sum("its certificate has ended" in warning for warning in row["warnings"]) == 1


@pytest.mark.anyio
async def test_next_run_counts_the_interrupted_audit_of_a_sharded_run(run_audit, server, settings, read_table):
    """It makes no call, publishes the documents of all shards, and counts the audit calls that were answered."""
    observed = []

    def count(call_counts):
        observed.extend([call_counts] * (len(server.pictures) > 8))
        if len(observed) == 3:
            raise Killed

    sequential_settings = replace_setting(settings, concurrency=1)
    with pytest.raises(BaseExceptionGroup):
        await run_audit(5, shards=RunHooks(shards=InProcessBackend(sequential_settings), on_calls=count))
    sent = len(server.pictures)
    after = await run_audit(5)
    first, last = read_table("runs").sort("started_at").to_dicts()
    assert (first["status"], first["accepted"], first["audited"], first["audit_agreed"]) == ("abandoned", 8, 2, 2)
    assert "audit: 2 of up to 5 documents were read again before the process ended" in first["warnings"]
    assert (select_counts(after.row), last["audited"], len(server.pictures)) == ({"found": 9, "skipped": 9}, 0, sent)
    assert first["cost_wasted_usd"] == 2 * Decimal("0.00045")
    assert read_table("results").height == 9


RECEIPT = ("GREEN GARDEN CAFE", "COFFEE WITH MILK   4.50", "CHEESE CAKE   8.00", "TOTAL   12.50")
ON_RECEIPT = {
    "company": "Green Garden Cafe", "date": None, "address": "1 Elm Road", "total": 12.5, "currency": None,
    "line_items": [{"description": "Coffee with milk", "amount": 4.5}],
}  # fmt: skip


@pytest.fixture
def receipt_job(tmp_path, server, replies):
    """Three receipts with two rows each, a server that answers one of the rows, and a job that reads them in shards."""
    (tmp_path / "in").mkdir()
    for number in range(3):
        picture = Image.new("RGB", (640, 300), (255, 255, 250 + number))
        for row, text in enumerate(RECEIPT):
            name, _, amount = text.partition("   ")
            for x, words in ((30, name), (500, amount)):
                ImageDraw.Draw(picture).text((x, 30 + 60 * row), words, font=ImageFont.load_default(28), fill="black")
        picture.save(tmp_path / "in" / f"{number}.png")
    server.answers_with(replies.ok(json.dumps(ON_RECEIPT)))
    return build_job(
        source=str(tmp_path / "in"), schema_name="receipt", bill="formula", shard_size=2, yes=True, witness="all"
    )


@pytest.mark.anyio
@pytest.mark.parametrize("number", [1, 100], ids=["a shard is begun again", "all at once"])
async def test_witness_examines_results_of_every_shard(receipt_job, settings, server, read_table, number):
    """It examines results recovered from a killed attempt, too, and the coordinator sums the missing rows."""
    result = await pipeline.run(
        resolve(receipt_job, settings), RunHooks(shards=InProcessBackend(settings, kill_before_staging(number)))
    )
    results = read_table("results")
    assert (select_counts(result.row), len(server.documents)) == ({"found": 3, "accepted": 3}, 3)
    assert result.counts.totals.witness == WitnessTotals(documents=3, unseen=3, missing_rows=3)
    for cells in results["_evidence"]:
        boxes = {cell["field"]: (cell["page"], cell["y"] and round((cell["y"] - 30) / 60)) for cell in cells}
        assert (boxes["company"], boxes["total"], boxes["address"]) == ((1, 0), (1, 3), (0, None))
        assert (boxes["line_items[0].amount"], boxes["line_items[?]"]) == ((1, 1), (1, 2))
    assert results["_cost_usd"].sum() == result.row["cost_usd"]


@pytest.mark.anyio
async def test_witness_examines_the_audited_documents_of_a_sharded_run(run_audit, replies, read_table):
    """No document is doubtful: only the audited rows have places, and all have a confidence."""
    text = '{"caption": "A wall", "alt_text": null, "tags": []}'
    body = json.loads(replies.ok(text).body)
    body["choices"][0]["logprobs"] = {"content": [{"token": token, "logprob": -0.001} for token in text]}
    answer = replies.raw(json.dumps(body))
    result = await run_audit(2, answer, answer, low=answer, witness="doubtful", confidence=True)
    results, audited_documents = read_table("results"), read_table("calls").filter(rung=0)["document"]
    examined = results.filter(pl.col("_evidence").list.eval(pl.element().struct.field("page").is_not_null()).list.any())
    assert result.row["audited"] == 2
    assert sorted(examined["_document"]) == sorted(audited_documents)
    assert {cell["page"] for cells in examined["_evidence"] for cell in cells} == {None, 0}
    assert results.filter(pl.col("_copied_from").is_null())["_confidence"].min() > 0.9
    captions = [cells[0] for cells in examined["_evidence"]]
    assert all((cell["field"], cell["page"], cell["confidence"] > 0.9) == ("caption", 0, True) for cell in captions)
    assert result.counts.totals.witness == WitnessTotals(documents=2, unseen=2)
