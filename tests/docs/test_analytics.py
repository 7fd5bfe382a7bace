"""docs/analytics.md: the SQL and the polars code of each question return the same rows of a published history."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from support.markdown import page

PAGE = page("analytics")
SECTION = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
QUESTIONS = dict(SECTION.findall(PAGE.text))

PROGRAM = shutil.which("duckdb", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")


def find_block(text, kind):
    """The one code block of this kind."""
    [code] = re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return code


@pytest.fixture(scope="module")
def suppliers(history):
    """The reader's own table, as the page shows it, beside the output's folder."""
    path = history.folder / "suppliers.csv"
    path.write_text(find_block(QUESTIONS["How do I join my own table?"], "text"))
    return path


def normalise_rows(rows):
    """Rows with comparable numbers, rounded to nine digits."""
    return [tuple(round(float(cell), 9) if isinstance(cell, Decimal | float) else cell for cell in row) for row in rows]


def answer_sql(text):
    """The rows of the question's SQL, by the views beside the tables."""
    with duckdb.connect() as database:
        database.execute(Path("views.sql").read_text())
        return database.execute(find_block(text, "sql")).fetchall()


def answer_polars(text):
    """The rows of the question's polars, after the page's first block."""
    names = {}
    for code in (PAGE.blocks("python")[0], find_block(text, "python")):
        exec(compile(code, "analytics.md", "exec"), names)
    return names["answer"].rows()


def test_page_has_twelve_questions():
    assert len(QUESTIONS) == 12


@pytest.mark.parametrize("question", QUESTIONS)
def test_sql_and_polars_give_the_same_rows(question, history, suppliers, monkeypatch):
    """There is at least one row."""
    monkeypatch.chdir(history.folder / "out")
    in_sql, in_polars = (normalise_rows(answer(QUESTIONS[question])) for answer in (answer_sql, answer_polars))
    assert in_sql == in_polars
    assert in_sql


@pytest.mark.skipif(PROGRAM is None, reason="no program duckdb here: `pip install duckdb-cli` brings it")
def test_duckdb_program_answers_every_question(history, suppliers):
    """Started in the output's folder as the page says, it returns as many rows as the library."""
    folder = history.folder / "out"
    script = "\n".join(find_block(text, "sql") for text in QUESTIONS.values())
    command = [PROGRAM, "-init", "views.sql", "-batch", "-jsonlines"]
    result = subprocess.run(command, cwd=folder, input=script, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, "Error" in result.stderr) == (0, False), result.stderr
    with contextlib.chdir(folder):
        counts = [len(answer_sql(text)) for text in QUESTIONS.values()]
    rows = [list(json.loads(line)) for line in result.stdout.splitlines()]
    assert len(rows) == sum(counts)
    assert rows[0] == ["day", "model", "calls", "billed_usd", "unknown_usd"]


def test_answers_show_the_published_history(history, suppliers, monkeypatch):
    """They have the redone totals, the documents that climbed, and those without a row."""
    monkeypatch.chdir(history.folder / "out")
    changed = answer_sql(QUESTIONS["Which rows of the last run differ from the read before?"])
    assert {(Path(row[0]).name, row[3], row[4]) for row in changed} == {
        ("a.jpg", Decimal("42.98"), Decimal("43.98")),
        ("copy.jpg", Decimal("42.98"), Decimal("43.98")),
        ("c.jpg", Decimal("7.50"), Decimal("7.50")),  # its currency is gone
    }
    [(documents, gained, lower, last)] = answer_sql(QUESTIONS["What did climbing cost, and what did it gain?"])
    assert (documents, gained, lower > 0, last > 0) == (2, 2, True, True)
    unread = answer_sql(QUESTIONS["Which documents have no row?"])
    assert [(Path(row[0]).name, row[3]) for row in unread] == [
        ("e.jpg", "client_error"),
        ("text.png", "not_an_image"),
    ]
