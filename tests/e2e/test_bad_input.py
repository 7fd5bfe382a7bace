"""Invalid input: exit 2, one line that names the value and what is allowed, nothing sent, nothing written.

Covers `flows.preflight`, too.
"""

import socket

import pytest

RUN = ("run", "in", "--schema", "caption")


@pytest.fixture(autouse=True)
def one_image(workspace, server):
    """A workspace with one image and a server that accepts it."""
    workspace.with_images("a.jpg").using(server)


def test_refused_run_prints_one_line_to_stderr_only(workspace):
    result = workspace.tilewise("run", "nowhere", "--schema", "caption")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "tilewise: source 'nowhere' does not exist: use a folder of images or one image\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("run", "nowhere", "--schema", "caption"), ("nowhere", "folder")),
        (("run", "empty", "--schema", "caption"), ("empty", "jpg")),
        (("run", "prices.toml", "--schema", "caption"), ("prices.toml", "jpg")),
        (("run", "ftp://bucket/x", "--schema", "caption"), ("ftp://bucket/x", "folder", "s3://")),
        (("run", "in"), ("--schema", "receipt")),
        (("run", "in", "--schema", "recipe"), ("'recipe'", "receipt", "package.module:Model")),
        (("run", "in", "--schema", "no_such_module:Model"), ("no_such_module", "import")),
        (("run", "in", "--schema", "json:Model"), ("json", "Model")),
        (("run", "in", "--schema", "../x:Model"), ("../x:Model", "package.module:Model")),
        ((*RUN, "--bill", "formular"), ("formular", "formula", "flat:N")),
        ((*RUN, "--limit", "0"), ("limit", "0", "greater")),
        ((*RUN, "--limit", "-3"), ("limit", "-3", "greater")),
        ((*RUN, "--fail-above", "2"), ("fail-above", "2", "1")),
        ((*RUN, "--fail-above", "nan"), ("fail-above", "nan")),
        ((*RUN, "--max-time", "soon"), ("max-time", "'soon'", "90s")),
        ((*RUN, "--max-time", "0"), ("max-time", "0", "greater")),
        ((*RUN, "--base-url", "localhost:8000"), ("base-url", "localhost:8000", "http://")),
        ((*RUN, "--base-url", "http://me:word@host/v1"), ("base-url", "TILEWISE_API_KEY")),
        ((*RUN, "--output", "http://host/out"), ("http://host/out", "folder", "s3://")),
        ((*RUN, "--output", "prices.toml"), ("prices.toml", "cannot be")),
        ((*RUN, "--output", "prices.toml/deeper"), ("prices.toml/deeper", "cannot be")),
        ((*RUN, "--prefect", "--direct"), ("--prefect", "--direct")),
        (("estimate", "nowhere"), ("nowhere", "folder")),
        (("estimate", "in", "--schema", "recipe"), ("'recipe'", "receipt")),
        (("endpoint", "--bill", "formular"), ("--bill", "formular", "formula")),
    ],
)
def test_invalid_argument_is_named_with_allowed_values(workspace, server, args, words):
    """One line, exit 2, no chat request, no file."""
    (workspace.folder / "empty").mkdir()
    before = workspace.files()
    result = workspace.run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("tilewise: ")
    assert result.stderr.count("\n") == 1
    assert [word for word in words if word not in result.stderr] == []
    assert server.asked == []
    assert [file for file in workspace.files() if not file.startswith("ledger.db")] == before


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("TILEWISE_MODEL", None, ("--model", "TILEWISE_MODEL")),
        ("TILEWISE_BASE_URL", "ftp://host", ("TILEWISE_BASE_URL", "ftp://host", "http://", "offline")),
        ("TILEWISE_PROFILE", "bedrock", ("TILEWISE_PROFILE", "bedrock", "together", "vllm")),
        ("TILEWISE_MODE", "yaml", ("TILEWISE_MODE", "yaml", "json_schema", "tools")),
        ("TILEWISE_STREAM", "perhaps", ("TILEWISE_STREAM", "perhaps", "boolean")),
        ("TILEWISE_TEMPERATURE", "9", ("TILEWISE_TEMPERATURE", "9", "2")),
        ("TILEWISE_REASONING", "loud", ("TILEWISE_REASONING", "loud", "off")),
        ("TILEWISE_MAX_TOKENS", "0", ("TILEWISE_MAX_TOKENS", "0", "1")),
        ("TILEWISE_TIMEOUT", "-1", ("TILEWISE_TIMEOUT", "-1", "0")),
        ("TILEWISE_TIMEOUT", "nan", ("TILEWISE_TIMEOUT", "nan")),
        ("TILEWISE_ATTEMPTS", "none", ("TILEWISE_ATTEMPTS", "none", "integer")),
        ("TILEWISE_REASKS", "-1", ("TILEWISE_REASKS", "-1", "0")),
        ("TILEWISE_CONCURRENCY", "0", ("TILEWISE_CONCURRENCY", "0", "1")),
        ("TILEWISE_RPM", "0", ("TILEWISE_RPM", "0")),
        ("TILEWISE_TPM", "-5", ("TILEWISE_TPM", "-5", "0")),
        ("TILEWISE_DRAIN", "-1", ("TILEWISE_DRAIN", "-1", "0")),
        ("TILEWISE_CHUNK", "0", ("TILEWISE_CHUNK", "0", "1")),
        ("TILEWISE_VOLUME", "0", ("TILEWISE_VOLUME", "0", "1")),
        ("TILEWISE_OUTPUT", "ftp://host", ("ftp://host", "folder", "gs://")),
        ("TILEWISE_LEDGER", "mysql://host", ("TILEWISE_LEDGER", "mysql://host", "sqlite:///")),
        ("TILEWISE_ASK_ABOVE", "-1", ("TILEWISE_ASK_ABOVE", "-1", "0")),
        ("TILEWISE_PRICES", "nowhere.toml", ("TILEWISE_PRICES", "nowhere.toml")),
        ("TILEWISE_PRICES", "in/a.jpg", ("TILEWISE_PRICES", "in/a.jpg", "TOML")),
        ("TILEWISE_KEEP_REPLIES", "some", ("TILEWISE_KEEP_REPLIES", "some", "all", "none")),
        ("TILEWISE_DIRECT", "perhaps", ("TILEWISE_DIRECT", "perhaps", "boolean")),
    ],
)
def test_invalid_setting_is_named_with_value_and_allowed_values(workspace, server, setting, value, words):
    """One line, exit 2, no chat request, no file."""
    before = workspace.files()
    result = workspace.run(*RUN, env={setting: value})
    assert result.exit_code == 2
    assert result.stderr.startswith("tilewise: ")
    assert result.stderr.count("\n") == 1
    assert [word for word in words if word not in result.stderr] == []
    assert server.asked == []
    assert [file for file in workspace.files() if not file.startswith("ledger.db")] == before


def test_missing_key_suggests_setting_it_or_offline(workspace):
    result = workspace.run(*RUN, env={"TILEWISE_API_KEY": None, "TILEWISE_BASE_URL": None})
    assert result.exit_code == 2
    assert result.stderr == ("tilewise: no key: set TOGETHER_API_KEY, or add --offline to try it with local OCR\n")


def test_unreadable_settings_file_is_named(workspace, server):
    (workspace.folder / "tilewise.toml").write_text("model = ")
    result = workspace.run(*RUN)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("tilewise: tilewise.toml cannot be read")
    assert server.asked == []


def test_unknown_setting_in_file_is_named_with_allowed_names(workspace, server):
    (workspace.folder / "tilewise.toml").write_text('modle = "x"')
    result = workspace.run(*RUN)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "'modle'" in result.stderr
    assert "model" in result.stderr
    assert server.asked == []


def test_api_key_in_settings_file_is_refused(workspace, server):
    """The message does not repeat the key."""
    (workspace.folder / "tilewise.toml").write_text('api_key = "sk-written-down"')
    result = workspace.run(*RUN)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "environment or .env" in result.stderr
    assert "sk-written-down" not in result.stderr
    assert server.asked == []


def test_unreachable_endpoint_is_named(workspace):
    """Nothing is published."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        result = workspace.run(*RUN, "--base-url", url)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert url in result.stderr
    assert "cannot be reached" in result.stderr
    assert workspace.files("out") == []


def test_ledger_that_cannot_be_created_is_named(workspace, server):
    """Nothing is sent without a ledger."""
    result = workspace.run(*RUN, env={"TILEWISE_LEDGER": f"sqlite:///{workspace.folder / 'prices.toml' / 'ledger.db'}"})
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "ledger" in result.stderr
    assert server.asked == []


@pytest.mark.filterwarnings('ignore:Field name "schema"')  # pydantic warns of the name, too
@pytest.mark.parametrize("field", ["schema", "run_date"])
def test_field_named_like_a_partition_is_refused(workspace, server, field):
    """Readers would overwrite the field with the partition's value."""
    name = workspace.module(f"from pydantic import BaseModel\n\n\nclass Odd(BaseModel):\n    {field}: str\n")
    result = workspace.run("run", "in", "--schema", f"{name}:Odd")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert repr(field) in result.stderr
    assert server.asked == []
