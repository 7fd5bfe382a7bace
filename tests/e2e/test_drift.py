"""A run compares its fields with the runs before it, and warns if one becomes empty."""

import pytest

pytestmark = pytest.mark.slow
RUN = ("run", "in", "--schema", "caption", "--redo", "all", "--yes")
FULL = {"caption": "A wall", "alt_text": "A wall of bricks", "tags": ["wall"]}


@pytest.fixture(scope="module")
def two_runs(workspaces, serve_all, replies):
    """Two runs over the same 200 images, the second without one field: the workspace and both results."""
    workspace = workspaces()
    workspace.images(*(f"{number:03}.png" for number in range(200)), size=(20, 20))
    server = serve_all(replies.ok(FULL))
    workspace.env["TILEWISE_BASE_URL"] = server.url
    first = workspace.run(*RUN)
    server.script = [replies.ok(FULL | {"alt_text": None})]
    return workspace, first, workspace.run(*RUN)


def warnings_of(workspace, run, field):
    """The warnings about a field in the first (0) or last (-1) run."""
    rows = workspace.table("runs").sort("started_at").rows(named=True)
    return [warning for warning in rows[run]["warnings"] if warning.startswith(field)]


def test_fields_table_has_one_row_a_run_and_field(two_runs):
    workspace, *_ = two_runs
    fields = (
        workspace.table("fields").join(workspace.table("runs").select("run", "started_at"), on="run").sort("started_at")
    )
    rows = fields.filter(field="alt_text").select("schema", "rows", "nulls", "distinct", "max").rows()
    assert rows == [("caption", 200, 0, 1, "A wall of bricks"), ("caption", 200, 200, 0, None)]


def test_field_that_becomes_null_is_a_warning(two_runs):
    """In the run's row and on the terminal; the exit code is 0."""
    workspace, _, last = two_runs
    [warning] = warnings_of(workspace, -1, "alt_text")
    assert warning == "alt_text is null in 100.0 % of 200 rows; it was in 0.0 % of them in the last run"
    assert f"warning: {warning}" in last.stdout
    assert last.exit_code == 0


def test_first_run_has_no_drift_warning(two_runs):
    workspace, first, _ = two_runs
    assert warnings_of(workspace, 0, "alt_text") == []
    assert first.exit_code == 0


def test_unchanged_field_is_no_warning(two_runs):
    workspace, *_ = two_runs
    assert warnings_of(workspace, -1, "caption") == warnings_of(workspace, -1, "tags") == []
