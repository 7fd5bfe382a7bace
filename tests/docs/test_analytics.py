"""docs/analytics.md: each question is answered by its SQL and by its polars with the same rows of a published history."""

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


def block(text, kind):
    """The one code block of this kind."""
    [found] = re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return found


@pytest.fixture(scope="module")
def suppliers(history):
    """The reader's own table, as the page shows it, beside the output's folder."""
    path = history.folder / "suppliers.csv"
    path.write_text(block(QUESTIONS["How do I join my own table?"], "text"))
    return path


def plain(rows):
    """Rows whose numbers compare: dollars to the nanodollar, shares to nine digits."""
    return [tuple(round(float(cell), 9) if isinstance(cell, Decimal | float) else cell for cell in row) for row in rows]


def answer_sql(text):
    """The rows of the question's SQL, by the views beside the tables."""
    with duckdb.connect() as database:
        database.execute(Path("views.sql").read_text())
        return database.execute(block(text, "sql")).fetchall()


def answer_polars(text):
    """The rows of the question's polars, after the page's first block."""
    names = {}
    for code in (PAGE.blocks("python")[0], block(text, "python")):
        exec(compile(code, "analytics.md", "exec"), names)
    return names["answer"].rows()


def test_there_are_twelve_questions():
    assert len(QUESTIONS) == 12


@pytest.mark.parametrize("question", QUESTIONS)
def test_sql_and_polars_give_the_same_rows(question, history, suppliers, monkeypatch):
    """And some rows."""
    monkeypatch.chdir(history.folder / "out")
    in_sql, in_polars = (plain(answer(QUESTIONS[question])) for answer in (answer_sql, answer_polars))
    assert in_sql == in_polars
    assert in_sql


@pytest.mark.skipif(PROGRAM is None, reason="no program duckdb here: `pip install duckdb-cli` brings it")
def test_questions_are_answered_by_the_program_duckdb(history, suppliers):
    """As the page says, started in the folder of the output: each answer has as many rows as that of the library."""
    folder = history.folder / "out"
    script = "\n".join(block(text, "sql") for text in QUESTIONS.values())
    command = [PROGRAM, "-init", "views.sql", "-batch", "-jsonlines"]
    ended = subprocess.run(command, cwd=folder, input=script, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, "Error" in ended.stderr) == (0, False), ended.stderr
    with contextlib.chdir(folder):
        counts = [len(answer_sql(text)) for text in QUESTIONS.values()]
    rows = [list(json.loads(line)) for line in ended.stdout.splitlines()]
    assert len(rows) == sum(counts)
    assert rows[0] == ["day", "model", "calls", "billed_usd", "unknown_usd"]


def test_answers_show_what_happened(history, suppliers, monkeypatch):
    """What was redone with another total, what climbed, and what never got a row."""
    monkeypatch.chdir(history.folder / "out")
    changed = answer_sql(QUESTIONS["Which rows of the last run differ from the read before?"])
    assert {(Path(row[0]).name, row[3], row[4]) for row in changed} == {
        ("a.jpg", Decimal("42.98"), Decimal("43.98")),
        ("copy.jpg", Decimal("42.98"), Decimal("43.98")),
        ("c.jpg", Decimal("7.50"), Decimal("7.50")),  # its currency is gone
    }
    [(documents, gained, lower, last)] = answer_sql(QUESTIONS["What did climbing cost, and what did it gain?"])
    assert (documents, gained, lower > 0, last > 0) == (2, 2, True, True)
    without = answer_sql(QUESTIONS["Which documents have no row?"])
    assert [(Path(row[0]).name, row[3]) for row in without] == [
        ("e.jpg", "client_error"),
        ("text.png", "not_an_image"),
    ]
