"""A second run: finished documents are skipped, and `--redo` reads them again."""

import os

import pytest

OFF_SCHEMA = {"words": "none of those asked for"}
BASE = ("run", "in", "--schema", "caption")


@pytest.fixture(autouse=True)
def two_images_read(workspace, server):
    """A workspace after a run has read two images."""
    workspace.env["TILEWISE_BASE_URL"] = server.url
    workspace.images("a.jpg", "b.jpg")
    assert workspace.run(*BASE).exit_code == 0


def last_run(workspace):
    """The newest row of `runs`."""
    return workspace.table("runs").sort("started_at").to_dicts()[-1]


def counts(row):
    """The counts of a row of `runs` that are not 0."""
    names = ("found", "skipped", "duplicates", "rejected", "accepted", "failed", "remaining", "calls")
    return {name: row[name] for name in names if row[name]}


def test_second_run_skips_results_without_a_call(workspace, server):
    result = workspace.run(*BASE)
    assert result.exit_code == 0
    assert len(server.asked) == 2
    assert "nothing to do: all 2 documents have a result" in result.stdout
    assert "no call was made" in result.stdout


def test_run_without_work_publishes_empty_tables(workspace):
    """It has a row in `runs`, and files without rows for calls, images and failures."""
    workspace.run(*BASE)
    row = last_run(workspace)
    assert counts(row) == {"found": 2, "skipped": 2}
    assert row["status"] == "completed"
    assert workspace.table("runs").height == 2
    assert [len(workspace.files(f"out/{table}")) for table in ("calls", "images", "failures")] == [2, 2, 2]
    assert workspace.table("calls").height == 2


def test_limit_counts_unfinished_documents_only(workspace):
    """Documents beyond the limit are not counted as found."""
    workspace.images("c.jpg", "d.jpg", "e.jpg")
    assert workspace.run(*BASE, "--limit", "2").exit_code == 0
    assert counts(last_run(workspace)) == {"found": 4, "skipped": 2, "accepted": 2, "calls": 2}


def test_redo_all_reads_every_document_again(workspace, server):
    """Rows are added, not replaced: the newest is current."""
    assert workspace.run(*BASE, "--redo", "all").exit_code == 0
    assert counts(last_run(workspace)) == {"found": 2, "accepted": 2, "calls": 2}
    assert workspace.table("results").height == 4


def test_redo_changed_reads_again_for_another_model(workspace):
    assert workspace.run(*BASE, "--redo", "changed", "--model", "maker/other", "--yes").exit_code == 0
    assert counts(last_run(workspace)) == {"found": 2, "accepted": 2, "calls": 2}


def test_redo_changed_skips_unchanged_schema_and_model(workspace):
    assert workspace.run(*BASE, "--redo", "changed").exit_code == 0
    assert counts(last_run(workspace)) == {"found": 2, "skipped": 2}


def test_other_model_without_redo_reads_nothing(workspace):
    assert workspace.run(*BASE, "--model", "maker/other", "--yes").exit_code == 0
    assert counts(last_run(workspace)) == {"found": 2, "skipped": 2}


def test_touched_file_is_a_new_version_and_copied(workspace):
    os.utime(workspace.folder / "in" / "a.jpg", (1_700_000_000, 1_700_000_000))
    assert workspace.run(*BASE).exit_code == 0
    assert counts(last_run(workspace)) == {"found": 2, "skipped": 1, "duplicates": 1}
    assert workspace.table("results")["_version"].n_unique() == 3


def test_removed_file_keeps_its_result(workspace):
    (workspace.folder / "in" / "a.jpg").unlink()
    assert workspace.run(*BASE).exit_code == 0
    assert counts(last_run(workspace)) == {"found": 1, "skipped": 1}
    assert workspace.table("results").height == 2


def test_results_are_skipped_by_schema(workspace):
    name = workspace.module(
        'from pydantic import BaseModel\n\n\nclass Wall(BaseModel):\n    """A wall."""\n\n    caption: str\n'
    )
    assert workspace.run("run", "in", "--schema", f"{name}:Wall").exit_code == 0
    assert counts(last_run(workspace)) == {"found": 2, "accepted": 2, "calls": 2}


def test_results_are_skipped_by_output(workspace):
    assert workspace.run(*BASE, "--output", "other").exit_code == 0
    assert workspace.table("results", output="other").height == 2


@pytest.fixture
def workspace_with_final_failure(workspace, serve, replies):
    """The workspace after another server has failed finally on a third image."""
    workspace.images("z.jpg", size=(310, 200))
    assert workspace.run(*BASE, "--base-url", serve(replies.error(400, code="invalid_image")).url).exit_code == 1
    return workspace


def test_final_failure_is_skipped(workspace_with_final_failure, server):
    """The run exits with 0."""
    assert workspace_with_final_failure.run(*BASE).exit_code == 0
    assert counts(last_run(workspace_with_final_failure)) == {"found": 3, "skipped": 3}


def test_redo_failed_retries_final_failures_only(workspace_with_final_failure):
    assert workspace_with_final_failure.run(*BASE, "--redo", "failed").exit_code == 0
    assert counts(last_run(workspace_with_final_failure)) == {"found": 3, "skipped": 2, "accepted": 1, "calls": 1}


def test_nonfinal_failure_is_retried_in_five_runs(workspace, serve, replies):
    workspace.images("z.jpg", size=(310, 200))
    workspace.env |= {"TILEWISE_BASE_URL": serve(replies.ok(OFF_SCHEMA)).url, "TILEWISE_REASKS": "0"}
    codes = [workspace.run(*BASE).exit_code for _ in range(6)]
    assert codes == [1, 1, 1, 1, 1, 0]
    assert workspace.table("failures")["tries"].sort().to_list() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (("--modified-since", "2023-11-14", "--modified-until", "2023-11-14"), {"found": 1, "duplicates": 1}),
        (("--modified-since", "2023-11-15"), {"found": 1, "skipped": 1}),
        (("--modified-until", "2023-11-13"), {}),
    ],
)
def test_modified_window_includes_both_days(workspace, window, expected):
    """Files outside of it are not counted as found."""
    os.utime(workspace.folder / "in" / "a.jpg", (1_700_000_000, 1_700_000_000))  # 2023-11-14
    result = workspace.run(*BASE, *window)
    assert result.exit_code == 0
    assert counts(last_run(workspace)) == expected
    assert expected or "no image was modified in that time" in result.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--kind", "timeout"), "kind 'timeout': requires --redo failed"),
        (("--redo", "failed", "--kind", "tmeout"), "kind 'tmeout': use one of aborted, "),
        (("--modified-since", "monday"), "modified-since 'monday': not a UTC day or time"),
        (
            ("--modified-since", "2026-11-20", "--modified-until", "2026-11-19"),
            "modified-until '2026-11-19': is before --modified-since",
        ),
    ],
)
def test_invalid_selection_flag_is_refused(workspace, server, flags, message):
    """The message names the flag, its value and what is allowed."""
    result = workspace.run(*BASE, *flags)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("client_error", {"found": 3, "skipped": 2, "accepted": 1, "calls": 1}),
        ("refused", {"found": 3, "skipped": 3}),
    ],
)
def test_redo_failed_filters_by_kind(workspace_with_final_failure, kind, expected):
    assert workspace_with_final_failure.run(*BASE, "--redo", "failed", "--kind", kind).exit_code == 0
    assert counts(last_run(workspace_with_final_failure)) == expected
