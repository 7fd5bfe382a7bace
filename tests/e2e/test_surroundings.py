"""Unusable certificates, proxies and Prefect settings: one line, exit 2, nothing on stdout, nothing sent."""

import subprocess
import sys

import pytest

RUN = ["run", "in", "--schema", "caption", "--yes", "--json"]
NOT_LOCALHOST = {"TILEWISE_BASE_URL": "http://127.0.0.2:9/v1"}  # localhost is never behind a proxy
FLOWS = ["apply", "backfill", "calibrate", "estimate", "extract", "shard"]


@pytest.mark.parametrize(
    ("env", "variable"),
    [
        ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE"),
        ({"SSL_CERT_FILE": "/etc/hostname"}, "SSL_CERT_FILE"),
        ({"HTTP_PROXY": "foo://proxy:1"}, "HTTP_PROXY"),
        ({"ALL_PROXY": "nonsense://proxy:1"}, "ALL_PROXY"),
    ],
)
@pytest.mark.parametrize("mode", ["--direct", "--prefect"])
def test_invalid_client_environment_is_refused_in_one_line(workspace, env, variable, mode):
    """The line names the variable."""
    workspace.with_images("a.jpg")
    result = workspace.run(*RUN, mode, env=NOT_LOCALHOST | env)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert variable in result.stderr


def test_unreachable_proxy_is_refused_in_one_line(workspace):
    workspace.with_images("a.jpg")
    result = workspace.run(*RUN, "--direct", env=NOT_LOCALHOST | {"HTTP_PROXY": "http://127.0.0.1:9"})
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr


@pytest.mark.slow
def test_flows_ignore_prefect_default_retries(workspace):
    """Retries would send every document of a failed run again."""
    code = "".join(f"from flows.{name} import {name}\nassert {name}.retries == 0\n" for name in FLOWS)
    env = workspace.environment({"PREFECT_FLOWS_DEFAULT_RETRIES": "2"})
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
