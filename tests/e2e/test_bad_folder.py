"""A folder with broken images in it: each has its reason, and none keeps the others from being read."""

import shutil
from pathlib import Path

import pytest

BAD = Path(__file__).parents[2] / "data" / "samples" / "bad"
REASONS = {
    "claims-60000x60000.png": "too_many_pixels",
    "empty.jpg": "empty",
    "text-named.jpg": "not_an_image",
    "truncated.jpg": "unreadable",
}
BASE = ("run", "in", "--schema", "caption")


@pytest.fixture(scope="module")
def workspace_with_bad_files(workspaces, echo):
    """A workspace with four broken images and two whole ones."""
    workspace = workspaces(TILEWISE_BASE_URL=echo)
    shutil.copytree(BAD, workspace.folder / "in" / "bad")
    workspace.images("a.jpg", "z.jpg")
    return workspace


@pytest.fixture(scope="module")
def first(workspace_with_bad_files):
    """How the first run ended, and what it published."""
    return workspace_with_bad_files.run(*BASE), {
        name: workspace_with_bad_files.table(name) for name in ("images", "failures", "results", "runs")
    }


@pytest.fixture(scope="module")
def tables(first):
    """What the first run published."""
    return first[1]


def test_a_run_that_rejects_images_exits_with_1(first, workspace_with_bad_files):
    """The message says how many, and where to look."""
    ended, _ = first
    assert ended.exit_code == 1
    assert f"2 of 6 documents accepted; 4 not: see {workspace_with_bad_files.folder / 'out'}/failures" in ended.stdout


def test_the_whole_images_are_read(tables):
    """What is broken keeps nothing else from being read."""
    assert [Path(each).name for each in tables["results"]["_image"]] == ["a.jpg", "z.jpg"]


@pytest.mark.parametrize("name", REASONS)
def test_a_broken_image_has_one_row_with_its_reason(tables, workspace_with_bad_files, name):
    """The table of images says that it was rejected and why; nothing was planned for it."""
    [row] = tables["images"].filter(image=str(workspace_with_bad_files.folder / "in" / "bad" / name)).to_dicts()
    assert (row["action"], row["reason"]) == ("reject", REASONS[name])
    assert (row["tokens_planned"], row["cost_high_usd"]) == (None, None)


@pytest.mark.parametrize("name", REASONS)
def test_a_broken_image_has_one_failure(tables, workspace_with_bad_files, name):
    """It is final unless a limit was reached, cost nothing, and was no call."""
    [row] = tables["failures"].filter(image=str(workspace_with_bad_files.folder / "in" / "bad" / name)).to_dicts()
    final = REASONS[name] != "too_many_pixels"
    assert (row["kind"], row["final"], row["tries"], row["attempts"]) == (REASONS[name], final, int(final), 0)
    assert row["cost_usd"] == 0
    assert row["message"]


def test_rejected_and_accepted_add_up(tables):
    """Six found, two accepted, four rejected, and four failures."""
    [row] = tables["runs"].to_dicts()
    assert (row["found"], row["accepted"], row["rejected"], row["failed"]) == (6, 2, 4, 0)
    assert tables["failures"].height == 4


def test_a_second_run_skips_results_and_final_failures(first, workspace_with_bad_files):
    """The image over a limit is looked at again: the limit may have been raised."""
    ended = workspace_with_bad_files.run(*BASE)
    row = workspace_with_bad_files.table("runs").sort("started_at").to_dicts()[-1]
    assert ended.exit_code == 1
    assert (row["found"], row["skipped"], row["skipped_failed"], row["rejected"]) == (6, 5, 3, 1)


def test_fail_above_1_allows_every_failure(first, workspace_with_bad_files):
    """The share of failures decides between 0 and 1."""
    assert workspace_with_bad_files.run(*BASE, "--output", "other", "--fail-above", "1").exit_code == 0
    assert workspace_with_bad_files.table("failures", output="other").height == 4
