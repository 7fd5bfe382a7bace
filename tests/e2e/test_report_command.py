"""The command `report`: the page of a published run, from its tables."""

import json
import re

import polars as pl
import pytest

from extractors.core.money import dollars

pytestmark = pytest.mark.slow

BASE = ("--schema", "caption", "--direct", "--yes", "--fail-above", "1")


@pytest.fixture(scope="module")
def workspace_with_a_report(workspaces, serve_all, replies):
    """A workspace where a run of two volumes has read five pictures, with an answer wasted and a picture broken."""
    workspace = workspaces(TILEWISE_CONCURRENCY="1", TILEWISE_VOLUME="3", TILEWISE_CHUNK="3", TILEWISE_BASE_URL="")
    workspace.images(*(f"{number}.png" for number in range(5)))
    (workspace.folder / "in" / "x.png").write_bytes(b"no picture")
    workspace.env["TILEWISE_BASE_URL"] = serve_all(replies.ok({"wrong": 1}), replies.ok()).url
    ended = workspace.run("run", "in", *BASE, "--bill", "formula")
    assert ended.exit_code == 0, ended.stderr
    return workspace


@pytest.fixture
def written(workspace_with_a_report):
    """Writes a report, and gives the words of the page."""

    def write(*args):
        ended = workspace_with_a_report.run("report", *args)
        assert ended.exit_code == 0, ended.stderr
        text = (workspace_with_a_report.folder / ended.stdout.strip()).read_text()
        return " ".join(re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]*>", " ", text, flags=re.DOTALL).split())

    return write


def test_the_page_is_the_runs(workspace_with_a_report, written):
    """Its name on stdout; both volumes summed; what was wasted, what failed, what its fields hold, where its rows are."""
    runs = workspace_with_a_report.table("runs")
    ended = workspace_with_a_report.run("report")
    assert ended.stdout == f"{workspace_with_a_report.folder}/out/reports/{runs['run'][0]}.html\n"
    page = written()
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


def test_a_run_may_be_named(workspace_with_a_report, written):
    """An earlier one than the last; the page of each is a file of its own."""
    first = workspace_with_a_report.table("runs")["run"][0]
    again = workspace_with_a_report.run("run", "in", *BASE, "--redo", "all")
    assert again.exit_code == 0, again.stderr
    last = workspace_with_a_report.table("runs").sort("started_at")["run"][-1]
    assert last != first
    assert f"run {last}, completed" in written()
    assert f"run {first}, completed" in written(first)
    assert workspace_with_a_report.files("out/reports") == sorted([f"{first}.html", f"{last}.html"])


def test_a_run_that_read_nothing_has_no_page(workspace_with_a_report, written):
    """By default the last run with documents is shown; a run that is named and read none is an error of one line."""
    idle = workspace_with_a_report.run("run", "in", *BASE, "--json")
    run = json.loads(idle.stdout)["run"]
    assert f"run {run}," not in written()
    ended = workspace_with_a_report.run("report", run)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert f"run {run} read no document (6 of 6 skipped)" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_of_two_runs_in_one_second_the_later_one_is_last(workspace_with_a_report, written):
    """Which their names do not tell."""
    row = workspace_with_a_report.table("runs").sort("started_at").head(1)
    second = row["run"][0].partition("-")[0]
    folder = workspace_with_a_report.folder / "twins" / "runs" / f"run_date={second[:4]}-{second[4:6]}-{second[6:8]}"
    folder.mkdir(parents=True)
    for name, late in ((f"{second}-0000", 5), (f"{second}-ffff", 0)):
        moved = row.with_columns(run=pl.lit(name), started_at=pl.col("started_at") + pl.duration(microseconds=late))
        moved.write_parquet(folder / f"{name}.parquet")
    assert f"run {second}-0000, completed" in written("--output", "twins")


def test_a_price_that_nobody_knows(workspace_with_a_report, written):
    """What it cost is unknown, and not nothing."""
    env = {"TILEWISE_PRICES": None, "TILEWISE_OUTPUT": str(workspace_with_a_report.folder / "unpriced")}
    workspace_with_a_report.run("run", "in", *BASE, env=env)
    assert "paid unknown" in written("--output", "unpriced")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nonsense"], "run 'nonsense' is not a run id"),
        (["../../etc-3f9a"], "run '../../etc-3f9a' is not a run id"),
        (["20261120T021500Z-3f9a"], "run 20261120T021500Z-3f9a is not published in"),
        (["--output", "nowhere"], "has no published run: choose another output with --output"),
        (["--output", "s3://bucket/out", "--open"], "--open works for local output only"),
    ],
)
def test_what_cannot_be_shown_is_said(workspace_with_a_report, args, said):
    """In one line, and nothing is written."""
    before = workspace_with_a_report.files()
    ended = workspace_with_a_report.run("report", *args)
    assert ended.exit_code == 2
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert workspace_with_a_report.files() == before


def test_a_page_that_cannot_be_written(workspace_with_a_report):
    """The output is named, and why."""
    (workspace_with_a_report.folder / "full").mkdir()
    workspace_with_a_report.run("run", "in", *BASE, "--output", "full")
    (workspace_with_a_report.folder / "full" / "reports").write_text("a file where the folder would be")
    ended = workspace_with_a_report.run("report", "--output", "full")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "full' cannot be written" in ended.stderr
