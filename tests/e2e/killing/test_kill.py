"""A run is killed at any point, and the next one finishes its work: nothing is lost, paid twice, or published by half."""

import random

import pytest

pytestmark = pytest.mark.slow

SEED = 20261120
POINTS = 20  # there are 19 kinds
ON_POSTGRES = range(0, POINTS, 7)
DOCUMENTS = 9
CONCURRENCY = 4  # of a scenario
BROKEN = "zz-empty.jpg"
IN_CHUNKS = {"TILEWISE_CHUNK": "3"}
LATENCY = 0.15  # so long that several calls are in flight
EVERYWHERE = [
    *(("sqlite", number) for number in range(POINTS)),
    *(pytest.param("postgres", number, marks=pytest.mark.postgres) for number in ON_POSTGRES),
]
AROUND_CALLS = {"commit intents", "committed intents", "commit replies", "committed replies"}
TABLES = {"results", "replies", "failures", "images", "calls", "fields", "runs"}
PUBLISHING = {f"rename {table}" for table in TABLES - {"fields"}}


def kind(name):
    """What sort of point this is: that a run is killed at every sort is sure, at every point is not."""
    verb, _, what = name.partition(" ")
    if verb in {"commit", "committed"}:
        if "insert calls" in what:
            return f"{verb} intents"
        replies = "update calls" in what and ("insert days" in what or "runs" not in what)
        return f"{verb} replies" if replies else f"{verb} others"
    return name if verb == "rename" and what in TABLES else verb


def drawn(trace, parts, dice):
    """Kill points of every kind, and others by chance; from the first half of each, which every run comes to."""
    kinds = {"part": [("part", number) for number in range(1, parts // 2 + 1)]}
    for name in dict.fromkeys(trace):
        points = [(name, number) for number in range(1, (trace.count(name) + 1) // 2 + 1)]
        kinds[kind(name)] = kinds.get(kind(name), []) + points
    of_every_kind = [dice.choice(points) for points in kinds.values()]
    others = sorted({point for points in kinds.values() for point in points} - {*of_every_kind})
    return of_every_kind + dice.sample(others, POINTS - len(of_every_kind))


def first_of(sort, run):
    """The name of the first point of this kind in a run's trace."""
    return next(name for name in run.trace if kind(name) == sort)


def kill_at(point):
    """How the nursery is told."""
    name, number = point
    return {"part": number} if name == "part" else {"kill": point}


def filled(kill_run):
    """The scenario with its documents, one of them no image, and a server that takes its time."""
    documents = kill_run.documents(DOCUMENTS)
    (kill_run.workspace.folder / "in" / BROKEN).touch()
    kill_run.server.rehearse(latency=LATENCY)
    return documents


@pytest.fixture(scope="module")
def whole(kill_runs):
    """A run that nobody kills."""
    kill_run = kill_runs()
    filled(kill_run)
    ended = kill_run.run(env=IN_CHUNKS)
    assert ended.status == 0, ended.stderr
    return ended


@pytest.fixture(scope="module")
def points(whole):
    """The points at which runs are killed: the same ones for the same trace."""
    return drawn(whole.trace, whole.parts, random.Random(SEED))


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_every_step_can_be_killed(whole, points):
    """What a run notes, stages, publishes and removes is seen, each kind of it, and chosen at least once."""
    chosen = {kind(name) for name, _ in points}
    assert len(points) == POINTS
    assert chosen == {"part", *map(kind, whole.trace)}
    assert chosen >= AROUND_CALLS | PUBLISHING | {"remove"}


@pytest.mark.parametrize(("ledger", "number"), EVERYWHERE, indirect=["ledger"])
def test_a_run_killed_anywhere_is_finished_by_the_next(kill_run, points, number):
    """Every document is there once, what was answered is not paid again, and the killed run has its row."""
    documents = filled(kill_run)
    killed = kill_run.run(**kill_at(points[number]), env=IN_CHUNKS)
    half_written, begun = kill_run.unreadable(), kill_run.runs_begun()
    again = kill_run.run(env=IN_CHUNKS)
    in_flight = 0 if killed.published else CONCURRENCY
    status = dict(zip(*kill_run.table("runs")["run", "status"], strict=True))

    assert killed.killed, points[number]
    assert half_written + kill_run.unreadable() == []
    assert again.status == 0, again.stderr
    assert kill_run.names_in("results", "_document") == documents
    assert kill_run.names_in("failures", "document") == [str(kill_run.workspace.folder / "in" / BROKEN)]
    assert status.keys() == kill_run.runs_begun() >= begun
    assert {status[run] for run in begun} <= {"abandoned", *(["completed"] if killed.published else [])}
    assert kill_run.server.answered <= DOCUMENTS + in_flight
    assert kill_run.list_staged() == []
    assert kill_run.odds() == []


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("sort", "number"),
    [("rename runs", 1), ("committed intents", 6), ("rename calls", 2)],
)
def test_a_run_in_volumes_is_finished_too(kill_run, whole, sort, number):
    """A volume that is out stays as it is, and the one that is not is published under the same run."""
    documents = filled(kill_run)
    in_volumes = IN_CHUNKS | {"TILEWISE_VOLUME": "5"}
    killed = kill_run.run(kill=(first_of(sort, whole), number), env=in_volumes)
    half_written = kill_run.unreadable()
    again = kill_run.run(env=in_volumes)

    assert killed.killed
    assert half_written + kill_run.unreadable() == []
    assert again.status == 0, again.stderr
    assert kill_run.names_in("results", "_document") == documents
    assert set(kill_run.names_in("runs", "run")) == kill_run.runs_begun()
    assert kill_run.list_staged() == []
    assert kill_run.odds() == []


@pytest.mark.parametrize(
    "ledger", ["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.soak])], indirect=True
)
@pytest.mark.parametrize("point", range(4, 64, 20))
def test_a_take_over_that_is_killed_is_finished_too(kill_run, whole, point):
    """By the one after it, whatever it was at; and what the first had paid for is not paid again."""
    documents = filled(kill_run)
    kill_run.run(kill=(first_of("committed replies", whole), 3), env=IN_CHUNKS)
    kill_run.run(kill=("any", point), env=IN_CHUNKS)
    half_written = kill_run.unreadable()
    last = kill_run.run(env=IN_CHUNKS)

    assert last.status == 0, last.stderr
    assert half_written + kill_run.unreadable() == []
    assert kill_run.names_in("results", "_document") == documents
    assert set(kill_run.names_in("runs", "run")) == kill_run.runs_begun()
    assert kill_run.server.answered <= DOCUMENTS + 2 * CONCURRENCY
    assert kill_run.list_staged() == []
    assert kill_run.odds() == []
