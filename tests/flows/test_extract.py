"""The run as a Prefect flow, on Prefect's temporary server."""

import json

import pytest

BASE = ("in", "--schema", "caption", "--bill", "formula", "--json")


@pytest.fixture(scope="module")
def workspace_of_three(workspaces, echo):
    """A workspace with three images and the echo endpoint."""
    return workspaces().with_images("a.jpg", "b.png", "sub/c.webp").using(echo)


@pytest.mark.slow
def test_flow_publishes_the_rows_of_a_direct_run(workspace_of_three):
    """Its row of `runs` has the flow run's id, and stdout is one JSON object."""
    flow = workspace_of_three.tilewise("run", *BASE, "--prefect")
    direct_env = {
        "TILEWISE_LEDGER": f"sqlite:///{workspace_of_three.folder / 'direct.db'}"
    }  # no answers to learn an estimate from
    workspace_of_three.run("run", *BASE, "--direct", "--output", "direct", env=direct_env)
    row, direct = json.loads(flow.stdout), workspace_of_three.table("runs", output="direct").to_dicts()[0]
    own_fields = {"run", "output", "job", "started_at", "finished_at", "prefect_flow_run_id"}
    per_row = ("_run", "_extracted_at")
    results = workspace_of_three.table("results").drop(per_row).sort("_document")
    assert flow.returncode == 0, flow.stderr
    assert len(row["prefect_flow_run_id"]) == 36
    assert direct["prefect_flow_run_id"] is None
    assert workspace_of_three.only("runs")["prefect_flow_run_id"] == row["prefect_flow_run_id"]
    assert {name for name in direct if workspace_of_three.only("runs")[name] != direct[name]} == own_fields
    assert results.equals(workspace_of_three.table("results", output="direct").drop(per_row).sort("_document"))
    assert results.height == 3


@pytest.mark.slow
def test_flow_reports_a_missing_source_on_one_line(workspace_of_three):
    """Message and exit code are those of a direct run."""
    result = workspace_of_three.tilewise("run", "nowhere", "--schema", "caption", "--prefect")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "tilewise: source 'nowhere' does not exist: use a folder of images or one image\n"
