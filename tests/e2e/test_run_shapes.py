"""Inputs of a run: sources, schemas, policies, volumes and other settings."""

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
def workspace_with_echo(workspace, echo):
    """A workspace that uses the echo endpoint."""
    workspace.using(echo)


def test_single_image_is_a_source(workspace):
    first, _ = workspace.images("a.jpg", "b.jpg")
    assert workspace.run("run", first, "--schema", "caption").exit_code == 0
    assert workspace.only("results")["_image"] == str(first)


def test_path_with_spaces_and_accents_is_published_unchanged(workspace):
    [path] = workspace.images("my pictures/café 100% #1.jpg")
    assert workspace.run("run", "in", "--schema", "caption").exit_code == 0
    assert workspace.only("results")["_image"] == str(path)


def test_other_files_are_ignored(workspace):
    workspace.images("a.jpg")
    (workspace.folder / "in" / "notes.txt").write_text("not a picture")
    assert workspace.run("run", "in", "--schema", "caption").exit_code == 0
    assert workspace.only("runs")["found"] == 1


def test_schema_module_is_imported_from_working_directory(workspace):
    """Its fields are the first columns."""
    workspace.images("a.jpg")
    (workspace.folder / "mine").mkdir()
    (workspace.folder / "mine" / "wall.py").write_text(WALL.replace("VERSION = 2", 'INSTRUCTIONS = "Look twice."'))
    result = workspace.tilewise("run", "in", "--schema", "mine.wall:Wall")
    assert result.returncode == 0, result.stderr
    assert workspace.table("results").columns[:2] == ["color", "_image"]
    assert workspace.only("runs")["schema"] == "wall"


def test_schema_version_is_part_of_its_name(workspace):
    workspace.images("a.jpg")
    assert workspace.run("run", "in", "--schema", f"{workspace.module(WALL)}:Wall").exit_code == 0
    assert [path.split("/")[0] for path in workspace.files("out/results")] == ["schema=wall_v2"]
    assert [workspace.only(table)["schema"] for table in ("runs", "calls", "images")] == ["wall_v2"] * 3


def test_output_flag_overrides_setting(workspace):
    workspace.images("a.jpg")
    assert workspace.run("run", "in", "--schema", "caption", "--output", "deep/down").exit_code == 0
    assert workspace.table("runs", output="deep/down").height == 1
    assert not (workspace.folder / "out").exists()


@pytest.mark.parametrize(
    ("policy", "action", "sent"),
    [("balanced", "resize", (1119, 839)), ("thrifty", "resize", (1119, 839)), ("faithful", "send", (2000, 1500))],
)
def test_policy_decides_size_that_is_sent(workspace, policy, action, sent):
    """By the formula one tile reaches to 1,119 px; faithful sends every pixel that the model sees."""
    workspace.images("a.jpg", size=(2000, 1500))
    assert workspace.run("run", "in", "--schema", "caption", "--bill", "formula", "--policy", policy).exit_code == 0
    row = workspace.only("results")
    assert (row["_action"], (row["_sent_width"], row["_sent_height"])) == (action, sent)
    assert workspace.only("images")["action"] == action
    assert workspace.only("runs")["policy"] == policy


def test_each_volume_is_one_file_a_table(workspace):
    """Five documents at two a volume make three files of every table, each with its row of `runs`."""
    workspace.images("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    result = workspace.run(
        "run", "in", "--schema", "caption", "--json", env={"TILEWISE_VOLUME": "2", "TILEWISE_CHUNK": "1"}
    )
    run = json.loads(result.stdout)["run"]
    names = [f"{run}-2.parquet", f"{run}-3.parquet", f"{run}.parquet"]
    assert [
        [path.split("/")[-1] for path in workspace.files(f"out/{table}")] for table in ("results", "calls", "runs")
    ] == [names] * 3
    runs = workspace.table("runs").sort("volume")
    assert runs["volume"].to_list() == [1, 2, 3]
    assert runs["found"].to_list() == runs["accepted"].to_list() == runs["calls"].to_list() == [2, 2, 1]


def test_json_sums_all_volumes(workspace):
    workspace.images("a.jpg", "b.jpg", "c.jpg")
    result = workspace.run("run", "in", "--schema", "caption", "--json", env={"TILEWISE_VOLUME": "2"})
    row, runs = json.loads(result.stdout), workspace.table("runs")
    assert (row["found"], row["accepted"], row["calls"], row["volume"]) == (3, 3, 3, 1)
    assert row["prompt_tokens"] == runs["prompt_tokens"].sum()
    assert runs["run"].unique().to_list() == [row["run"]]


@pytest.mark.parametrize(("keep", "rows"), [("all", 2), ("failed", 1), ("none", 0)])
def test_keep_replies_decides_published_replies(workspace, serve, replies, keep, rows):
    workspace.images("a.jpg")
    workspace.env["TILEWISE_BASE_URL"] = serve(replies.ok({"odd": 1}), replies.ok()).url
    assert workspace.run("run", "in", "--schema", "caption", env={"TILEWISE_KEEP_REPLIES": keep}).exit_code == 0
    assert workspace.table("replies").height == rows


def test_further_tiff_frames_are_noted(workspace):
    frame = Image.new("RGB", (300, 200), "white")
    frame.save(workspace.folder / "in" / "two.tif", save_all=True, append_images=[frame])
    assert workspace.run("run", "in", "--schema", "caption").exit_code == 0
    row = workspace.only("images")
    assert row["frames"] == 2
    assert "first" in row["note"]


def test_unknown_setting_is_named_and_ignored(workspace):
    workspace.images("a.jpg")
    result = workspace.run("run", "in", "--schema", "caption", env={"TILEWISE_MODLE": "x"})
    assert result.exit_code == 0
    assert "tilewise: unknown setting TILEWISE_MODLE, ignored\n" in result.stderr


def test_settings_files_of_working_directory_apply(workspace):
    """The environment overrides `.env`, which overrides `tilewise.toml`."""
    workspace.images("a.jpg")
    (workspace.folder / "tilewise.toml").write_text('model = "toml/model"\nkeep_replies = "none"\nchunk = 7\n')
    (workspace.folder / ".env").write_text("TILEWISE_MODEL=dotenv/model\nTILEWISE_KEEP_REPLIES=failed\n")
    unset = {"TILEWISE_MODEL": None, "TILEWISE_KEEP_REPLIES": "all"}
    assert workspace.run("run", "in", "--schema", "caption", "--yes", env=unset).exit_code == 0
    assert workspace.only("runs")["model"] == "dotenv/model"
    assert workspace.table("replies").height == 1
