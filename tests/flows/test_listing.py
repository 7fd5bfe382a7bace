"""`tilewise run` and `estimate` on sources that are not listed whole, or hold other things than images."""

import json

import pytest
from PIL import Image

ARGS = ("--schema", "caption", "--yes", "--json", "--direct", "--bill", "formula")


@pytest.fixture
def ran(workspace, serve, replies):
    """Runs a command against a server that answers."""
    workspace.env["TILEWISE_BASE_URL"] = serve(replies.ok()).url
    return workspace.run


@pytest.fixture
def images(workspace):
    """Writes small images below the source."""

    def write(*names):
        for number, name in enumerate(names):
            path = workspace.folder / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (30, 20), (number, 0, 0)).save(path, "PNG")

    return write


@pytest.fixture
def unread(workspace, images):
    """A source of two images, beside a folder whose path is longer than the system takes."""
    import os  # noqa: PLC0415
    import subprocess  # noqa: PLC0415

    images("a.png", "z.png")
    at = os.open(workspace.folder / "in", os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=at)
        at, old = os.open("d" * 200, os.O_RDONLY, dir_fd=at), at
        os.close(old)
    os.close(at)
    yield
    subprocess.run(["rm", "-rf", workspace.folder / "in"], check=True)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("more", [("--fail-above", "1"), ("--budget", "0.0000001"), ("--max-time", "0.001s")])
def test_run_on_an_incomplete_listing_ends_incomplete(ran, more):
    """What was listed is done, and exit 2 comes before any status of budget or time, whatever may fail."""
    ended = ran("run", "in", *ARGS, *more)
    row = json.loads(ended.stdout)
    assert (ended.exit_code, row["status"]) == (2, "incomplete")
    assert "could not be listed to its end" in row["error"]


@pytest.mark.usefixtures("unread")
def test_run_does_what_was_listed(ran):
    """The images beside the unread folder have rows; the folder is a failure that is not final."""
    row = json.loads(ran("run", "in", *ARGS).stdout)
    assert (row["found"], row["accepted"], row["rejected"]) == (3, 2, 1)


@pytest.mark.usefixtures("unread")
def test_estimate_of_an_incomplete_listing_prints_and_exits_2(ran):
    """Its figures are those of what was listed."""
    ended = ran("estimate", "in", "--model", "m", "--json")
    found = json.loads(ended.stdout)
    assert (ended.exit_code, found["incomplete"], found["documents"]) == (2, True, 3)


@pytest.mark.usefixtures("unread")
def test_plan_of_an_incomplete_listing_is_not_stored(ran, workspace):
    """Nobody approves half a source."""
    ended = ran("run", "in", *ARGS, "--plan-only")
    assert (ended.exit_code, json.loads(ended.stdout)["plan"]) == (2, None)
    assert not list((workspace.folder / "out").glob("plans/*"))


def test_passed_over_entries_are_counted_in_the_row_of_the_run(ran, images, workspace):
    """Kinds and counts are JSON in `runs`, and in the estimate."""
    images("a.png", ".thumbnails/b.png", "x/._c.png")
    (workspace.folder / "in" / "notes.txt").write_text("x")
    row = json.loads(ran("run", "in", *ARGS).stdout)
    expected = {"thumbnails": 1, "AppleDouble": 1, ".txt": 1}
    assert (row["found"], json.loads(row["passed_over"])) == (1, expected)
    assert json.loads(ran("estimate", "in", "--model", "m", "--json").stdout)["passed_over"] == expected


def test_include_and_exclude_choose_what_is_read(ran, images):
    """Flags can be repeated; exclude wins; an include lifts a hidden folder."""
    images("a/1.png", "a/draft.png", "b/2.png", ".scans/3.png")
    chosen = ("--include", "a/**", "--include", ".scans/**", "--exclude", "draft*")
    row = json.loads(ran("run", "in", *ARGS, *chosen).stdout)
    assert row["found"] == 2
    assert json.loads(row["passed_over"]) == {"excluded": 1, "not included": 1}


def test_a_source_of_links_that_lead_out_says_so(ran, workspace):
    """The refusal names a link and what to do."""
    (workspace.folder / "in").mkdir(exist_ok=True)
    (workspace.folder / "0a").write_bytes(b"x")
    (workspace.folder / "in" / "0.png").symlink_to("../0a")
    ended = ran("run", "in", *ARGS)
    assert ended.exit_code == 2
    assert "1 link leads out of the source" in ended.stderr


def test_pages_are_documents_of_their_own(ran, workspace):
    """Each is named file#page=N, in one row each, and is done when it has a row."""
    frames = [Image.new("RGB", (30, 20), (number, 9, 9)) for number in range(3)]
    (workspace.folder / "in").mkdir(exist_ok=True)
    frames[0].save(workspace.folder / "in" / "a.tif", save_all=True, append_images=frames[1:])
    by_page = ("--document-by", "page")
    assert json.loads(ran("run", "in", *ARGS, *by_page).stdout)["accepted"] == 3
    rows = workspace.table("results").to_dicts()
    assert sorted(row["_document"] for row in rows) == [f"{workspace.folder}/in/a.tif#page={n}" for n in (1, 2, 3)]
    assert all(row["_image"] == row["_document"] for row in rows)
    assert json.loads(ran("run", "in", *ARGS, *by_page).stdout)["skipped"] == 3
