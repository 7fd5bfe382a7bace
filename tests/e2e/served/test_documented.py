"""The documented commands that need a Prefect server or a process of their own, as they are shown."""

import shlex
import shutil
import signal
import subprocess
import sys

import pytest
from support.markdown import PAGES, ROOT

pytestmark = pytest.mark.slow
PATIENCE = 120  # seconds
PREFECT = list(dict.fromkeys(line for each in PAGES for line in each.lines("prefect")))
TILEWISE = list(dict.fromkeys(line for each in PAGES for line in each.commands))
SHARDED = [line for line in TILEWISE if "--shard-size" in line]
SERVED = {"tilewise serve", "tilewise serve --port 4200"}  # what the fixture `serve_at` starts, at another port
OFFLINE = [line for line in TILEWISE if "--offline" in line and "data/samples" not in line]
ENDPOINT = [line for line in TILEWISE if line.startswith("tilewise endpoint")]


@pytest.fixture(scope="module")
def workspace(workspaces, echo):
    """What the documentation names beside a server: images, deployments, automations."""
    workspace = workspaces(TILEWISE_BASE_URL=echo)
    shutil.copytree(ROOT / "docs" / "automations", workspace.folder / "docs" / "automations")
    shutil.copy(ROOT / "prefect.yaml", workspace.folder)
    workspace.images("1.png", "2.png", "3.png", folder="scans")
    return workspace


@pytest.fixture(scope="module")
def served(serve_at, workspace):
    """`tilewise serve`, which every command below finds."""
    served = serve_at(workspace)
    workspace.env |= {"PREFECT_API_URL": f"{served.api.url}/api", "TILEWISE_MODEL": "maker/model"}
    return served


def test_serve_is_shown_as_it_is_started():
    """No other words than those that the tests of `serve` use."""
    assert {line for line in TILEWISE if line.startswith("tilewise serve")} == SERVED


@pytest.mark.soak  # the tests of deployments, automations and rate limits run the same commands
@pytest.mark.parametrize("line", PREFECT)
def test_a_prefect_command_is_taken(line, served, workspace):
    """In the order of the pages; a worker runs until it is told to stop."""
    assert served.api
    env = workspace.environment() | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", *shlex.split(line)[1:]]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=workspace.folder, env=env, text=True, **pipes) as process:
        if "worker start" in line:
            shown = until(process, "started!")
            process.send_signal(signal.SIGTERM)
        else:
            shown = process.communicate(timeout=PATIENCE)[0]
    assert "started!" in shown if "worker start" in line else process.returncode == 0, shown


@pytest.mark.parametrize("line", SHARDED)
def test_a_sharded_run_is_read_by_the_served_deployment(line, served, workspace):
    """As shown, with folders in place of buckets and shards of two documents."""
    assert served.api
    words = line.replace("s3://my-bucket/", "").replace("50000", "2").split()[1:]
    ended = workspace.tilewise(*words, "--yes")
    assert ended.returncode == 0, ended.stderr
    assert workspace.table("results", "tables").height == 3


@pytest.mark.parametrize("line", OFFLINE)
def test_an_offline_run_reads(line, workspaces):
    """With local OCR, as a flow where the line says so."""
    workspace = workspaces(TILEWISE_API_KEY=None, TILEWISE_MODEL=None)
    (workspace.folder / "invoices").mkdir()
    sample = min((ROOT / "data" / "samples" / "invoices").glob("*.[jp][pn]*g"), key=lambda path: path.stat().st_size)
    shutil.copy(sample, workspace.folder / "invoices")
    ended = workspace.tilewise(*line.split()[1:])
    assert ended.returncode == 0, ended.stderr
    assert workspace.only("runs")["accepted"] == 1


@pytest.mark.parametrize("line", ENDPOINT)
def test_the_endpoint_starts(line, workspaces):
    """With the documented file of faults."""
    workspace = workspaces()
    [text] = [text for each in PAGES for text in each.blocks("toml") if "[shares]" in text]
    (workspace.folder / "faults.toml").write_text(text)
    with workspace.start(*line.split()[1:], "--port", 0, stdout=subprocess.PIPE) as process:
        shown = until(process, "http://127.0.0.1:")
        process.terminate()
    assert "faults.toml" in shown


def until(process, words):
    """What the process prints up to a line with these words."""
    shown = ""
    for line in process.stdout:
        shown += line
        if words in line:
            break
    return shown
