"""A run over duplicates is killed: the next one pays for no content twice, and all rows add up."""

import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CONTENTS, EQUAL = 5, 3
CONCURRENCY = 4  # as the scenario sets it
SMALL = {"TILEWISE_CHUNK": "4", "TILEWISE_VOLUME": "8"}


def fill_scenario(scenario):
    """Writes files of which three at a time are equal, and sets the latency; returns their names."""
    firsts = scenario.write_documents(CONTENTS)
    copies = [f"{first.removesuffix('.png')}-{number}.png" for first in firsts for number in range(1, EQUAL)]
    for copy in copies:
        shutil.copyfile(Path(copy).with_name(f"{Path(copy).stem[:3]}.png"), copy)
    scenario.server.rehearse(latency=0.05)
    return sorted([*firsts, *copies])


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kill", [*(("any", number) for number in range(15, 125, 10)), None])
def test_next_run_recovers_a_killed_run_with_duplicates(scenario, kill):
    """One row a document, one answer a content beside those in flight, and counts that add up."""
    documents = fill_scenario(scenario)
    first = scenario.run(kill=kill, env=SMALL)
    recovery = scenario.run(env=SMALL)
    runs = scenario.table("runs")
    in_flight = CONCURRENCY if first.killed else 0
    assert (recovery.status, recovery.stderr.count("Traceback")) == (0, 0)
    assert scenario.sorted_column("results", "_document") == documents
    assert scenario.server.answered <= CONTENTS + in_flight
    assert runs["duplicates"].sum() + runs["accepted"].sum() == len(documents)
    assert runs["duplicates"].sum() >= CONTENTS * (EQUAL - 1)
    assert scenario.list_staged() == []
    assert scenario.contradictions() == []
