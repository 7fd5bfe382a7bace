"""Another model answers than in the last run: a warning, or the end of the run."""

import pytest

RUN = ("run", "in", "--schema", "caption")
STOP = {"TILEWISE_ON_MODEL_CHANGE": "stop"}
USAGE = {"prompt_tokens": 1601 + 216, "completion_tokens": 1}  # as predicted
CHANGED = "maker/model was answered by maker/model-0926, in the last run by maker/model-0701"


@pytest.fixture
def server(serve, say):
    """A server whose answers name the model behind the one that is asked for."""
    return serve(say.ok(model="maker/model-0701", usage=USAGE))


@pytest.fixture
def desk(desk, server):
    """A desk with as many images as a run takes, and as many again."""
    desk.env["TILEWISE_BASE_URL"] = server.url
    desk.images(*(f"{number:02}.png" for number in range(8)))
    return desk


@pytest.fixture
def changed(desk, server, say):
    """After a first run, another model answers; gives that run."""
    first = desk.run(*RUN, "--limit", "4")
    server.script = [say.ok(model="maker/model-0926", usage=USAGE)]
    return first


def test_the_first_run_has_nothing_to_compare(desk, changed):
    """Whatever answers, its name is in the tables and no warning."""
    assert changed.exit_code == 0
    assert desk.only("runs")["warnings"] == []
    assert set(desk.table("results")["_model"]) == {"maker/model-0701"}
    assert set(desk.table("calls")["model_returned"]) == {"maker/model-0701"}


def test_another_model_is_a_warning(desk, changed):
    """The default: the run goes on and says so, in its row and on the terminal."""
    ended = desk.run(*RUN)
    assert ended.exit_code == 0
    [said] = desk.table("runs").sort("started_at")["warnings"].to_list()[-1]
    assert said == f"{CHANGED}: see whether its answers and its bill are the same"
    assert f"warning: {said}\n" in ended.stdout
    assert desk.table("results").height == 8


def test_it_is_said_once(desk, changed):
    """The next run compares with this one."""
    desk.run(*RUN)
    desk.run(*RUN, "--redo", "all", "--output", "again")
    assert desk.table("runs", "again")["warnings"].to_list() == [[]]


def test_the_same_model_is_no_warning(desk):
    desk.run(*RUN, "--limit", "4")
    desk.run(*RUN, env=STOP)
    assert desk.table("runs")["warnings"].to_list() == [[], []]
    assert set(desk.table("runs")["status"]) == {"completed"}


def test_another_model_can_stop_the_run(desk, changed, server):
    """What was asked for is exit 2, a row that says why, and what is done about it."""
    ended = desk.run(*RUN, env=STOP | {"TILEWISE_CONCURRENCY": "1"})
    row = desk.table("runs").sort("started_at").to_dicts()[-1]
    assert (ended.exit_code, row["status"]) == (2, "refused")
    assert CHANGED in row["error"]
    assert "set TILEWISE_ON_MODEL_CHANGE=warn to go on with it" in ended.stdout
    assert f"{row['accepted']} accepted documents are kept" in ended.stdout
    assert row["accepted"] + row["remaining"] == 4
    assert row["remaining"] > 0


def test_it_stops_again_until_it_is_told_otherwise(desk, changed, server):
    """Each try pays for what it has to see; nothing of that is lost, and nothing is paid for twice."""
    tight = {"TILEWISE_CONCURRENCY": "1"}
    desk.run(*RUN, env=STOP | tight)
    assert desk.run(*RUN, env=STOP | tight).exit_code == 2
    ended = desk.run(*RUN, env=tight)
    assert ended.exit_code == 0
    assert f"warning: {CHANGED}" in ended.stdout
    assert len(server.asked) == len(set(server.documents)) == desk.table("results").height == 8


def test_another_model_of_another_name_is_not_compared(desk, changed):
    """What is compared is who answers for one name at one address."""
    (desk.folder / "prices.toml").write_text('[models."other/model"]\ninput = 1\noutput = 1\n')
    assert desk.run(*RUN, "--model", "other/model", env=STOP).exit_code == 0
    assert desk.table("runs").sort("started_at")["warnings"].to_list()[-1] == []


def test_an_answer_without_a_name_is_no_change(desk, server, say):
    """Some gateways leave the model out."""
    desk.run(*RUN, "--limit", "4")
    server.script = [say.ok(model=None, usage=USAGE)]
    assert desk.run(*RUN, env=STOP).exit_code == 0
