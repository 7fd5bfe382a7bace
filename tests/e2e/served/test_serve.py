"""`tilewise serve` and `flows.serving.deployments`: which values its forms accept, and what its runs show."""

import re
import subprocess
import sys
from datetime import datetime

import pytest

pytestmark = pytest.mark.slow
SECRET = "sk-from-a-block-77e1"
REPLY = "the reply of a model <img src=x>"
SAVE = f"from prefect.blocks.system import Secret; Secret(value={SECRET!r}).save('tilewise-api-key')"
OFTEN = """
  - name: often
    entrypoint: flows.extract.extract
    schedules: [{interval: 20}]
    parameters: {job: {source: often, schema_name: caption, base_url: "http://127.0.0.1:9/v1"}}
"""


@pytest.fixture(scope="module")
def workspace_with_rate(workspaces):
    """A workspace with a rate limit and an old price list, which causes a warning."""
    workspace = workspaces(TILEWISE_RPM="3000")
    prices = workspace.folder / "prices.toml"
    prices.write_text(prices.read_text().replace("as_of = 2026-11-01", "as_of = 2020-01-01"))
    return workspace


@pytest.fixture(scope="module")
def serve_process(serve_at, workspace_with_rate):
    """A `serve` with the shipped deployments and one that is due every twenty seconds."""
    from flows.serving.deployment_file import FILE, find_file  # noqa: PLC0415 - reads Prefect's settings

    assert find_file().name == FILE
    return serve_at(workspace_with_rate, find_file().read_text() + OFTEN)


@pytest.fixture(scope="module")
def api(serve_process):
    return serve_process.api


@pytest.fixture
def job(server, replies):
    """A job of two images that are read again in every test, whose answers have text that must not be shown."""
    server.answers_with(replies.ok({"caption": REPLY, "alt_text": None, "tags": []}))
    return {"source": "in", "schema_name": "caption", "base_url": server.url, "redo": "all", "yes": True}


def test_run_without_a_key_fails_and_names_where_to_set_it(api):
    """It does not fall back to local OCR."""
    run = api.run_to_end("extract/nightly", job={"source": "in", "schema_name": "caption"})
    assert run["state_name"] == "Failed"
    assert run["state"]["message"] == (
        'no key: set TOGETHER_API_KEY or the Prefect Secret block `tilewise-api-key`, or add "Endpoint: offline" to try it'
        " with local OCR"
    )


def test_scheduled_run_starts_within_twenty_seconds(api, wait):
    query = {"deployments": {"name": {"any_": ["often"]}}, "flow_runs": {"start_time": {"is_null_": False}}}
    run = wait(lambda: api.request("POST", "flow_runs/filter", **query))[0]
    started, due = (datetime.fromisoformat(run[name]) for name in ("start_time", "expected_start_time"))
    assert run["auto_scheduled"]
    assert -1 < (started - due).total_seconds() < 20
    api.request("PATCH", f"deployments/{run['deployment_id']}", paused=True)


def test_run_shows_progress_summary_log_and_warning_without_secrets(api, job, server, workspace_with_rate):
    """The key comes from a Prefect block; neither it nor any text of an answer is shown."""
    save = [sys.executable, "-c", SAVE]
    env = workspace_with_rate.environment({"PREFECT_API_URL": f"{api.url}/api"})
    subprocess.run(save, env=env, check=True, capture_output=True, timeout=60)
    run = api.run_to_end("backfill/backfill", job=job)
    artifacts = api.artifacts(run)
    events = api.events(run, "tilewise.warning")
    log = api.logs(run)
    assert re.fullmatch(r"in → caption, \d{4}-\d\d-\d\d \d\d:\d\d", run["name"])
    assert (run["state_name"], run["state"]["message"]) == ("Completed", "2 accepted")
    assert artifacts["tilewise-progress"]["data"] == 100
    assert "2 of 2 documents" in artifacts["tilewise-progress"]["description"]
    assert "| accepted | 2 |" in artifacts["tilewise-summary"]["data"]
    assert str(workspace_with_rate.folder / "out" / "results") in artifacts["tilewise-summary"]["data"]
    reports = (workspace_with_rate.folder / "out" / "reports").glob("*.html")
    assert any(str(report) in artifacts["tilewise-summary"]["data"] for report in reports)
    assert "maker/model" in artifacts["tilewise-summary"]["data"]  # from .env of the folder in which serve was started
    assert any("days old" in event["payload"]["warning"] for event in events)
    assert [line.partition(":")[0] for line in log if line.startswith(("started", "ended"))] == ["started", "ended"]
    assert set(server.keys) == {f"Bearer {SECRET}"}
    text = str([artifacts, events, log, run])
    assert REPLY[:10] not in text
    assert SECRET not in text


def test_failed_run_shows_failures_by_file_and_their_share(api, job, workspace_with_rate):
    (workspace_with_rate.folder / "bad").mkdir()
    (workspace_with_rate.folder / "bad" / "c.jpg").write_bytes(b"no image")
    run = api.run_to_end("extract/nightly", job=job | {"source": "bad"})
    assert (run["state_name"], run["state"]["message"]) == (
        "Failed",
        "0 accepted, 1 rejected; 1 of 1 failed (100 %), 20 % allowed",
    )
    assert "/bad/c.jpg" in str(api.artifacts(run)["tilewise-failures"]["data"])


def test_run_completes_with_up_to_20_percent_failures(api, job, workspace_with_rate):
    """The announcement of `redo` is in the log."""
    workspace_with_rate.images(*(f"{number}.jpg" for number in range(5)), folder="mostly")
    (workspace_with_rate.folder / "mostly" / "x.jpg").write_bytes(b"no image")
    run = api.run_to_end("backfill/backfill", job=job | {"source": "mostly"})
    assert (run["state_name"], run["state"]["message"]) == ("Completed", "5 accepted, 1 rejected")
    assert any(line.startswith("reprocessing: ") for line in api.logs(run))


def test_run_with_a_spent_budget_is_partial(api, job, server):
    run = api.run_to_end("extract/nightly", job=job | {"budget": 0.0001})
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Partial")
    assert run["state"]["message"].startswith("0 accepted, 2 remaining; stopped: ")
    assert server.asked == []


def test_second_nightly_run_is_cancelled_while_one_is_running(api, job, server, replies):
    server.hold(replies.ok())
    first = api.start("extract/nightly", job=job)
    api.wait_for_state(first, "RUNNING")
    second = api.run_to_end("extract/nightly", job=job)
    server.gate.set()
    assert second["state_type"] == "CANCELLED"
    assert api.wait_for_state(first)["state_type"] == "COMPLETED"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"budget": 0}, "job.budget"),
        ({"policy": "frugal"}, "job.policy"),
        ({"max_time": "soon"}, "job.max_time"),
        ({"limit": 0}, "job.limit"),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
def test_prefect_refuses_invalid_job_values_and_names_the_field(api, job, values, field):
    answer = api.start("backfill/backfill", job=job | values)
    assert "id" not in answer
    assert field in answer["detail"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bill": "nonsense"}, "\"Tokens: bill rule\" 'nonsense': 'nonsense' is not a bill rule"),
        ({"source": "nowhere"}, "source 'nowhere' does not exist"),
    ],
)
def test_run_fails_for_values_that_prefect_cannot_check(api, job, parameters, message):
    """The state names the field and the value."""
    run = api.run_to_end("backfill/backfill", job=job | parameters)
    assert run["state_type"] == "FAILED"
    assert message in run["state"]["message"]


def test_prefect_refuses_unknown_parameters(api, job):
    answer = api.start("backfill/backfill", job=job, jobs=1)
    assert "id" not in answer
    assert "'jobs' was unexpected" in answer["detail"]


def test_serve_creates_the_shared_rate_limit(api):
    """From TILEWISE_RPM, for the endpoint and the model of the settings."""
    limit = api.request("GET", "v2/concurrency_limits/tilewise-api.together.ai-maker-model")
    assert (limit["limit"], limit["slot_decay_per_second"]) == (50, 50)


def test_estimate_and_dry_run_send_nothing(api, job, server):
    runs = [
        api.run_to_end("estimate/estimate", job=job),
        api.run_to_end("extract/nightly", job=job | {"dry_run": True}),
    ]
    assert [run["state"]["message"] for run in runs] == [runs[0]["state"]["message"]] * 2
    assert "2 documents" in runs[0]["state"]["message"]
    assert "| documents | 2 |" in api.artifacts(runs[0])["tilewise-estimate"]["data"]
    assert server.asked == []
