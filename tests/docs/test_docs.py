"""The documentation holds what the code has, names nothing that is not there, and its commands and queries run."""

import json
import re
import tomllib
from pathlib import Path
from typing import get_args

import duckdb
import polars as pl
import pytest
import typer
from support.markdown import DOCS, PAGES, ROOT, page

from extractors.call.profiles import PROFILES
from extractors.config.prices import Prices
from extractors.config.settings import PREFIX, Settings, read_settings
from extractors.core import REJECT_REASONS, Outcome, tiles
from extractors.core.schema import list_shipped
from extractors.endpoint.faults.rehearsal import Rehearsal
from extractors.endpoint.faults.spec import KINDS, read_faults
from extractors.plan.stored_plan import DOCUMENTS, INFO
from extractors.record.tables import columns
from extractors.record.tables.views import list_views
from extractors.scan import EXTENSIONS, read_manifest
from flows.cli import app
from flows.serving.deployment_file import FILE, load_deployments

COMMAND = typer.main.get_command(app)
COMMANDS = COMMAND.commands
PROCESSES = ("--offline", "--prefect", "--shard-size")  # in lines that the slow tests run
TABLES = {
    "results": columns.RESULTS,
    "replies": columns.REPLIES,
    "calls": columns.CALLS,
    "images": columns.IMAGES,
    "failures": columns.FAILURES,
    "fields": columns.FIELDS,
    "runs": columns.RUNS,
    "plans": {**DOCUMENTS, **INFO},
}
ANSWER = {"company": "Blue Heron", "date": "2019-03-05", "total": "42.98", "currency": "USD"}


def options(command):
    """The flags of one command."""
    return {flag for parameter in COMMANDS[command].params for flag in parameter.opts if flag.startswith("--")}


def quick(line):
    """Whether a command needs no process of its own."""
    return line.split()[1] not in {"serve", "endpoint"} and not any(word in line for word in PROCESSES)


def quick_blocks(each, *, on_a_bucket):
    """The blocks of a page, each as its quick commands that name a bucket, or none."""
    blocks = [
        [line for line in block if quick(line) and ("s3://" in line) == on_a_bucket]
        for block in each.line_blocks("tilewise")
    ]
    return [block for block in blocks if block]


LOCAL = [each for each in PAGES if quick_blocks(each, on_a_bucket=False)]
REMOTE = [each for each in PAGES if quick_blocks(each, on_a_bucket=True)]


def plain(value):
    """A default as the documentation writes it."""
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- what the code has is there


def test_every_setting_has_a_row_with_its_default():
    """Each setting stands once in docs/configuration.md; the ledger's default is a path of the machine."""
    text = page("configuration").text
    shown = dict(re.findall(r"^\| `(TILEWISE_[A-Z_]+)` \| `([^`]*)` \|", text, re.MULTILINE))
    assert len(shown) == len(re.findall(r"^\| `TILEWISE_", text, re.MULTILINE))
    defaults = {PREFIX + name.upper(): plain(field.default) for name, field in Settings.model_fields.items()}
    assert shown == defaults | {"TILEWISE_LEDGER": "ledger.db"}


@pytest.mark.parametrize("table", TABLES)
def test_every_column_has_a_row_with_its_type(table):
    """Each column of a table stands once in docs/tables.md, in the table's order."""
    shown = [(cells[0], cells[1]) for cells in page("tables").rows(table)]
    assert shown == [(name, columns.format_type(dtype)) for name, dtype in TABLES[table].items()]


def test_every_view_has_a_row():
    """By the names that views.sql gives them."""
    shown = {cells[0] for cells in page("tables").rows("Views")}
    text = "\n".join(list_views("", ["<schema>"], {"failures", "images", "calls", "runs"}))
    assert shown == {name.strip('"') for name in re.findall(r"CREATE OR REPLACE VIEW (\S+) AS", text)}


def test_every_outcome_and_reject_reason_has_a_row():
    """What can become of a call, and why an image may not be sent."""
    failures = page("failures")
    assert [cells[0] for cells in failures.rows("Outcomes of a call")] != []
    assert {cells[0] for cells in failures.rows("Outcomes of a call")} == set(get_args(Outcome))
    reasons = {cells[0] for cells in failures.rows("Reasons for which an image is rejected")}
    assert reasons == REJECT_REASONS


def test_every_bill_rule_profile_schema_and_deployment_has_a_row():
    """What a person chooses by name."""
    assert [cells[0] for cells in page("cost").rows("Bill rules")] == [*tiles.NAMES, "flat:N"]
    assert {cells[0] for cells in page("configuration").rows("Profiles")} == set(PROFILES)
    assert [cells[0] for cells in page("schemas").rows("Shipped schemas")] == list_shipped()
    deployments = {cells[0] for cells in page("prefect").rows("On one machine")}
    assert deployments == {each.name for each in load_deployments(ROOT / FILE)}


def test_every_flag_of_run_and_every_command_is_named():
    """Somewhere in the documentation."""
    text = "\n".join(each.text for each in PAGES)
    assert {flag for flag in options("run") if flag not in text} == set()
    assert {name for name in COMMANDS if f"tilewise {name}" not in text} == set()


def test_every_extension_and_fault_is_named():
    """Where sources and rehearsals are described."""
    assert {each for each in EXTENSIONS if not re.search(rf"\b{each}\b", page("sources").text)} == set()
    assert {each for each in KINDS if not re.search(rf"\b{each}\b", page("failures").text)} == set()


def test_every_part_of_the_packages_stands_in_the_tree():
    """The tree of docs/architecture.md is whole."""
    tree = page("architecture").text
    entries = [*(ROOT / "extractors").iterdir(), *(ROOT / "flows").iterdir()]
    names = {each.name if each.is_dir() else each.stem for each in entries if each.suffix in {"", ".py"}}
    missing = {name for name in names if not name.startswith("_") and not re.search(rf"\b{name}\b", tree)}
    assert missing == set()


# --- what is named is there


def test_no_setting_command_or_flag_is_invented():
    """Whatever is named exists."""
    text = "\n".join(each.text for each in PAGES)
    settings = set(re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", text))
    assert settings - {PREFIX + name.upper() for name in Settings.model_fields} == set()
    assert set(re.findall(r"(?:^|`)tilewise ([a-z]+)", text, re.MULTILINE)) - set(COMMANDS) == set()
    prose = "\n".join(each.prose for each in PAGES)
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", prose))
    known = {flag for command in COMMANDS for flag in options(command)}
    known |= {"--help"} | {flag for parameter in COMMAND.params for flag in parameter.opts}
    for path in (ROOT / "benchmarks").glob("*.py"):
        known |= set(re.findall(r'add_argument\("(--[a-z-]+)"', path.read_text(encoding="utf-8")))
    assert flags - known == {"--no-prompt", "--strict"}  # of Prefect and of mypy


def test_every_flag_of_a_command_line_is_one_of_that_command():
    """A line can be typed as it is shown."""
    wrong = [
        line
        for each in PAGES
        for line in each.commands
        if not {word for word in line.split() if word.startswith("--")} <= options(line.split()[1])
    ]
    assert wrong == []


def test_every_link_leads_somewhere():
    """Files, pictures and headings."""
    broken = []
    for each in PAGES:
        for link in each.links:
            path, _, anchor = link.partition("#")
            target = (each.path.parent / path).resolve() if path else each.path
            known = target.is_file() and (not anchor or anchor in type(each)(target).anchors)
            broken += [] if known else [f"{each}: {link}"]
    assert broken == []


def test_every_path_and_make_target_is_there():
    """But for what the reader or a run makes."""
    text = "\n".join(each.text for each in PAGES)
    paths = set(re.findall(r"[` ]((?:flows|extractors|schemas|tests|benchmarks|docs|data/samples)/[\w/.]*)[` ]", text))
    assert {each for each in paths if not (ROOT / each).exists()} == {
        f"schemas/{name}.py" for name in ("ticket", "delivery_note", "example")
    }
    targets = set(re.findall(r"^\| `make ([a-z]+)`|^make ([a-z]+)$", text, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert {name for pair in targets for name in pair if name and f"\n{name}:" not in makefile} == set()


def test_every_extra_that_is_installed_is_there():
    """`pip install "tilewise[offline]"` installs something."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {name for each in PAGES for name in re.findall(r"tilewise\[(\w+)\]|the extras? `(\w+)`", each.text)}
    assert {name for pair in named for name in pair if name} <= set(project["optional-dependencies"])


@pytest.mark.parametrize("each", DOCS, ids=str)
def test_a_page_opens_with_its_task(each):
    """Its first paragraph says what it is for."""
    title, blank, task, *_ = each.text.splitlines()
    assert title.startswith("# ")
    assert blank == ""
    assert re.fullmatch(r"\*\*Task: .*\*\*", task)


# --- what is shown runs


@pytest.mark.slow
@pytest.mark.parametrize("each", LOCAL, ids=str)
def test_the_commands_of_a_page_run(each, documented):
    """In the order in which they are shown."""
    documented.publish_a_run()
    for block in quick_blocks(each, on_a_bucket=False):
        documented.run_block(block)


@pytest.mark.slow
@pytest.mark.parametrize("each", REMOTE, ids=str)
def test_the_commands_of_a_page_run_on_a_bucket(each, with_bucket):
    """The same for those that name a bucket."""
    for block in quick_blocks(each, on_a_bucket=True):
        with_bucket.run_block(block)


def test_every_key_of_the_estimate_in_json_is_named(documented, workspace):
    """In docs/cost.md."""
    assert documented
    ended = workspace.run("estimate", "invoices", "--schema", "invoice", "--json")
    text = page("cost").text
    assert {key for key in json.loads(ended.stdout) if f"`{key}`" not in text} == set()


@pytest.fixture(scope="module")
def workspace_with_runs(workspaces, serve_all, replies, tmp_path_factory):
    """A folder in which receipts were read, copied, rejected and refused, and probes were sent."""
    workspace = workspaces(TILEWISE_OUTPUT="data/out")
    workspace.images("one.jpg", "two.png", folder="receipts")
    (workspace.folder / "receipts" / "three.jpg").write_bytes((workspace.folder / "receipts" / "one.jpg").read_bytes())
    (workspace.folder / "receipts" / "text.png").write_text("no picture")
    good = serve_all(replies.ok(ANSWER))
    run = ("run", "receipts", "--schema", "receipt", "--base-url", good.url, "--yes", "--direct")
    workspace.run(*run, "--plan-only")
    workspace.run(*run)
    workspace.images("four.jpg", "five.jpg", folder="receipts")
    bad = serve_all([replies.error(400), replies.ok("no JSON"), replies.ok("no JSON"), replies.reset])
    workspace.run(
        *("run", "receipts", "--schema", "receipt", "--base-url", bad.url, "--yes", "--direct"),
        env={"TILEWISE_ATTEMPTS": "1", "TILEWISE_CONCURRENCY": "1"},
    )
    workspace.run("calibrate", "--yes", env={"TILEWISE_BASE_URL": good.url})
    return workspace


def test_every_query_in_sql_answers(workspace_with_runs, monkeypatch):
    """Each finds rows in the published files as they are, by the views beside them."""
    monkeypatch.chdir(workspace_with_runs.folder / "data/out")
    queries = [query for each in PAGES if each.path.name != "analytics.md" for query in each.blocks("sql")]
    with duckdb.connect() as database:
        database.execute(Path("views.sql").read_text())
        empty = [query for query in queries if not database.execute(query).fetchall()]
    assert queries
    assert empty == []


def test_every_query_in_polars_answers(workspace_with_runs, monkeypatch, capsys):
    """The calls are printed by outcome, and the spending by day."""
    monkeypatch.chdir(workspace_with_runs.folder / "data/out")
    shown = {"import polars": ["residual_tokens", "accepted"], "import duckdb": ["billed_usd", "maker/model"]}
    for library, words in shown.items():
        for query in [query for query in page("tables").blocks("python") if library in query]:
            with pl.Config(tbl_cols=-1, tbl_width_chars=400):
                exec(compile(query, "docs", "exec"), {})
            printed = capsys.readouterr().out
            assert [word for word in words if word not in printed] == []


SUM_OF_MONEY = re.compile(r"\bsum\(((?:\w+\.)?(?:total|amount|price|spent))\)")


def test_no_query_sums_money_over_currencies():
    """A query that sums an amount of the documents groups by their currency."""
    queries = [query for each in PAGES for kind in ("sql", "python") for query in each.blocks(kind)]
    summing = [query for query in queries if SUM_OF_MONEY.search(query)]
    summing_in_polars = [query for query in queries if re.search(r'"total"\)\.sum\(', query)]
    assert summing
    assert summing_in_polars
    assert [query for query in summing_in_polars if not re.search(r'group_by\(.*"currency"', query)] == []
    assert [query for query in summing if not re.search(r"GROUP BY\b.*\bcurrency|GROUP BY ALL", query)] == []


@pytest.mark.parametrize("table", TABLES)
def test_a_column_is_null_only_where_its_row_says_so(table, workspace_with_runs):
    """Over accepted, copied, rejected and failed documents, and probes."""
    rows = workspace_with_runs.table(table, "data/out")
    never = [cells[0] for cells in page("tables").rows(table) if not cells[2]]
    assert rows.height
    assert {name for name in never if rows[name].null_count()} == set()


def test_every_configuration_file_is_read(tmp_path, monkeypatch):
    """Prices, faults, settings, and what a rehearsal is told."""
    monkeypatch.chdir(tmp_path)
    for number, text in enumerate(text for each in PAGES for text in each.blocks("toml")):
        path = tmp_path / ("tilewise.toml" if re.match(r"\w+ = ", text) and "[" not in text else f"{number}.toml")
        path.write_text(text)
        if "[models" in text:
            assert Prices(path).find("Qwen/Qwen3.5-9B")
        elif "[shares]" in text:
            assert read_faults(path).shares.server_error
        else:
            assert read_settings().model == "Qwen/Qwen3.5-9B"
    for text in [text for each in PAGES for text in each.blocks("json")]:
        Rehearsal().change(json.dumps(json.loads(text)).encode())


def test_every_manifest_is_read(tmp_path):
    """Its rows make documents."""
    for text in [text for each in PAGES for text in each.blocks("csv")]:
        (tmp_path / "list.csv").write_text(text)
        assert [len(each.pages) for each in read_manifest(str(tmp_path / "list.csv")).documents()] == [2, 1]
