"""The docs describe everything that the code has, name nothing else, and their commands and queries run."""

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


def list_flags(command):
    """The flags of one command."""
    return {flag for parameter in COMMANDS[command].params for flag in parameter.opts if flag.startswith("--")}


def is_quick(line):
    """Whether a command needs no process of its own."""
    return line.split()[1] not in {"serve", "endpoint"} and not any(word in line for word in PROCESSES)


def list_quick_blocks(document, *, on_a_bucket):
    """The blocks of a page, each as its quick commands that name a bucket, or that name none."""
    blocks = [
        [line for line in block if is_quick(line) and ("s3://" in line) == on_a_bucket]
        for block in document.line_blocks("tilewise")
    ]
    return [block for block in blocks if block]


LOCAL = [document for document in PAGES if list_quick_blocks(document, on_a_bucket=False)]
REMOTE = [document for document in PAGES if list_quick_blocks(document, on_a_bucket=True)]


def format_default(value):
    """A default as the docs write it."""
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


# The docs have everything that the code has.


def test_every_setting_has_a_row_with_its_default():
    """Each setting stands once in docs/configuration.md; the ledger's default is a path of the machine."""
    text = page("configuration").text
    rows = dict(re.findall(r"^\| `(TILEWISE_[A-Z_]+)` \| `([^`]*)` \|", text, re.MULTILINE))
    assert len(rows) == len(re.findall(r"^\| `TILEWISE_", text, re.MULTILINE))
    defaults = {PREFIX + name.upper(): format_default(field.default) for name, field in Settings.model_fields.items()}
    assert rows == defaults | {"TILEWISE_LEDGER": "ledger.db"}


@pytest.mark.parametrize("table", TABLES)
def test_every_column_has_a_row_with_its_type(table):
    """Each column of a table stands once in docs/tables.md, in the table's order."""
    rows = [(cells[0], cells[1]) for cells in page("tables").rows(table)]
    assert rows == [(name, columns.format_type(dtype)) for name, dtype in TABLES[table].items()]


def test_every_view_has_a_row():
    """Rows have the names of views.sql."""
    rows = {cells[0] for cells in page("tables").rows("Views")}
    text = "\n".join(list_views("", ["<schema>"], {"failures", "images", "calls", "runs"}))
    assert rows == {name.strip('"') for name in re.findall(r"CREATE OR REPLACE VIEW (\S+) AS", text)}


def test_every_outcome_and_reject_reason_has_a_row():
    """They stand in docs/failures.md."""
    failures = page("failures")
    assert [cells[0] for cells in failures.rows("Outcomes of a call")] != []
    assert {cells[0] for cells in failures.rows("Outcomes of a call")} == set(get_args(Outcome))
    reasons = {cells[0] for cells in failures.rows("Reasons for which an image is rejected")}
    assert reasons == REJECT_REASONS


def test_every_bill_rule_profile_schema_and_deployment_has_a_row():
    """Each page lists them completely."""
    assert [cells[0] for cells in page("cost").rows("Bill rules")] == [*tiles.NAMES, "flat:N"]
    assert {cells[0] for cells in page("configuration").rows("Profiles")} == set(PROFILES)
    assert [cells[0] for cells in page("schemas").rows("Shipped schemas")] == list_shipped()
    deployments = {cells[0] for cells in page("prefect").rows("On one machine")}
    assert deployments == {deployment.name for deployment in load_deployments(ROOT / FILE)}


def test_every_flag_of_run_and_every_command_is_named():
    """Any page may name them."""
    text = "\n".join(document.text for document in PAGES)
    assert {flag for flag in list_flags("run") if flag not in text} == set()
    assert {name for name in COMMANDS if f"tilewise {name}" not in text} == set()


def test_every_extension_and_fault_is_named():
    """Extensions stand in docs/sources.md, and faults in docs/failures.md."""
    assert {extension for extension in EXTENSIONS if not re.search(rf"\b{extension}\b", page("sources").text)} == set()
    assert {kind for kind in KINDS if not re.search(rf"\b{kind}\b", page("failures").text)} == set()


def test_architecture_tree_names_every_module_and_package():
    """The tree of docs/architecture.md has the top level of `extractors` and `flows`."""
    tree = page("architecture").text
    entries = [*(ROOT / "extractors").iterdir(), *(ROOT / "flows").iterdir()]
    names = {entry.name if entry.is_dir() else entry.stem for entry in entries if entry.suffix in {"", ".py"}}
    missing = {name for name in names if not name.startswith("_") and not re.search(rf"\b{name}\b", tree)}
    assert missing == set()


# The docs name nothing that does not exist.


def test_docs_name_only_existing_settings_commands_and_flags():
    text = "\n".join(document.text for document in PAGES)
    settings = set(re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", text))
    assert settings - {PREFIX + name.upper() for name in Settings.model_fields} == set()
    assert set(re.findall(r"(?:^|`)tilewise ([a-z]+)", text, re.MULTILINE)) - set(COMMANDS) == set()
    prose = "\n".join(document.prose for document in PAGES)
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", prose))
    existing = {flag for command in COMMANDS for flag in list_flags(command)}
    existing |= {"--help"} | {flag for parameter in COMMAND.params for flag in parameter.opts}
    for path in (ROOT / "benchmarks").glob("*.py"):
        existing |= set(re.findall(r'add_argument\("(--[a-z-]+)"', path.read_text(encoding="utf-8")))
    assert flags - existing == {"--no-prompt", "--strict"}  # of Prefect and of mypy


def test_command_lines_have_only_flags_of_their_command():
    wrong = [
        line
        for document in PAGES
        for line in document.commands
        if not {word for word in line.split() if word.startswith("--")} <= list_flags(line.split()[1])
    ]
    assert wrong == []


def test_every_link_has_a_target():
    """Targets are files, pictures and headings."""
    broken = []
    for document in PAGES:
        for link in document.links:
            path, _, anchor = link.partition("#")
            target = (document.path.parent / path).resolve() if path else document.path
            exists = target.is_file() and (not anchor or anchor in type(document)(target).anchors)
            broken += [] if exists else [f"{document}: {link}"]
    assert broken == []


def test_docs_name_only_existing_paths_and_make_targets():
    """Files that the reader or a command creates are excepted."""
    text = "\n".join(document.text for document in PAGES)
    paths = set(re.findall(r"[` ]((?:flows|extractors|schemas|tests|benchmarks|docs|data/samples)/[\w/.]*)[` ]", text))
    assert {path for path in paths if not (ROOT / path).exists()} == {
        f"schemas/{name}.py" for name in ("ticket", "delivery_note", "example")
    }
    targets = set(re.findall(r"^\| `make ([a-z]+)`|^make ([a-z]+)$", text, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert {name for pair in targets for name in pair if name and f"\n{name}:" not in makefile} == set()


def test_docs_name_only_existing_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {name for document in PAGES for name in re.findall(r"tilewise\[(\w+)\]|the extras? `(\w+)`", document.text)}
    assert {name for pair in named for name in pair if name} <= set(project["optional-dependencies"])


@pytest.mark.parametrize("document", DOCS, ids=str)
def test_page_opens_with_its_task(document):
    """Its first paragraph states its purpose."""
    title, blank, task, *_ = document.text.splitlines()
    assert title.startswith("# ")
    assert blank == ""
    assert re.fullmatch(r"\*\*Task: .*\*\*", task)


# Commands, queries and files of the docs work.


@pytest.mark.slow
@pytest.mark.parametrize("document", LOCAL, ids=str)
def test_commands_of_a_page_run(document, docs_workspace):
    """They run in the order of the page."""
    docs_workspace.publish_run()
    for block in list_quick_blocks(document, on_a_bucket=False):
        docs_workspace.run_block(block)


@pytest.mark.slow
@pytest.mark.parametrize("document", REMOTE, ids=str)
def test_commands_of_a_page_run_on_a_bucket(document, docs_workspace_with_bucket):
    """These are the commands that name a bucket."""
    for block in list_quick_blocks(document, on_a_bucket=True):
        docs_workspace_with_bucket.run_block(block)


def test_cost_page_names_every_key_of_the_estimate_in_json(docs_workspace, workspace):
    assert docs_workspace
    ended = workspace.run("estimate", "invoices", "--schema", "invoice", "--json")
    text = page("cost").text
    assert {key for key in json.loads(ended.stdout) if f"`{key}`" not in text} == set()


@pytest.fixture(scope="module")
def workspace_with_runs(workspaces, serve_all, replies, tmp_path_factory):
    """A folder with published runs of accepted, copied, rejected and failed receipts, and with a calibration."""
    workspace = workspaces(TILEWISE_OUTPUT="data/out")
    workspace.images("one.jpg", "two.png", folder="receipts")
    (workspace.folder / "receipts" / "three.jpg").write_bytes((workspace.folder / "receipts" / "one.jpg").read_bytes())
    (workspace.folder / "receipts" / "text.png").write_text("no picture")
    server = serve_all(replies.ok(ANSWER))
    run = ("run", "receipts", "--schema", "receipt", "--base-url", server.url, "--yes", "--direct")
    workspace.run(*run, "--plan-only")
    workspace.run(*run)
    workspace.images("four.jpg", "five.jpg", folder="receipts")
    failing_server = serve_all([replies.error(400), replies.ok("no JSON"), replies.ok("no JSON"), replies.reset])
    workspace.run(
        *("run", "receipts", "--schema", "receipt", "--base-url", failing_server.url, "--yes", "--direct"),
        env={"TILEWISE_ATTEMPTS": "1", "TILEWISE_CONCURRENCY": "1"},
    )
    workspace.run("calibrate", "--yes", env={"TILEWISE_BASE_URL": server.url})
    return workspace


def test_every_sql_query_returns_rows(workspace_with_runs, monkeypatch):
    """Queries read the published files by the views beside them."""
    monkeypatch.chdir(workspace_with_runs.folder / "data/out")
    queries = [query for document in PAGES if document.path.name != "analytics.md" for query in document.blocks("sql")]
    with duckdb.connect() as database:
        database.execute(Path("views.sql").read_text())
        queries_without_rows = [query for query in queries if not database.execute(query).fetchall()]
    assert queries
    assert queries_without_rows == []


def test_polars_queries_print_calls_and_spending(workspace_with_runs, monkeypatch, capsys):
    """Calls are printed by outcome, and spending by day."""
    monkeypatch.chdir(workspace_with_runs.folder / "data/out")
    words_by_library = {
        "import polars": ["residual_tokens", "accepted"],
        "import duckdb": ["billed_usd", "maker/model"],
    }
    for library, words in words_by_library.items():
        for query in [query for query in page("tables").blocks("python") if library in query]:
            with pl.Config(tbl_cols=-1, tbl_width_chars=400):
                exec(compile(query, "docs", "exec"), {})
            printed = capsys.readouterr().out
            assert [word for word in words if word not in printed] == []


SUM_OF_MONEY = re.compile(r"\bsum\(((?:\w+\.)?(?:total|amount|price|spent))\)")


def test_no_query_sums_money_over_currencies():
    """A query that sums an amount of the documents groups by their currency."""
    queries = [query for document in PAGES for kind in ("sql", "python") for query in document.blocks(kind)]
    summing = [query for query in queries if SUM_OF_MONEY.search(query)]
    summing_in_polars = [query for query in queries if re.search(r'"total"\)\.sum\(', query)]
    assert summing
    assert summing_in_polars
    assert [query for query in summing_in_polars if not re.search(r'group_by\(.*"currency"', query)] == []
    assert [query for query in summing if not re.search(r"GROUP BY\b.*\bcurrency|GROUP BY ALL", query)] == []


@pytest.mark.parametrize("table", TABLES)
def test_column_is_null_only_where_its_row_says_so(table, workspace_with_runs):
    """The rows are those of accepted, copied, rejected and failed documents, and of probes."""
    rows = workspace_with_runs.table(table, "data/out")
    never = [cells[0] for cells in page("tables").rows(table) if not cells[2]]
    assert rows.height
    assert {name for name in never if rows[name].null_count()} == set()


def test_every_toml_and_json_block_is_read(tmp_path, monkeypatch):
    """They are prices, faults, settings and rehearsals."""
    monkeypatch.chdir(tmp_path)
    for number, text in enumerate(text for document in PAGES for text in document.blocks("toml")):
        path = tmp_path / ("tilewise.toml" if re.match(r"\w+ = ", text) and "[" not in text else f"{number}.toml")
        path.write_text(text)
        if "[models" in text:
            assert Prices(path).find("Qwen/Qwen3.5-9B")
        elif "[shares]" in text:
            assert read_faults(path).shares.server_error
        else:
            assert read_settings().model == "Qwen/Qwen3.5-9B"
    for text in [text for document in PAGES for text in document.blocks("json")]:
        Rehearsal().change(json.dumps(json.loads(text)).encode())


def test_every_manifest_is_read(tmp_path):
    """Its rows make a document of two pages and one of one page."""
    for text in [text for document in PAGES for text in document.blocks("csv")]:
        (tmp_path / "list.csv").write_text(text)
        assert [len(document.pages) for document in read_manifest(str(tmp_path / "list.csv")).documents()] == [2, 1]
