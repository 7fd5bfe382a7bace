"""The commands that send nothing (estimate, schemas, endpoint), and the help of every command."""

import json
import subprocess

import pytest
from support.command import ROOT

KEYS = [
    "images",
    "documents",
    "rejected",
    "skipped",
    "skipped_failed",
    "actions",
    "tokens",
    "bill_rule",
    "cost_usd",
    "sampled",
    "seconds",
    "eta_seconds",
    "incomplete",
    "passed_over",
    "warnings",
]
NOTHING = {"TILEWISE_API_KEY": None, "TILEWISE_MODEL": None, "TILEWISE_BASE_URL": None}


@pytest.fixture(autouse=True)
def images_and_an_empty_file(workspace):
    """A workspace with an image that fits, one that is resized, and a broken one."""
    workspace.images("a.jpg")
    workspace.images("b.jpg", size=(2000, 1500))
    (workspace.folder / "in" / "c.jpg").write_bytes(b"")


def estimate(workspace, *args, env=None):
    """The object that `estimate --json` prints."""
    result = workspace.run("estimate", "in", "--json", *args, env=env)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def test_estimate_json_has_documented_keys(workspace):
    estimated = estimate(workspace)
    assert list(estimated) == KEYS
    assert list(estimated["tokens"]) == ["formula", "table", "planned"]
    assert list(estimated["cost_usd"]) == ["low", "expected", "high"]


def test_estimate_counts_documents_actions_and_tokens(workspace):
    """One image fits, one is resized to one tile, one is rejected."""
    estimated = estimate(workspace, "--bill", "formula", "--schema", "caption")
    assert (estimated["images"], estimated["documents"], estimated["rejected"], estimated["skipped"]) == (3, 3, 1, 0)
    assert estimated["actions"] == {"send": 1, "resize": 1, "reject": 1}
    assert estimated["tokens"] == {"formula": 1601 + 4 * 1601, "table": 1601 + 4 * 1601, "planned": 2 * 1601}
    assert estimated["bill_rule"] == "formula"
    assert 0 < estimated["cost_usd"]["low"] <= estimated["cost_usd"]["expected"] <= estimated["cost_usd"]["high"]


def test_estimate_works_without_key_model_and_schema(workspace):
    """The cost is then null."""
    estimated = estimate(workspace, env=NOTHING)
    assert estimated["documents"] == 3
    assert estimated["cost_usd"] == {"low": None, "expected": None, "high": None}


def test_estimate_uses_shipped_prices(workspace):
    estimated = estimate(workspace, "--model", "Qwen/Qwen3.5-9B", env=NOTHING | {"TILEWISE_PRICES": None})
    assert estimated["cost_usd"]["high"] > 0


def test_estimate_writes_no_file(workspace):
    before = workspace.files()
    estimate(workspace, "--schema", "caption", "--output", "out")
    assert workspace.files() == before


@pytest.fixture
def workspace_with_one_result(workspace, serve, replies):
    """The workspace after a run has read one image."""
    workspace.env["TILEWISE_BASE_URL"] = serve(replies.ok()).url
    assert workspace.run("run", "in/a.jpg", "--schema", "caption").exit_code == 0
    return workspace


def test_estimate_with_output_skips_documents_with_results(workspace_with_one_result):
    estimated = estimate(workspace_with_one_result, "--schema", "caption", "--output", "out")
    assert (estimated["documents"], estimated["skipped"]) == (2, 1)
    assert estimate(workspace_with_one_result, "--schema", "caption")["skipped"] == 0


def test_estimate_has_eta_after_earlier_calls(workspace_with_one_result):
    """The ledger has their durations; without it, the estimate is null."""
    assert estimate(workspace_with_one_result, "--schema", "caption")["eta_seconds"] >= 0
    assert (
        estimate(workspace_with_one_result, "--schema", "caption", env={"TILEWISE_LEDGER": None})["eta_seconds"] is None
    )


def test_dry_run_prints_the_estimate_of_the_run(workspace_with_one_result):
    """It has the same keys, skips finished documents, and writes nothing."""
    before = workspace_with_one_result.files()
    result = workspace_with_one_result.run("run", "in", "--schema", "caption", "--dry-run", "--json")
    estimated = json.loads(result.stdout)
    assert (result.exit_code, list(estimated)) == (0, KEYS)
    assert (estimated["documents"], estimated["skipped"]) == (2, 1)
    assert workspace_with_one_result.files() == before


def test_estimate_text_has_counts_and_tokens(workspace):
    result = workspace.run("estimate", "in", "--schema", "caption", "--bill", "formula")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert {"documents 3", "rejected 1", "rejected: empty 1"} <= set(lines)
    assert "image tokens at full size, formula 8,005" in lines
    assert "image tokens as first sent, formula 3,202" in lines


def test_schemas_lists_every_shipped_schema(workspace):
    shipped = [path.stem for path in (ROOT / "schemas").glob("*.py") if not path.stem.startswith("_")]
    stdout = workspace.run("schemas").stdout
    assert {"receipt", "invoice", "screenshot", "comparison", "caption", "table"} <= set(shipped)
    assert [name for name in shipped if f" {name} " not in stdout] == []


@pytest.mark.parametrize("command", [(), ("run",), ("estimate",), ("schemas",), ("endpoint",)])
def test_help_of_every_command_exits_with_0(workspace, command):
    result = workspace.run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


@pytest.mark.parametrize("args", [("run",), ("run", "in", "--polcy", "x"), ("run", "in", "--policy", "x"), ("walk",)])
def test_usage_error_exits_with_2(workspace, args):
    """The message is on stderr."""
    result = workspace.run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_endpoint_prints_its_url_and_serves_a_run(workspace):
    pipes = {"stdout": subprocess.PIPE}
    with workspace.start("endpoint", "--reader", "echo", "--port", "0", "--bill", "table", **pipes) as process:
        line = process.stdout.readline()
        url = line.split()[2]
        workspace.images("d.jpg")
        result = workspace.run("run", "in/d.jpg", "--schema", "caption", "--base-url", url, "--bill", "table")
        process.terminate()
    assert line == f"tilewise endpoint: {url} echoes the schema, bills by table\n"
    assert result.exit_code == 0
    assert workspace.only("runs")["residual_tokens"] == 0
