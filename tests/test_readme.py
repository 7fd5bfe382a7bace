"""The README: its queries run, its example works, and whatever it names is there."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import polars as pl
import pytest
import typer
from PIL import Image

from extractors.config.settings import PREFIX, Settings
from flows.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# What the server answers fits both the shipped receipt and the ticket of the README's example.
ANSWER = {
    "company": "Blue Heron",
    "date": "2019-03-05",
    "total": "42.98",
    "currency": "USD",
    "plate": "AB12",
    "day": None,
}
COMMANDS = typer.main.get_command(app).commands


def blocks(kind):
    """The README's code blocks of this kind."""
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


def named_settings():
    """Every setting that the README names; `_X` in the same row is short for `TILEWISE_X`."""
    written = re.findall(r"`((?:TILEWISE)?_[A-Z_]+)", README)
    return {name if name.startswith(PREFIX) else PREFIX + name[1:] for name in written}


def options(command):
    """The flags of one command."""
    return {flag for parameter in COMMANDS[command].params for flag in parameter.opts if flag.startswith("--")}


class Answers(BaseHTTPRequestHandler):
    """A server that has one answer to everything."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": json.dumps(ANSWER)}
        usage = {"prompt_tokens": 1700, "completion_tokens": 60}
        body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def url():
    """Where a server answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, url):
    """A working directory with the schema of the README's example, where receipts and a ticket were read."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "receipts").mkdir()
    Image.new("RGB", (300, 500), "white").save(folder / "receipts" / "one.jpg")
    Image.new("RGB", (310, 500), "white").save(folder / "receipts" / "two.png")
    (folder / "mine").mkdir()
    [ticket] = [each for each in blocks("python") if "class Ticket" in each]
    (folder / "mine" / "ticket.py").write_text(ticket)
    for schema in ("receipt", "mine.ticket:Ticket"):
        tilewise(folder, "run", "receipts", "--schema", schema, "--base-url", url, "--model", "m/x", "--yes")
    return folder


def tilewise(folder, *args):
    """The command, in this folder, with nothing set but what keeps it there."""
    prefixes = (PREFIX, "PREFECT_", "TOGETHER_API_KEY")
    env = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    env |= {"PYTHONPATH": str(ROOT), "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")}
    command = [sys.executable, "-m", "flows", *args]
    ended = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_query_in_sql_answers(folder, monkeypatch):
    """What each company cost, from the published files as they are."""
    monkeypatch.chdir(folder)
    [sql] = blocks("sql")
    with duckdb.connect() as database:
        [row] = database.execute(sql).fetchall()
    assert (row[0], row[1], float(row[2])) == ("Blue Heron", 2, 85.96)


def test_the_query_in_polars_answers(folder, monkeypatch):
    """How far each call was from its estimate, over all runs."""
    monkeypatch.chdir(folder)
    [query] = [each for each in blocks("python") if "import polars" in each]
    wide = pl.Config(tbl_cols=-1, tbl_width_chars=400)
    with wide, contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(query, "README.md", "exec"), {})
    assert "accepted" in said.getvalue()
    assert "residual_tokens" in said.getvalue()


def test_the_schema_of_the_example_is_read(folder):
    """Its rows lie under its name, with its fields."""
    [path] = (folder / "data" / "out" / "results" / "schema=ticket").rglob("*.parquet")
    with duckdb.connect() as database:
        rows = database.execute(f"SELECT plate, day FROM read_parquet('{path}')").fetchall()
    assert rows == [("AB12", None)] * 2


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:^|`)\s*tilewise ([a-z]+)", README, re.MULTILINE))))
def test_a_command_that_is_named_is_there(command):
    """No command is documented that does not exist."""
    assert command in COMMANDS


@pytest.mark.parametrize("line", re.findall(r"^ {4}tilewise .*$", README, re.MULTILINE))
def test_a_line_that_is_shown_is_understood(line):
    """Every flag on it is one of its command's."""
    _, command, *words = line.split()
    assert {word for word in words if word.startswith("--")} <= options(command)


OURS = re.sub(r"^ {4}prefect .*$", "", README, flags=re.MULTILINE)  # without the lines that are Prefect's commands


@pytest.mark.parametrize("flag", sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", OURS))))
def test_a_flag_that_is_named_is_there(flag):
    """No flag is documented that no command has."""
    assert any(flag in options(command) for command in COMMANDS)


@pytest.mark.parametrize("name", sorted(named_settings()))
def test_a_setting_that_is_named_is_there(name):
    """No setting is documented that does not exist."""
    assert name.removeprefix(PREFIX).lower() in Settings.model_fields


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_a_setting_that_is_there_is_named(name):
    """Every setting is documented."""
    assert PREFIX + name.upper() in named_settings()


@pytest.mark.parametrize("flag", sorted(options("run") - {"--help", "--schema", "--bill"}))
def test_a_flag_of_run_is_named(flag):
    """Every flag of the command that people use most is documented."""
    assert flag in README


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:flows|extractors|schemas|data|benchmarks)/[\w/.]*)`", README)))
)
def test_a_path_that_is_named_is_there(path):
    """No folder or file is documented that does not exist, but for the example's and what a run makes."""
    assert (ROOT / path).exists() or path in {"schemas/ticket.py", "data/out"}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z]+)", README))))
def test_a_target_that_is_named_is_there(target):
    """Whatever `make` is said to do, it does."""
    assert f"\n{target}:" in (ROOT / "Makefile").read_text()
