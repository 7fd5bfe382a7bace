"""The command `report`: an HTML page of a published run."""

import json
import re

import polars as pl
import pytest

from extractors.core.money import dollars

pytestmark = pytest.mark.slow

BASE = ("--schema", "caption", "--direct", "--yes", "--fail-above", "1")


@pytest.fixture(scope="module")
def workspace_with_a_report(workspaces, serve_all, replies):
    """A workspace after a run in two volumes with five images, one invalid answer and one broken image."""
    workspace = workspaces(TILEWISE_CONCURRENCY="1", TILEWISE_VOLUME="3", TILEWISE_CHUNK="3", TILEWISE_BASE_URL="")
    workspace.images(*(f"{number}.png" for number in range(5)))
    (workspace.folder / "in" / "x.png").write_bytes(b"no picture")
    workspace.env["TILEWISE_BASE_URL"] = serve_all(replies.ok({"wrong": 1}), replies.ok()).url
    result = workspace.run("run", "in", *BASE, "--bill", "formula")
    assert result.exit_code == 0, result.stderr
    return workspace


@pytest.fixture
def read_page(workspace_with_a_report):
    """Writes a report, and returns the text of the page."""

    def write(*args):
        result = workspace_with_a_report.run("report", *args)
        assert result.exit_code == 0, result.stderr
        text = (workspace_with_a_report.folder / result.stdout.strip()).read_text()
        return " ".join(re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]*>", " ", text, flags=re.DOTALL).split())

    return write


def test_page_sums_volumes_calls_failures_and_fields(workspace_with_a_report, read_page):
    """Its path is printed on stdout."""
    runs = workspace_with_a_report.table("runs")
    result = workspace_with_a_report.run("report")
    assert result.stdout == f"{workspace_with_a_report.folder}/out/reports/{runs['run'][0]}.html\n"
    page = read_page()
    assert runs.height == 2
    assert "5 accepted 1 rejected of 6 found" in page
    assert "off_schema yes 1 1,000 100" in page
    assert "accepted yes 5 5,000 500" in page
    assert "send fits 5 8,005 8,005 8,005" in page
    assert f"paid {dollars(runs['cost_usd'].sum())}" in page
    assert f"formula 6 {workspace_with_a_report.table('calls')['estimated_prompt_tokens'].sum():,} 6,000" in page
    assert "bill not_an_image 1 no, final" in page
    assert f"{workspace_with_a_report.folder}/in/x.png" in page
    assert "caption 0.0 % 1" in page
    assert len(re.findall(r"/out/results/schema=caption/run_date=\S+\.parquet", page)) == 2


def test_report_takes_a_run_id(workspace_with_a_report, read_page):
    """The page of each run is a file of its own."""
    first = workspace_with_a_report.table("runs")["run"][0]
    second = workspace_with_a_report.run("run", "in", *BASE, "--redo", "all")
    assert second.exit_code == 0, second.stderr
    last = workspace_with_a_report.table("runs").sort("started_at")["run"][-1]
    assert last != first
    assert f"run {last}, completed" in read_page()
    assert f"run {first}, completed" in read_page(first)
    assert workspace_with_a_report.files("out/reports") == sorted([f"{first}.html", f"{last}.html"])


def test_run_without_documents_has_no_page(workspace_with_a_report, read_page):
    """By default the last run with documents is shown; the id of a run without is refused in one line."""
    idle = workspace_with_a_report.run("run", "in", *BASE, "--json")
    run = json.loads(idle.stdout)["run"]
    assert f"run {run}," not in read_page()
    result = workspace_with_a_report.run("report", run)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"run {run} read no document (6 of 6 skipped)" in result.stderr
    assert result.stderr.count("\n") == 1


def test_last_run_is_chosen_by_start_time(workspace_with_a_report, read_page):
    """Not by run id, which has the second only."""
    row = workspace_with_a_report.table("runs").sort("started_at").head(1)
    second = row["run"][0].partition("-")[0]
    folder = workspace_with_a_report.folder / "twins" / "runs" / f"run_date={second[:4]}-{second[4:6]}-{second[6:8]}"
    folder.mkdir(parents=True)
    for name, microseconds in ((f"{second}-0000", 5), (f"{second}-ffff", 0)):
        copy = row.with_columns(
            run=pl.lit(name), started_at=pl.col("started_at") + pl.duration(microseconds=microseconds)
        )
        copy.write_parquet(folder / f"{name}.parquet")
    assert f"run {second}-0000, completed" in read_page("--output", "twins")


def test_page_shows_unknown_cost(workspace_with_a_report, read_page):
    env = {"TILEWISE_PRICES": None, "TILEWISE_OUTPUT": str(workspace_with_a_report.folder / "unpriced")}
    workspace_with_a_report.run("run", "in", *BASE, env=env)
    assert "paid unknown" in read_page("--output", "unpriced")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nonsense"], "run 'nonsense' is not a run id"),
        (["../../etc-3f9a"], "run '../../etc-3f9a' is not a run id"),
        (["20261120T021500Z-3f9a"], "run 20261120T021500Z-3f9a is not published in"),
        (["--output", "nowhere"], "has no published run: choose another output with --output"),
        (["--output", "s3://bucket/out", "--open"], "--open works for local output only"),
    ],
)
def test_report_refuses_invalid_run_or_output(workspace_with_a_report, args, message):
    """In one line, and nothing is written."""
    before = workspace_with_a_report.files()
    result = workspace_with_a_report.run("report", *args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert workspace_with_a_report.files() == before


def test_report_names_an_output_that_cannot_be_written(workspace_with_a_report):
    (workspace_with_a_report.folder / "full").mkdir()
    workspace_with_a_report.run("run", "in", *BASE, "--output", "full")
    (workspace_with_a_report.folder / "full" / "reports").write_text("a file where the folder would be")
    result = workspace_with_a_report.run("report", "--output", "full")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "full' cannot be written" in result.stderr
