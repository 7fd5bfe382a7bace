"""What a run can be given: sources, schemas, policies, volumes and other settings of one run."""

import json

import pytest
from PIL import Image

WALL = '''from pydantic import BaseModel

VERSION = 2


class Wall(BaseModel):
    """A wall."""

    color: str
'''


@pytest.fixture(autouse=True)
def connection(workspace, echo):
    """A workspace that asks the echo endpoint."""
    workspace.using(echo)


def test_one_image_is_a_source(workspace):
    """The image beside it is not read."""
    first, _ = workspace.images("a.jpg", "b.jpg")
    assert workspace.run("run", first, "--schema", "caption").exit_code == 0
    assert workspace.only("results")["_image"] == str(first)


def test_a_name_with_spaces_and_accents_is_a_name(workspace):
    """A path is published as it is."""
    [path] = workspace.images("my pictures/café 100% #1.jpg")
    assert workspace.run("run", "in", "--schema", "caption").exit_code == 0
    assert workspace.only("results")["_image"] == str(path)


def test_other_files_are_no_images(workspace):
    """Notes beside the pictures are neither read nor counted."""
    workspace.images("a.jpg")
    (workspace.folder / "in" / "notes.txt").write_text("not a picture")
    assert workspace.run("run", "in", "--schema", "caption").exit_code == 0
    assert workspace.only("runs")["found"] == 1


def test_a_schema_of_the_users_own_is_found_in_the_working_directory(workspace):
    """`package.module:Model` needs no installation, and its fields are the first columns."""
    workspace.images("a.jpg")
    (workspace.folder / "mine").mkdir()
    (workspace.folder / "mine" / "wall.py").write_text(WALL.replace("VERSION = 2", 'INSTRUCTIONS = "Look twice."'))
    ended = workspace.tilewise("run", "in", "--schema", "mine.wall:Wall")
    assert ended.returncode == 0, ended.stderr
    assert workspace.table("results").columns[:2] == ["color", "_image"]
    assert workspace.only("runs")["schema"] == "wall"


def test_a_schemas_version_is_part_of_its_name(workspace):
    """VERSION 2 is `wall_v2` in every column and path."""
    workspace.images("a.jpg")
    assert workspace.run("run", "in", "--schema", f"{workspace.module(WALL)}:Wall").exit_code == 0
    assert [each.split("/")[0] for each in workspace.files("out/results")] == ["schema=wall_v2"]
    assert [workspace.only(table)["schema"] for table in ("runs", "calls", "images")] == ["wall_v2"] * 3


def test_output_wins_over_its_setting(workspace):
    """The tables lie where the command says."""
    workspace.images("a.jpg")
    assert workspace.run("run", "in", "--schema", "caption", "--output", "deep/down").exit_code == 0
    assert workspace.table("runs", output="deep/down").height == 1
    assert not (workspace.folder / "out").exists()


@pytest.mark.parametrize(
    ("policy", "action", "sent"),
    [("balanced", "resize", (1119, 839)), ("thrifty", "resize", (1119, 839)), ("faithful", "send", (2000, 1500))],
)
def test_the_policy_decides_what_is_sent(workspace, policy, action, sent):
    """By the formula one tile reaches to 1,119 px; faithful sends every pixel that is seen."""
    workspace.images("a.jpg", size=(2000, 1500))
    assert workspace.run("run", "in", "--schema", "caption", "--bill", "formula", "--policy", policy).exit_code == 0
    row = workspace.only("results")
    assert (row["_action"], (row["_sent_width"], row["_sent_height"])) == (action, sent)
    assert workspace.only("images")["action"] == action
    assert workspace.only("runs")["policy"] == policy


def test_volumes_are_published_one_by_one_and_each_whole(workspace):
    """Five documents at two a volume are three files of every table, each with its own row of `runs`."""
    workspace.images("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    ended = workspace.run(
        "run", "in", "--schema", "caption", "--json", env={"TILEWISE_VOLUME": "2", "TILEWISE_CHUNK": "1"}
    )
    run = json.loads(ended.stdout)["run"]
    names = [f"{run}-2.parquet", f"{run}-3.parquet", f"{run}.parquet"]
    assert [
        [path.split("/")[-1] for path in workspace.files(f"out/{table}")] for table in ("results", "calls", "runs")
    ] == [names] * 3
    runs = workspace.table("runs").sort("volume")
    assert runs["volume"].to_list() == [1, 2, 3]
    assert runs["found"].to_list() == runs["accepted"].to_list() == runs["calls"].to_list() == [2, 2, 1]


def test_json_sums_up_the_volumes(workspace):
    """One object for the run, whatever it was published in."""
    workspace.images("a.jpg", "b.jpg", "c.jpg")
    ended = workspace.run("run", "in", "--schema", "caption", "--json", env={"TILEWISE_VOLUME": "2"})
    row, runs = json.loads(ended.stdout), workspace.table("runs")
    assert (row["found"], row["accepted"], row["calls"], row["volume"]) == (3, 3, 3, 1)
    assert row["prompt_tokens"] == runs["prompt_tokens"].sum()
    assert runs["run"].unique().to_list() == [row["run"]]


@pytest.mark.parametrize(("keep", "kept"), [("all", 2), ("failed", 1), ("none", 0)])
def test_as_many_replies_are_kept_as_asked(workspace, serve, replies, keep, kept):
    """All, those that were not accepted, or none."""
    workspace.images("a.jpg")
    workspace.env["TILEWISE_BASE_URL"] = serve(replies.ok({"odd": 1}), replies.ok()).url
    assert workspace.run("run", "in", "--schema", "caption", env={"TILEWISE_KEEP_REPLIES": keep}).exit_code == 0
    assert workspace.table("replies").height == kept


def test_the_further_frames_of_a_tiff_are_noted(workspace):
    """The first frame is read, and the row of the image says that there are more."""
    frame = Image.new("RGB", (300, 200), "white")
    frame.save(workspace.folder / "in" / "two.tif", save_all=True, append_images=[frame])
    assert workspace.run("run", "in", "--schema", "caption").exit_code == 0
    row = workspace.only("images")
    assert row["frames"] == 2
    assert "first" in row["note"]


def test_a_setting_that_is_none_is_named_and_ignored(workspace):
    """A typing error in a variable's name is not silent."""
    workspace.images("a.jpg")
    ended = workspace.run("run", "in", "--schema", "caption", env={"TILEWISE_MODLE": "x"})
    assert ended.exit_code == 0
    assert "tilewise: unknown setting TILEWISE_MODLE, ignored\n" in ended.stderr


def test_settings_are_read_from_the_files_of_the_working_directory(workspace):
    """The environment wins over `.env`, which wins over `tilewise.toml`."""
    workspace.images("a.jpg")
    (workspace.folder / "tilewise.toml").write_text('model = "toml/model"\nkeep_replies = "none"\nchunk = 7\n')
    (workspace.folder / ".env").write_text("TILEWISE_MODEL=dotenv/model\nTILEWISE_KEEP_REPLIES=failed\n")
    unset = {"TILEWISE_MODEL": None, "TILEWISE_KEEP_REPLIES": "all"}
    assert workspace.run("run", "in", "--schema", "caption", "--yes", env=unset).exit_code == 0
    assert workspace.only("runs")["model"] == "dotenv/model"
    assert workspace.table("replies").height == 1
