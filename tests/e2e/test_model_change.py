"""The server answers with another model than in the last run: a warning, or the run stops."""

import pytest

pytestmark = pytest.mark.slow

RUN = ("run", "in", "--schema", "caption")
STOP = {"TILEWISE_ON_MODEL_CHANGE": "stop"}
USAGE = {"prompt_tokens": 1601 + 216, "completion_tokens": 1}  # as predicted
CHANGED = "maker/model was answered by maker/model-0926, in the last run by maker/model-0701"


@pytest.fixture(autouse=True)
def eight_images(workspace, server, replies):
    """Eight images, and a server whose answers name a dated model."""
    server.answers_with(replies.ok(model="maker/model-0701", usage=USAGE))
    workspace.with_images(*(f"{number:02}.png" for number in range(8))).using(server)


@pytest.fixture
def first_run(workspace, server, replies):
    """The first run, after which the server answers with another model."""
    first = workspace.run(*RUN, "--limit", "4")
    server.script = [replies.ok(model="maker/model-0926", usage=USAGE)]
    return first


def test_first_run_records_model_without_warning(workspace, first_run):
    assert first_run.exit_code == 0
    assert workspace.only("runs")["warnings"] == []
    assert set(workspace.table("results")["_model"]) == {"maker/model-0701"}
    assert set(workspace.table("calls")["model_returned"]) == {"maker/model-0701"}


def test_changed_model_is_a_warning(workspace, first_run):
    """By default the run continues, and warns in its row and on the terminal."""
    result = workspace.run(*RUN)
    assert result.exit_code == 0
    [warning] = workspace.table("runs").sort("started_at")["warnings"].to_list()[-1]
    assert warning.startswith(f"{CHANGED}: ")
    assert f"warning: {warning}\n" in result.stdout
    assert workspace.table("results").height == 8


def test_changed_model_is_warned_of_once(workspace, first_run):
    """The next run compares with this one."""
    workspace.run(*RUN)
    workspace.run(*RUN, "--redo", "all", "--output", "again")
    assert workspace.table("runs", "again")["warnings"].to_list() == [[]]


def test_same_model_is_no_warning(workspace):
    workspace.run(*RUN, "--limit", "4")
    workspace.run(*RUN, env=STOP)
    assert workspace.table("runs")["warnings"].to_list() == [[], []]
    assert set(workspace.table("runs")["status"]) == {"completed"}


def test_changed_model_stops_the_run_if_set(workspace, first_run, server):
    """Exit 2, and a row and a message that say why and what to do."""
    result = workspace.run(*RUN, env=STOP | {"TILEWISE_CONCURRENCY": "1"})
    row = workspace.table("runs").sort("started_at").to_dicts()[-1]
    assert (result.exit_code, row["status"]) == (2, "refused")
    assert CHANGED in row["error"]
    assert "set TILEWISE_ON_MODEL_CHANGE=warn to go on with it" in result.stdout
    assert f"{row['accepted']} accepted documents are kept" in result.stdout
    assert row["accepted"] + row["remaining"] == 4
    assert row["remaining"] > 0


def test_changed_model_stops_every_run_until_set_to_warn(workspace, first_run, server):
    """Each run keeps what it has paid for, and nothing is paid for twice."""
    sequential = {"TILEWISE_CONCURRENCY": "1"}
    workspace.run(*RUN, env=STOP | sequential)
    assert workspace.run(*RUN, env=STOP | sequential).exit_code == 2
    result = workspace.run(*RUN, env=sequential)
    assert result.exit_code == 0
    assert f"warning: {CHANGED}" in result.stdout
    assert len(server.asked) == len(set(server.documents)) == workspace.table("results").height == 8


def test_other_requested_model_is_not_compared(workspace, first_run):
    """Runs are compared by requested model and address."""
    (workspace.folder / "prices.toml").write_text('[models."other/model"]\ninput = 1\noutput = 1\n')
    assert workspace.run(*RUN, "--model", "other/model", env=STOP).exit_code == 0
    assert workspace.table("runs").sort("started_at")["warnings"].to_list()[-1] == []


def test_answer_without_model_is_no_change(workspace, server, replies):
    """Some gateways leave it out."""
    workspace.run(*RUN, "--limit", "4")
    server.script = [replies.ok(model=None, usage=USAGE)]
    assert workspace.run(*RUN, env=STOP).exit_code == 0
