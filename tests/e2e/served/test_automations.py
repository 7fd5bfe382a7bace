"""The automations of docs/automations on a real server: Prefect accepts them, and they act as documented."""

import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parents[3] / "docs" / "automations"
PLACEHOLDER = "00000000-0000-0000-0000-000000000000"
BLOCK = """
from prefect.blocks.notifications import CustomWebhookNotificationBlock as Webhook
body = {"model": "{{subject}}", "messages": "{{body}}"}
block = Webhook(name="mail", url=%r, json_data=body, allow_private_urls=True)
print(block.save("mail"))
"""


@pytest.fixture(scope="module")
def workspace_with_old_prices(workspaces):
    """A workspace whose price list is old, which causes a warning."""
    workspace = workspaces(TOGETHER_API_KEY="any")
    prices = workspace.folder / "prices.toml"
    prices.write_text(prices.read_text().replace("as_of = 2026-11-01", "as_of = 2020-01-01"))
    return workspace


@pytest.fixture(scope="module")
def api(serve_at, workspace_with_old_prices):
    return serve_at(workspace_with_old_prices).api


@pytest.fixture
def run_python(api, workspace_with_old_prices):
    """Runs Python with the server's address, and returns its stdout."""

    def run(*args):
        env = workspace_with_old_prices.environment({"PREFECT_API_URL": f"{api.url}/api"})
        command = [sys.executable, *map(str, args)]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=60).stdout

    return run


@pytest.fixture
def create_automation(run_python, tmp_path):
    """Creates the automation of a file as documented, with some of its text replaced."""

    def create(file, **words):
        text = (FOLDER / f"{file}.yaml").read_text()
        for old, new in words.values():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{file}.yaml"
        path.write_text(text)
        return run_python("-m", "prefect", "automation", "create", "--from-file", path)

    return create


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_prefect_accepts_the_shipped_automation(api, create_automation, name):
    create_automation(name)
    expected = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    automation = {entry["name"]: entry for entry in api.request("POST", "automations/filter")}[expected["name"]]
    assert automation["enabled"]
    assert [action["type"] for action in automation["actions"]] == [action["type"] for action in expected["actions"]]


def test_mail_warnings_sends_the_warning_and_a_link(api, create_automation, run_python, serve, replies, wait):
    """To the webhook that the block names."""
    server, post = serve(replies.ok()), serve(replies.ok())
    block = run_python("-c", BLOCK % post.url).split()[-1]
    create_automation("mail-warnings", block=(PLACEHOLDER, block), name=("name: tilewise warnings", "name: mailed"))
    job = {"source": "in", "schema_name": "caption", "base_url": server.url, "yes": True}
    api.run_to_end("backfill/backfill", job=job)
    mail = wait(lambda: [request for request in post.asked if "days old" in request["messages"]])[0]
    assert mail["model"].startswith("tilewise: in → caption, ")
    assert f"{api.url}/runs/flow-run/" in mail["messages"]


def test_end_stale_runs_sets_a_run_without_heartbeat_to_crashed(api, create_automation):
    create_automation(
        "end-stale-runs", soon=("within: 600", "within: 10"), name=("name: tilewise stale runs", "name: soon")
    )
    flow = api.deployment("extract/nightly")["flow_id"]
    run = api.request("POST", "flow_runs/", flow_id=flow, name="stale", state={"type": "RUNNING"})
    related = {"prefect.resource.id": f"prefect.flow.{flow}", "prefect.resource.role": "flow"}
    heartbeat = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run['id']}", "prefect.resource.name": "stale"},
        "related": [related | {"prefect.resource.name": "extract"}],
    }
    api.send("POST", "events", [heartbeat])
    ended_run = api.wait_for_state(run)
    assert (ended_run["state_type"], ended_run["state"]["message"].partition(";")[0]) == (
        "CRASHED",
        "No heartbeat for ten minutes",
    )
