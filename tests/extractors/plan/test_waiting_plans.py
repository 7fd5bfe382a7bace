"""waiting_plans.py: the stored plans that wait for approval."""

import json

import pytest

from extractors.plan.waiting_plans import list_waiting_plans
from extractors.record.output import open_output

ARGS = ("in", "--schema", "caption", "--bill", "formula")


@pytest.fixture
def plan(workspace, serve, replies):
    """Stores a plan of an image of its own, and gives its URL."""
    workspace.using(serve(replies.ok()))

    def store(name):
        workspace.images(name)
        return json.loads(workspace.run("run", *ARGS, "--plan-only", "--json").stdout)["plan"]

    return store


def test_plan_waits_until_it_is_applied(workspace, plan):
    """The newest first, with its documents and costs; a run of the same images does not end the wait of another plan."""
    output = open_output(str(workspace.folder / "out"))
    first = plan("a.jpg")
    workspace.run("run", *ARGS, "--direct", "--yes", "--limit", "0")
    second = plan("b.jpg")
    waiting = list_waiting_plans(output)
    assert {url for url, _ in waiting} == {first, second}
    assert {info.documents for _, info in waiting} == {1, 2}
    workspace.run("apply", second, "--yes")
    assert list_waiting_plans(output) == []


def test_no_plan_waits_in_an_empty_output(tmp_path):
    """Nor is the folder made."""
    assert list_waiting_plans(open_output(str(tmp_path / "none"))) == []
    assert not (tmp_path / "none").exists()
