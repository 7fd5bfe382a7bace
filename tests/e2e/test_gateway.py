"""Runs through a real gateway: LiteLLM's proxy, in its own virtual environment, in front of the echo endpoint."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PACKAGE = "litellm[proxy]==1.74.9"
INSTALL_SECONDS, START_SECONDS = 900, 120
RUN = ("run", "in", "--schema", "caption", "--yes")
KEYS = """
from litellm import BudgetExceededError
from litellm.proxy._types import UserAPIKeyAuth


async def check(request, api_key):
    if api_key == "sk-at-its-end":
        raise BudgetExceededError(current_cost=20.1, max_budget=20.0)
    if api_key != "sk-right":
        raise Exception("no such key")
    return UserAPIKeyAuth(api_key=api_key)
"""
CONFIG = """
model_list:
  - model_name: good
    litellm_params: {{model: openai/echo, api_base: {url}, api_key: none}}
general_settings: {{custom_auth: gateway_keys.check}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The proxy's program: TILEWISE_TEST_LITELLM, else newly installed; skips if that fails."""
    if path := os.environ.get("TILEWISE_TEST_LITELLM"):
        return Path(path)
    folder = tmp_path_factory.mktemp("litellm")
    try:
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True, capture_output=True)
        install = [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", PACKAGE]
        subprocess.run(install, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"{PACKAGE} cannot be installed: {type(error).__name__}")
    return folder / "bin" / "litellm"


@pytest.fixture(scope="module")
def gateway(program, echo, tmp_path_factory):
    """The base URL of the running proxy."""
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "gateway_keys.py").write_text(KEYS)
    (folder / "config.yaml").write_text(CONFIG.format(url=echo))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    command = [program, "--config", folder / "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log) as proxy,
    ):
        try:
            wait_for(f"http://127.0.0.1:{port}/health/liveliness", proxy)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            proxy.terminate()


def wait_for(url, proxy):
    """Waits until the proxy answers; skips if it does not start."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and proxy.poll() is None:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(0.5)
    pytest.skip("the proxy does not start here")


@pytest.fixture
def run(workspace, gateway):
    """Runs six documents through the gateway with this key and model."""
    workspace.with_images(*(f"{number}.png" for number in range(6)))
    prices = workspace.folder / "prices.toml"
    prices.write_text('[models."good"]\ninput = 1\noutput = 1\n[models."absent"]\ninput = 1\noutput = 1\n')

    def start(key="sk-right", model="good"):
        env = {"TILEWISE_BASE_URL": gateway, "TILEWISE_API_KEY": key, "TILEWISE_MODEL": model}
        return workspace.run(*RUN, env=env)

    return start


def test_valid_key_is_accepted(workspace, run):
    result = run()
    assert result.exit_code == 0, result.output
    assert workspace.only("runs")["accepted"] == 6
    assert workspace.table("calls")["billed"].unique().to_list() == ["yes"]


def test_invalid_key_stops_the_run(workspace, run):
    result = run(key="sk-wrong")
    assert result.exit_code == 2
    assert "TILEWISE_API_KEY" in workspace.only("runs")["error"]
    assert (workspace.only("runs")["status"], workspace.only("runs")["remaining"]) == ("refused", 6)


def test_unknown_model_stops_the_run_before_any_answer(workspace, run):
    """The gateway answers 400: five equal refusals are taken as an error of the request."""
    result = run(model="absent")
    row = workspace.only("runs")
    assert result.exit_code == 2
    assert "Invalid model name" in row["error"]
    assert (row["status"], row["failed"], row["remaining"]) == ("refused", 0, 6)


def test_exceeded_gateway_budget_stops_the_run(workspace, run):
    """The gateway answers 400, which is treated like a 402."""
    result = run(key="sk-at-its-end")
    row = workspace.only("runs")
    assert result.exit_code == 2
    assert "spending limit is reached" in row["error"]
    assert (row["status"], row["failed"], row["remaining"]) == ("refused", 0, 6)
    assert workspace.table("calls").height < 6
