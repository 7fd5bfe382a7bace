"""Plan, then apply, as the forms of `tilewise serve` do it: nothing waits in between, and exactly the plan is run.

Covers `flows.adapters.links`, too.
"""

import re

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace_that_confirms(workspaces):
    """A workspace at which almost everything costs more than may be spent unasked."""
    return workspaces(TILEWISE_ASK_ABOVE="0.0001", TOGETHER_API_KEY="any")


@pytest.fixture(scope="module")
def api(serve_at, workspace_that_confirms):
    """The server's API."""
    return serve_at(workspace_that_confirms).api


@pytest.fixture
def job(server, workspace_that_confirms, request):
    """What a form sends for a folder of this test's own, with two images."""
    workspace_that_confirms.images("a.jpg", "b.jpg", folder=request.node.name)
    return {"source": request.node.name, "schema_name": "caption", "base_url": server.url}


@pytest.fixture
def planned(api, job):
    """A backfill that was planned only."""
    return api.run_to_end("backfill/backfill", job=job)


def plan_of(run):
    """Where the plan of such a run is, as its state says."""
    return re.search(r"start the deployment apply with plan (\S+)", run["state"]["message"])[1]


def test_a_costly_backfill_is_planned_only_and_apply_runs_that_plan(planned, api, server, workspace_that_confirms):
    """It ends, says what waits for approval, and shows the bill and the plan; nothing was sent.

    Who approved it is kept, and the summary shows what was predicted beside what was paid.
    """
    assert (planned["state_type"], planned["state_name"]) == ("COMPLETED", "Planned")
    assert (
        f"/deployments/deployment/{api.deployment('apply/apply')['id']}/run?parameters=" in planned["state"]["message"]
    )
    assert re.match(r"plan stored, waiting for approval: 2 documents, at most \$[\d.]+; ", planned["state"]["message"])
    shown = api.artifacts(planned)["tilewise-estimate"]
    assert plan_of(planned) in shown["data"]
    assert "| high | $" in shown["data"]
    assert shown["description"].startswith("2 documents, at most $")
    assert server.asked == []
    run = api.run_to_end("apply/apply", order={"plan": plan_of(planned), "approved_by": "ann"})
    assert run["state_name"] == "Completed"
    assert re.fullmatch(r"2 accepted; paid \$[\d.]+ of \$[\d.]+ planned \([-+][\d.]+%\)", run["state"]["message"])
    [row] = [
        each for each in workspace_that_confirms.table("runs").to_dicts() if each["prefect_flow_run_id"] == run["id"]
    ]
    assert (row["flow"], row["approved_by"], row["accepted"], len(server.asked)) == ("apply", "ann", 2, 2)
    shown = api.artifacts(run)["tilewise-summary"]["data"]
    assert "| predicted, expected | $" in shown
    assert "approved by `ann`" in shown


def test_what_changed_since_is_left_out(planned, api, job, server, workspace_that_confirms):
    """It was not agreed on: it is counted, and left for another plan."""
    (workspace_that_confirms.folder / job["source"] / "b.jpg").unlink()
    run = api.run_to_end("apply/apply", order={"plan": plan_of(planned)})
    assert run["state"]["message"].startswith("1 accepted, 1 remaining")
    assert len(server.asked) == 1


def test_what_was_approved_needs_no_plan(api, job, server):
    """With a budget, a backfill runs at once."""
    run = api.run_to_end("backfill/backfill", job=job | {"budget": 1})
    assert (run["state"]["message"], len(server.asked)) == ("2 accepted", 2)


def test_a_plan_that_is_asked_for_is_made(api, job, server):
    """Also where a budget would have let it run."""
    run = api.run_to_end("extract/nightly", job=job | {"budget": 1, "plan_only": True})
    assert run["state"]["message"].startswith("plan stored, waiting for approval")
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "parameters", "named"),
    [
        ("backfill", {"job": {"source": "in", "budget": -1}}, "job.budget"),
        ("backfill", {"job": {"source": "in", "redo": "nonsense"}}, "job.redo"),
        ("backfill", {"job": {"source": "in", "kind": "nonsense"}}, "job.kind"),
        ("apply", {"order": {"plan": "p.parquet", "budget": 0}}, "order.budget"),
        ("apply", {"order": {"plan": ""}}, "order.plan"),
    ],
)
def test_a_wrong_value_is_refused_before_a_run(api, name, parameters, named):
    """By Prefect, which names the field."""
    answer = api.start(f"{name}/{name}", **parameters)
    assert "id" not in answer
    assert named in answer["detail"]


def test_what_is_left_out_may_be_null(api, job):
    """As a client sends it that fills in everything that is no choice."""
    run = api.run_to_end("backfill/backfill", job=job | {"budget": None, "model": None, "output": None, "limit": None})
    assert run["state"]["message"].startswith("plan stored, waiting for approval")


def test_a_plan_that_is_not_there(api):
    """The state names it."""
    run = api.run_to_end("apply/apply", order={"plan": "nowhere/plans/p.parquet"})
    assert run["state_name"] == "Failed"
    assert "p.parquet" in run["state"]["message"]
