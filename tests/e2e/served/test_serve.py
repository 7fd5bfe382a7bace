"""`tilewise serve` and `flows.serving.deployments`: what its forms take and refuse, and what its runs show."""

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
    """A workspace at which a rate is set, and the price in force is an old one, which is a warning."""
    workspace = workspaces(TILEWISE_RPM="3000")
    prices = workspace.folder / "prices.toml"
    prices.write_text(prices.read_text().replace("as_of = 2026-11-01", "as_of = 2020-01-01"))
    return workspace


@pytest.fixture(scope="module")
def served(serve_at, workspace_with_rate):
    """The shipped deployments and one that is due every twenty seconds."""
    from flows.serving.deployment_file import FILE, find_file  # noqa: PLC0415 - reads Prefect's settings

    assert find_file().name == FILE
    return serve_at(workspace_with_rate, find_file().read_text() + OFTEN)


@pytest.fixture(scope="module")
def api(served):
    """The server's API."""
    return served.api


@pytest.fixture
def job(server, replies):
    """A job for the form: two images, read anew in every test, whose answers hold words that must not be shown."""
    server.answers_with(replies.ok({"caption": REPLY, "alt_text": None, "tags": []}))
    return {"source": "in", "schema_name": "caption", "base_url": server.url, "redo": "all", "yes": True}


def test_without_a_key_a_run_fails_with_a_sentence(api):
    """Nothing falls back to local OCR, and both places of a key are named."""
    run = api.run_to_end("extract/nightly", job={"source": "in", "schema_name": "caption"})
    assert run["state_name"] == "Failed"
    assert run["state"]["message"] == (
        'no key: set TOGETHER_API_KEY or the Prefect Secret block `tilewise-api-key`, or add "Endpoint: offline" to try it'
        " with local OCR"
    )


def test_a_schedule_fires(api, wait):
    """A run that is due starts in less than twenty seconds."""
    asked = {"deployments": {"name": {"any_": ["often"]}}, "flow_runs": {"start_time": {"is_null_": False}}}
    run = wait(lambda: api.ask("POST", "flow_runs/filter", **asked))[0]
    started, due = (datetime.fromisoformat(run[name]) for name in ("start_time", "expected_start_time"))
    assert run["auto_scheduled"]
    assert -1 < (started - due).total_seconds() < 20
    api.ask("PATCH", f"deployments/{run['deployment_id']}", paused=True)


def test_a_run_shows_what_it_did(api, job, server, workspace_with_rate):
    """Name, state, progress, summary, log and warning; the key comes from Prefect, and no word from a reply."""
    save = [sys.executable, "-c", SAVE]
    env = workspace_with_rate.environment({"PREFECT_API_URL": f"{api.url}/api"})
    subprocess.run(save, env=env, check=True, capture_output=True, timeout=60)
    run = api.run_to_end("backfill/backfill", job=job)
    shown = api.artifacts(run)
    events = api.events(run, "tilewise.warning")
    log = api.logs(run)
    assert re.fullmatch(r"in → caption, \d{4}-\d\d-\d\d \d\d:\d\d", run["name"])
    assert (run["state_name"], run["state"]["message"]) == ("Completed", "2 accepted")
    assert shown["tilewise-progress"]["data"] == 100
    assert "2 of 2 documents" in shown["tilewise-progress"]["description"]
    assert "| accepted | 2 |" in shown["tilewise-summary"]["data"]
    assert str(workspace_with_rate.folder / "out" / "results") in shown["tilewise-summary"]["data"]
    reports = (workspace_with_rate.folder / "out" / "reports").glob("*.html")
    assert any(str(each) in shown["tilewise-summary"]["data"] for each in reports)
    assert "maker/model" in shown["tilewise-summary"]["data"]  # of .env where serve was started
    assert any("days old" in event["payload"]["warning"] for event in events)
    assert [line.partition(":")[0] for line in log if line.startswith(("started", "ended"))] == ["started", "ended"]
    assert set(server.keys) == {f"Bearer {SECRET}"}
    everything = str([shown, events, log, run])
    assert REPLY[:10] not in everything
    assert SECRET not in everything


def test_failures_are_shown_by_file(api, job, workspace_with_rate):
    """The files by name, and the share; a run of which more failed than may is Failed."""
    (workspace_with_rate.folder / "bad").mkdir()
    (workspace_with_rate.folder / "bad" / "c.jpg").write_bytes(b"no image")
    run = api.run_to_end("extract/nightly", job=job | {"source": "bad"})
    assert (run["state_name"], run["state"]["message"]) == (
        "Failed",
        "0 accepted, 1 rejected; 1 of 1 failed (100 %), 20 % allowed",
    )
    assert "/bad/c.jpg" in str(api.artifacts(run)["tilewise-failures"]["data"])


def test_some_failures_are_forgiven(api, job, workspace_with_rate):
    """Up to a fifth, where the job does not say; what was to be done again is in the log."""
    workspace_with_rate.images(*(f"{number}.jpg" for number in range(5)), folder="mostly")
    (workspace_with_rate.folder / "mostly" / "x.jpg").write_bytes(b"no image")
    run = api.run_to_end("backfill/backfill", job=job | {"source": "mostly"})
    assert (run["state_name"], run["state"]["message"]) == ("Completed", "5 accepted, 1 rejected")
    assert any(line.startswith("reprocessing: ") for line in api.logs(run))


def test_a_run_that_stops_as_told_is_partial(api, job, server):
    """The rest waits for the next run."""
    run = api.run_to_end("extract/nightly", job=job | {"budget": 0.0001})
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Partial")
    assert run["state"]["message"].startswith("0 accepted, 2 remaining; stopped: ")
    assert server.asked == []


def test_two_nights_at_once(api, job, server, replies):
    """The second one is cancelled, not begun and not kept for later."""
    server.hold(replies.ok())
    first = api.start("extract/nightly", job=job)
    api.until(first, "RUNNING")
    second = api.run_to_end("extract/nightly", job=job)
    server.gate.set()
    assert second["state_type"] == "CANCELLED"
    assert api.until(first)["state_type"] == "COMPLETED"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"budget": 0}, "job.budget"),
        ({"policy": "frugal"}, "job.policy"),
        ({"max_time": "soon"}, "job.max_time"),
        ({"limit": 0}, "job.limit"),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
def test_a_wrong_value_is_refused_before_a_run(api, job, wrong, named):
    """By Prefect, which names the field."""
    answer = api.start("backfill/backfill", job=job | wrong)
    assert "id" not in answer
    assert named in answer["detail"]


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"bill": "nonsense"}, "\"Tokens: bill rule\" 'nonsense': 'nonsense' is not a bill rule"),
        ({"source": "nowhere"}, "source 'nowhere' does not exist"),
    ],
)
def test_what_only_we_know_is_refused_first_thing_in_the_run(api, job, parameters, named):
    """The state names the field and the value."""
    run = api.run_to_end("backfill/backfill", job=job | parameters)
    assert run["state_type"] == "FAILED"
    assert named in run["state"]["message"]


def test_a_parameter_beside_the_job_is_refused_before_a_run(api, job):
    """By Prefect, which names it."""
    answer = api.start("backfill/backfill", job=job, jobs=1)
    assert "id" not in answer
    assert "'jobs' was unexpected" in answer["detail"]


def test_all_runs_share_one_rate(api):
    """TILEWISE_RPM, as a limit of the server's for the endpoint and model of the settings."""
    limit = api.ask("GET", "v2/concurrency_limits/tilewise-api.together.ai-maker-model")
    assert (limit["limit"], limit["slot_decay_per_second"]) == (50, 50)


def test_an_estimate_sends_nothing(api, job, server):
    """Also where a run is asked to be a dry one."""
    runs = [
        api.run_to_end("estimate/estimate", job=job),
        api.run_to_end("extract/nightly", job=job | {"dry_run": True}),
    ]
    assert [run["state"]["message"] for run in runs] == [runs[0]["state"]["message"]] * 2
    assert "2 documents" in runs[0]["state"]["message"]
    assert "| documents | 2 |" in api.artifacts(runs[0])["tilewise-estimate"]["data"]
    assert server.asked == []
