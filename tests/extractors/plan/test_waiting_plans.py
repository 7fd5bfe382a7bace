"""waiting_plans.py: the stored plans that wait for approval."""

import json

import pytest

from extractors.plan.waiting_plans import list_waiting_plans
from extractors.record.output import open_output

ARGS = ("in", "--schema", "caption", "--bill", "formula")


@pytest.fixture
def store_plan(workspace, serve, replies):
    """Stores a plan of one image, and returns its URL."""
    workspace.using(serve(replies.ok()))

    def store(name):
        workspace.images(name)
        return json.loads(workspace.run("run", *ARGS, "--plan-only", "--json").stdout)["plan"]

    return store


def test_plans_of_a_source_wait_until_one_of_them_is_applied(workspace, store_plan):
    """A run of the same images does not end their wait."""
    output = open_output(str(workspace.folder / "out"))
    first = store_plan("a.jpg")
    workspace.run("run", *ARGS, "--direct", "--yes", "--limit", "0")
    second = store_plan("b.jpg")
    waiting = list_waiting_plans(output)
    assert {url for url, _ in waiting} == {first, second}
    assert {info.documents for _, info in waiting} == {1, 2}
    workspace.run("apply", second, "--yes")
    assert list_waiting_plans(output) == []


def test_no_plan_waits_in_an_empty_output(tmp_path):
    """The folder is not created."""
    assert list_waiting_plans(open_output(str(tmp_path / "none"))) == []
    assert not (tmp_path / "none").exists()
