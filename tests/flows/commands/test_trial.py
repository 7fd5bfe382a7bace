"""The command `try`: what it shows, what it records, and what it never does."""

import json

import pytest
from support.command import CAPTION
from support.golden import transcript

TRY = ("try", "in/a.jpg", "--schema", "caption", "--yes")


def heights(workspace):
    """The rows of every table."""
    return {
        name: workspace.table(name).height for name in ("results", "replies", "calls", "images", "failures", "runs")
    }


def test_accepted_document_is_shown_and_has_no_result(workspace, golden, serve, replies):
    """Its call is recorded; the next run reads the document as a new one."""
    server = serve(replies.ok(CAPTION | {"alt_text": "A \x1b[2Jwall"}))
    workspace.with_images("a.jpg", size=(1500, 1000)).using(server)
    golden("try/accepted", transcript(workspace, TRY))
    assert heights(workspace) == {"results": 0, "replies": 1, "calls": 1, "images": 1, "failures": 0, "runs": 1}
    row = workspace.only("runs")
    assert (row["flow"], row["status"], row["found"], row["accepted"], row["calls"]) == ("try", "completed", 1, 1, 1)
    assert row["cost_usd"] == workspace.only("calls")["cost_usd"] > 0
    after = json.loads(workspace.run("run", "in", "--schema", "caption", "--yes", "--json").stdout)
    assert (after["accepted"], after["skipped"], len(server.asked)) == (1, 0, 2)


def test_wrong_answer_is_shown_field_by_field(workspace, golden, serve, replies):
    """The failure is not final and counts as no try; a document that is done is tried again, too."""
    workspace.with_images("a.jpg").using(serve(replies.ok()))
    assert workspace.run("run", "in", "--schema", "caption", "--yes").exit_code == 0
    workspace.using(serve(replies.ok({"caption": 7, "tags": "wall"})))
    golden("try/off-schema", transcript(workspace, TRY))
    failure = workspace.only("failures")
    assert (failure["kind"], failure["final"], failure["tries"], failure["attempts"]) == ("off_schema", False, 0, 2)
    ended = workspace.run(*TRY, "--json")
    shown = json.loads(ended.stdout)
    assert (ended.exit_code, shown["outcome"], shown["fields"], len(shown["attempts"])) == (1, "failed", None, 2)
    errors = shown["attempts"][0]["errors"]
    assert [(each["field"], each["value"]) for each in errors] == [("caption", "7"), ("tags", '"wall"')]
    assert shown["pages"][0]["action"] == "send"
    assert shown["cost_usd"] > 0
    assert workspace.run("run", "in", "--schema", "caption", "--yes").exit_code == 0  # still done


def test_unfit_image_is_rejected_without_a_call(workspace, golden, serve, replies):
    server = serve(replies.ok())
    workspace.using(server)
    (workspace.folder / "in" / "a.jpg").write_bytes(b"")
    golden("try/rejected", transcript(workspace, TRY))
    assert (server.asked, workspace.only("failures")["final"]) == ([], False)


@pytest.mark.parametrize(
    ("flags", "settings", "code", "named"),
    [
        (["in/a.jpg"], {"TILEWISE_ASK_ABOVE": "0"}, 2, "above TILEWISE_ASK_ABOVE=0"),
        (["in"], {}, 2, "is not the only document there"),
        (["nowhere.jpg"], {}, 2, "does not exist"),
        (["in/a.jpg", "--budget", "0.000001"], {}, 3, "budget"),
    ],
)
def test_nothing_is_sent_where_a_run_would_send_nothing(workspace, serve, replies, flags, settings, code, named):
    """Without approval, with a budget that is too small, and for a source that is not one document."""
    server = serve(replies.ok())
    workspace.with_images("a.jpg", "b.jpg").using(server)
    ended = workspace.run("try", *flags, "--schema", "caption", env=settings)
    assert (ended.exit_code, server.asked, named in ended.output) == (code, [], True), ended.output
    assert heights(workspace)["calls"] == 0
