"""A run over documents of several pages is killed, and the next one completes it with all pages."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDERS, PAGES, CONCURRENCY = 4, 3, 4
BY_FOLDER = ("--document-by", "folder")
LATENCY = 0.15  # several calls are in flight


@pytest.fixture(scope="module")
def fill_scenario(pdf):
    """Writes documents, one of them a PDF in its own folder, and sets the latency."""

    def fill(scenario):
        scenario.workspace.images(
            *(f"{folder}/{page}.png" for folder in range(FOLDERS) for page in range(PAGES)), size=(40, 40)
        )
        path = scenario.workspace.folder / "in" / "9" / "all.pdf"
        path.parent.mkdir()
        path.write_bytes(pdf("one", "two", "three"))
        scenario.server.rehearse(latency=LATENCY)

    return fill


@pytest.fixture(scope="module")
def reply_point(make_scenario, fill_scenario):
    """The name of the kill point after a reply is stored, from the trace of a run that is not killed."""
    scenario = make_scenario()
    fill_scenario(scenario)
    result = scenario.run(*BY_FOLDER)
    assert result.status == 0, result.stderr
    return next(point for point in result.trace if point.startswith("committed") and "update calls" in point)


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize("number", [1, 2, None], ids=["first answer", "later answer", "publishing"])
def test_next_run_recovers_a_killed_run_of_several_pages(scenario, fill_scenario, reply_point, number):
    """Every document is published once with all its pages, and answers are not paid for again."""
    fill_scenario(scenario)
    killed = scenario.run(*BY_FOLDER, kill=(reply_point, number) if number else ("rename results", 1))
    recovery = scenario.run(*BY_FOLDER)
    results = scenario.table("results").sort("_document")
    images = scenario.table("images").unique(["document", "image", "page"])
    in_flight = 0 if killed.started_publishing else CONCURRENCY

    assert killed.killed
    assert recovery.status == 0, recovery.stderr
    assert [Path(document).name for document in results["_document"]] == ["0", "1", "2", "3", "9"]
    assert results["_pages"].list.len().to_list() == [PAGES] * (FOLDERS + 1)
    assert images.height == PAGES * (FOLDERS + 1)
    assert set(scenario.table("calls")["pages"]) == {PAGES}
    assert scenario.server.answered <= FOLDERS + 1 + in_flight
    assert scenario.list_staged() == []
    assert scenario.contradictions() == []
