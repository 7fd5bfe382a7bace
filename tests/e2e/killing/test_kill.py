"""A run is killed at any point, and the next one completes it: nothing is lost, paid for twice, or half published."""

import random

import pytest

pytestmark = pytest.mark.slow

SEED = 20261120
POINTS = 20  # there are 19 kinds
ON_POSTGRES = range(0, POINTS, 7)
DOCUMENTS = 9
CONCURRENCY = 4  # as the scenario sets it
BROKEN = "zz-empty.jpg"
IN_CHUNKS = {"TILEWISE_CHUNK": "3"}
LATENCY = 0.15  # several calls are in flight
EVERYWHERE = [
    *(("sqlite", number) for number in range(POINTS)),
    *(pytest.param("postgres", number, marks=pytest.mark.postgres) for number in ON_POSTGRES),
]
AROUND_CALLS = {"commit intents", "committed intents", "commit replies", "committed replies"}
TABLES = {"results", "replies", "failures", "images", "calls", "fields", "runs"}
PUBLISHING = {f"rename {table}" for table in TABLES - {"fields"}}


def classify_point(name):
    """The kind of a kill point: a run is killed at every kind of point, though not at every point."""
    verb, _, operand = name.partition(" ")
    if verb in {"commit", "committed"}:
        if "insert calls" in operand:
            return f"{verb} intents"
        replies = "update calls" in operand and ("update days" in operand or "runs" not in operand)
        return f"{verb} replies" if replies else f"{verb} others"
    return name if verb == "rename" and operand in TABLES else verb


def draw_points(trace, parts, dice):
    """Kill points of every kind and random others, from the first half of each kind, which every run reaches."""
    kinds = {"part": [("part", number) for number in range(1, parts // 2 + 1)]}
    for name in dict.fromkeys(trace):
        points = [(name, number) for number in range(1, (trace.count(name) + 1) // 2 + 1)]
        kinds[classify_point(name)] = kinds.get(classify_point(name), []) + points
    of_every_kind = [dice.choice(points) for points in kinds.values()]
    others = sorted({point for points in kinds.values() for point in points} - {*of_every_kind})
    return of_every_kind + dice.sample(others, POINTS - len(of_every_kind))


def find_first(point_kind, run):
    """The name of the first point of this kind in a run's trace."""
    return next(name for name in run.trace if classify_point(name) == point_kind)


def kill_arguments(point):
    """The arguments of `scenario.run` for a kill point."""
    name, number = point
    return {"part": number} if name == "part" else {"kill": point}


def fill_scenario(scenario):
    """Writes the documents, one of them broken, and sets the latency; returns the valid documents."""
    documents = scenario.write_documents(DOCUMENTS)
    (scenario.workspace.folder / "in" / BROKEN).touch()
    scenario.server.rehearse(latency=LATENCY)
    return documents


@pytest.fixture(scope="module")
def full_run(make_scenario):
    """A run that is not killed."""
    scenario = make_scenario()
    fill_scenario(scenario)
    result = scenario.run(env=IN_CHUNKS)
    assert result.status == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def points(full_run):
    """The points at which runs are killed: the same for the same trace."""
    return draw_points(full_run.trace, full_run.parts, random.Random(SEED))


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_kill_points_cover_every_kind_of_step(full_run, points):
    """Calls, staging, publishing and removal."""
    chosen = {classify_point(name) for name, _ in points}
    assert len(points) == POINTS
    assert chosen == {"part", *map(classify_point, full_run.trace)}
    assert chosen >= AROUND_CALLS | PUBLISHING | {"remove"}


@pytest.mark.parametrize(("ledger", "number"), EVERYWHERE, indirect=["ledger"])
def test_next_run_recovers_a_run_killed_at_any_point(scenario, points, number):
    """Every document is published once, answers are not paid for again, and the killed run has its row."""
    documents = fill_scenario(scenario)
    killed = scenario.run(**kill_arguments(points[number]), env=IN_CHUNKS)
    half_written, begun_runs = scenario.list_unreadable(), scenario.list_begun_runs()
    recovery = scenario.run(env=IN_CHUNKS)
    in_flight = 0 if killed.started_publishing else CONCURRENCY
    status = dict(zip(*scenario.table("runs")["run", "status"], strict=True))

    assert killed.killed, points[number]
    assert half_written + scenario.list_unreadable() == []
    assert recovery.status == 0, recovery.stderr
    assert scenario.sorted_column("results", "_document") == documents
    assert scenario.sorted_column("failures", "document") == [str(scenario.workspace.folder / "in" / BROKEN)]
    assert status.keys() == scenario.list_begun_runs() >= begun_runs
    assert {status[run] for run in begun_runs} <= {"abandoned", *(["completed"] if killed.started_publishing else [])}
    assert scenario.server.answered <= DOCUMENTS + in_flight
    assert scenario.list_staged() == []
    assert scenario.contradictions() == []


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("point_kind", "number"),
    [("rename runs", 1), ("committed intents", 6), ("rename calls", 2)],
)
def test_next_run_publishes_the_volume_of_a_killed_run(scenario, full_run, point_kind, number):
    """A published volume is not changed; the other is published under the killed run."""
    documents = fill_scenario(scenario)
    in_volumes = IN_CHUNKS | {"TILEWISE_VOLUME": "5"}
    killed = scenario.run(kill=(find_first(point_kind, full_run), number), env=in_volumes)
    half_written = scenario.list_unreadable()
    recovery = scenario.run(env=in_volumes)

    assert killed.killed
    assert half_written + scenario.list_unreadable() == []
    assert recovery.status == 0, recovery.stderr
    assert scenario.sorted_column("results", "_document") == documents
    assert set(scenario.sorted_column("runs", "run")) == scenario.list_begun_runs()
    assert scenario.list_staged() == []
    assert scenario.contradictions() == []


@pytest.mark.parametrize(
    "ledger", ["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.soak])], indirect=True
)
@pytest.mark.parametrize("point", range(4, 64, 20))
def test_killed_recovery_is_completed_by_a_third_run(scenario, full_run, point):
    """Answers of the first run are not paid for again."""
    documents = fill_scenario(scenario)
    scenario.run(kill=(find_first("committed replies", full_run), 3), env=IN_CHUNKS)
    scenario.run(kill=("any", point), env=IN_CHUNKS)
    half_written = scenario.list_unreadable()
    last = scenario.run(env=IN_CHUNKS)

    assert last.status == 0, last.stderr
    assert half_written + scenario.list_unreadable() == []
    assert scenario.sorted_column("results", "_document") == documents
    assert set(scenario.sorted_column("runs", "run")) == scenario.list_begun_runs()
    assert scenario.server.answered <= DOCUMENTS + 2 * CONCURRENCY
    assert scenario.list_staged() == []
    assert scenario.contradictions() == []
