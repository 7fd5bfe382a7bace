"""The command `init`: what it writes, and what it leaves alone."""

from support.golden import transcript


def test_new_folder_is_complete_and_nothing_in_it_is_overwritten(workspace, golden):
    """Its settings are read, its example is a schema, its deployments name that schema."""
    (workspace.folder / "new").mkdir()
    (workspace.folder / "new" / "README.md").write_text("mine")
    golden("init/folder", transcript(workspace, ["init", "new"], ["init", "new"], ["init", "prices.toml"]))
    folder = workspace.folder / "new"
    assert (folder / "README.md").read_text() == "mine"
    workspace.folder = folder
    assert "example" in workspace.run("schemas").stdout
    assert workspace.run("doctor", env={"TILEWISE_OUTPUT": None}).stdout.count("(tilewise.toml)") == 1
    assert "schema_name: example" in (folder / "prefect.yaml").read_text()
