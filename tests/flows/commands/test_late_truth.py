"""`tune --on` and `--from-rows`: a table of the user's own is joined to published rows, which are scored without a call.

Covers `extractors.run.tune.late_truth`, `extractors.run.tune.published` and `extractors.report.tuning.join`.
"""

import json

import polars as pl
import pytest

BILL = """
from pydantic import BaseModel


class Bill(BaseModel):
    '''A bill.'''

    number: str | None = None
    total: int | None = None
    tags: list[str] = []
"""
ANSWERS = {
    "a": ("INV-1", 10),
    "b": ("inv-2", 20),
    "c": ("INV-3", 30),
    "d": ("INV-3", 40),
    "e": (None, 50),
    "f": ("INV-6", 60),
}
TABLE = [
    {"number": "INV-1", "total": 10, "posted": "yes"},
    {"number": "INV-2", "total": 25, "posted": "yes"},  # misread
    {"number": "INV-3", "total": 30, "posted": "yes"},  # of two published rows
    {"number": "INV-6", "total": 60, "posted": "yes"},
    {"number": "INV-6", "total": 61, "posted": "yes"},
    {"number": "INV-9", "total": 90, "posted": "yes"},  # never published
    {"number": None, "total": 95, "posted": "yes"},
]
NO_KEY = {"TILEWISE_API_KEY": None, "TILEWISE_MODEL": None, "TILEWISE_PRICES": None}


@pytest.fixture
def workspace_with_rows(workspace, server, replies):
    """Six published bills, of which two share a number and one has none, and the table of an ERP."""
    (workspace.folder / "bill.py").write_text(BILL)
    workspace.with_images(*(f"{name}.jpg" for name in ANSWERS)).using(server, concurrency="1")
    server.answers_with(*(replies.ok({"number": number, "total": total}) for number, total in ANSWERS.values()))
    assert workspace.run("run", "in", "--schema", "bill.py:Bill", "--yes").exit_code == 0
    pl.DataFrame(TABLE).write_parquet(workspace.folder / "erp.parquet")
    pl.DataFrame(TABLE).write_csv(workspace.folder / "erp.csv")
    (workspace.folder / "erp.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in TABLE))
    server.asked.clear()
    return workspace


def tune(workspace, *flags, env=None):
    """Runs `tune` on the published bills."""
    return workspace.run("tune", "in", "--schema", "bill.py:Bill", "--yes", "--json", *flags, env=env)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_published_rows_are_scored_by_a_joined_table_without_a_call(workspace_with_rows, server, kind):
    """Keys that occur twice on a side are counted and not joined; the key itself is not scored."""
    costs = ("--review-cost", "0.5", "--error-cost", "20")
    result = tune(workspace_with_rows, "--truth", f"erp.{kind}", "--on", "number", "--from-rows", *costs, env=NO_KEY)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    join = {name: count for name, count in summary["join"].items() if count}
    assert join == {
        "on": "number",
        "rows": 7,
        "joined": 2,
        "without_key": 1,
        "repeated_in_truth": 2,
        "repeated_in_rows": 1,
        "unmatched": 1,
        "ignored": ["posted"],
    }
    assert (summary["images"], summary["fields"], summary["choices"], summary["recommended"]) == (
        2,
        ["total"],
        [],
        None,
    )
    assert (summary["published"]["total"]["right"], summary["published"]["total"]["total"]) == (1, 2)
    assert (summary["certificate"]["labels"], server.asked) == (2, [])
    assert (summary["dollars"]["chosen"]["reviewed"], summary["dollars"]["expected"]) == (2, None)  # no confidence
    assert workspace_with_rows.table("runs").height == 1
    [path] = (workspace_with_rows.folder / "out" / "tuning").glob("*.parquet")
    assert sorted(pl.read_parquet(path).select("truth", "read").rows()) == [("10", "10"), ("25", "20")]
    [page] = (workspace_with_rows.folder / "out" / "reports").glob("tune-*.html")
    assert "2 of 7 rows of the table joined by number" in page.read_text()


def test_joined_documents_are_read_at_every_rung(workspace_with_rows, server, replies):
    """A joined table serves as labels, like a file that names documents."""
    server.answers_with(replies.ok({"number": "INV-1", "total": 10}))
    result = tune(
        workspace_with_rows, "--truth", "erp.parquet", "--on", "number", "--review-cost", "0.5", "--error-cost", "0.01"
    )
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["images"], summary["recommended"]["accuracy"], summary["join"]["joined"]) == (2, {"total": 0.5}, 2)
    assert summary["recommended"]["review"] == summary["dollars"]["chosen"]
    assert summary["dollars"]["chosen"]["calls_usd"] == pytest.approx(float(summary["recommended"]["cost_usd"]))


def test_published_rows_are_scored_by_labels_that_name_documents(workspace_with_rows, server):
    """A labelled document without a published row is reported and not scored."""
    workspace_with_rows.with_images("z.jpg")
    labels = [{"uri": name, "total": 10} for name in ("a.jpg", "b.jpg", "z.jpg")]
    (workspace_with_rows.folder / "truth.jsonl").write_text("".join(f"{json.dumps(label)}\n" for label in labels))
    result = workspace_with_rows.run(
        "tune", "in", "--schema", "bill.py:Bill", "--truth", "truth.jsonl", "--from-rows", env=NO_KEY
    )
    assert result.exit_code == 0, result.output
    assert "2 published rows of schema bill" in result.stdout
    assert "1 labelled documents have no published row" in result.stdout
    assert server.asked == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--on", "numbr"), ("'numbr'", "did you mean number")),
        (("--on", "tags"), ("'tags'", "one value")),
        (("--on", "number", "--truth", "none.parquet"), ("none.parquet", "cannot be read")),
        (("--on", "number", "--truth", "other.csv"), ("other.csv", "'number'", "invoice")),
        (("--on", "number", "--truth", "keys.csv"), ("keys.csv", "a field to score")),
        (("--on", "number", "--truth", "strange.csv"), ("strange.csv", "1 in no published row")),
        (("--on", "number", "--from-rows", "--apply"), ("--from-rows", "--apply")),
        (("--on", "number", "--review-cost", "1"), ("--error-cost is missing",)),
    ],
)
def test_tune_refuses_tables_that_cannot_be_joined(workspace_with_rows, server, flags, words):
    """The message is one line that names the wrong value, and no call is made."""
    (workspace_with_rows.folder / "other.csv").write_text("invoice,total\nINV-1,10\n")
    (workspace_with_rows.folder / "keys.csv").write_text("number,posted\nINV-1,yes\n")
    (workspace_with_rows.folder / "strange.csv").write_text("number,total\nX,10\n")
    result = tune(workspace_with_rows, "--truth", "erp.parquet", *flags)
    assert (result.exit_code, result.stdout, server.asked) == (2, "", [])
    assert [word for word in words if word not in result.stderr] == []
    assert result.stderr.count("\n") == 1
