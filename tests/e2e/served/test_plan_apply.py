"""Plan and apply through the forms of `tilewise serve`: no flow run waits in between, and exactly the plan is run.

Covers `flows.adapters.links`, too.
"""

import re

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace_that_confirms(workspaces):
    """A workspace where almost every cost needs confirmation."""
    return workspaces(TILEWISE_ASK_ABOVE="0.0001", TOGETHER_API_KEY="any")


@pytest.fixture(scope="module")
def api(serve_at, workspace_that_confirms):
    return serve_at(workspace_that_confirms).api


@pytest.fixture
def job(server, workspace_that_confirms, request):
    """The job of a form for a folder of this test with two images."""
    workspace_that_confirms.images("a.jpg", "b.jpg", folder=request.node.name)
    return {"source": request.node.name, "schema_name": "caption", "base_url": server.url}


@pytest.fixture
def planned_run(api, job):
    """A backfill that stored a plan only."""
    return api.run_to_end("backfill/backfill", job=job)


def find_plan(run):
    """The path of the plan in the state message of such a run."""
    return re.search(r"start the deployment apply with plan (\S+)", run["state"]["message"])[1]


def test_expensive_backfill_stores_a_plan_that_apply_runs(planned_run, api, server, workspace_that_confirms):
    """The state names cost and plan, nothing is sent before `apply`, and the summary names who approved it."""
    assert (planned_run["state_type"], planned_run["state_name"]) == ("COMPLETED", "Planned")
    assert (
        f"/deployments/deployment/{api.deployment('apply/apply')['id']}/run?parameters="
        in planned_run["state"]["message"]
    )
    assert re.match(
        r"plan stored, waiting for approval: 2 documents, at most \$[\d.]+; ", planned_run["state"]["message"]
    )
    artifact = api.artifacts(planned_run)["tilewise-estimate"]
    assert find_plan(planned_run) in artifact["data"]
    assert "| high | $" in artifact["data"]
    assert artifact["description"].startswith("2 documents, at most $")
    assert server.asked == []
    run = api.run_to_end("apply/apply", order={"plan": find_plan(planned_run), "approved_by": "ann"})
    assert run["state_name"] == "Completed"
    assert re.fullmatch(r"2 accepted; paid \$[\d.]+ of \$[\d.]+ planned \([-+][\d.]+%\)", run["state"]["message"])
    [row] = [
        entry for entry in workspace_that_confirms.table("runs").to_dicts() if entry["prefect_flow_run_id"] == run["id"]
    ]
    assert (row["flow"], row["approved_by"], row["accepted"], len(server.asked)) == ("apply", "ann", 2, 2)
    artifact = api.artifacts(run)["tilewise-summary"]["data"]
    assert "| predicted, expected | $" in artifact
    assert "approved by `ann`" in artifact


def test_apply_leaves_out_a_document_removed_since(planned_run, api, job, server, workspace_that_confirms):
    """It remains for another plan."""
    (workspace_that_confirms.folder / job["source"] / "b.jpg").unlink()
    run = api.run_to_end("apply/apply", order={"plan": find_plan(planned_run)})
    assert run["state"]["message"].startswith("1 accepted, 1 remaining")
    assert len(server.asked) == 1


def test_backfill_with_budget_runs_without_a_plan(api, job, server):
    run = api.run_to_end("backfill/backfill", job=job | {"budget": 1})
    assert (run["state"]["message"], len(server.asked)) == ("2 accepted", 2)


def test_plan_only_stores_a_plan_despite_a_budget(api, job, server):
    run = api.run_to_end("extract/nightly", job=job | {"budget": 1, "plan_only": True})
    assert run["state"]["message"].startswith("plan stored, waiting for approval")
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "parameters", "field"),
    [
        ("backfill", {"job": {"source": "in", "budget": -1}}, "job.budget"),
        ("backfill", {"job": {"source": "in", "redo": "nonsense"}}, "job.redo"),
        ("backfill", {"job": {"source": "in", "kind": "nonsense"}}, "job.kind"),
        ("apply", {"order": {"plan": "p.parquet", "budget": 0}}, "order.budget"),
        ("apply", {"order": {"plan": ""}}, "order.plan"),
    ],
)
def test_prefect_refuses_invalid_values_and_names_the_field(api, name, parameters, field):
    answer = api.start(f"{name}/{name}", **parameters)
    assert "id" not in answer
    assert field in answer["detail"]


def test_optional_fields_may_be_null(api, job):
    """As sent by clients that fill in every field."""
    run = api.run_to_end("backfill/backfill", job=job | {"budget": None, "model": None, "output": None, "limit": None})
    assert run["state"]["message"].startswith("plan stored, waiting for approval")


def test_apply_fails_for_a_missing_plan(api):
    """The state names it."""
    run = api.run_to_end("apply/apply", order={"plan": "nowhere/plans/p.parquet"})
    assert run["state_name"] == "Failed"
    assert "p.parquet" in run["state"]["message"]
