"""The command line: help, errors and output; golden files hold what is printed."""

import json
import subprocess
import sys
from importlib.metadata import version
from typing import get_args

import pytest
from support.golden import transcript
from typer.main import get_command

from extractors.config.field_help import FIELD_HELP
from extractors.config.job import Job
from flows import flags
from flows.cli import app
from flows.help import OTHER

COMMANDS = sorted(get_command(app).commands)
NO_ENDPOINT = {"TILEWISE_API_KEY": None, "TILEWISE_MODEL": None}


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_of_commands(workspace, golden, command):
    """Every command describes itself and each flag."""
    golden(f"help/{command or 'tilewise'}", transcript(workspace, [*([command] if command else []), "--help"]))


def test_help_has_every_command_in_a_group_with_a_whole_summary_and_an_example():
    """At 80 columns no summary is cut; every example of a command that exists has flags of that command."""
    command = get_command(app)
    with command.make_context("tilewise", ["schemas"], resilient_parsing=True) as context:
        help_text = command.get_help(context)
        examples = {name: command.get_command(context, name).epilog for name in COMMANDS}
    assert "..." not in help_text.partition("Start:")[2]
    assert OTHER not in help_text
    for name, example in examples.items():
        words = example.split()
        flags = {flag for parameter in command.commands[name].params for flag in parameter.opts}
        assert words[:3] == ["Example:", "tilewise", name]
        assert {word for word in words if word.startswith("--")} <= flags


def test_version_is_that_of_the_package(workspace):
    assert workspace.run("--version").stdout == f"tilewise {version('tilewise')}\n"


def test_completion_completes_commands_and_flags(workspace):
    """The shell passes the words of the line."""
    completion = {"_TILEWISE_COMPLETE": "complete_bash", "COMP_WORDS": "tilewise run --redo-", "COMP_CWORD": "2"}
    assert workspace.run(env=completion).stdout.split() == ["--redo-before"]


def test_help_texts_cover_the_fields_of_a_job():
    """Every field has a help text, no text is left over, and the form's description begins with it."""
    assert FIELD_HELP.keys() == Job.model_fields.keys()
    assert all(field.description.startswith(FIELD_HELP[name]) for name, field in Job.model_fields.items())


def test_shared_flags_have_the_help_of_their_fields():
    """A flag has the same help in every command."""
    names = {"Source": "source", "SchemaName": "schema_name", "BillRule": "bill", "BaseUrl": "base_url", "Yes": "yes"}
    helps = {field: get_args(getattr(flags, name))[1].help for name, field in names.items()}
    assert helps == {field: FIELD_HELP[field] for field in helps}


def test_estimate_output(workspace, golden):
    """The table of an estimate: counts, actions, tokens, cost."""
    workspace.with_images("a.jpg").with_images("b.jpg", size=(2000, 1500))
    (workspace.folder / "in" / "c.jpg").write_bytes(b"")
    golden("estimate/table", transcript(workspace, ["estimate", "in", "--schema", "caption"]))
    golden("estimate/no-price", transcript(workspace, ["estimate", "in"], env=NO_ENDPOINT))


def test_run_output(workspace, golden, echo):
    """The summary of a run, of the next run with nothing to do, and of one that processes everything again."""
    workspace.with_images("a.jpg", "b.jpg").env["TILEWISE_BASE_URL"] = echo
    run = ["run", "in", "--schema", "caption", "--yes"]
    golden("run/summary", transcript(workspace, run))
    golden("run/nothing-to-do", transcript(workspace, run))
    golden("run/redo", transcript(workspace, [*run, "--redo", "all"]))


def test_run_with_failures_output(workspace, golden, serve, replies):
    """The summary of a run with a rejected document and a wrong answer."""
    workspace.with_images("a.jpg").env["TILEWISE_BASE_URL"] = serve(replies.ok("no JSON")).url
    (workspace.folder / "in" / "b.jpg").write_bytes(b"")
    golden("run/failures", transcript(workspace, ["run", "in", "--schema", "caption", "--yes"]))


def test_consent_output(workspace, golden, serve, replies):
    """Without a terminal, a run above the limit stops and names the limit and the flag."""
    workspace.with_images("a.jpg").env |= {"TILEWISE_BASE_URL": serve(replies.ok()).url, "TILEWISE_ASK_ABOVE": "0"}
    golden("run/consent", transcript(workspace, ["run", "in", "--schema", "caption"]))


def test_plan_output(workspace, golden, echo):
    """Storing a plan prints its estimate and its path; applying it prints the summary."""
    workspace.with_images("a.jpg").env["TILEWISE_BASE_URL"] = echo
    golden("run/plan-only", transcript(workspace, ["run", "in", "--schema", "caption", "--plan-only"]))
    [plan] = (workspace.folder / "out").rglob("plans/*.parquet")
    golden("apply/summary", transcript(workspace, ["apply", plan, "--yes"]))


RUN = ["run", "in", "--schema", "caption"]
ERRORS = {
    "run": [
        ["run", "nowhere", "--schema", "caption"],
        ["run", "in"],
        ["run", "in", "--schema", "unknown"],
        [*RUN, "--policy", "fast"],
        [*RUN, "--bill", "free"],
        [*RUN, "--budget", "-1"],
        [*RUN, "--max-time", "soon"],
        [*RUN, "--kind", "late"],
        [*RUN, "--base-url", "ftp://example.org"],
        [*RUN, "--base-url", "https://user:secret@example.org/v1"],
        [*RUN, "--modified-since", "yesterday"],
        [*RUN, "--modified-since", "2026-11-20", "--modified-until", "2026-11-19"],
        [*RUN, "--output", "ftp://example.org/out"],
        [*RUN, "--prefect", "--direct"],
        [*RUN, "--direct", "--shard-size", "10"],
        [*RUN, "--shard-size", "10"],
        [*RUN, "--redo", "reparse", "--shard-size", "10"],
    ],
    "apply": [["apply", "nowhere.parquet"], ["apply", "plan.parquet", "--budget", "0"]],
    "report": [["report"], ["report", "yesterday"], ["report", "20261120T021500Z-3f9a"]],
    "rows": [["rows"], ["rows", "--limit", "0"], ["rows", "--corrected", "nowhere.jsonl"]],
    "spend": [["spend", "--since", "then"], ["spend", "--since", "2026-11-20", "--until", "2026-11-19"]],
    "estimate": [["estimate", "in", "--sample", "few"], ["estimate", "nowhere"]],
    "endpoint": [["endpoint", "--bill", "free"], ["endpoint", "--reader", "echo", "--faults", "nowhere.toml"]],
}


@pytest.mark.parametrize("command", ERRORS)
def test_errors_of_commands(workspace, golden, command):
    """A wrong argument is one line that names the argument, its value and what is allowed."""
    workspace.with_images("a.jpg")
    golden(f"{command}/errors", transcript(workspace, *ERRORS[command]))


HEAVY = {
    "PIL.Image",
    "asyncio",
    "dotenv",
    "httpx",
    "polars",
    "prefect",
    "pydantic_settings",
    "rich.console",
    "sqlalchemy",
}
QUICK_ERRORS = [
    ["run", "in", "--schema", "unknown"],
    ["run", "in", "--schema", "caption"],  # without a key
    ["run", "in", "--schema", "caption", "--budget", "0"],
    ["run", "in", "--schema", "caption", "--shard-size", "5", "--offline"],
    ["run", "nowhere", "--schema", "caption", "--offline"],
    ["run", "empty", "--schema", "caption", "--offline"],
    ["estimate", "nowhere"],
    ["estimate", "empty"],
    ["estimate", "in", "--sample", "few"],
    ["estimate", "in", "--schema", "unknown"],
    ["try", "nowhere.jpg", "--schema", "caption", "--offline"],
    ["apply", "nowhere.parquet"],
    ["apply", "plan.json"],
    ["apply", "plan.parquet", "--budget", "0"],
    ["calibrate"],
    ["rows"],
    ["rows", "--corrected", "nowhere.jsonl"],
    ["report"],
    ["report", "yesterday"],
    ["report", "20261120T021500Z-3f9a"],
    ["forget", "in/a.jpg"],  # without a terminal
    ["forget", "in/a.jpg", "--yes"],  # without an output
    ["prune", "--replies", "old"],
    ["prune", "--replies", "90d"],  # without an output
    ["spend", "--since", "then"],
    ["schemas", "show", "recipt"],
    ["endpoint", "--bill", "free"],
    ["tune", "in", "--schema", "caption", "--truth", "nowhere.jsonl"],
    ["tune", "in", "--schema", "caption", "--truth", "in/a.jpg"],  # without a key
    ["tune", "in", "--schema", "caption", "--truth", "in/a.jpg", "--target", "2"],
]


def test_errors_do_not_wait_for_heavy_imports(workspace):
    """A usage error exits with code 2 before any heavy library is imported."""
    workspace.with_images("a.jpg")
    (workspace.folder / "empty").mkdir()
    code = (
        "import json, sys\nfrom flows.cli import app\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    try: app(arguments, prog_name='tilewise')\n"
        f"    except SystemExit as end: print(json.dumps([arguments, end.code, sorted({HEAVY} & sys.modules.keys())]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, json.dumps(QUICK_ERRORS)],
        cwd=workspace.folder,
        env=workspace.environment() | {"TOGETHER_API_KEY": "", "TILEWISE_API_KEY": "", "TILEWISE_BASE_URL": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        [arguments, 2, []] for arguments in QUICK_ERRORS
    ]


def test_errors_of_settings(workspace, golden):
    """A wrong setting is one line that names the setting, its value and what is allowed; a secret is not quoted."""
    workspace.with_images("a.jpg")
    wrong = {
        "TILEWISE_MODE": "xml",
        "TILEWISE_RPM": "0",
        "TILEWISE_API_KEY": "sécret",
        "TILEWISE_LEDGER": "ledger.db",
        "TILEWISE_ALLOW_HOSTS": "http://10.0.0.5",
        "TILEWISE_BASE_URL": "example.org",
        "TILEWISE_MODLE": "maker/model",
    }
    estimate = ["estimate", "in"]
    texts = [f"{name}={value}\n" + transcript(workspace, estimate, env={name: value}) for name, value in wrong.items()]
    golden("estimate/settings", "\n".join(texts))


def test_missing_settings_output(workspace, golden):
    """A run without a key, and one without a model, name the setting."""
    workspace.with_images("a.jpg")
    without_model = {"TILEWISE_MODEL": None}
    golden("run/no-key", transcript(workspace, RUN, env=NO_ENDPOINT))
    golden("run/no-model", transcript(workspace, RUN, env=without_model))


def select_findings(text):
    """Doctor's output without the lines of the settings."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("TILEWISE_"))


def test_doctor_output(workspace, golden, echo):
    """Doctor prints one line per requirement; other tests compare the settings above them."""
    workspace.with_images("a.jpg").env["TILEWISE_BASE_URL"] = echo
    golden("doctor/served", select_findings(transcript(workspace, ["doctor", "in"])))
    nothing = NO_ENDPOINT | {"TILEWISE_BASE_URL": None}
    golden("doctor/not-set", select_findings(transcript(workspace, ["doctor", "nowhere"], env=nothing)))


def test_spend_output(workspace, golden, echo):
    """The spending, one line per group and the total."""
    workspace.with_images("a.jpg", "b.jpg").env["TILEWISE_BASE_URL"] = echo
    assert workspace.run(*RUN, "--yes").exit_code == 0
    golden("spend/by-outcome", transcript(workspace, ["spend", "--by", "outcome"]))


def test_rows_output(workspace, golden, echo):
    """The rows of a run are a table; an unknown name is one line with the most similar known name."""
    workspace.with_images("a.jpg", "b.jpg").env["TILEWISE_BASE_URL"] = echo
    assert workspace.run(*RUN, "--yes").exit_code == 0
    (workspace.folder / "corrected.jsonl").write_text('{"document": "b.jpg", "caption": "Two walls", "tags": ["wall"]}')
    (workspace.folder / "wrong.jsonl").write_text('{"document": "b.jpg", "captoin": "Two walls"}')
    commands = (
        ["rows"],
        ["rows", "--columns", "_document,caption", "--limit", "1"],
        ["rows", "--corrected", "corrected.jsonl"],
    )
    wrong = (
        ["rows", "captoin"],
        ["rows", "--columns", "captoin"],
        ["rows", "--run", "x"],
        ["rows", "--corrected", "wrong.jsonl"],
    )
    golden("rows/caption", transcript(workspace, *commands, *wrong))
    jsonl = workspace.run("rows", "caption", "--format", "jsonl", "--columns", "_document").stdout.splitlines()
    assert [json.loads(line)["_document"].rpartition("/")[2] for line in jsonl] == ["a.jpg", "b.jpg"]


def test_schemas_output(workspace, golden):
    """The shipped schemas with their fields."""
    golden("schemas/list", transcript(workspace, ["schemas"]))
    golden("schemas/show", transcript(workspace, ["schemas", "show", "receipt"]))


PRINTING_SCHEMA = '''
from pydantic import BaseModel, field_validator

print("loaded")

class Caption(BaseModel):
    """A caption."""

    caption: str

    @field_validator("caption")
    @classmethod
    def check(cls, value):
        print("checked", value)
        return value
'''


@pytest.mark.parametrize("command", ["estimate", "run"])
def test_json_is_alone_on_stdout_when_a_schema_prints(workspace, echo, command):
    """Output of the user's schema while it loads and validates goes to stderr."""
    workspace.with_images("a.jpg").env["TILEWISE_BASE_URL"] = echo
    name = workspace.module(PRINTING_SCHEMA)
    flags = ["--yes"] if command == "run" else []
    code = "import sys; sys.path.insert(0, '.'); from flows.cli import app; app(prog_name='tilewise')"
    result = subprocess.run(
        [sys.executable, "-c", code, command, "in", "--schema", f"{name}:Caption", "--json", *flags],
        cwd=workspace.folder,
        env=workspace.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("{")
    assert result.stdout.count("\n") == 1
    assert "loaded" in result.stderr
