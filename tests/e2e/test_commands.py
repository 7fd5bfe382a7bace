"""The commands that send nothing: estimate, schemas, endpoint, and what every command says of itself."""

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
    """A workspace with three images: one that fits, one to resize, one that is broken."""
    workspace.images("a.jpg")
    workspace.images("b.jpg", size=(2000, 1500))
    (workspace.folder / "in" / "c.jpg").write_bytes(b"")


def estimate(workspace, *args, env=None):
    """The object that `estimate --json` prints."""
    ended = workspace.run("estimate", "in", "--json", *args, env=env)
    assert ended.exit_code == 0, ended.stderr
    assert ended.stdout.count("\n") == 1
    return json.loads(ended.stdout)


def test_an_estimate_is_one_object_with_its_keys(workspace):
    """The keys are those of the contract, inside as well."""
    said = estimate(workspace)
    assert list(said) == KEYS
    assert list(said["tokens"]) == ["formula", "table", "planned"]
    assert list(said["cost_usd"]) == ["low", "expected", "high"]


def test_an_estimate_counts_and_chooses(workspace):
    """One picture fits, one is resized to one tile, one is rejected."""
    said = estimate(workspace, "--bill", "formula", "--schema", "caption")
    assert (said["images"], said["documents"], said["rejected"], said["skipped"]) == (3, 3, 1, 0)
    assert said["actions"] == {"send": 1, "resize": 1, "reject": 1}
    assert said["tokens"] == {"formula": 1601 + 4 * 1601, "table": 1601 + 4 * 1601, "planned": 2 * 1601}
    assert said["bill_rule"] == "formula"
    assert 0 < said["cost_usd"]["low"] <= said["cost_usd"]["expected"] <= said["cost_usd"]["high"]


def test_an_estimate_needs_neither_key_nor_model_nor_schema(workspace):
    """What cannot be known without them is null."""
    said = estimate(workspace, env=NOTHING)
    assert said["documents"] == 3
    assert said["cost_usd"] == {"low": None, "expected": None, "high": None}


def test_an_estimate_knows_shipped_prices(workspace):
    """A model of the table in the package has a cost without any setting."""
    said = estimate(workspace, "--model", "Qwen/Qwen3.5-9B", env=NOTHING | {"TILEWISE_PRICES": None})
    assert said["cost_usd"]["high"] > 0


def test_an_estimate_writes_nothing(workspace):
    """No ledger, no output, no file at all."""
    before = workspace.files()
    estimate(workspace, "--schema", "caption", "--output", "out")
    assert workspace.files() == before


@pytest.fixture
def begun(workspace, serve, replies):
    """The same workspace where one image was read."""
    workspace.env["TILEWISE_BASE_URL"] = serve(replies.ok()).url
    assert workspace.run("run", "in/a.jpg", "--schema", "caption").exit_code == 0
    return workspace


def test_an_estimate_with_an_output_leaves_out_what_is_done(begun):
    """What a run has done is skipped where its output is named."""
    said = estimate(begun, "--schema", "caption", "--output", "out")
    assert (said["documents"], said["skipped"]) == (2, 1)
    assert estimate(begun, "--schema", "caption")["skipped"] == 0


def test_an_estimate_says_how_long_it_will_take_once_that_is_known(begun):
    """The seconds of earlier answers are those of the next."""
    assert estimate(begun, "--schema", "caption")["eta_seconds"] >= 0
    assert estimate(begun, "--schema", "caption", env={"TILEWISE_LEDGER": None})["eta_seconds"] is None


def test_a_dry_run_is_the_estimate_of_the_run(begun):
    """The same keys, without what is done, and nothing is written."""
    before = begun.files()
    ended = begun.run("run", "in", "--schema", "caption", "--dry-run", "--json")
    said = json.loads(ended.stdout)
    assert (ended.exit_code, list(said)) == (0, KEYS)
    assert (said["documents"], said["skipped"]) == (2, 1)
    assert begun.files() == before


def test_an_estimate_for_people_has_the_same_numbers(workspace):
    """Both readings of the rule, what is sent first, and the cost."""
    ended = workspace.run("estimate", "in", "--schema", "caption", "--bill", "formula")
    assert ended.exit_code == 0
    said = [" ".join(line.split()) for line in ended.stdout.splitlines()]
    assert {"documents 3", "rejected 1", "rejected: empty 1"} <= set(said)
    assert "image tokens at full size, formula 8,005" in said
    assert "image tokens as first sent, formula 3,202" in said


def test_schemas_lists_every_document_that_is_shipped(workspace):
    """Each by its name, with what it is."""
    shipped = [path.stem for path in (ROOT / "schemas").glob("*.py") if not path.stem.startswith("_")]
    stdout = workspace.run("schemas").stdout
    assert {"receipt", "invoice", "screenshot", "comparison", "caption", "table"} <= set(shipped)
    assert [name for name in shipped if f" {name} " not in stdout] == []


@pytest.mark.parametrize("command", [(), ("run",), ("estimate",), ("schemas",), ("endpoint",)])
def test_every_command_explains_itself(workspace, command):
    """`--help` exits with 0."""
    ended = workspace.run(*command, "--help")
    assert ended.exit_code == 0
    assert "Usage: " in ended.stdout


@pytest.mark.parametrize("args", [("run",), ("run", "in", "--polcy", "x"), ("run", "in", "--policy", "x"), ("walk",)])
def test_a_command_that_is_none_is_no_success(workspace, args):
    """Usage errors exit with 2, and say what was wrong on stderr."""
    ended = workspace.run(*args)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr


def test_the_endpoint_says_where_it_listens_and_answers(workspace):
    """The command of its own, for another program to try against."""
    pipes = {"stdout": subprocess.PIPE}
    with workspace.start("endpoint", "--reader", "echo", "--port", "0", "--bill", "table", **pipes) as process:
        line = process.stdout.readline()
        url = line.split()[2]
        workspace.images("d.jpg")
        ended = workspace.run("run", "in/d.jpg", "--schema", "caption", "--base-url", url, "--bill", "table")
        process.terminate()
    assert line == f"tilewise endpoint: {url} echoes the schema, bills by table\n"
    assert ended.exit_code == 0
    assert workspace.only("runs")["residual_tokens"] == 0
