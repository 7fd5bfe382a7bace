"""The documented commands that need a Prefect server or a process of their own."""

import shlex
import shutil
import signal
import subprocess
import sys

import pytest
from support.markdown import PAGES, ROOT

pytestmark = pytest.mark.slow
PATIENCE = 120  # seconds
PREFECT = list(dict.fromkeys(line for page in PAGES for line in page.lines("prefect")))
TILEWISE = list(dict.fromkeys(line for page in PAGES for line in page.commands))
SHARDED = [line for line in TILEWISE if "--shard-size" in line]
SERVED = {"tilewise serve", "tilewise serve --port 4200"}  # the fixture `serve_at` starts them with another port
OFFLINE = [line for line in TILEWISE if "--offline" in line and "data/samples" not in line]
ENDPOINT = [line for line in TILEWISE if line.startswith("tilewise endpoint")]


@pytest.fixture(scope="module")
def workspace(workspaces, echo):
    """A workspace with the images, deployments and automations that the docs name."""
    workspace = workspaces(TILEWISE_BASE_URL=echo)
    shutil.copytree(ROOT / "docs" / "automations", workspace.folder / "docs" / "automations")
    shutil.copy(ROOT / "prefect.yaml", workspace.folder)
    workspace.images("1.png", "2.png", "3.png", folder="scans")
    return workspace


@pytest.fixture(scope="module")
def serve_process(serve_at, workspace):
    """A `tilewise serve` that the documented commands use."""
    serve_process = serve_at(workspace)
    workspace.env |= {"PREFECT_API_URL": f"{serve_process.api.url}/api", "TILEWISE_MODEL": "maker/model"}
    return serve_process


def test_documented_serve_commands_are_tested():
    assert {line for line in TILEWISE if line.startswith("tilewise serve")} == SERVED


@pytest.mark.soak  # the tests of deployments, automations and rate limits run the same commands
@pytest.mark.parametrize("line", PREFECT)
def test_documented_prefect_command_succeeds(line, serve_process, workspace):
    """In the order of the pages; a worker runs until it is stopped."""
    assert serve_process.api
    env = workspace.environment() | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", *shlex.split(line)[1:]]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=workspace.folder, env=env, text=True, **pipes) as process:
        if "worker start" in line:
            output = read_until(process, "started!")
            process.send_signal(signal.SIGTERM)
        else:
            output = process.communicate(timeout=PATIENCE)[0]
    assert "started!" in output if "worker start" in line else process.returncode == 0, output


@pytest.mark.parametrize("line", SHARDED)
def test_documented_sharded_run_uses_the_served_deployment(line, serve_process, workspace):
    """With folders instead of buckets, and shards of two documents."""
    assert serve_process.api
    words = line.replace("s3://my-bucket/", "").replace("50000", "2").split()[1:]
    result = workspace.tilewise(*words, "--yes")
    assert result.returncode == 0, result.stderr
    assert workspace.table("results", "tables").height == 3


@pytest.mark.parametrize("line", OFFLINE)
def test_documented_offline_run_accepts_an_invoice(line, workspaces):
    workspace = workspaces(TILEWISE_API_KEY=None, TILEWISE_MODEL=None)
    (workspace.folder / "invoices").mkdir()
    sample = min((ROOT / "data" / "samples" / "invoices").glob("*.[jp][pn]*g"), key=lambda path: path.stat().st_size)
    shutil.copy(sample, workspace.folder / "invoices")
    result = workspace.tilewise(*line.split()[1:])
    assert result.returncode == 0, result.stderr
    assert workspace.only("runs")["accepted"] == 1


@pytest.mark.parametrize("line", ENDPOINT)
def test_documented_endpoint_command_starts(line, workspaces):
    """With the documented file of faults."""
    workspace = workspaces()
    [text] = [text for page in PAGES for text in page.blocks("toml") if "[shares]" in text]
    (workspace.folder / "faults.toml").write_text(text)
    with workspace.start(*line.split()[1:], "--port", 0, stdout=subprocess.PIPE) as process:
        output = read_until(process, "http://127.0.0.1:")
        process.terminate()
    assert "faults.toml" in output


def read_until(process, words):
    """The output of a process up to a line with this text."""
    output = ""
    for line in process.stdout:
        output += line
        if words in line:
            break
    return output
