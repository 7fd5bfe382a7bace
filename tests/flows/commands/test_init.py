"""The command `init`: it writes a complete folder and overwrites no file."""

import re
import shutil

import pytest
from support.golden import transcript
from support.markdown import ROOT


def test_init_writes_a_complete_folder_and_overwrites_nothing(workspace, golden):
    """Its settings are read, its example is a schema, and its deployments name that schema."""
    (workspace.folder / "new").mkdir()
    (workspace.folder / "new" / "README.md").write_text("mine")
    golden("init/folder", transcript(workspace, ["init", "new"], ["init", "new"], ["init", "prices.toml"]))
    folder = workspace.folder / "new"
    assert (folder / "README.md").read_text() == "mine"
    workspace.folder = folder
    assert "example" in workspace.run("schemas").stdout
    assert workspace.run("doctor", env={"TILEWISE_OUTPUT": None}).stdout.count("(tilewise.toml)") == 1
    assert "schema_name: example" in (folder / "prefect.yaml").read_text()


@pytest.mark.slow
def test_commands_of_the_new_readme_work_from_an_empty_folder(workspace):
    """They run with local OCR on one photo, in the order of the README."""
    assert workspace.run("init", "new").exit_code == 0
    workspace.folder /= "new"
    shutil.copy(ROOT / "data" / "samples" / "receipts" / "till-short-02.jpg", workspace.folder / "data/in/photo.jpg")
    env = {name: None for name in workspace.env if name.startswith("TILEWISE_") and name != "TILEWISE_LEDGER"}
    text = (workspace.folder / "README.md").read_text()
    assert len(text.splitlines()) <= 10
    commands = [command for command in re.findall(r"`(tilewise [^`]+)`", text) if "serve" not in command]
    for command in commands:
        words = command.partition(" >")[0].removesuffix(" --open").split()[1:]
        offline = ["--offline"] if words[0] == "run" else ["--model", "m"] if words[0] == "estimate" else []
        result = workspace.run(*words, *offline, env=env)
        assert result.exit_code == (2 if words[0] == "doctor" else 0), f"{command}\n{result.output}"
    assert [command.split()[1] for command in commands] == [
        "schemas",
        "try",
        "estimate",
        "run",
        "rows",
        "rows",
        "report",
        "doctor",
    ]
    assert "Blue Heron Diner" in workspace.run("rows", env=env).stdout
