"""A run in shards: pieces of one plan are worked on under their parent's run id, which folds and commits once.

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
class Here:
    """Starts shards in this process, one after the other; `before` may break the first tries at a shard."""

    settings: Settings
    how: RunHooks = field(default_factory=RunHooks)
    poll: float = 0.01
    hint: str = "nobody is there"
    pieces: list = field(default_factory=list)
    ended: dict = field(default_factory=dict)
    given_up: list = field(default_factory=list)

    async def ready(self):
        """It is."""

    async def start(self, piece):
        """Works on it at once."""
        name = f"{piece.number}/{len(self.pieces)}"
        self.pieces.append(piece)
        try:
            self.ended[name] = ShardExit((await run_shard(piece, self.settings, self.how)).status)
        except ConfigurationError as error:
            self.ended[name] = ShardExit(error.message, refused=True)
        except RunError as error:
            self.ended[name] = ShardExit(error.message)
        except Killed:
            self.ended[name] = ShardExit("Crashed: killed")
        return name

    async def over(self, shards):
        """All of them."""
        return {each: self.ended[each] for each in shards}

    async def give_up(self, shards):
        """Notes that nobody waits for them."""
        self.given_up += shards


class Killed(BaseException):
    """What ends a shard in the middle, as a bug or a lost process would."""


@pytest.fixture
def settings(tmp_path, server):
    """Settings of a server that answers, and of a ledger and an output of the test's own."""
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
def asked(tmp_path):
    """Seven pictures, and a job that reads them in shards of three."""
    (tmp_path / "in").mkdir()
    for number in range(7):
        Image.new("RGB", (300, 200), (20 * number, 90, 60)).save(tmp_path / "in" / f"{number}.png")
    return build_job(source=str(tmp_path / "in"), schema_name="caption", bill="formula", shard_size=3, yes=True)


@pytest.fixture
def table(tmp_path):
    """Reads everything published in a table."""

    def read(name):
        files = sorted((tmp_path / "out" / name).rglob("*.parquet"))
        return pl.read_parquet(files, hive_partitioning=False) if files else pl.DataFrame()

    return read


def counts(row):
    """The counts that add up."""
    assert row["found"] == sum(row[name] for name in COUNTS[1:])
    return {name: row[name] for name in COUNTS if row[name]}


@pytest.mark.anyio
async def test_a_run_in_shards_is_whole(asked, settings, server, table, tmp_path):
    """Each document is paid for once; one row of runs, one file a table, and nothing is left behind."""
    starter = Here(settings)
    closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=starter))
    assert [(each.first, each.count) for each in starter.pieces] == [(0, 3), (3, 3), (6, 1)]
    assert counts(closing.row) == {"found": 7, "accepted": 7}
    [row] = table("runs").to_dicts()
    assert (row["status"], row["calls"], row["flow"]) == ("completed", 7, "run")
    assert row["cost_usd"] == table("calls")["cost_usd"].sum() == 7 * Decimal("0.00045")
    assert len(set(server.documents)) == len(server.documents) == 7
    assert set(table("results")["_run"]) == {row["run"]}
    assert len(set(table("results")["_document"])) == 7
    assert not (tmp_path / "out" / "staging").exists()
    assert len(list((tmp_path / "out" / "results").rglob("*.parquet"))) == 1


@pytest.fixture
def unlisted(asked, tmp_path):
    """A folder below the source whose path is longer than the system takes."""
    del asked  # makes the source
    at = os.open(tmp_path / "in", os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=at)
        at, above = os.open("d" * 200, os.O_RDONLY, dir_fd=at), at
        os.close(above)
    os.close(at)
    yield
    subprocess.run(["rm", "-rf", tmp_path / "in"], check=True)


@pytest.mark.anyio
@pytest.mark.usefixtures("unlisted")
async def test_sharded_run_on_an_incomplete_listing_ends_incomplete(asked, settings, table):
    """What was listed has rows, and the exit code is that of an error."""
    closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=Here(settings)))
    assert (closing.row["status"], closing.exit_code) == ("incomplete", 2)
    assert table("results").height == 7


@pytest.mark.anyio
async def test_what_is_done_is_not_planned_again(asked, settings, server):
    """The next run in shards skips all of it, and starts none."""
    await pipeline.run(resolve(asked, settings), RunHooks(shards=Here(settings)))
    starter = Here(settings)
    closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=starter))
    assert counts(closing.row) == {"found": 7, "skipped": 7}
    assert (starter.pieces, len(server.documents)) == ([], 7)


@pytest.mark.anyio
async def test_a_stored_plan_is_applied_in_shards(asked, settings, server, tmp_path):
    """As many as it was planned in; what has changed since remains, what was done since is skipped."""
    first = asked.model_copy(update={"shard_size": None, "limit": 2})
    _, url = store_plan(resolve(asked, settings))
    await pipeline.run(resolve(first, settings))
    Image.new("RGB", (310, 210)).save(tmp_path / "in" / "5.png")
    asked_for = build_request(plan=url, yes=True, approved_by="ann")
    closing = await pipeline.apply(asked_for.resolve(settings), RunHooks(shards=Here(settings)))
    assert counts(closing.row) == {"found": 7, "skipped": 2, "accepted": 4, "remaining": 1}
    assert (closing.row["flow"], closing.row["approved_by"], len(server.documents)) == ("apply", "ann", 6)


def kill_before_staging(at):
    """Hooks that run chunks one after the other, and end the process before it stages the chunk of this number, once."""
    chunks, turn = [], asyncio.Lock()

    async def run_chunk(chunk):
        async with turn:
            chunks.append(chunk)
            tables = chunk.context.services.tables
            staging = tables.on_stage
            if len(chunks) == at:
                tables.on_stage = kill
            try:
                return await chunk.run()
            finally:
                tables.on_stage = staging

    return RunHooks(run_chunk=run_chunk)


def kill(results):
    """Ends the process."""
    raise Killed


@pytest.mark.anyio
@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_shard_that_is_begun_again_pays_for_nothing_twice(asked, settings, server, table, at):
    """What an earlier try had staged is left alone; what it was answered and had not staged is staged from the ledger."""
    starter = Here(settings, kill_before_staging(at))
    closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=starter))
    assert len(starter.pieces) == 4
    assert counts(closing.row) == {"found": 7, "accepted": 7}
    assert len(set(server.documents)) == len(server.documents) == closing.row["calls"] == 7
    results = table("results")
    assert sorted(results["_document"]) == sorted(set(results["_document"]))
    assert results["_cost_usd"].sum() == closing.row["cost_usd"]


@pytest.mark.anyio
async def test_a_shard_that_is_begun_again_climbs_on_and_pays_for_nothing_twice(
    settings, server, replies, table, tmp_path
):
    """Two rungs of each document are called once; the surest answer is published, and the sums are those of the calls."""

    def doubtful(asked):
        words, least = ('{"caption": "', "A wall", '", "alt_text": null, "tags": []}'), picture_size(asked)[0] < 2000
        body = json.loads(replies.ok("".join(words)).body)
        logprobs = (0.0, -0.5 if least else -0.9, 0.0)
        entries = [{"token": token, "logprob": each} for token, each in zip(words, logprobs, strict=True)]
        body["choices"][0]["logprobs"] = {"content": entries}
        return replies.raw(json.dumps(body))

    (tmp_path / "in").mkdir()
    for number in range(3):
        Image.new("RGB", (2000, 2000), (20 * number, 90, 60)).save(tmp_path / "in" / f"{number}.png", compress_level=1)
    server.answers_with(doubtful)
    job = build_job(
        source=str(tmp_path / "in"), schema_name="caption", bill="formula", shard_size=2, yes=True, climb_below=0.9
    )
    starter = Here(settings, kill_before_staging(1))
    closing = await pipeline.run(resolve(job, settings), RunHooks(shards=starter))
    assert len(starter.pieces) == 3
    assert (counts(closing.row), closing.row["calls"]) == ({"found": 3, "accepted": 3}, 6)
    assert len(set(server.documents)) == len(server.documents) == 6
    results = table("results")
    assert results["_rung"].to_list() == [1601] * 3
    assert results["_cost_usd"].sum() == closing.row["cost_usd"] == 2 * closing.row["cost_wasted_usd"]
    assert json.loads(closing.row["stopped_at_rung"]) == {"1601": 3}
    cascade = closing.counts.totals.cascade
    assert (cascade.climbed, cascade.saved_tokens) == (3, -3 * 1601)


@pytest.mark.anyio
async def test_a_shard_that_is_never_done_stops_the_run(asked, settings, server, table):
    """After three tries; what the others did is published, what it was is said, and the rest remains."""

    async def run_chunk(chunk):
        if chunk.part.shard == 1:
            raise Killed
        return await chunk.run()

    before = resolve(asked, settings).run_info(
        None
    )  # a run that is under way already, which may take what this one leaves
    with Ledger(settings.ledger) as ledger:
        ledger.runs.begin(before)
    starter = Here(settings, RunHooks(run_chunk=run_chunk))
    closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=starter))
    assert [each.number for each in starter.pieces] == [0, 1, 2, 1, 1]
    assert (closing.row["status"], closing.exit_code) == ("failed", 2)
    assert "shard 1 was started 3 times and made no progress" in closing.row["error"]
    assert counts(closing.row) == {"found": 7, "accepted": 4, "remaining": 3}
    with Ledger(settings.ledger) as ledger:
        [planned] = StoredPlan(starter.pieces[0].plan).iter_documents()
        assert ledger.claims.claim(before, planned) == ["done"] * 3 + ["ours"] * 3 + ["done"]
        ledger.runs.forget(before.run)
    again = await pipeline.run(resolve(asked, settings), RunHooks(shards=Here(settings)))
    assert counts(again.row) == {"found": 7, "skipped": 4, "accepted": 3}
    assert table("results").height == len(server.documents) == 7


@pytest.mark.anyio
async def test_a_shard_that_one_document_kills_is_not_begun_for_ever(asked, settings, table, tmp_path):
    """What it has found out each time and never staged is nothing done."""
    (tmp_path / "in" / "0.png").write_bytes(b"no picture")

    async def run_chunk(chunk):
        if any(each.document.endswith("0.png") for each in chunk.documents):
            chunk.context.services.tables.on_stage = kill
        return await chunk.run()

    starter = Here(settings, RunHooks(run_chunk=run_chunk))
    async with asyncio.timeout(30):
        closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=starter))
    assert closing.row["status"] == "failed"
    assert "shard 0 was started 3 times and made no progress" in closing.row["error"]
    assert [each.number for each in starter.pieces].count(0) <= 8  # three without progress, and those that had some
    assert counts(closing.row)["accepted"] >= 4
    assert set(table("results")["_document"]) <= {str(tmp_path / "in" / f"{number}.png") for number in range(1, 7)}


@pytest.mark.anyio
async def test_what_refuses_one_shard_stops_all(asked, settings, server, replies):
    """A key that is not accepted: no further shard is started."""
    server.script = [replies.error(401)]
    starter = Here(settings)
    closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=starter))
    assert (closing.row["status"], closing.exit_code) == ("refused", 2)
    assert counts(closing.row) == {"found": 7, "remaining": 7}


@pytest.mark.anyio
async def test_the_budget_holds_across_shards(asked, settings, server):
    """It is the run's, by what all shards have reserved."""
    limited = asked.model_copy(update={"budget": Decimal("0.0055")})
    closing = await pipeline.run(resolve(limited, settings), RunHooks(shards=Here(settings)))
    assert (closing.row["status"], closing.exit_code) == ("budget_spent", 3)
    assert closing.row["cost_usd"] <= Decimal("0.0055")
    assert closing.row["accepted"] == len(server.documents) > 3
    assert counts(closing.row)["remaining"] == 7 - len(server.documents)


@pytest.mark.anyio
async def test_without_anybody_to_start_shards_nothing_begins(asked, settings, server, tmp_path):
    """One line that says what is needed."""
    with pytest.raises(ConfigurationError, match="--shard-size 3 needs a Prefect server"):
        await pipeline.run(resolve(asked, settings))
    assert (server.documents, (tmp_path / "out").exists()) == ([], False)


@pytest.mark.anyio
async def test_money_is_asked_for_before_a_shard_is_started(asked, settings, server):
    """As in a run of one process."""
    starter = Here(replace_setting(settings, ask_above=Decimal("0.0001")))
    with pytest.raises(ApprovalRequired):
        await pipeline.run(resolve(asked.model_copy(update={"yes": False}), starter.settings), RunHooks(shards=starter))
    assert (starter.pieces, server.documents) == ([], [])


def replace_setting(settings, **changes):
    """The same settings but for these."""
    return settings.model_copy(update=changes)


@dataclass
class Elsewhere(Here):
    """Its shards come to a ledger that says that the run's parent is on another host, or know none of it."""

    ledger: str = ""

    async def start(self, piece):
        """See Here."""
        if self.ledger:
            self.settings = replace_setting(self.settings, ledger=self.ledger)
        else:
            engine = sa.create_engine(self.settings.ledger)
            with engine.begin() as connection:
                connection.execute(RUNS.update().values(host="elsewhere"))
            engine.dispose()
        name = await super().start(piece)
        if not self.ledger:
            engine = sa.create_engine(self.settings.ledger)
            with engine.begin() as connection:
                connection.execute(RUNS.update().values(host=current_process().host))
            engine.dispose()
        return name


@pytest.mark.anyio
@pytest.mark.parametrize("other", [False, True], ids=["a file both see", "a file of the worker's own"])
async def test_sqlite_holds_for_one_host(asked, settings, server, tmp_path, other):
    """A worker elsewhere sends nothing: it names the setting and what to set; the run ends with these words at once."""
    starter = Elsewhere(settings, ledger=f"sqlite:///{tmp_path / 'other.db'}" if other else "")
    closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=starter))
    assert (closing.row["status"], server.documents) == ("failed", [])
    assert "TILEWISE_LEDGER is SQLite" in closing.row["error"]
    assert "set TILEWISE_LEDGER to a postgresql+psycopg://" in closing.row["error"]
    assert not any(number > 0 and piece.number == 0 for number, piece in enumerate(starter.pieces))


@pytest.mark.anyio
async def test_a_shard_of_a_run_that_has_ended_begins_nothing(asked, settings, server):
    """As when somebody starts its flow run again by hand."""
    starter = Here(settings)
    await pipeline.run(resolve(asked, settings), RunHooks(shards=starter))
    with pytest.raises(ConfigurationError, match="has no live run"):
        await run_shard(starter.pieces[0], settings)
    assert len(server.documents) == 7


@pytest.mark.anyio
async def test_two_never_work_on_one_shard(asked, settings, server):
    """Whoever comes second sends nothing."""
    refused = []

    async def run_chunk(chunk):
        if not refused:
            with pytest.raises(LedgerError, match=r"shard 0 of run .* is in progress in another process"):
                await run_shard(starter.pieces[0], settings)
            refused.append(True)
        return await chunk.run()

    starter = Here(settings, RunHooks(run_chunk=run_chunk))
    closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=starter))
    assert refused
    assert counts(closing.row) == {"found": 7, "accepted": 7}


@pytest.mark.anyio
async def test_a_run_is_not_taken_over_while_a_shard_works_on_it(asked, settings, server):
    """Its parent is gone, it is not: it stops within seconds, and then the run is free."""
    seen = []

    async def run_chunk(chunk):
        terms = chunk.context.run_info
        with Ledger(settings.ledger) as ledger:
            ledger.runs.release(terms.run)
            seen.append((ledger.runs.list_abandoned(terms.output, terms.schema), ledger.runs.adopt(terms.run)))
        raise Killed

    with pytest.raises(LedgerError, match="taken over"):
        await pipeline.run(resolve(asked, settings), RunHooks(shards=Here(settings, RunHooks(run_chunk=run_chunk))))
    assert seen[0] == ([], False)


@pytest.fixture
def leases(settings):
    """Changes the leases of the first try at a shard, as time and a network would."""
    engine = sa.create_engine(settings.ledger)

    def change(**values):
        with engine.begin() as connection:
            connection.execute(SHARDS.update().where(SHARDS.c.attempt == 0).values(values))

    yield change
    engine.dispose()


@dataclass
class Both(Here):
    """Its first two tries are at the same shard at the same time: the first one is cut off, and comes back."""

    leases: object = None
    first: asyncio.Future | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    back: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, piece):
        """See Here."""
        if self.first is None:
            self.first = asyncio.ensure_future(run_shard(piece, self.settings, self.how))
            await self.begun.wait()
            self.leases(host="elsewhere", lease_until=0.0)
            return "cut off"
        name = await super().start(piece)
        self.back.set()
        await asyncio.wait([self.first])
        return name

    async def over(self, shards):
        """Nobody knows of the one that was cut off."""
        return {each: self.ended[each] for each in shards if each in self.ended}


@pytest.mark.anyio
async def test_a_try_that_comes_back_stages_nothing(asked, settings, server, table, leases):
    """It was cut off for longer than its lease, and another one has its place: each document is in one row."""

    async def run_chunk(chunk):
        if not starter.begun.is_set():
            starter.begun.set()
            await starter.back.wait()
        return await chunk.run()

    starter = Both(settings, RunHooks(run_chunk=run_chunk), leases=leases)
    closing = await pipeline.run(
        resolve(asked.model_copy(update={"shard_size": 10}), settings), RunHooks(shards=starter)
    )
    assert counts(closing.row) == {"found": 7, "accepted": 7}
    assert table("results")["_document"].n_unique() == table("results").height == 7
    assert starter.first.result().message.endswith("goes on without this attempt")


@pytest.mark.anyio
async def test_a_try_that_is_killed_between_two_tables_leaves_no_row_twice(asked, settings, table):
    """The images of documents whose end was not staged come once more, and count once in what was foreseen."""
    killed = []

    async def run_chunk(chunk):
        volume = chunk.context.services.tables.volume
        stage = volume.stage

        def until_results(name, *rest):
            if name == "results":
                raise Killed
            stage(name, *rest)

        if not killed:
            killed.append(chunk)
            chunk.context.services.tables.volume = replace_stage(volume, until_results)
        return await chunk.run()

    closing = await pipeline.run(
        resolve(asked, settings), RunHooks(shards=Here(settings, RunHooks(run_chunk=run_chunk)))
    )
    assert counts(closing.row) == {"found": 7, "accepted": 7}
    assert (table("images").height, table("results").height) == (7, 7)
    assert closing.row["estimated_expected_usd"] == table("images")["cost_expected_usd"].sum()


@pytest.mark.anyio
async def test_what_a_killed_try_left_half_staged_is_not_published(asked, settings, table, server, replies):
    """Where the run is stopped before it is begun again: no image of a document that remains, and nothing foreseen for it."""
    killed = []
    server.script = lambda _: replies.error(401) if killed else replies.ok()

    async def run_chunk(chunk):
        volume = chunk.context.services.tables.volume
        stage = volume.stage

        def until_results(name, part, rows, *rest):
            if name == "results" and rows:
                killed.append(chunk)
                raise Killed
            stage(name, part, rows, *rest)

        chunk.context.services.tables.volume = replace_stage(volume, until_results)
        return await chunk.run()

    closing = await pipeline.run(
        resolve(asked, settings), RunHooks(shards=Here(settings, RunHooks(run_chunk=run_chunk)))
    )
    assert closing.row["status"] == "refused"
    assert counts(closing.row) == {"found": 7, "remaining": 7}
    assert table("images").height == 0
    assert closing.row["estimated_expected_usd"] == 0


def replace_stage(volume, stage):
    """The volume with another way to stage."""
    broken = Volume(volume.output, volume.run_info, volume.number)
    broken.stage = stage
    return broken


@pytest.mark.anyio
async def test_a_budget_does_not_wait_for_a_try_that_was_killed(asked, settings):
    """What it had on its way may have been billed: the next try hears that all is spent, and the run ends."""
    killed = []

    async def run_chunk(chunk):
        if not killed:
            killed.append(chunk)
            on_its_way = CallRequest(chunk.documents[0].document, "key", "asked", 0, (), 100, 2000, 128, 512)
            await chunk.context.services.writer.reserve(on_its_way, 1, Decimal("0.006"))
            raise Killed
        return await chunk.run()

    limited = asked.model_copy(update={"budget": Decimal("0.0062")})
    async with asyncio.timeout(20):
        closing = await pipeline.run(
            resolve(limited, settings), RunHooks(shards=Here(settings, RunHooks(run_chunk=run_chunk)))
        )
    assert (closing.row["status"], closing.exit_code) == ("budget_spent", 3)
    assert closing.row["cost_unknown_usd"] == Decimal("0.006")
    assert counts(closing.row) == {"found": 7, "remaining": 7}


class Blinded(Here):
    """Its first tries come to a worker that lacks something for a moment."""

    async def start(self, piece):
        """See Here."""
        with self.blind() if len(self.pieces) == 1 else nullcontext():
            return await super().start(piece)


@pytest.mark.anyio
@pytest.mark.parametrize("what", ["in", "ledger", "plans"])
async def test_a_worker_that_lacks_something_leaves_the_shard_to_another(asked, settings, server, tmp_path, what):
    """The source, the ledger or the plan, which it cannot reach now: nothing counts as changed, and all is done."""
    path = {"in": tmp_path / "in", "ledger": None, "plans": tmp_path / "out" / "plans"}[what]
    starter = Blinded(settings)

    @contextmanager
    def blind():
        if path is None:
            starter.settings = replace_setting(settings, ledger="sqlite:////proc/none/ledger.db")
        else:
            path.rename(tmp_path / "away")
        yield
        starter.settings = settings
        if path is not None:
            (tmp_path / "away").rename(path)

    starter.blind = blind
    closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=starter))
    assert counts(closing.row) == {"found": 7, "accepted": 7}
    assert [each.number for each in starter.pieces] == [0, 1, 2, 1]
    assert len(server.documents) == 7


@pytest.mark.anyio
async def test_a_source_that_is_gone_stops_an_applied_plan(asked, settings, tmp_path, server):
    """Nothing in it has changed that anybody could see: it is said, and nothing is sent."""
    _, url = store_plan(resolve(asked.model_copy(update={"shard_size": None}), settings))
    (tmp_path / "in").rename(tmp_path / "away")
    with pytest.raises(ConfigurationError, match="does not exist"):
        await pipeline.apply(build_request(plan=url, yes=True).resolve(settings))
    assert server.documents == []


@pytest.mark.anyio
async def test_nobody_who_can_start_a_shard_is_noticed_before_anything_is_planned(asked, settings, tmp_path):
    """No plan, no table, no run that the next one would take over."""

    class Missing(Here):
        async def ready(self):
            raise ConfigurationError("there is no deployment")

    with pytest.raises(ConfigurationError, match="there is no deployment"):
        await pipeline.run(resolve(asked, settings), RunHooks(shards=Missing(settings)))
    assert not (tmp_path / "out").exists()


@pytest.mark.anyio
async def test_a_shard_that_cannot_be_started_keeps_what_others_did(asked, settings, table):
    """The run says why, and publishes it."""

    class Once(Here):
        async def start(self, piece):
            if self.pieces:
                raise ConfigurationError("the Prefect server refuses to start a shard: 403")
            return await super().start(piece)

    closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=Once(settings)))
    assert (closing.row["status"], closing.exit_code) == ("failed", 2)
    assert "403" in closing.row["error"]
    assert counts(closing.row) == {"found": 7, "accepted": 3, "remaining": 4}
    assert table("results").height == 3


@pytest.mark.anyio
async def test_shards_that_nobody_takes_are_spoken_of(asked, settings, monkeypatch):
    """After a minute, with what to do; told to stop, nobody waits for them at all."""
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.05)
    said = []

    class Idle(Here):
        async def start(self, piece):
            self.pieces.append(piece)
            if len(self.pieces) == 3:
                asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGTERM)
            return str(piece.number)

        async def over(self, shards):
            return {}

    starter = Idle(settings)
    async with asyncio.timeout(10):  # less than calls in flight would be given
        closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=starter, notify=said.append))
    assert "3 shards are waiting and no worker has started one: nobody is there" in said
    assert (closing.row["status"], closing.exit_code) == ("stopped", 3)
    assert sorted(starter.given_up) == ["0", "1", "2"]


@dataclass
class Away(Here):
    """Its shards work in the background, as on another machine."""

    working: list = field(default_factory=list)

    async def start(self, piece):
        """See Here."""
        self.working.append(asyncio.ensure_future(run_shard(piece, self.settings, self.how)))
        return str(piece.number)

    async def over(self, shards):
        """Nobody says so but the ledger."""
        return {}


@pytest.mark.anyio
async def test_what_is_being_staged_when_nobody_waits_any_more_is_folded_whole(asked, settings, table):
    """A shard that was told too late to stop finishes its part; the parent folds after that."""
    engine = sa.create_engine(settings.ledger)

    async def run_chunk(chunk):
        volume = chunk.context.services.tables.volume
        stage = volume.stage

        def late(name, part, rows, *rest):
            while name == "results" and rows and open_tries():
                time.sleep(0.05)
            stage(name, part, rows, *rest)

        chunk.context.services.tables.volume = replace_stage(volume, late)
        return await chunk.run()

    def open_tries():
        with engine.connect() as connection:
            return connection.execute(sa.select(SHARDS.c.run).where(SHARDS.c.host != "")).first()

    hasty = settings.model_copy(update={"drain": 0.0, "chunk": 10})
    starter = Away(hasty, RunHooks(run_chunk=run_chunk))
    stopped = asked.model_copy(update={"max_time": 1.0, "shard_size": 10})
    closing = await pipeline.run(resolve(stopped, hasty), RunHooks(shards=starter))
    await asyncio.wait(starter.working)
    engine.dispose()
    assert closing.row["status"] == "stopped"
    assert counts(closing.row) == {"found": 7, "accepted": 7}
    assert (table("results").height, table("images").height) == (7, 7)


@pytest.mark.anyio
async def test_the_parent_shows_how_far_its_shards_are(asked, settings):
    """Documents and dollars, as they come; a warning that all shards say is said once."""
    told = []
    await asyncio.to_thread(settings.prices.write_text, PRICES + "as_of = 2025-01-01\n")
    closing = await pipeline.run(resolve(asked, settings), RunHooks(shards=Here(settings), on_document=told.append))
    assert sum(each.accepted for each in told) == 7
    assert sum(each.cost_usd for each in told) == closing.row["cost_usd"] > 0
    assert len([each for each in closing.row["warnings"] if "days old" in each]) == 1


@pytest.mark.anyio
async def test_the_parent_shows_the_calls_and_kinds_of_failure_of_its_shards(asked, settings, server, replies):
    """Retries, and failures by kind: of calls, and of documents."""
    server.script = lambda _: replies.ok({"nonsense": 1})
    documents, calls = [], []
    hooks = RunHooks(shards=Here(settings), on_document=documents.append, on_calls=calls.append)
    closing = await pipeline.run(resolve(asked, settings), hooks)
    counts = sum(calls, CallCounts())
    assert sum(documents, RunTotals()).kinds == Counter({("", "off_schema", False): 7})
    assert counts.calls == closing.row["calls"] == counts.failures["off_schema"]
    assert (counts.retries, counts.cost_usd) == (counts.calls - 7, closing.row["cost_usd"])


@pytest.mark.anyio
async def test_what_a_killed_parents_shards_had_done_is_skipped(asked, settings, table):
    """Also where everything is to be done again: it was, by the run that is published now in its own name."""
    everything = asked.model_copy(update={"redo": "all"})

    async def run_chunk(chunk):
        tally = await chunk.run()
        with Ledger(settings.ledger) as ledger:
            ledger.runs.release(chunk.context.run_info.run)
        return tally

    with pytest.raises(LedgerError, match="taken over"):
        await pipeline.run(
            resolve(everything, settings), RunHooks(shards=Here(settings, RunHooks(run_chunk=run_chunk)))
        )
    before = table("results").height
    closing = await pipeline.run(resolve(everything, settings), RunHooks(shards=Here(settings)))
    row = closing.row
    taken_over = table("runs").filter(pl.col("status") == "abandoned")["accepted"].sum()
    assert before == 0 < taken_over
    assert counts(row) == {"found": 7, "skipped": taken_over, "accepted": 7 - taken_over}


@pytest.mark.anyio
async def test_answers_that_a_killed_try_left_are_no_copies(asked, settings, server, replies):
    """They were not accepted, and a later try has looked at them again: each document counts as failed."""
    server.script = lambda _: replies.ok({"nonsense": 1})
    killed = []

    async def run_chunk(chunk):
        if not killed:
            killed.append(chunk)
            chunk.context.services.tables.on_stage = kill
        return await chunk.run()

    closing = await pipeline.run(
        resolve(asked, settings), RunHooks(shards=Here(settings, RunHooks(run_chunk=run_chunk)))
    )
    assert counts(closing.row) == {"found": 7, "failed": 7}


def test_split_plan_puts_every_document_in_one_shard():
    """The last shard may be smaller."""
    pieces = split_plan("/out/plans/p.parquet", "r", 10, 4, offline=False)
    assert [(each.first, each.count) for each in pieces] == [(0, 4), (4, 4), (8, 2)]


def test_stored_answers_are_not_read_again_in_shards():
    """Nothing is sent then."""
    with pytest.raises(ConfigurationError, match="cannot be combined with --redo reparse"):
        build_job(source="in", schema_name="caption", redo="reparse", shard_size=3)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "--shard-size 2 needs a Prefect server with a work pool: set PREFECT_API_URL"),
        (("--direct",), "--direct and --shard-size exclude each other"),
    ],
)
def test_the_command_needs_a_server(workspace, flags, said):
    """One line, before anything is read or sent."""
    workspace.images("a.png")
    ended = workspace.run("run", "in", "--schema", "caption", "--shard-size", 2, *flags)
    assert (ended.exit_code, ended.stderr.count("\n")) == (2, 1)
    assert said in ended.stderr
    assert not (workspace.folder / "out").exists()


def test_applying_a_plan_of_shards_needs_a_server(workspace, server):
    """It was planned for a work pool; without one nothing is sent."""
    workspace.env["TILEWISE_BASE_URL"] = server.url
    workspace.images("a.png")
    flags = ("--schema", "caption", "--shard-size", 1, "--plan-only", "--json")
    plan = json.loads(workspace.run("run", "in", *flags).stdout)["plan"]
    ended = workspace.run("apply", plan, "--yes")
    assert (ended.exit_code, server.asked) == (2, [])
    assert "--shard-size 1 needs a Prefect server" in ended.stderr


@pytest.fixture
def run_audit(settings, server, replies, tmp_path):
    """Nine documents with a ladder, of which the eighth is a copy and the ninth is whole on the first rung; a job that audits."""
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

        def script(asked):
            caption = next(answers, "A wall") if picture_size(asked) == (2000, 2000) else low
            return answer(caption) if isinstance(caption, str) else caption

        server.answers_with(script)
        asked = {"source": str(tmp_path / "in"), "schema_name": "caption", "bill": "formula", "yes": True}
        job = build_job(**asked | {"shard_size": 3, "audit": size} | changes)
        return pipeline.run(resolve(job, settings), shards or RunHooks(shards=Here(settings)))

    return run


@pytest.mark.anyio
async def test_audit_of_a_run_in_shards_is_one_sample_of_the_whole_run(run_audit, server, table):
    """Exactly as many documents as were asked for are read at the top, once, from several shards; their rows stay."""
    closing = await run_audit(4, "A door")
    [row], calls, results = table("runs").to_dicts(), table("calls"), table("results")
    again = calls.filter(rung=0)
    assert counts(closing.row) == {"found": 9, "accepted": 8, "duplicates": 1}
    assert (row["status"], row["audited"], row["audit_agreed"], row["calls"]) == ("completed", 4, 3, 12)
    assert (again["document"].n_unique(), again["attempt"].to_list(), len(server.pictures)) == (4, [2] * 4, 12)
    assert not {document[-9:] for document in again["document"]} & {"small.png"}
    assert len({document[-5] for document in again["document"]} & set("012")) < 4  # no shard has four of them
    assert row["cost_usd"] == calls["cost_usd"].sum()
    assert row["cost_wasted_usd"] == again["cost_usd"].sum() > 0
    assert row["estimated_expected_usd"] > table("images")["cost_expected_usd"].sum() / 9 * 8
    assert set(results["caption"]) == {"a  WALL"}
    assert results["_attempts"].sum() == 8
    assert closing.counts.totals.cascade.climbed == 0


@pytest.mark.anyio
async def test_audit_in_shards_reads_all_there_are_and_names_those_without_an_answer(run_audit, replies, table):
    """More than there are are no more than there are; a refused answer is not counted, and said."""
    closing = await run_audit(100, replies.error(400))
    [row] = table("runs").to_dicts()
    assert (closing.exit_code, row["audited"], row["audit_agreed"]) == (0, 6, 6)
    assert "audit: 1 of 7 documents have no accepted answer at the top rung" in row["warnings"]


@pytest.mark.anyio
async def test_budget_that_ends_during_the_audit_keeps_every_row_of_the_shards(run_audit, table, settings):
    """The warning has the number that was not read; the run ends as spent."""
    one = RunHooks(shards=Here(replace_setting(settings, concurrency=1)))
    closing = await run_audit(7, shards=one, budget=Decimal("0.0098"))
    [row] = table("runs").to_dicts()
    unread = 7 - row["audited"]
    assert (closing.exit_code, row["status"], row["remaining"]) == (3, "budget_spent", 0), row
    assert 0 < row["audited"] == row["audit_agreed"] < 7
    assert f"audit: {unread} of 7 documents were not read again: the run was stopped" in row["warnings"]
    assert row["cost_usd"] <= Decimal("0.0098")
    assert table("results").height == 9


@pytest.mark.anyio
async def test_run_in_shards_that_is_stopped_has_no_audit(run_audit, server, replies, table):
    """It says so, and sends nothing at the top."""
    closing = await run_audit(7, low=replies.error(401))
    [row] = table("runs").to_dicts()
    assert (closing.row["status"], row["audited"], (2000, 2000) in server.pictures) == ("refused", 0, False)
    assert "audit: no document was read again: the run was stopped" in row["warnings"]


@pytest.mark.anyio
async def test_parent_ends_the_certificate_once_for_all_shards(run_audit, settings, table):
    """Three of three differ, one of 200 did when the stored tuning was measured."""
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
    [row] = table("runs").to_dicts()
    with Ledger(settings.ledger) as ledger:
        kept = parse_tuning(ledger.memory.tuning(key) or "")
    assert (row["audited"], row["audit_agreed"], kept.certificate) == (3, 0, None)
    assert sum("its certificate has ended" in each for each in row["warnings"]) == 1


@pytest.mark.anyio
async def test_audit_in_shards_that_is_cut_off_is_counted_by_the_next_run(run_audit, server, settings, table):
    """It sends nothing: the documents of all shards are published, and the audit as far as it came."""
    ended = []

    def count(counts):
        ended.extend([counts] * (len(server.pictures) > 8))
        if len(ended) == 3:
            raise Killed

    one = replace_setting(settings, concurrency=1)
    with pytest.raises(BaseExceptionGroup):
        await run_audit(5, shards=RunHooks(shards=Here(one), on_calls=count))
    sent = len(server.pictures)
    again = await run_audit(5)
    first, last = table("runs").sort("started_at").to_dicts()
    assert (first["status"], first["accepted"], first["audited"], first["audit_agreed"]) == ("abandoned", 8, 2, 2)
    assert "audit: 2 of up to 5 documents were read again before the process ended" in first["warnings"]
    assert (counts(again.row), last["audited"], len(server.pictures)) == ({"found": 9, "skipped": 9}, 0, sent)
    assert first["cost_wasted_usd"] == 2 * Decimal("0.00045")
    assert table("results").height == 9


RECEIPT = ("GREEN GARDEN CAFE", "COFFEE WITH MILK   4.50", "CHEESE CAKE   8.00", "TOTAL   12.50")
ON_RECEIPT = {
    "company": "Green Garden Cafe", "date": None, "address": "1 Elm Road", "total": 12.5, "currency": None,
    "line_items": [{"description": "Coffee with milk", "amount": 4.5}],
}  # fmt: skip


@pytest.fixture
def receipts(tmp_path, server, replies):
    """Three receipts, of whose two rows one is answered each time, and a job that reads them in shards."""
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
@pytest.mark.parametrize("at", [1, 100], ids=["a shard is begun again", "all at once"])
async def test_witness_looks_in_every_shard(receipts, settings, server, table, at):
    """Also at what a shard takes over from an attempt before it; the parent sums what is missing."""
    closing = await pipeline.run(resolve(receipts, settings), RunHooks(shards=Here(settings, kill_before_staging(at))))
    results = table("results")
    assert (counts(closing.row), len(server.documents)) == ({"found": 3, "accepted": 3}, 3)
    assert closing.counts.totals.witness == WitnessTotals(documents=3, unseen=3, missing_rows=3)
    for cells in results["_evidence"]:
        boxes = {cell["field"]: (cell["page"], cell["y"] and round((cell["y"] - 30) / 60)) for cell in cells}
        assert (boxes["company"], boxes["total"], boxes["address"]) == ((1, 0), (1, 3), (0, None))
        assert (boxes["line_items[0].amount"], boxes["line_items[?]"]) == ((1, 1), (1, 2))
    assert results["_cost_usd"].sum() == closing.row["cost_usd"]


@pytest.mark.anyio
async def test_witness_looks_at_the_sample_of_an_audit_in_shards(run_audit, replies, table):
    """No document is doubtful: the rows of those that were audited have places, and all have their confidence."""
    text = '{"caption": "A wall", "alt_text": null, "tags": []}'
    body = json.loads(replies.ok(text).body)
    body["choices"][0]["logprobs"] = {"content": [{"token": each, "logprob": -0.001} for each in text]}
    answer = replies.raw(json.dumps(body))
    closing = await run_audit(2, answer, answer, low=answer, witness="doubtful", confidence=True)
    results, again = table("results"), table("calls").filter(rung=0)["document"]
    looked_at = results.filter(
        pl.col("_evidence").list.eval(pl.element().struct.field("page").is_not_null()).list.any()
    )
    assert closing.row["audited"] == 2
    assert sorted(looked_at["_document"]) == sorted(again)
    assert {cell["page"] for cells in looked_at["_evidence"] for cell in cells} == {None, 0}
    assert results.filter(pl.col("_copied_from").is_null())["_confidence"].min() > 0.9
    captions = [cells[0] for cells in looked_at["_evidence"]]
    assert all((cell["field"], cell["page"], cell["confidence"] > 0.9) == ("caption", 0, True) for cell in captions)
    assert closing.counts.totals.witness == WitnessTotals(documents=2, unseen=2)
