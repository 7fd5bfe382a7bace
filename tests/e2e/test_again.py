"""`run --redo` announces the documents to reprocess, with number, cost and reasons, before anything is sent."""

import json
import shlex
import shutil

import polars as pl
import pytest

pytestmark = pytest.mark.slow

RUN = ("run", "in", "--schema", "caption")
SCHEMA = "from pydantic import BaseModel\n\n\nclass Caption(BaseModel):\n    '''{words}'''\n\n    caption: str\n"


@pytest.fixture(scope="module")
def three_runs(workspaces, serve_all, replies):
    """A workspace after three runs: two images accepted, one failed finally, one failed not finally, and one new."""
    server = serve_all(replies.ok())
    workspace = workspaces().with_images("a.jpg", "b.jpg").using(server, reasks="0")
    assert workspace.run(*RUN).exit_code == 0
    for name, width, answer in (
        ("c.jpg", 310, replies.error(400, code="invalid_image")),
        ("d.jpg", 320, replies.ok({"odd": 1})),
    ):
        workspace.images(name, size=(width, 200))
        assert workspace.run(*RUN, "--base-url", serve_all(answer).url, "--fail-above", "1").exit_code == 0
        (workspace.folder / "in" / name).rename(workspace.folder / name)
    for name in ("c.jpg", "d.jpg"):
        (workspace.folder / name).rename(workspace.folder / "in" / name)
    workspace.images("e.jpg", size=(330, 200))
    return workspace, server, workspace.save()


@pytest.fixture
def workspace_to_redo(three_runs):
    """The workspace as the three runs left it."""
    workspace, _, restore = three_runs
    restore()
    return workspace


@pytest.fixture
def redo_server(three_runs):
    return three_runs[1]


def find_announcement(result):
    [line] = [line for line in result.stderr.splitlines() if line.startswith("reprocessing: ")]
    return line


@pytest.mark.parametrize(
    ("flags", "parts", "calls"),
    [
        (("--redo", "failed"), ["1 document for ", ": 1 failed with client_error; and 1 to retry ", ", 1 new "], 3),
        (("--redo", "failed", "--kind", "timeout"), ["nothing; and 1 to retry ", ", 1 new "], 2),
        (("--redo", "changed"), ["nothing; and 1 to retry ", ", 1 new "], 2),
        (
            ("--redo", "changed", "--model", "maker/other", "--yes"),
            ["2 documents", ": 2 with another model; and 2 to retry"],
            5,
        ),
        (("--redo", "all"), ["3 documents for ", ": 2 done before, 1 failed with client_error; and 1 to retry"], 5),
    ],
)
def test_redo_announcement_lists_documents_by_cause(workspace_to_redo, redo_server, flags, parts, calls):
    """Documents that the run would process without `--redo` (to retry, new) are counted separately."""
    before = len(redo_server.asked)
    line = find_announcement(workspace_to_redo.run(*RUN, *flags))
    assert [expected for expected in parts if expected not in line] == []
    assert len(redo_server.asked) - before == calls


def test_redo_announcement_precedes_confirmation_and_calls(workspace_to_redo, redo_server):
    """The run ends at the confirmation, because there is no terminal to answer it."""
    before = len(redo_server.asked)
    result = workspace_to_redo.run(*RUN, "--redo", "all", env={"TILEWISE_ASK_ABOVE": "0"})
    assert result.exit_code == 2
    assert find_announcement(result).startswith("reprocessing: 3 documents for $")
    assert len(redo_server.asked) == before


@pytest.mark.parametrize("flags", [("--budget", "1"), ("--yes",), ("--json",), ("--direct",)])
def test_redo_announcement_goes_to_stderr_with_every_flag(workspace_to_redo, flags):
    result = workspace_to_redo.run(*RUN, "--redo", "failed", *flags)
    assert "1 failed with client_error" in find_announcement(result)
    assert "reprocessing" not in result.stdout


def test_run_without_redo_has_no_announcement(workspace_to_redo):
    assert "reprocessing" not in workspace_to_redo.run(*RUN).stderr


def test_redo_with_nothing_to_reprocess_has_no_announcement(workspace_to_redo):
    assert workspace_to_redo.run(*RUN, "--redo", "failed").exit_code == 0
    result = workspace_to_redo.run(*RUN, "--redo", "failed")
    assert "reprocessing" not in result.stderr
    assert "nothing to do" in result.stdout


def test_dry_run_prints_one_line_a_cause(workspace_to_redo):
    lines = [
        " ".join(line.split()) for line in workspace_to_redo.run(*RUN, "--redo", "all", "--dry-run").stdout.splitlines()
    ]
    start = lines.index("to process, by reason")
    assert [line.partition(" for $")[0] for line in lines[start + 1 : start + 5]] == [
        "done before 2",
        "failed with client_error 1",
        "to retry 1",
        "new 1",
    ]


def test_dry_run_json_has_causes_only_with_redo(workspace_to_redo):
    """Their documents and costs add up to those of the estimate."""
    estimated = json.loads(workspace_to_redo.run(*RUN, "--redo", "all", "--dry-run", "--json").stdout)
    causes = estimated["causes"]
    assert {cause: group["documents"] for cause, group in causes.items()} == {
        "done": 2,
        "client_error": 1,
        "retry": 1,
        "new": 1,
    }
    assert sum(group["cost_usd"]["high"] for group in causes.values()) == pytest.approx(estimated["cost_usd"]["high"])
    assert "causes" not in json.loads(workspace_to_redo.run(*RUN, "--dry-run", "--json").stdout)


@pytest.mark.parametrize(("words", "cause"), [("Another description.", "schema"), ("What the picture shows.", "new")])
def test_redo_changed_detects_changed_schema_of_same_name(workspace_to_redo, words, cause):
    """A changed docstring changes the schema; a module of another name with the same text does not."""
    first = workspace_to_redo.module(SCHEMA.format(words="What the picture shows."))
    assert workspace_to_redo.run("run", "in", "--output", "apart", "--schema", f"{first}:Caption").exit_code == 0
    second = workspace_to_redo.module(SCHEMA.format(words=words))
    result = workspace_to_redo.run(
        "run", "in", "--output", "apart", "--schema", f"{second}:Caption", "--redo", "changed"
    )
    assert ("5 with another schema" in result.stderr) is (cause == "schema")


def test_interrupted_redo_is_completed_by_the_suggested_command(workspace, serve, replies):
    """Only the rest is called, a duplicate is copied, and `--redo-before` without `--redo` is refused."""
    good, stopping = serve(replies.ok()), serve(replies.ok(), replies.ok(), replies.error(401, "no such key"))
    workspace.images("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    shutil.copyfile(workspace.folder / "in" / "a.jpg", workspace.folder / "in" / "e.jpg")
    workspace.using(good, concurrency="1")
    assert workspace.run(*RUN).exit_code == 0
    result = workspace.run(*RUN, "--redo", "all", "--base-url", stopping.url)
    assert result.exit_code == 2
    command = result.output[result.output.index("tilewise run ") :].splitlines()[0].replace(stopping.url, good.url)
    _, *words = shlex.split(command)
    started = workspace.table("runs").filter(pl.col("status") == "refused")["started_at"].item()
    assert words[words.index("--redo-before") + 1] == f"{started:%Y-%m-%dT%H:%M:%S.%f}Z"
    before = len(good.asked)
    assert workspace.run(*words).exit_code == 0
    assert len(good.asked) - before == 2
    results = workspace.table("results").filter(pl.col("_extracted_at") >= started)
    assert sorted(path.rpartition("/")[2] for path in results["_document"]) == [f"{name}.jpg" for name in "abcde"]
    assert workspace.run(*words).exit_code == 0
    assert len(good.asked) - before == 2
    refused = workspace.run(*RUN, "--redo-before", "2026-11-20")
    assert (refused.exit_code, "requires --redo" in refused.stderr) == (2, True)
