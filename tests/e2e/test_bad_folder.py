"""A folder with broken images: each one gets a reason, and the others are read."""

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
def first_run(workspace_with_bad_files):
    """The result of the first run, and the tables that it published."""
    return workspace_with_bad_files.run(*BASE), {
        name: workspace_with_bad_files.table(name) for name in ("images", "failures", "results", "runs")
    }


@pytest.fixture(scope="module")
def tables(first_run):
    return first_run[1]


def test_run_with_rejected_images_exits_with_1(first_run, workspace_with_bad_files):
    """The message names the number of rejected documents and the folder of failures."""
    result, _ = first_run
    assert result.exit_code == 1
    assert f"2 of 6 documents accepted; 4 not: see {workspace_with_bad_files.folder / 'out'}/failures" in result.stdout


def test_valid_images_are_read_despite_broken_ones(tables):
    assert [Path(image).name for image in tables["results"]["_image"]] == ["a.jpg", "z.jpg"]


@pytest.mark.parametrize("name", REASONS)
def test_broken_image_is_rejected_in_images_table_with_reason(tables, workspace_with_bad_files, name):
    """No tokens and no cost are planned for it."""
    [row] = tables["images"].filter(image=str(workspace_with_bad_files.folder / "in" / "bad" / name)).to_dicts()
    assert (row["action"], row["reason"]) == ("reject", REASONS[name])
    assert (row["tokens_planned"], row["cost_high_usd"]) == (None, None)


@pytest.mark.parametrize("name", REASONS)
def test_broken_image_has_one_failure_without_calls(tables, workspace_with_bad_files, name):
    """The failure is final unless a configurable limit was exceeded."""
    [row] = tables["failures"].filter(image=str(workspace_with_bad_files.folder / "in" / "bad" / name)).to_dicts()
    final = REASONS[name] != "too_many_pixels"
    assert (row["kind"], row["final"], row["tries"], row["attempts"]) == (REASONS[name], final, int(final), 0)
    assert row["cost_usd"] == 0
    assert row["message"]


def test_found_equals_accepted_plus_rejected(tables):
    [row] = tables["runs"].to_dicts()
    assert (row["found"], row["accepted"], row["rejected"], row["failed"]) == (6, 2, 4, 0)
    assert tables["failures"].height == 4


def test_second_run_skips_results_and_final_failures(first_run, workspace_with_bad_files):
    """The image over a limit is read again, as the limit may have been raised."""
    result = workspace_with_bad_files.run(*BASE)
    row = workspace_with_bad_files.table("runs").sort("started_at").to_dicts()[-1]
    assert result.exit_code == 1
    assert (row["found"], row["skipped"], row["skipped_failed"], row["rejected"]) == (6, 5, 3, 1)


def test_fail_above_1_allows_every_failure(first_run, workspace_with_bad_files):
    assert workspace_with_bad_files.run(*BASE, "--output", "other", "--fail-above", "1").exit_code == 0
    assert workspace_with_bad_files.table("failures", output="other").height == 4
