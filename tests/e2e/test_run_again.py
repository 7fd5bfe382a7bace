"""Running again: what is done is not paid twice, and what is to be read anew can be said."""

import os

import pytest

OFF_SCHEMA = {"words": "none of those asked for"}
BASE = ("run", "in", "--schema", "caption")


@pytest.fixture(autouse=True)
def two_images_read(workspace, server):
    """A workspace at which two images were read."""
    workspace.env["TILEWISE_BASE_URL"] = server.url
    workspace.images("a.jpg", "b.jpg")
    assert workspace.run(*BASE).exit_code == 0


def last(workspace):
    """The newest row of `runs`."""
    return workspace.table("runs").sort("started_at").to_dicts()[-1]


def counts(row):
    """What a row of `runs` counts, but for the ends that nothing came to."""
    names = ("found", "skipped", "duplicates", "rejected", "accepted", "failed", "remaining", "calls")
    return {name: row[name] for name in names if row[name]}


def test_a_second_run_calls_nothing_and_says_so(workspace, server):
    """What has a row is done."""
    ended = workspace.run(*BASE)
    assert ended.exit_code == 0
    assert len(server.asked) == 2
    assert "nothing to do: all 2 documents have a result" in ended.stdout
    assert "no call was made" in ended.stdout


def test_a_run_without_work_has_its_row_and_empty_tables(workspace):
    """Every run that starts writes calls, images, failures and runs, with no rows if need be."""
    workspace.run(*BASE)
    row = last(workspace)
    assert counts(row) == {"found": 2, "skipped": 2}
    assert row["status"] == "completed"
    assert workspace.table("runs").height == 2
    assert [len(workspace.files(f"out/{table}")) for table in ("calls", "images", "failures")] == [2, 2, 2]
    assert workspace.table("calls").height == 2


def test_limit_takes_so_many_that_are_not_done(workspace):
    """What is done does not count, and what is beyond the limit is not found."""
    workspace.images("c.jpg", "d.jpg", "e.jpg")
    assert workspace.run(*BASE, "--limit", "2").exit_code == 0
    assert counts(last(workspace)) == {"found": 4, "skipped": 2, "accepted": 2, "calls": 2}


def test_redo_all_reads_everything(workspace, server):
    """Rows are added, not replaced: the one extracted last is the one that counts."""
    assert workspace.run(*BASE, "--redo", "all").exit_code == 0
    assert counts(last(workspace)) == {"found": 2, "accepted": 2, "calls": 2}
    assert workspace.table("results").height == 4


def test_redo_changed_reads_what_another_model_has_read(workspace):
    """Asked for by another name, all of it is read anew."""
    assert workspace.run(*BASE, "--redo", "changed", "--model", "maker/other", "--yes").exit_code == 0
    assert counts(last(workspace)) == {"found": 2, "accepted": 2, "calls": 2}


def test_redo_changed_leaves_what_today_would_read_the_same(workspace):
    """Same schema, prompt and model: nothing to do."""
    assert workspace.run(*BASE, "--redo", "changed").exit_code == 0
    assert counts(last(workspace)) == {"found": 2, "skipped": 2}


def test_another_model_alone_reads_nothing_anew(workspace):
    """What is done stays done until it is asked for."""
    assert workspace.run(*BASE, "--model", "maker/other", "--yes").exit_code == 0
    assert counts(last(workspace)) == {"found": 2, "skipped": 2}


def test_a_touched_file_is_a_new_one(workspace):
    """Another time of writing makes another version, which has no row yet: it is copied from the one before."""
    os.utime(workspace.folder / "in" / "a.jpg", (1_700_000_000, 1_700_000_000))
    assert workspace.run(*BASE).exit_code == 0
    assert counts(last(workspace)) == {"found": 2, "skipped": 1, "duplicates": 1}
    assert workspace.table("results")["_version"].n_unique() == 3


def test_a_removed_file_does_not_matter(workspace):
    """Its row stays, and the next run does not miss it."""
    (workspace.folder / "in" / "a.jpg").unlink()
    assert workspace.run(*BASE).exit_code == 0
    assert counts(last(workspace)) == {"found": 1, "skipped": 1}
    assert workspace.table("results").height == 2


def test_another_schema_is_another_reading(workspace):
    """What is done is done for one schema."""
    name = workspace.module(
        'from pydantic import BaseModel\n\n\nclass Wall(BaseModel):\n    """A wall."""\n\n    caption: str\n'
    )
    assert workspace.run("run", "in", "--schema", f"{name}:Wall").exit_code == 0
    assert counts(last(workspace)) == {"found": 2, "accepted": 2, "calls": 2}


def test_another_output_knows_nothing_of_the_first(workspace):
    """What is done is looked up where the tables are written."""
    assert workspace.run(*BASE, "--output", "other").exit_code == 0
    assert workspace.table("results", output="other").height == 2


@pytest.fixture
def failed(workspace, serve, replies):
    """The same workspace with one more image, at which another server has failed for good."""
    workspace.images("z.jpg", size=(310, 200))
    assert workspace.run(*BASE, "--base-url", serve(replies.error(400, code="invalid_image")).url).exit_code == 1
    return workspace


def test_a_final_failure_is_not_tried_again(failed, server):
    """The document is skipped like one that is done, and the run exits with 0."""
    assert failed.run(*BASE).exit_code == 0
    assert counts(last(failed)) == {"found": 3, "skipped": 3}


def test_redo_failed_tries_final_failures_again(failed):
    """The failure alone is taken, and now it has its row."""
    assert failed.run(*BASE, "--redo", "failed").exit_code == 0
    assert counts(last(failed)) == {"found": 3, "skipped": 2, "accepted": 1, "calls": 1}


def test_a_failure_that_is_not_final_is_tried_in_five_runs(workspace, serve, replies):
    """Without being asked, and no longer after the fifth."""
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
def test_a_window_takes_what_was_modified_in_it(workspace, window, expected):
    """Both ends are included; what lies outside is not found."""
    os.utime(workspace.folder / "in" / "a.jpg", (1_700_000_000, 1_700_000_000))  # 2023-11-14
    ended = workspace.run(*BASE, *window)
    assert ended.exit_code == 0
    assert counts(last(workspace)) == expected
    assert expected or "no image was modified in that time" in ended.stdout


@pytest.mark.parametrize(
    ("flags", "said"),
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
def test_what_chooses_nothing_is_refused(workspace, server, flags, said):
    """By its flag, its value and what is allowed, before anything is sent."""
    ended = workspace.run(*BASE, *flags)
    assert ended.exit_code == 2
    assert said in ended.stderr
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("client_error", {"found": 3, "skipped": 2, "accepted": 1, "calls": 1}),
        ("refused", {"found": 3, "skipped": 3}),
    ],
)
def test_redo_failed_takes_failures_of_the_kind_that_is_asked_for(failed, kind, expected):
    """Others stay as they are."""
    assert failed.run(*BASE, "--redo", "failed", "--kind", kind).exit_code == 0
    assert counts(last(failed)) == expected
