"""The automations of docs/automations on a real server: Prefect takes them, and they do what they are for."""

import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parents[3] / "docs" / "automations"
NOBODY = "00000000-0000-0000-0000-000000000000"
BLOCK = """
from prefect.blocks.notifications import CustomWebhookNotificationBlock as Webhook
body = {"model": "{{subject}}", "messages": "{{body}}"}
block = Webhook(name="mail", url=%r, json_data=body, allow_private_urls=True)
print(block.save("mail"))
"""


@pytest.fixture(scope="module")
def workspace_with_old_prices(workspaces):
    """A workspace at which the price in force is an old one, which is a warning."""
    workspace = workspaces(TOGETHER_API_KEY="any")
    prices = workspace.folder / "prices.toml"
    prices.write_text(prices.read_text().replace("as_of = 2026-11-01", "as_of = 2020-01-01"))
    return workspace


@pytest.fixture(scope="module")
def api(serve_at, workspace_with_old_prices):
    """The server's API."""
    return serve_at(workspace_with_old_prices).api


@pytest.fixture
def python(api, workspace_with_old_prices):
    """Runs Python with the server's address, and gives what it printed."""

    def run(*args):
        env = workspace_with_old_prices.environment({"PREFECT_API_URL": f"{api.url}/api"})
        command = [sys.executable, *map(str, args)]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=60).stdout

    return run


@pytest.fixture
def automate(python, tmp_path):
    """Creates the automation of a file as the README says, with words of it replaced."""

    def create(file, **words):
        text = (FOLDER / f"{file}.yaml").read_text()
        for old, new in words.values():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{file}.yaml"
        path.write_text(text)
        return python("-m", "prefect", "automation", "create", "--from-file", path)

    return create


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_prefect_takes_it(api, automate, name):
    """As it stands in the file."""
    automate(name)
    wanted = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    found = {each["name"]: each for each in api.ask("POST", "automations/filter")}[wanted["name"]]
    assert found["enabled"]
    assert [each["type"] for each in found["actions"]] == [each["type"] for each in wanted["actions"]]


def test_a_warning_is_mailed(api, automate, python, serve, replies, wait):
    """What the run warned of, its name and where to look, to whoever the block names."""
    server, post = serve(replies.ok()), serve(replies.ok())
    block = python("-c", BLOCK % post.url).split()[-1]
    automate("mail-warnings", block=(NOBODY, block), name=("name: tilewise warnings", "name: mailed"))
    job = {"source": "in", "schema_name": "caption", "base_url": server.url, "yes": True}
    api.run_to_end("backfill/backfill", job=job)
    mail = wait(lambda: [each for each in post.asked if "days old" in each["messages"]])[0]
    assert mail["model"].startswith("tilewise: in → caption, ")
    assert f"{api.url}/runs/flow-run/" in mail["messages"]


def test_a_stale_run_is_ended(api, automate):
    """One heartbeat and then none: it is Crashed, and no longer in the way of the next one."""
    automate("end-stale-runs", soon=("within: 600", "within: 10"), name=("name: tilewise stale runs", "name: soon"))
    flow = api.deployment("extract/nightly")["flow_id"]
    run = api.ask("POST", "flow_runs/", flow_id=flow, name="stale", state={"type": "RUNNING"})
    related = {"prefect.resource.id": f"prefect.flow.{flow}", "prefect.resource.role": "flow"}
    beat = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run['id']}", "prefect.resource.name": "stale"},
        "related": [related | {"prefect.resource.name": "extract"}],
    }
    api.send("POST", "events", [beat])
    ended = api.until(run)
    assert (ended["state_type"], ended["state"]["message"].partition(";")[0]) == (
        "CRASHED",
        "No heartbeat for ten minutes",
    )
