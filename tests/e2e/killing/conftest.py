"""A kill scenario: a workspace with documents, a server that counts its requests, and runs that may be killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import httpx
import polars as pl
import pytest
import sqlalchemy as sa

ROOT = Path(__file__).parents[3]
MODEL = "offline/echo"
INPUT, OUTPUT = Decimal(100), Decimal(1000)  # USD a million tokens: high, so that sums exceed rounding errors
PRICES = f'[models."{MODEL}"]\ninput = {INPUT}\noutput = {OUTPUT}\nas_of = 2026-11-01\n'
ARGS = ("run", "in", "--schema", "caption", "--direct", "--json", "--yes", "--fail-above", "1")
CONCURRENCY = 4
TABLES = ("results", "replies", "failures", "images", "calls", "fields", "runs")
DEADLINE = 60  # seconds


class Rehearsal:
    """An endpoint process whose faults can be set and whose counts can be read."""

    def __init__(self, url):
        self.url, self._route = url, url.removesuffix("/v1") + "/rehearsal"

    def rehearse(self, *, latency=0.01, faults=None):
        """Sets latency and faults, and resets the counts."""
        self.change(latency=latency, faults=faults, reset=True)

    def change(self, **change):
        """Changes settings for requests that come later, once none is in flight."""
        self.state()
        httpx.put(self._route, json=change).raise_for_status()

    def state(self):
        """The counts, once no request is in flight."""
        end = time.monotonic() + DEADLINE
        while True:
            state = httpx.get(self._route).json()
            if state["requests"] == sum(state["kinds"].values()):
                return SimpleNamespace(**state)
            assert time.monotonic() < end, f"some requests never end: {state}"
            time.sleep(0.01)

    def read_progress(self):
        """The numbers of requests and of answers so far."""
        state = httpx.get(self._route).json()
        return SimpleNamespace(requests=state["requests"], answered=state["kinds"].get("answered", 0))

    @property
    def answered(self):
        """The number of good answers, each of which is billed."""
        return self.state().kinds.get("answered", 0)

    @property
    def bill_usd(self):
        """The cost of all complete answers, valid or not."""
        state = self.state()
        return (state.prompt_tokens * INPUT + state.completion_tokens * OUTPUT) / 1_000_000


@dataclass(frozen=True)
class FinishedRun:
    """The result of a run that has ended."""

    status: int
    parts: int
    log_folder: Path

    @property
    def killed(self):
        """Whether it was ended by SIGKILL."""
        return self.status == -signal.SIGKILL

    @property
    def trace(self):
        """Its kill points in order."""
        return (self.log_folder / "trace").read_text().splitlines()

    @property
    def started_publishing(self):
        """Whether it had begun to publish, when no call was in flight."""
        return any(point.startswith("rename results") for point in self.trace)

    @property
    def stderr(self):
        return (self.log_folder / "stderr").read_text()

    @property
    def text(self):
        """Its stdout and stderr: the reason why a run stopped is in its row on stdout."""
        return self.stderr + (self.log_folder / "stdout").read_text()

    @property
    def row(self):
        """Its row of `runs`, from stdout."""
        return json.loads((self.log_folder / "stdout").read_text())


@dataclass
class KillScenario:
    """A workspace, a server, and the runs of the command in it."""

    workspace: object
    server: Rehearsal
    run_in_fork: object = field(repr=False)
    runs: list[FinishedRun] = field(default_factory=list)

    def write_documents(self, count):
        """Writes this many different images, and returns the names of their documents, sorted."""
        return sorted(map(str, self.workspace.images(*(f"{number:03}.png" for number in range(count)), size=(40, 40))))

    def run(self, *args, kill=None, part=None, env=None):
        """Runs the command in a fork of the preloaded process, killed at a moment or never."""
        log_folder = self.workspace.folder / f"run-{len(self.runs)}"
        log_folder.mkdir()
        order = {
            "args": (*ARGS, *args),
            "cwd": str(self.workspace.folder),
            "env": self.workspace.environment(env),
            "root": self.workspace.env["TILEWISE_OUTPUT"],
            "log_folder": str(log_folder),
            "kill": kill,
            "part": part,
        }
        self.runs.append(FinishedRun(**self.run_in_fork(order), log_folder=log_folder))
        return self.runs[-1]

    def start(self, *args, env=None):
        """Starts a run as a process of its own."""
        log = (self.workspace.folder / f"log-{time.monotonic_ns()}").open("w")
        with log:
            return self.workspace.start(*ARGS, *args, env=env, stdout=log, stderr=subprocess.STDOUT)

    def table(self, name):
        """All rows published in a table."""
        return self.workspace.table(name, self.output)

    def sorted_column(self, table, column):
        """A column of a published table, sorted."""
        frame = self.table(table)
        return sorted(frame[column]) if frame.height else []

    def list_begun_runs(self):
        """The ids of the runs in the ledger, published or not."""
        engine = sa.create_engine(self.workspace.env["TILEWISE_LEDGER"], poolclass=sa.NullPool)
        with contextlib.suppress(sa.exc.DatabaseError), engine.connect() as connection:
            return set(connection.execute(sa.text("select run from runs")).scalars())
        return set()

    @property
    def output(self):
        """The root of the tables."""
        return Path(self.workspace.env["TILEWISE_OUTPUT"])

    def list_staged(self):
        """The files under staging."""
        return self.workspace.files(self.output / "staging")

    def list_unreadable(self):
        """The published files that are not valid Parquet."""
        files = [path for name in TABLES for path in (self.output / name).rglob("*") if path.is_file()]
        return [path for path in files if not _readable(path)]

    def contradictions(self):
        """Descriptions of where the published tables contradict the server's bill or each other."""
        runs, bill = self.table("runs"), self.server.bill_usd
        lowest = runs["cost_usd"].sum()
        highest = lowest + runs["cost_unknown_usd"].sum()
        return self.table_contradictions() + (
            [] if lowest <= bill <= highest else [f"the bill of {bill} is not in [{lowest}, {highest}]"]
        )

    def table_contradictions(self):
        """Descriptions of where the published tables contradict each other: see table runs."""
        by_run = self.table("runs").sort("run").partition_by("run", as_dict=True)
        return [text for (run,), rows in by_run.items() for text in self._run_contradictions(run, rows.to_dicts())]

    def _run_contradictions(self, run, volumes):
        row = {name: sum(entry[name] for entry in volumes) for name in SUMMED}
        calls = self._of(run, "calls", "run").to_dicts()
        paid = [entry for entry in calls if entry["billed"] == "yes"]
        unknown = [entry for entry in calls if entry["billed"] == "unknown"]
        outcomes = ("skipped", "duplicates", "rejected", "accepted", "failed", "remaining")
        results, failures = self._of(run, "results", "_run"), self._of(run, "failures", "run")
        copies = results.filter(pl.col("_copied_from").is_not_null()).height if results.height else 0
        bad_copies = sum(
            not entry["attempts"] and entry["stage"] in {"call", "validate"} for entry in failures.to_dicts()
        )
        expected = {
            "found": sum(row[name] for name in outcomes),
            "duplicates": copies + bad_copies,
            "accepted": results.height - copies,
            "failed": failures.height - bad_copies - row["rejected"],
            "calls": len(calls),
            "cost_usd": sum(entry["cost_usd"] for entry in paid),
            "cost_unknown_usd": sum(entry["reserved_usd"] for entry in unknown),
            "cost_wasted_usd": sum(
                entry["cost_usd"] for entry in paid if entry["outcome"] != "accepted" or not entry["rung"]
            ),
        } | {name: sum(entry[name] or 0 for entry in calls) for name in TOKENS}
        return [f"{run}: {name} is {row[name]}, not {value}" for name, value in expected.items() if row[name] != value]

    def _of(self, run, table, column):
        frame = self.table(table)
        return frame.filter(pl.col(column) == run) if frame.height else frame


TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
SUMMED = (
    *("found", "skipped", "duplicates", "rejected", "accepted", "failed", "remaining", "calls"),
    *("cost_usd", "cost_wasted_usd", "cost_unknown_usd"),
    *TOKENS,
)


def _readable(path):
    try:
        return pl.read_parquet(path).height >= 0
    except pl.exceptions.PolarsError:
        return False


@pytest.fixture(scope="session")
def rehearsal(endpoints):
    """The server of all scenarios."""
    return Rehearsal(endpoints())


@pytest.fixture(scope="session")
def run_in_fork():
    """Runs the command through the fork server, and returns its exit status."""
    command = [sys.executable, str(Path(__file__).with_name("fork_server.py"))]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=env, text=True, **pipes) as process:
        assert process.stdout.readline() == "ready\n"

        def send(order):
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield send
        process.stdin.close()


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request):
    """Makes the URL of a new ledger in either database; None stands for the workspace's own."""
    return (lambda: None) if request.param == "sqlite" else request.getfixturevalue("postgres")


@pytest.fixture
def scenario(workspace, rehearsal, run_in_fork, ledger):
    """The scenario of one test; its prices give offline answers a cost."""
    return set_up(workspace, rehearsal, run_in_fork, ledger())


@pytest.fixture(scope="module")
def make_scenario(workspaces, rehearsal, run_in_fork, ledger):
    """Makes scenarios for all tests of a module."""
    return lambda: set_up(workspaces(), rehearsal, run_in_fork, ledger())


def set_up(workspace, rehearsal, run_in_fork, ledger):
    """Makes a scenario in a workspace."""
    (workspace.folder / "prices.toml").write_text(PRICES)
    workspace.env |= {
        "TILEWISE_BASE_URL": rehearsal.url,
        "TILEWISE_MODEL": MODEL,
        "TILEWISE_CONCURRENCY": str(CONCURRENCY),
        "TILEWISE_LEDGER": ledger or workspace.env["TILEWISE_LEDGER"],
        "POLARS_MAX_THREADS": "2",
    }
    rehearsal.rehearse()
    return KillScenario(workspace, rehearsal, run_in_fork)
