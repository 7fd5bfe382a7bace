"""The commands `run` and `estimate` on sources that cannot be listed completely, or hold other files than images."""

import json

import pytest
from PIL import Image

ARGS = ("--schema", "caption", "--yes", "--json", "--direct", "--bill", "formula")


@pytest.fixture
def run(workspace, serve, replies):
    """Runs a command against a server that answers."""
    workspace.env["TILEWISE_BASE_URL"] = serve(replies.ok()).url
    return workspace.run


@pytest.fixture
def write_images(workspace):
    """Writes small images below the source."""

    def write(*names):
        for number, name in enumerate(names):
            path = workspace.folder / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (30, 20), (number, 0, 0)).save(path, "PNG")

    return write


@pytest.fixture
def incomplete_source(workspace, write_images):
    """A source of two images, beside a folder whose path is longer than the system accepts."""
    import os  # noqa: PLC0415
    import subprocess  # noqa: PLC0415

    write_images("a.png", "z.png")
    at = os.open(workspace.folder / "in", os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=at)
        at, old = os.open("d" * 200, os.O_RDONLY, dir_fd=at), at
        os.close(old)
    os.close(at)
    yield
    subprocess.run(["rm", "-rf", workspace.folder / "in"], check=True)


@pytest.mark.usefixtures("incomplete_source")
@pytest.mark.parametrize("flags", [("--fail-above", "1"), ("--budget", "0.0000001"), ("--max-time", "0.001s")])
def test_run_on_an_incomplete_listing_ends_incomplete(run, flags):
    """The status and exit code 2 win over those of failures, budget and time."""
    result = run("run", "in", *ARGS, *flags)
    row = json.loads(result.stdout)
    assert (result.exit_code, row["status"]) == (2, "incomplete")
    assert "could not be listed to its end" in row["error"]


@pytest.mark.usefixtures("incomplete_source")
def test_run_reads_the_listed_part_of_an_incomplete_source(run):
    """The images have rows, and the folder that could not be listed counts as rejected."""
    row = json.loads(run("run", "in", *ARGS).stdout)
    assert (row["found"], row["accepted"], row["rejected"]) == (3, 2, 1)


@pytest.mark.usefixtures("incomplete_source")
def test_estimate_of_an_incomplete_listing_is_printed_with_exit_2(run):
    """Its figures are those of the listed part."""
    result = run("estimate", "in", "--model", "m", "--json")
    estimate = json.loads(result.stdout)
    assert (result.exit_code, estimate["incomplete"], estimate["documents"]) == (2, True, 3)


@pytest.mark.usefixtures("incomplete_source")
def test_plan_of_an_incomplete_listing_is_not_stored(run, workspace):
    """A plan of a part of a source cannot be approved."""
    result = run("run", "in", *ARGS, "--plan-only")
    assert (result.exit_code, json.loads(result.stdout)["plan"]) == (2, None)
    assert not list((workspace.folder / "out").glob("plans/*"))


def test_run_and_estimate_count_passed_over_entries(run, write_images, workspace):
    """Kinds and counts are JSON in the row of `runs`, too."""
    write_images("a.png", ".thumbnails/b.png", "x/._c.png")
    (workspace.folder / "in" / "notes.txt").write_text("x")
    row = json.loads(run("run", "in", *ARGS).stdout)
    expected = {"thumbnails": 1, "AppleDouble": 1, ".txt": 1}
    assert (row["found"], json.loads(row["passed_over"])) == (1, expected)
    assert json.loads(run("estimate", "in", "--model", "m", "--json").stdout)["passed_over"] == expected


def test_include_and_exclude_select_images(run, write_images):
    """Flags can be repeated, exclude wins, and an include applies to hidden folders, too."""
    write_images("a/1.png", "a/draft.png", "b/2.png", ".scans/3.png")
    patterns = ("--include", "a/**", "--include", ".scans/**", "--exclude", "draft*")
    row = json.loads(run("run", "in", *ARGS, *patterns).stdout)
    assert row["found"] == 2
    assert json.loads(row["passed_over"]) == {"excluded": 1, "not included": 1}


def test_run_refuses_a_source_of_links_that_lead_out(run, workspace):
    """The message has the number of such links."""
    (workspace.folder / "in").mkdir(exist_ok=True)
    (workspace.folder / "0a").write_bytes(b"x")
    (workspace.folder / "in" / "0.png").symlink_to("../0a")
    result = run("run", "in", *ARGS)
    assert result.exit_code == 2
    assert "1 link leads out of the source" in result.stderr


def test_document_by_page_reads_every_page_as_a_document(run, workspace):
    """Each is named file#page=N, has one row, and is skipped by the next run."""
    frames = [Image.new("RGB", (30, 20), (number, 9, 9)) for number in range(3)]
    (workspace.folder / "in").mkdir(exist_ok=True)
    frames[0].save(workspace.folder / "in" / "a.tif", save_all=True, append_images=frames[1:])
    by_page = ("--document-by", "page")
    assert json.loads(run("run", "in", *ARGS, *by_page).stdout)["accepted"] == 3
    rows = workspace.table("results").to_dicts()
    assert sorted(row["_document"] for row in rows) == [f"{workspace.folder}/in/a.tif#page={n}" for n in (1, 2, 3)]
    assert all(row["_image"] == row["_document"] for row in rows)
    assert json.loads(run("run", "in", *ARGS, *by_page).stdout)["skipped"] == 3
