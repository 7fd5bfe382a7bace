"""forget.py: the commands `forget` and `prune` on published outputs.

Covers `flows.commands.retention`, `extractors.record.tables.retention` and `extractors.record.tables.erasure`, too.
"""

import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest
import sqlalchemy as sa
from support.runs import vary

from extractors.core.errors import OutputError
from extractors.record.ledger import Ledger
from extractors.record.ledger.schema import CALLS
from extractors.record.output.folder import FolderOutput
from extractors.run.forget import ForgetRequest

pytestmark = pytest.mark.slow

TABLES = ("results/schema=receipt", "replies", "failures", "images", "calls", "fields", "runs")


@pytest.fixture(scope="module")
def restore_history(history):
    """Restores the published history."""
    return history.save()


@pytest.fixture
def workspace_with_rows(history, restore_history):
    """The history, with a report of each run, which a test may change."""
    for run in set(history.table("runs")["run"]):
        path = history.folder / "out" / "reports" / f"{run}.html"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"the page of {run}")
    yield history
    restore_history()


@pytest.fixture
def image(workspace_with_rows):
    """An image that was accepted, redone, read offline, copied and called in every run of its schema."""
    return str(workspace_with_rows.folder / "in" / "a.jpg")


def contents(workspace):
    """All files under the output with their bytes."""
    return {name: (workspace.folder / "out" / name).read_bytes() for name in workspace.files("out")}


def latest(workspace):
    """The names of the current documents."""
    out = workspace.folder / "out"
    views = (out / "views.sql").read_text().replace("read_parquet('", f"read_parquet('{out}/")
    with duckdb.connect() as database:
        database.execute(views)
        rows = database.execute("SELECT parse_filename(_document) FROM latest_receipt").fetchall()
    return sorted(name for (name,) in rows)


def test_forget_leaves_nothing_of_a_document_but_amounts(workspace_with_rows, image):
    """Its name is in no file; the costs, the copies and the other documents remain."""
    calls = workspace_with_rows.table("calls")
    runs = calls.filter(pl.col("document") == image)["run"].unique().to_list()
    completed = workspace_with_rows.run("forget", image, "--yes")
    assert completed.exit_code == 0, completed.stderr
    assert image not in workspace_with_rows.read_all_bytes()
    assert latest(workspace_with_rows) == ["b.jpg", "c.jpg", "copy.jpg", "d.jpg", "f.jpg"]
    after = workspace_with_rows.table("calls")
    amounts = ["run", "attempt", "outcome", "billed", "prompt_tokens", "reserved_usd", "cost_usd"]
    assert after.select(amounts).equals(calls.select(amounts))
    assert after.filter(pl.col("document") == "").height == calls.filter(pl.col("document") == image).height
    fields = workspace_with_rows.table("fields")
    assert (
        fields.filter(pl.col("run").is_in(runs))["min", "max"].null_count().row(0)
        == (fields.filter(pl.col("run").is_in(runs)).height,) * 2
    )
    assert fields.filter(~pl.col("run").is_in(runs))["min"].null_count() < fields.height
    assert {Path(name).stem for name in workspace_with_rows.files("out/reports")}.isdisjoint(runs)


def test_forget_names_copies_with_the_same_bytes_and_the_image_in_the_source(workspace_with_rows, image):
    """The copy keeps its row, which names no original."""
    completed = workspace_with_rows.run("forget", image, "--yes")
    copy = str(workspace_with_rows.folder / "in" / "copy.jpg")
    assert f"kept: {copy} has the same bytes" in completed.stdout
    assert f"{image} is still in its source" in completed.stdout
    copies = workspace_with_rows.table("results/schema=receipt").filter(pl.col("_document") == copy)
    assert copies.height
    assert set(copies["_copied_from"]) <= {"", None}  # None in a run that read it before the other image


def test_forget_of_an_image_and_its_copy_names_no_kept_copy(workspace_with_rows, image):
    """It does not name a deleted file as still in the source."""
    copy = Path(image).with_name("copy.jpg")
    copy.unlink()
    completed = workspace_with_rows.run("forget", image, str(copy), "--yes")
    assert "kept:" not in completed.stdout
    assert f"{copy} is still" not in completed.stdout
    assert "copy.jpg" not in latest(workspace_with_rows)


def test_forget_says_that_a_web_source_was_not_checked(workspace):
    """The message has no signature of the URL."""
    (workspace.folder / "out").mkdir()
    completed = workspace.run("forget", "https://example.com/a.jpg?X-Amz-Signature=1", "--dry-run")
    assert completed.exit_code == 0
    assert "https://example.com/a.jpg may still be in its source, which was not checked" in completed.stdout
    assert "Signature" not in completed.stdout


def test_forget_twice_finds_nothing_the_second_time(workspace_with_rows, image):
    workspace_with_rows.run("forget", image, "--yes")
    before = contents(workspace_with_rows)
    completed = workspace_with_rows.run("forget", image, "--yes")
    assert (completed.exit_code, "removed: no row" in completed.stdout) == (0, True)
    assert contents(workspace_with_rows) == before


def test_forget_of_a_failed_document_removes_its_failure(workspace_with_rows):
    """It removes the failure of a rejected picture and of a document without an answer."""
    for name in ("text.png", "e.jpg"):
        assert workspace_with_rows.run("forget", str(workspace_with_rows.folder / "in" / name), "--yes").exit_code == 0
    assert {Path(name).name for name in workspace_with_rows.table("failures")["document"]} == {"d.jpg"}


def test_forget_with_dry_run_changes_nothing(workspace_with_rows, image):
    before = contents(workspace_with_rows)
    completed = workspace_with_rows.run("forget", image, "--dry-run")
    assert (completed.exit_code, "to be removed: " in completed.stdout) == (0, True)
    assert contents(workspace_with_rows) == before


def test_forget_without_a_terminal_needs_yes(workspace_with_rows, image):
    before = contents(workspace_with_rows)
    completed = workspace_with_rows.run("forget", image)
    assert (completed.exit_code, "add --yes" in completed.stderr) == (2, True)
    assert contents(workspace_with_rows) == before


def test_forget_of_a_document_in_progress_is_refused(workspace_with_rows, image, terms, make):
    """Once the live run has ended without publishing, its claim is removed, too."""
    run = vary(terms, run="20260101T000000Z-live", output=str(workspace_with_rows.folder / "out"), schema="receipt")
    before = contents(workspace_with_rows)
    with Ledger(workspace_with_rows.env["TILEWISE_LEDGER"]) as ledger:
        ledger.runs.begin(run)
        ledger.claims.claim(run, [make.plan(image)])
        for flag in ("--yes", "--dry-run"):
            completed = workspace_with_rows.run("forget", image, flag)
            assert (completed.exit_code, f"run {run.run} is reading {image} now" in completed.stderr) == (2, True)
        assert contents(workspace_with_rows) == before
        ledger.runs.release(run.run)
        assert workspace_with_rows.run("forget", image, "--yes").exit_code == 0
        assert ledger.claims.load_plans(run.run) == []


class StoppingOutput(FolderOutput):
    """A folder that fails after this many writes."""

    writes = 0

    def write(self, key, rows, scratch=None):
        """Writes like FolderOutput, or raises."""
        if self.writes == 0:
            raise OSError(28, "No space left on device")
        self.writes -= 1
        super().write(key, rows, scratch)


def test_interrupted_forget_leaves_readable_tables_and_can_be_repeated(workspace_with_rows, image):
    """Each attempt replaces two files, and after each of them every table can be read."""
    output = StoppingOutput(workspace_with_rows.folder / "out")
    partial_file = (
        workspace_with_rows.folder / "out" / "images" / "run_date=2026-01-01" / "x.part"
    )  # left by a killed attempt
    partial_file.parent.mkdir()
    partial_file.write_text(image)
    request, attempts = ForgetRequest.build(output, [image]), 0
    messages, empty = set(), []
    with Ledger(workspace_with_rows.env["TILEWISE_LEDGER"]) as ledger:
        while True:
            output.writes, attempts = 2, attempts + 1
            try:
                request.erase(ledger)
                break
            except OutputError as error:
                messages.add("run forget again for the rest" in error.message)
            empty += [table for table in TABLES if not workspace_with_rows.table(table).height]
    assert (attempts > 3, messages, empty) == (True, {True}, [])
    assert image not in workspace_with_rows.read_all_bytes()
    assert latest(workspace_with_rows) == ["b.jpg", "c.jpg", "copy.jpg", "d.jpg", "f.jpg"]


def test_forget_of_a_page_forgets_its_document(workspace, server):
    """A document of several pages is removed whole."""
    workspace.using(server).images("one-1.jpg", "one-2.jpg", "two-1.jpg")
    run = ("run", "in", "--schema", "caption", "--document-by", "name", "--yes", "--direct")
    assert workspace.run(*run).exit_code == 0
    assert workspace.run("run", "in", *run[2:], "--redo", "all", "--plan-only").exit_code == 0
    assert workspace.run("forget", "in/one-2.jpg", "--yes").exit_code == 0
    assert "one-" not in workspace.read_all_bytes()
    assert [len(workspace.table(table)) for table in ("results", "plans")] == [1, 1]


def test_forget_blanks_the_source_of_a_run_over_one_image(workspace, server):
    """The source of the run is the document itself."""
    [path] = workspace.using(server).images("only.jpg")
    assert workspace.run("run", str(path), "--schema", "caption", "--yes", "--direct").exit_code == 0
    assert workspace.run("forget", str(path), "--yes").exit_code == 0
    assert "only.jpg" not in workspace.read_all_bytes()
    assert (workspace.only("runs")["source"], workspace.only("runs")["cost_usd"] > 0) == ("", True)
    assert workspace.run("spend").exit_code == 0
    assert workspace.only("calls")["cost_usd"] == Decimal("0.00045")


@pytest.mark.parametrize("command", [("forget", "in/a.jpg", "--yes"), ("prune", "--replies", "1d")])
def test_forget_and_prune_refuse_an_output_that_does_not_exist(workspace, command):
    """No folder is created."""
    completed = workspace.run(*command, "--output", "nowhere")
    assert (completed.exit_code, "nowhere' " in completed.stderr) == (2, True)
    assert workspace.files() == ["prices.toml"]


@pytest.mark.postgres
def test_forget_with_a_ledger_on_postgresql(workspace, server, postgres):
    """Rows, answers and names are removed from tables and ledger; amounts and the other document remain."""
    workspace.using(server, ledger=postgres()).images("gone.jpg", "kept.jpg")
    run = ("run", "in", "--schema", "caption", "--yes", "--direct")
    assert workspace.run(*run).exit_code == 0
    assert workspace.run(*run, "--redo", "all", "--plan-only").exit_code == 0
    completed = workspace.run("forget", "in/gone.jpg", "--yes")
    assert completed.exit_code == 0, completed.stderr
    assert "results (1)" in completed.stdout
    assert [len(workspace.table(table)) for table in ("results", "replies", "images", "calls")] == [1, 1, 1, 2]
    assert workspace.table("calls")["cost_usd"].sum() == 2 * Decimal("0.00045")
    engine = sa.create_engine(workspace.env["TILEWISE_LEDGER"])
    with engine.connect() as connection:
        rows = connection.execute(sa.select(CALLS.c.document, CALLS.c.cost_nano, CALLS.c.reply)).all()
    engine.dispose()
    assert sorted(rows) == [("", 450_000, None), (str(workspace.folder / "in" / "kept.jpg"), 450_000, None)]
    assert "gone.jpg" not in workspace.read_all_bytes()
    assert workspace.run(*run).exit_code == 0  # the document is new again
    assert len(server.asked) == 3


def make_old_replies_and_reports(workspace):
    """Replies and reports of runs of three ages, and a file that is not named after a run."""
    for days in (1, 40, 100):
        started = datetime.now(UTC) - timedelta(days=days)
        run = f"{started:%Y%m%dT%H%M%SZ}-{days:04d}"
        for name in (f"replies/schema=receipt/run_date={started:%Y-%m-%d}/{run}.parquet", f"reports/{run}.html"):
            path = workspace.folder / "out" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    (workspace.folder / "out" / "reports" / "notes.html").write_text("")


@pytest.mark.parametrize(
    ("flags", "replies", "reports"),
    [
        (("--replies", "90d"), 2, 4),
        (("--reports", "30d"), 3, 2),
        (("--replies", "90d", "--reports", "30d"), 2, 2),
        (("--replies", "1h", "--reports", "12h"), 0, 1),
        (("--replies", "90d", "--reports", "30d", "--dry-run"), 3, 4),
    ],
)
def test_prune_deletes_files_older_than_the_age(workspace, flags, replies, reports):
    make_old_replies_and_reports(workspace)
    assert workspace.run("prune", *flags).exit_code == 0
    out = workspace.folder / "out"
    assert (len(list(out.rglob("*.parquet"))), len(list(out.rglob("*.html")))) == (replies, reports)
    assert all(any(path.iterdir()) for path in out.rglob("*") if path.is_dir())


@pytest.mark.parametrize(
    ("flags", "words"), [((), "needs an age"), (("--replies", "soon"), "--replies 'soon' is not an age")]
)
def test_prune_without_an_age_is_refused(workspace, flags, words):
    make_old_replies_and_reports(workspace)
    completed = workspace.run("prune", *flags)
    assert (completed.exit_code, words in completed.stderr) == (2, True)
    assert len(workspace.files("out")) == 7


def test_views_can_be_queried_after_prune(workspace_with_rows):
    """No view reads replies."""
    shutil.rmtree(workspace_with_rows.folder / "out" / "reports")
    assert workspace_with_rows.run("prune", "--replies", "0d").exit_code == 0
    assert workspace_with_rows.table("replies").is_empty()
    assert len(latest(workspace_with_rows)) == 6
