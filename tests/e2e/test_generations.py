"""Generations of a schema: compatible changes are read together with earlier rows, others are refused before any call."""

import json

import duckdb
import polars as pl
import pytest

RUN = ("run", "in", "--redo", "changed", "--schema")
FIRST = ("color: Literal['red']", "total: int")
SECOND = ("color: Literal['red', 'blue']", "total: int", "lines: list[Line]")
THIRD = ("color: str", "total: int | None", "lines: list[Line]", "painted: date | None")


@pytest.fixture(autouse=True)
def one_image(workspace, server, replies):
    """One image whose answer fits every generation."""
    line = {"text": "a"}
    server.answers_with(
        replies.ok({"color": "red", "total": 3, "lines": [line], "painted": "2026-11-20", "sum": 3, "shop": "x"})
    )
    workspace.with_images("a.jpg").using(server, reasks="0")


def make_schema(workspace, *fields, top="", line="text: str"):
    """A user's schema named `wall` with these fields."""
    text = (
        "from datetime import date\nfrom typing import Literal\n\nfrom pydantic import BaseModel\n\n"
        f"{top}\n\nclass Line(BaseModel):\n    {line}\n\n\nclass Wall(BaseModel):\n    '''A wall.'''\n\n    "
    )
    return f"{workspace.module(text + chr(10).join(fields).replace(chr(10), chr(10) + '    '))}:Wall"


@pytest.fixture
def workspace_with_rows(workspace):
    """A workspace after one generation was published."""
    assert workspace.run(*RUN, make_schema(workspace, *FIRST, "lines: list[Line]")).exit_code == 0
    return workspace


def test_readers_combine_three_generations(workspace):
    """Fields were added and widened twice; polars and DuckDB read every row, with null where a file lacks the field."""
    for fields in (FIRST, SECOND, THIRD):
        result = workspace.run(*RUN, make_schema(workspace, *fields))
        assert result.exit_code == 0, result.output
    files = sorted((workspace.folder / "out" / "results").rglob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    assert len(files) == 3
    frames = [
        pl.scan_parquet(source, missing_columns="insert", extra_columns="ignore").collect()
        for source in (files, files[::-1], workspace.folder / "out" / "results" / "schema=wall")
    ]
    assert [frame.height for frame in frames] == [3, 3, 3]
    assert frames[1]["painted"].null_count() == 2  # polars takes the columns of the first file
    pattern = f"{workspace.folder}/out/results/**/*.parquet"
    rows = duckdb.sql(
        f"select color, total, lines, painted from read_parquet('{pattern}', union_by_name=true) order by _extracted_at"
    ).fetchall()
    assert [[cell is None for cell in row[2:]] for row in rows] == [[True, True], [False, True], [False, False]]


@pytest.mark.parametrize(
    ("fields", "line", "reason"),
    [
        (("color: str", "lines: list[Line]"), "text: str", "field 'total' was removed"),
        (("color: str", "sum: int", "lines: list[Line]"), "text: str", "field 'total' was removed"),
        (("color: str", "total: str", "lines: list[Line]"), "text: str", "field 'total' was Int64, is String"),
        ((*FIRST, "lines: list[Line]"), "words: str", "field 'lines.text' was removed"),
    ],
)
def test_incompatible_schema_change_is_refused_before_any_call(workspace_with_rows, server, fields, line, reason):
    """Removed, renamed, retyped, removed in a nested model: one line, exit 2, no table."""
    before = workspace_with_rows.files()
    name = make_schema(workspace_with_rows, *fields, line=line)
    result = workspace_with_rows.run(*RUN, name)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert f"set VERSION = 2 in {name.partition(':')[0]} (published as schema=wall_v2)" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert len(server.asked) == 1
    assert [file for file in workspace_with_rows.files() if not file.endswith((".py", ".pyc"))] == [
        file for file in before if not file.endswith((".py", ".pyc"))
    ]


@pytest.mark.parametrize("command", [("run", "in", "--dry-run"), ("estimate", "in", "--output", "out")])
def test_estimate_with_output_refuses_incompatible_schema(workspace_with_rows, command):
    result = workspace_with_rows.run(*command, "--schema", make_schema(workspace_with_rows, "color: str"))
    assert result.exit_code == 2
    assert "field 'total' was removed" in result.stderr


def test_estimate_without_output_accepts_incompatible_schema(workspace_with_rows):
    assert (
        workspace_with_rows.run("estimate", "in", "--schema", make_schema(workspace_with_rows, "color: str")).exit_code
        == 0
    )


def test_new_schema_version_is_published_separately(workspace_with_rows):
    """`wall_v2` is the schema's name in paths and in every column."""
    result = workspace_with_rows.run(
        "run", "in", "--json", "--schema", make_schema(workspace_with_rows, "shop: str", top="VERSION = 2")
    )
    assert result.exit_code == 0, result.stderr
    run = json.loads(result.stdout)["run"]
    assert {path.split("/")[0] for path in workspace_with_rows.files("out/results")} == {
        "schema=wall",
        "schema=wall_v2",
    }
    assert {path.split("/")[0] for path in workspace_with_rows.files("out/replies")} == {
        "schema=wall",
        "schema=wall_v2",
    }
    tables = [
        workspace_with_rows.table(name).filter(pl.col("run") == run) for name in ("runs", "calls", "images", "fields")
    ]
    assert [table["schema"].unique().to_list() for table in tables] == [["wall_v2"]] * 4


def test_failure_names_its_schema_version(workspace_with_rows):
    workspace_with_rows.run(
        "run", "in", "--schema", make_schema(workspace_with_rows, "missing: str", top="VERSION = 2")
    )
    assert workspace_with_rows.only("failures")["schema"] == "wall_v2"


@pytest.mark.parametrize("version", ["'2'", "0", "-1", "2.0", "True", "None"])
def test_invalid_schema_version_is_refused(workspace, server, version):
    """The message names the value, the module and what is allowed."""
    name = make_schema(workspace, *FIRST, "lines: list[Line]", top=f"VERSION = {version}")
    result = workspace.run(*RUN, name)
    assert result.exit_code == 2
    assert f"VERSION {version} in {name.partition(':')[0]} must be a whole number from 1 on" in result.stderr
    assert not server.asked
