"""Another model answers than in the last run: a warning, or the end of the run."""

import pytest

pytestmark = pytest.mark.slow

RUN = ("run", "in", "--schema", "caption")
STOP = {"TILEWISE_ON_MODEL_CHANGE": "stop"}
USAGE = {"prompt_tokens": 1601 + 216, "completion_tokens": 1}  # as predicted
CHANGED = "maker/model was answered by maker/model-0926, in the last run by maker/model-0701"


@pytest.fixture(autouse=True)
def eight_images(workspace, server, replies):
    """As many images as a run takes, and as many again; answers name the model behind the one that is asked for."""
    server.answers_with(replies.ok(model="maker/model-0701", usage=USAGE))
    workspace.with_images(*(f"{number:02}.png" for number in range(8))).using(server)


@pytest.fixture
def changed(workspace, server, replies):
    """After a first run, another model answers; gives that run."""
    first = workspace.run(*RUN, "--limit", "4")
    server.script = [replies.ok(model="maker/model-0926", usage=USAGE)]
    return first


def test_the_first_run_has_nothing_to_compare(workspace, changed):
    """Whatever answers, its name is in the tables and no warning."""
    assert changed.exit_code == 0
    assert workspace.only("runs")["warnings"] == []
    assert set(workspace.table("results")["_model"]) == {"maker/model-0701"}
    assert set(workspace.table("calls")["model_returned"]) == {"maker/model-0701"}


def test_another_model_is_a_warning(workspace, changed):
    """The default: the run goes on and says so, in its row and on the terminal."""
    ended = workspace.run(*RUN)
    assert ended.exit_code == 0
    [said] = workspace.table("runs").sort("started_at")["warnings"].to_list()[-1]
    assert said.startswith(f"{CHANGED}: ")
    assert f"warning: {said}\n" in ended.stdout
    assert workspace.table("results").height == 8


def test_it_is_said_once(workspace, changed):
    """The next run compares with this one."""
    workspace.run(*RUN)
    workspace.run(*RUN, "--redo", "all", "--output", "again")
    assert workspace.table("runs", "again")["warnings"].to_list() == [[]]


def test_the_same_model_is_no_warning(workspace):
    workspace.run(*RUN, "--limit", "4")
    workspace.run(*RUN, env=STOP)
    assert workspace.table("runs")["warnings"].to_list() == [[], []]
    assert set(workspace.table("runs")["status"]) == {"completed"}


def test_another_model_can_stop_the_run(workspace, changed, server):
    """What was asked for is exit 2, a row that says why, and what is done about it."""
    ended = workspace.run(*RUN, env=STOP | {"TILEWISE_CONCURRENCY": "1"})
    row = workspace.table("runs").sort("started_at").to_dicts()[-1]
    assert (ended.exit_code, row["status"]) == (2, "refused")
    assert CHANGED in row["error"]
    assert "set TILEWISE_ON_MODEL_CHANGE=warn to go on with it" in ended.stdout
    assert f"{row['accepted']} accepted documents are kept" in ended.stdout
    assert row["accepted"] + row["remaining"] == 4
    assert row["remaining"] > 0


def test_it_stops_again_until_it_is_told_otherwise(workspace, changed, server):
    """Each try pays for what it has to see; nothing of that is lost, and nothing is paid for twice."""
    tight = {"TILEWISE_CONCURRENCY": "1"}
    workspace.run(*RUN, env=STOP | tight)
    assert workspace.run(*RUN, env=STOP | tight).exit_code == 2
    ended = workspace.run(*RUN, env=tight)
    assert ended.exit_code == 0
    assert f"warning: {CHANGED}" in ended.stdout
    assert len(server.asked) == len(set(server.documents)) == workspace.table("results").height == 8


def test_another_model_of_another_name_is_not_compared(workspace, changed):
    """What is compared is who answers for one name at one address."""
    (workspace.folder / "prices.toml").write_text('[models."other/model"]\ninput = 1\noutput = 1\n')
    assert workspace.run(*RUN, "--model", "other/model", env=STOP).exit_code == 0
    assert workspace.table("runs").sort("started_at")["warnings"].to_list()[-1] == []


def test_an_answer_without_a_name_is_no_change(workspace, server, replies):
    """Some gateways leave the model out."""
    workspace.run(*RUN, "--limit", "4")
    server.script = [replies.ok(model=None, usage=USAGE)]
    assert workspace.run(*RUN, env=STOP).exit_code == 0
