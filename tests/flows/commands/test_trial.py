"""The command `try`: what it prints and records, and when it sends nothing."""

import json

import pytest
from support.command import CAPTION
from support.golden import transcript

TRY = ("try", "in/a.jpg", "--schema", "caption", "--yes")


def count_rows(workspace):
    """The number of rows of every table."""
    return {
        name: workspace.table(name).height for name in ("results", "replies", "calls", "images", "failures", "runs")
    }


def test_try_shows_an_accepted_document_and_publishes_no_result(workspace, golden, serve, replies):
    """The call is recorded, and the next run reads the document as a new one."""
    server = serve(replies.ok(CAPTION | {"alt_text": "A \x1b[2Jwall"}))
    workspace.with_images("a.jpg", size=(1500, 1000)).using(server)
    golden("try/accepted", transcript(workspace, TRY))
    assert count_rows(workspace) == {"results": 0, "replies": 1, "calls": 1, "images": 1, "failures": 0, "runs": 1}
    row = workspace.only("runs")
    assert (row["flow"], row["status"], row["found"], row["accepted"], row["calls"]) == ("try", "completed", 1, 1, 1)
    assert row["cost_usd"] == workspace.only("calls")["cost_usd"] > 0
    next_run = json.loads(workspace.run("run", "in", "--schema", "caption", "--yes", "--json").stdout)
    assert (next_run["accepted"], next_run["skipped"], len(server.asked)) == (1, 0, 2)


def test_try_shows_a_wrong_answer_field_by_field(workspace, golden, serve, replies):
    """The failure is not final and counts as no try; a document with a result is read again, too."""
    workspace.with_images("a.jpg").using(serve(replies.ok()))
    assert workspace.run("run", "in", "--schema", "caption", "--yes").exit_code == 0
    workspace.using(serve(replies.ok({"caption": 7, "tags": "wall"})))
    golden("try/off-schema", transcript(workspace, TRY))
    failure = workspace.only("failures")
    assert (failure["kind"], failure["final"], failure["tries"], failure["attempts"]) == ("off_schema", False, 0, 2)
    result = workspace.run(*TRY, "--json")
    summary = json.loads(result.stdout)
    assert (result.exit_code, summary["outcome"], summary["fields"], len(summary["attempts"])) == (1, "failed", None, 2)
    errors = summary["attempts"][0]["errors"]
    assert [(error["field"], error["value"]) for error in errors] == [("caption", "7"), ("tags", '"wall"')]
    assert summary["pages"][0]["action"] == "send"
    assert summary["cost_usd"] > 0
    assert workspace.run("run", "in", "--schema", "caption", "--yes").exit_code == 0  # still done


def test_try_rejects_an_unfit_image_without_a_call(workspace, golden, serve, replies):
    server = serve(replies.ok())
    workspace.using(server)
    (workspace.folder / "in" / "a.jpg").write_bytes(b"")
    golden("try/rejected", transcript(workspace, TRY))
    assert (server.asked, workspace.only("failures")["final"]) == ([], False)


@pytest.mark.parametrize(
    ("flags", "settings", "code", "words"),
    [
        (["in/a.jpg"], {"TILEWISE_ASK_ABOVE": "0"}, 2, "above TILEWISE_ASK_ABOVE=0"),
        (["in"], {}, 2, "is not the only document there"),
        (["nowhere.jpg"], {}, 2, "does not exist"),
        (["in/a.jpg", "--budget", "0.000001"], {}, 3, "budget"),
    ],
)
def test_try_sends_nothing_without_approval_budget_or_a_single_document(
    workspace, serve, replies, flags, settings, code, words
):
    server = serve(replies.ok())
    workspace.with_images("a.jpg", "b.jpg").using(server)
    result = workspace.run("try", *flags, "--schema", "caption", env=settings)
    assert (result.exit_code, server.asked, words in result.output) == (code, [], True), result.output
    assert count_rows(workspace)["calls"] == 0
