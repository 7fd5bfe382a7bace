"""What is done again is announced: how many documents, for how much, and why, before anything is sent."""

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
    """A workspace at which two images were accepted, one has failed for good, one not for good, and one is new."""
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
    """The server that accepts every picture."""
    return three_runs[1]


def find_announcement(ended):
    """The announcement's line on stderr."""
    [line] = [line for line in ended.stderr.splitlines() if line.startswith("reprocessing: ")]
    return line


@pytest.mark.parametrize(
    ("flags", "said", "calls"),
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
def test_what_is_done_again_is_said_by_cause(workspace_to_redo, redo_server, flags, said, calls):
    """Its documents and dollars on one line, with what would have been taken anyway behind it."""
    before = len(redo_server.asked)
    line = find_announcement(workspace_to_redo.run(*RUN, *flags))
    assert [part for part in said if part not in line] == []
    assert len(redo_server.asked) - before == calls


def test_it_is_said_before_anything_is_sent(workspace_to_redo, redo_server):
    """Above the question whether to go on, which nobody answers here."""
    before = len(redo_server.asked)
    ended = workspace_to_redo.run(*RUN, "--redo", "all", env={"TILEWISE_ASK_ABOVE": "0"})
    assert ended.exit_code == 2
    assert find_announcement(ended).startswith("reprocessing: 3 documents for $")
    assert len(redo_server.asked) == before


@pytest.mark.parametrize("flags", [("--budget", "1"), ("--yes",), ("--json",), ("--direct",)])
def test_it_is_said_however_the_run_is_asked_for(workspace_to_redo, flags):
    """With a budget, with a yes, and where stdout is an object."""
    ended = workspace_to_redo.run(*RUN, "--redo", "failed", *flags)
    assert "1 failed with client_error" in find_announcement(ended)
    assert "reprocessing" not in ended.stdout


def test_a_run_that_does_nothing_again_announces_nothing(workspace_to_redo):
    """It takes what is new, as every night."""
    assert "reprocessing" not in workspace_to_redo.run(*RUN).stderr


def test_nothing_to_do_announces_nothing(workspace_to_redo):
    """There is nobody to warn."""
    assert workspace_to_redo.run(*RUN, "--redo", "failed").exit_code == 0
    ended = workspace_to_redo.run(*RUN, "--redo", "failed")
    assert "reprocessing" not in ended.stderr
    assert "nothing to do" in ended.stdout


def test_a_dry_run_shows_causes_as_lines(workspace_to_redo):
    """Each with its documents and dollars."""
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


def test_a_dry_run_has_causes_in_json(workspace_to_redo):
    """Their documents are those of the estimate, their dollars too; only where something is done again."""
    found = json.loads(workspace_to_redo.run(*RUN, "--redo", "all", "--dry-run", "--json").stdout)
    causes = found["causes"]
    assert {cause: told["documents"] for cause, told in causes.items()} == {
        "done": 2,
        "client_error": 1,
        "retry": 1,
        "new": 1,
    }
    assert sum(told["cost_usd"]["high"] for told in causes.values()) == pytest.approx(found["cost_usd"]["high"])
    assert "causes" not in json.loads(workspace_to_redo.run(*RUN, "--dry-run", "--json").stdout)


@pytest.mark.parametrize(("words", "cause"), [("Another description.", "schema"), ("What the picture shows.", "new")])
def test_another_schema_of_the_same_name_is_another_schema(workspace_to_redo, words, cause):
    """Its words are part of it; the same words under the same name are the same."""
    first = workspace_to_redo.module(SCHEMA.format(words="What the picture shows."))
    assert workspace_to_redo.run("run", "in", "--output", "apart", "--schema", f"{first}:Caption").exit_code == 0
    second = workspace_to_redo.module(SCHEMA.format(words=words))
    ended = workspace_to_redo.run(
        "run", "in", "--output", "apart", "--schema", f"{second}:Caption", "--redo", "changed"
    )
    assert ("5 with another schema" in ended.stderr) is (cause == "schema")


def test_an_interrupted_redo_goes_on_by_the_command_that_it_names(workspace, serve, replies):
    """Only what is left is called, and a copy of what was redone is copied; without `--redo` the time is an error."""
    good, stopping = serve(replies.ok()), serve(replies.ok(), replies.ok(), replies.error(401, "no such key"))
    workspace.images("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    shutil.copyfile(workspace.folder / "in" / "a.jpg", workspace.folder / "in" / "e.jpg")
    workspace.using(good, concurrency="1")
    assert workspace.run(*RUN).exit_code == 0
    ended = workspace.run(*RUN, "--redo", "all", "--base-url", stopping.url)
    assert ended.exit_code == 2
    command = ended.output[ended.output.index("tilewise run ") :].splitlines()[0].replace(stopping.url, good.url)
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
