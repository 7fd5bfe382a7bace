"""The command `tune`: what it reads, what it records and reports, and what it refuses."""

import json

import pytest

TUNE = ("tune", "in", "--truth", "truth.jsonl", "--schema", "caption", "--yes", "--json")
NAMES = tuple(f"{name}.jpg" for name in "abcdef")


@pytest.fixture
def labelled(workspace):
    """Six pictures of three rungs each, five of them with a label."""
    workspace.with_images(*NAMES, size=(1500, 1200))
    lines = [{"uri": name, "caption": "A wall" if name != "b.jpg" else "A door"} for name in NAMES[:5]]
    (workspace.folder / "truth.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return workspace


def test_labelled_images_are_read_at_every_rung_once_and_stay_to_be_done(labelled, serve, replies):
    """A second tuning makes no call; a run after it reads every document."""
    server = serve(replies.ok({"caption": "A wall", "alt_text": None, "tags": ["wall"]}))
    labelled.using(server)
    first = labelled.run(*TUNE)
    assert first.exit_code == 0, first.output
    shown = json.loads(first.stdout)
    assert (shown["images"], shown["fields"]) == (5, ["caption"])
    heights = {name: labelled.table(name).height for name in ("results", "calls", "replies", "images", "failures")}
    assert heights == {"results": 0, "calls": 18, "replies": 18, "images": 5, "failures": 0}
    print(labelled.table("calls").select("document", "attempt", "rung", "sent_width", "outcome"))
    print(first.stderr)
    print(labelled.run(*TUNE[:-1]).output)
    assert len(server.asked) == 18
    run = labelled.only("runs")
