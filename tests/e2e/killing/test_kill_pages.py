"""A run of documents of several pages is killed, and the next one finishes its work: every row is whole."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDERS, PAGES, CONCURRENCY = 4, 3, 4
BY_FOLDER = ("--document-by", "folder")
LATENCY = 0.15  # so long that several calls are in flight


@pytest.fixture(scope="module")
def filled(pdf):
    """Puts documents into a scenario, one of them a PDF in a folder of its own, and has its server take its time."""

    def fill(kill_run):
        kill_run.workspace.images(
            *(f"{folder}/{page}.png" for folder in range(FOLDERS) for page in range(PAGES)), size=(40, 40)
        )
        path = kill_run.workspace.folder / "in" / "9" / "all.pdf"
        path.parent.mkdir()
        path.write_bytes(pdf("one", "two", "three"))
        kill_run.server.rehearse(latency=LATENCY)

    return fill


@pytest.fixture(scope="module")
def answered(kill_runs, filled):
    """What the moment is called at which an answer has been noted: a run that nobody kills says it."""
    kill_run = kill_runs()
    filled(kill_run)
    ended = kill_run.run(*BY_FOLDER)
    assert ended.status == 0, ended.stderr
    return next(each for each in ended.trace if each.startswith("committed") and "update calls" in each)


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize("number", [1, 2, None], ids=["first answer", "later answer", "publishing"])
def test_a_killed_run_of_several_pages_is_finished(kill_run, filled, answered, number):
    """Every document is there once with all its pages, whoever read it, and what was answered is not paid again."""
    filled(kill_run)
    killed = kill_run.run(*BY_FOLDER, kill=(answered, number) if number else ("rename results", 1))
    again = kill_run.run(*BY_FOLDER)
    results = kill_run.table("results").sort("_document")
    images = kill_run.table("images").unique(["document", "image", "page"])
    in_flight = 0 if killed.published else CONCURRENCY

    assert killed.killed
    assert again.status == 0, again.stderr
    assert [Path(each).name for each in results["_document"]] == ["0", "1", "2", "3", "9"]
    assert results["_pages"].list.len().to_list() == [PAGES] * (FOLDERS + 1)
    assert images.height == PAGES * (FOLDERS + 1)
    assert set(kill_run.table("calls")["pages"]) == {PAGES}
    assert kill_run.server.answered <= FOLDERS + 1 + in_flight
    assert kill_run.list_staged() == []
    assert kill_run.odds() == []
