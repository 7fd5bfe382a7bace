"""A killed tuning keeps its answers and is published as abandoned; the next one pays for the rest only."""

import json
import threading

import pytest
from support.command import CAPTION

pytestmark = pytest.mark.slow

NAMES = ("a.jpg", "b.jpg", "c.jpg")
CALLS = 3 * 3 + 3  # three rungs each, and the control


def test_killed_tuning_pays_again_for_calls_in_flight_only(workspace, serve, replies):
    """It is killed during the eighth call; no document gets a result."""
    eighth_call = threading.Event()

    def answer(asked):
        if len(server.asked) == 8 and not eighth_call.is_set():
            eighth_call.set()
            server.gate.wait(90)
        return replies.ok(CAPTION)

    server = serve(answer)
    workspace.with_images(*NAMES, size=(1500, 1200)).using(server, concurrency="1")
    lines = [{"uri": name, "caption": "A wall"} for name in NAMES]
    (workspace.folder / "truth.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    command = ("tune", "in", "--truth", "truth.jsonl", "--schema", "caption", "--yes", "--json")
    with workspace.start(*command) as process:
        assert eighth_call.wait(60)
        process.kill()
    server.gate.set()
    second = workspace.run(*command)
    assert second.exit_code == 0, second.output
    assert len(server.asked) == CALLS + 1
    runs = workspace.table("runs").sort("started_at")
    assert runs["status"].to_list() == ["abandoned", "completed"]
    assert (runs["flow"].unique().to_list(), runs["calls"].sum()) == (["tune"], CALLS + 1)
    assert workspace.table("results").height == 0
