"""The flow: the same run inside Prefect, on its temporary server."""

import json

import pytest

BASE = ("in", "--schema", "caption", "--bill", "formula", "--json")


@pytest.fixture(scope="module")
def workspace_of_three(workspaces, echo):
    """A workspace with three images and the echo endpoint."""
    return workspaces().with_images("a.jpg", "b.png", "sub/c.webp").using(echo)


@pytest.mark.slow
def test_a_flow_publishes_what_a_direct_run_publishes(workspace_of_three):
    """The same rows, and the flow run's id in the row of the run; stdout is one JSON object all the same."""
    flow = workspace_of_three.tilewise("run", *BASE, "--prefect")
    fresh = {
        "TILEWISE_LEDGER": f"sqlite:///{workspace_of_three.folder / 'direct.db'}"
    }  # no answers to learn an estimate from
    workspace_of_three.run("run", *BASE, "--direct", "--output", "direct", env=fresh)
    row, direct = json.loads(flow.stdout), workspace_of_three.table("runs", output="direct").to_dicts()[0]
    own = {"run", "output", "job", "started_at", "finished_at", "prefect_flow_run_id"}
    per_row = ("_run", "_extracted_at")
    results = workspace_of_three.table("results").drop(per_row).sort("_document")
    assert flow.returncode == 0, flow.stderr
    assert len(row["prefect_flow_run_id"]) == 36
    assert direct["prefect_flow_run_id"] is None
    assert workspace_of_three.only("runs")["prefect_flow_run_id"] == row["prefect_flow_run_id"]
    assert {name for name in direct if workspace_of_three.only("runs")[name] != direct[name]} == own
    assert results.equals(workspace_of_three.table("results", output="direct").drop(per_row).sort("_document"))
    assert results.height == 3


@pytest.mark.slow
def test_a_flow_that_cannot_begin_says_so_in_one_line(workspace_of_three):
    """Bad input is bad input, in a flow as without."""
    ended = workspace_of_three.tilewise("run", "nowhere", "--schema", "caption", "--prefect")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "tilewise: source 'nowhere' does not exist: use a folder of images or one image\n"
