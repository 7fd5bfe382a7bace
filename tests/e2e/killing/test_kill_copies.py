"""A run over equal files is killed at any moment: the next one pays for no content twice, and all rows add up."""

import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CONTENTS, EQUAL = 5, 3
CONCURRENCY = 4  # of a scenario
SMALL = {"TILEWISE_CHUNK": "4", "TILEWISE_VOLUME": "8"}


def filled(kill_run):
    """The scenario with files of which three at a time are equal, and a server that takes its time; their names."""
    firsts = kill_run.documents(CONTENTS)
    copies = [f"{first.removesuffix('.png')}-{number}.png" for first in firsts for number in range(1, EQUAL)]
    for copy in copies:
        shutil.copyfile(Path(copy).with_name(f"{Path(copy).stem[:3]}.png"), copy)
    kill_run.server.rehearse(latency=0.05)
    return sorted([*firsts, *copies])


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kill", [*(("any", number) for number in range(15, 125, 10)), None])
def test_a_run_with_copies_killed_anywhere_is_finished_by_the_next(kill_run, kill):
    """Every document has one row, every content one answer beside those that were in flight, every run its counts."""
    documents = filled(kill_run)
    first = kill_run.run(kill=kill, env=SMALL)
    again = kill_run.run(env=SMALL)
    runs = kill_run.table("runs")
    in_flight = CONCURRENCY if first.killed else 0
    assert (again.status, again.stderr.count("Traceback")) == (0, 0)
    assert kill_run.names_in("results", "_document") == documents
    assert kill_run.server.answered <= CONTENTS + in_flight
    assert runs["duplicates"].sum() + runs["accepted"].sum() == len(documents)
    assert runs["duplicates"].sum() >= CONTENTS * (EQUAL - 1)
    assert kill_run.list_staged() == []
    assert kill_run.odds() == []
