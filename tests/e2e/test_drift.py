"""Answers that go empty are noticed by the run itself, which compares what it publishes with the runs before it."""

import pytest

pytestmark = pytest.mark.slow
RUN = ("run", "in", "--schema", "caption", "--redo", "all", "--yes")
FULL = {"caption": "A wall", "alt_text": "A wall of bricks", "tags": ["wall"]}


@pytest.fixture(scope="module")
def nights(workspaces, serve_all, replies):
    """Two nights over the same 200 pictures, the second without a field: the workspace, and how the nights ended."""
    workspace = workspaces()
    workspace.images(*(f"{number:03}.png" for number in range(200)), size=(20, 20))
    server = serve_all(replies.ok(FULL))
    workspace.env["TILEWISE_BASE_URL"] = server.url
    first = workspace.run(*RUN)
    server.script = [replies.ok(FULL | {"alt_text": None})]
    return workspace, first, workspace.run(*RUN)


def about(workspace, run, field):
    """The warnings of one of the runs, the first or the last, that are about a field."""
    rows = workspace.table("runs").sort("started_at").rows(named=True)
    return [warning for warning in rows[run]["warnings"] if warning.startswith(field)]


def test_what_a_run_s_fields_look_like_is_published(nights):
    """One row a run and field."""
    workspace, *_ = nights
    told = (
        workspace.table("fields").join(workspace.table("runs").select("run", "started_at"), on="run").sort("started_at")
    )
    rows = told.filter(field="alt_text").select("schema", "rows", "nulls", "distinct", "max").rows()
    assert rows == [("caption", 200, 0, 1, "A wall of bricks"), ("caption", 200, 200, 0, None)]


def test_a_field_that_goes_empty_is_a_warning(nights):
    """In the run's row and on the terminal; the run itself is good."""
    workspace, _, last = nights
    [warning] = about(workspace, -1, "alt_text")
    assert warning == "alt_text is null in 100.0 % of 200 rows; it was in 0.0 % of them in the last run"
    assert f"warning: {warning}" in last.stdout
    assert last.exit_code == 0


def test_a_first_run_has_nothing_to_differ_from(nights):
    workspace, first, _ = nights
    assert about(workspace, 0, "alt_text") == []
    assert first.exit_code == 0


def test_a_field_that_stays_as_it_was_is_no_warning(nights):
    workspace, *_ = nights
    assert about(workspace, -1, "caption") == about(workspace, -1, "tags") == []
