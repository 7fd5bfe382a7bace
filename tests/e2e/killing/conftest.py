"""A kill scenario: a workspace with documents, a server that keeps its own count, and runs of the command that may be killed."""

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
INPUT, OUTPUT = Decimal(100), Decimal(1000)  # USD a million tokens: dear, so that every sum is far above a rounding
PRICES = f'[models."{MODEL}"]\ninput = {INPUT}\noutput = {OUTPUT}\nas_of = 2026-11-01\n'
ARGS = ("run", "in", "--schema", "caption", "--direct", "--json", "--yes", "--fail-above", "1")
CONCURRENCY = 4
TABLES = ("results", "replies", "failures", "images", "calls", "fields", "runs")
DEADLINE = 60  # seconds


class Rehearsal:
    """An endpoint process, told what to do wrong and asked for what it counted since."""

    def __init__(self, url):
        self.url, self._route = url, url.removesuffix("/v1") + "/rehearsal"

    def rehearse(self, *, latency=0.01, faults=None):
        """From now on these faults, and a count that starts at nothing."""
        self.change(latency=latency, faults=faults, reset=True)

    def change(self, **change):
        """From now on this; what is in flight ends as it began."""
        self.state()
        httpx.put(self._route, json=change).raise_for_status()

    def state(self):
        """The count, once nothing is in flight."""
        end = time.monotonic() + DEADLINE
        while True:
            state = httpx.get(self._route).json()
            if state["requests"] == sum(state["kinds"].values()):
                return SimpleNamespace(**state)
            assert time.monotonic() < end, f"some requests never end: {state}"
            time.sleep(0.01)

    def underway(self):
        """The requests that have come and the answers that were made, at this moment."""
        state = httpx.get(self._route).json()
        return SimpleNamespace(requests=state["requests"], answered=state["kinds"].get("answered", 0))

    @property
    def answered(self):
        """The good answers: each was paid for."""
        return self.state().kinds.get("answered", 0)

    @property
    def bill_usd(self):
        """What all answers that were made whole cost, liked or not."""
        state = self.state()
        return (state.prompt_tokens * INPUT + state.completion_tokens * OUTPUT) / 1_000_000


@dataclass(frozen=True)
class Ended:
    """How a run of the command ended."""

    status: int
    parts: int
    said: Path

    @property
    def killed(self):
        """Whether it was killed, before it could end."""
        return self.status == -signal.SIGKILL

    @property
    def trace(self):
        """What happened in it, in order."""
        return (self.said / "trace").read_text().splitlines()

    @property
    def published(self):
        """Whether it had begun to publish: then nothing was in flight."""
        return any(each.startswith("rename results") for each in self.trace)

    @property
    def stderr(self):
        """What it said to people."""
        return (self.said / "stderr").read_text()

    @property
    def words(self):
        """Everything it said: why a run that had begun was stopped stands in its row."""
        return self.stderr + (self.said / "stdout").read_text()

    @property
    def row(self):
        """What it says of itself on stdout."""
        return json.loads((self.said / "stdout").read_text())


@dataclass
class KillScenario:
    """A workspace, a server, and the command run in it."""

    workspace: object
    server: Rehearsal
    order: object = field(repr=False)
    ended: list[Ended] = field(default_factory=list)

    def documents(self, count):
        """So many different pictures to be read; gives the names of their documents, sorted."""
        return sorted(map(str, self.workspace.images(*(f"{number:03}.png" for number in range(count)), size=(40, 40))))

    def run(self, *args, kill=None, part=None, env=None):
        """One run, in a fork of a process that has everything imported; killed at a moment, or never."""
        said = self.workspace.folder / f"said-{len(self.ended)}"
        said.mkdir()
        asked = {
            "args": (*ARGS, *args),
            "cwd": str(self.workspace.folder),
            "env": self.workspace.environment(env),
            "root": self.workspace.env["TILEWISE_OUTPUT"],
            "said": str(said),
            "kill": kill,
            "part": part,
        }
        self.ended.append(Ended(**self.order(asked), said=said))
        return self.ended[-1]

    def start(self, *args, env=None):
        """One run as a process of its own, which goes on meanwhile."""
        log = (self.workspace.folder / f"log-{time.monotonic_ns()}").open("w")
        with log:
            return self.workspace.start(*ARGS, *args, env=env, stdout=log, stderr=subprocess.STDOUT)

    def table(self, name):
        """Everything published in a table."""
        return self.workspace.table(name, self.output)

    def names_in(self, table, column):
        """A column of everything published in a table, sorted."""
        frame = self.table(table)
        return sorted(frame[column]) if frame.height else []

    def runs_begun(self):
        """The ids of the runs that are in the ledger, before they are published as after."""
        engine = sa.create_engine(self.workspace.env["TILEWISE_LEDGER"], poolclass=sa.NullPool)
        with contextlib.suppress(sa.exc.DatabaseError), engine.connect() as connection:
            return set(connection.execute(sa.text("select run from runs")).scalars())
        return set()

    @property
    def output(self):
        """Where the tables are."""
        return Path(self.workspace.env["TILEWISE_OUTPUT"])

    def list_staged(self):
        """Whatever is left under staging."""
        return self.workspace.files(self.output / "staging")

    def unreadable(self):
        """The published files that cannot be read whole."""
        files = [path for name in TABLES for path in (self.output / name).rglob("*") if path.is_file()]
        return [path for path in files if not _readable(path)]

    def odds(self):
        """Where the published tables contradict the server's bill or each other, in words."""
        runs, bill = self.table("runs"), self.server.bill_usd
        least = runs["cost_usd"].sum()
        most = least + runs["cost_unknown_usd"].sum()
        return self.odds_of_tables() + (
            [] if least <= bill <= most else [f"the bill of {bill} is not in [{least}, {most}]"]
        )

    def odds_of_tables(self):
        """Where the published tables contradict each other: see table runs."""
        by_run = self.table("runs").sort("run").partition_by("run", as_dict=True)
        return [odd for (run,), rows in by_run.items() for odd in self._run_odds(run, rows.to_dicts())]

    def _run_odds(self, run, volumes):
        row = {name: sum(each[name] for each in volumes) for name in SUMMED}
        calls = self._of(run, "calls", "run").to_dicts()
        paid = [each for each in calls if each["billed"] == "yes"]
        unknown = [each for each in calls if each["billed"] == "unknown"]
        ends = ("skipped", "duplicates", "rejected", "accepted", "failed", "remaining")
        results, failures = self._of(run, "results", "_run"), self._of(run, "failures", "run")
        copies = results.filter(pl.col("_copied_from").is_not_null()).height if results.height else 0
        bad_copies = sum(not each["attempts"] and each["stage"] in {"call", "validate"} for each in failures.to_dicts())
        expected = {
            "found": sum(row[name] for name in ends),
            "duplicates": copies + bad_copies,
            "accepted": results.height - copies,
            "failed": failures.height - bad_copies - row["rejected"],
            "calls": len(calls),
            "cost_usd": sum(each["cost_usd"] for each in paid),
            "cost_unknown_usd": sum(each["reserved_usd"] for each in unknown),
            "cost_wasted_usd": sum(
                each["cost_usd"] for each in paid if each["outcome"] != "accepted" or not each["rung"]
            ),
        } | {name: sum(each[name] or 0 for each in calls) for name in TOKENS}
        return [f"{run}: {name} is {row[name]}, not {is_}" for name, is_ in expected.items() if row[name] != is_]

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
def order():
    """Has the command run by the fork server and gives how it ended."""
    command = [sys.executable, str(Path(__file__).with_name("fork_server.py"))]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=env, text=True, **pipes) as process:
        assert process.stdout.readline() == "ready\n"

        def ordered(asked):
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ordered
        process.stdin.close()


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request):
    """Makes a ledger's URL that is new, in either database; None is the workspace's own."""
    return (lambda: None) if request.param == "sqlite" else request.getfixturevalue("postgres")


@pytest.fixture
def kill_run(workspace, rehearsal, order, ledger):
    """The scenario of one test, by whose prices an offline answer costs something."""
    return set_up(workspace, rehearsal, order, ledger())


@pytest.fixture(scope="module")
def kill_runs(workspaces, rehearsal, order, ledger):
    """Makes the scenarios of a module."""
    return lambda: set_up(workspaces(), rehearsal, order, ledger())


def set_up(workspace, rehearsal, order, ledger):
    """Makes a scenario of a workspace."""
    (workspace.folder / "prices.toml").write_text(PRICES)
    workspace.env |= {
        "TILEWISE_BASE_URL": rehearsal.url,
        "TILEWISE_MODEL": MODEL,
        "TILEWISE_CONCURRENCY": str(CONCURRENCY),
        "TILEWISE_LEDGER": ledger or workspace.env["TILEWISE_LEDGER"],
        "POLARS_MAX_THREADS": "2",
    }
    rehearsal.rehearse()
    return KillScenario(workspace, rehearsal, order)
