"""--redo reparse: stored answers are read again under today's schema, and nobody is asked or paid."""

import json
from decimal import Decimal

import polars as pl
import pytest

pytestmark = pytest.mark.slow

BASE = ("run", "in", "--schema")
AGAIN = ("run", "in", "--redo", "reparse", "--schema")
STRICT = ("color: str", "total: int")
LOOSE = ("color: str", "total: int | None = None")
NO_KEY = {"TILEWISE_API_KEY": None, "TILEWISE_MODEL": None, "TILEWISE_PRICES": None}


def wall(workspace, *fields, after=""):
    """A schema of the user's own, published as `wall`, with these fields."""
    lines = "\n    ".join(fields)
    text = f"from pydantic import BaseModel, field_validator\n\n\nclass Wall(BaseModel):\n    '''A wall.'''\n\n    {lines}\n"
    return f"{workspace.module(text + after)}:Wall"


REFUSING = """
    @field_validator("total")
    @classmethod
    def _small(cls, value):
        if value > {most}:
            raise ValueError("too large")
        return value
"""


@pytest.fixture(autouse=True)
def two_sizes(workspace, server, replies):
    """Two images, of which the second is answered without a total, and the first with a large one."""

    def script(asked):
        picture = asked["messages"][1]["content"][1]["image_url"]["url"]
        answer = {"color": "red", "note": "seen"}
        return replies.ok(answer if len(picture) > 2500 else answer | {"total": 30})

    server.answers_with(script)
    workspace.with_images("a.jpg").with_images("b.jpg", size=(900, 800)).using(server, reasks="0")


@pytest.fixture
def ran(workspace, server):
    """The same workspace after a run: one document accepted, one failed."""
    assert workspace.run(*BASE, wall(workspace, *STRICT)).exit_code == 1
    assert len(server.asked) == 2
    return workspace


def last(workspace, table="runs"):
    """The rows of the newest run in a table."""
    newest = workspace.table("runs").sort("started_at")["run"][-1]
    frame = workspace.table(table)
    return frame.filter(pl.col("_run" if table == "results" else "run") == newest).to_dicts()


def counts(workspace):
    """What the newest row of `runs` counts, but for the ends that nothing came to."""
    names = ("found", "skipped", "rejected", "accepted", "failed", "remaining", "calls")
    [row] = last(workspace)
    return {name: row[name] for name in names if row[name]}


def test_a_field_made_optional_makes_failures_rows_without_a_call(ran, server):
    """The answer was there; all that stood against it is gone."""
    ended = ran.run(*AGAIN, wall(ran, *LOOSE), env=NO_KEY)
    assert ended.exit_code == 0, ended.output
    assert len(server.asked) == 2
    assert counts(ran) == {"found": 2, "accepted": 2}
    assert sorted((row["_document"][-5:], row["total"]) for row in last(ran, "results")) == [
        ("a.jpg", 30),
        ("b.jpg", None),
    ]
    assert last(ran, "calls") == []
    assert last(ran, "replies") == []


def test_the_endpoint_is_never_contacted(ran):
    """Neither for an answer nor for its prices: nobody listens there."""
    gone = NO_KEY | {"TILEWISE_BASE_URL": "http://127.0.0.1:9/v1"}
    assert ran.run(*AGAIN, wall(ran, *LOOSE), env=gone).exit_code == 0


def test_a_row_says_whose_answer_it_is(ran):
    """Read today under today's schema; asked for by the run that paid, of which it keeps what was sent."""
    [before] = ran.table("results").to_dicts()
    [failure] = ran.table("failures").to_dicts()
    ran.run(*AGAIN, wall(ran, *LOOSE), env=NO_KEY)
    first, second = sorted(last(ran, "results"), key=lambda row: row["_document"])
    same = ("_key", "_sha256", "_prompt_hash", "_model_requested", "_model", "_version", "_modified", "_manifest")
    sent = ("_action", "_encoded", "_rung", "_width", "_height", "_sent_width", "_sent_height", "_pages", "_image")
    assert {name: first[name] for name in (*same, *sent)} == {name: before[name] for name in (*same, *sent)}
    assert first["_schema_hash"] != before["_schema_hash"]
    assert first["_extracted_at"] > before["_extracted_at"]
    nothing = ("_attempts", "_prompt_tokens", "_completion_tokens", "_image_tokens_estimated", "_cost_usd")
    assert [[row[name] for name in nothing] for row in (first, second)] == [[0, 0, 0, 0, Decimal(0)]] * 2
    assert (second["_prompt_hash"], second["_model_requested"]) == (failure["prompt_hash"], failure["model_requested"])
    assert last(ran)[0]["cost_usd"] == 0


def test_what_had_failed_is_described_by_its_call_and_its_bytes(ran, workspace):
    """As if it had been accepted at once."""
    ran.run(*AGAIN, wall(ran, *LOOSE), env=NO_KEY)
    again = next(row for row in last(ran, "results") if row["_document"].endswith("b.jpg"))
    assert ran.run(*BASE, wall(ran, *LOOSE), "--output", "fresh").exit_code == 0
    fresh = next(
        row for row in workspace.table("results", output="fresh").to_dicts() if row["_document"].endswith("b.jpg")
    )
    told = ("_sha256", "_encoded", "_action", "_rung", "_width", "_height", "_sent_width", "_sent_height")
    assert {name: again[name] for name in told} == {name: fresh[name] for name in told}


def test_a_validator_loosened_makes_failures_rows(workspace, server):
    """What was refused is taken by today's validator."""
    workspace.run(
        *BASE, wall(workspace, *LOOSE, after=REFUSING.format(most=20).replace("value >", "value and value >"))
    )
    assert {row["kind"] for row in workspace.table("failures").to_dicts()} == {"refused"}
    asked = len(server.asked)
    ended = workspace.run(
        *AGAIN, wall(workspace, *LOOSE, after=REFUSING.format(most=40).replace("value >", "value and value >"))
    )
    assert ended.exit_code == 0, ended.output
    assert counts(workspace) == {"found": 2, "accepted": 2}
    assert len(server.asked) == asked


def test_a_field_added_is_filled_from_what_was_answered(ran):
    """Null where the answer does not have it."""
    name = wall(ran, *LOOSE, "note: str | None = None", "size: int | None = None")
    assert ran.run(*AGAIN, name).exit_code == 0
    *_, newest = sorted((ran.folder / "out" / "results").rglob("*.parquet"), key=lambda each: each.stat().st_mtime_ns)
    assert pl.read_parquet(newest).select("note", "size").rows() == [("seen", None)] * 2


def test_a_field_retyped_is_refused(ran):
    """As by any run: older rows could not be read with the new ones."""
    ended = ran.run(*AGAIN, wall(ran, "color: str", "total: str"))
    assert ended.exit_code == 2
    assert "field 'total' was Int64, is String" in ended.stderr
    assert ran.table("runs").height == 1


def test_what_does_not_validate_today_is_a_failure_that_is_not_final(ran):
    """And the row that it had stays the current one: it is done."""
    name = wall(ran, *STRICT, after=REFUSING.format(most=20))
    assert ran.run(*AGAIN, name, env=NO_KEY).exit_code == 1
    assert counts(ran) == {"found": 2, "failed": 2}
    told = [(row["kind"], row["stage"], row["final"], row["tries"], row["cost_usd"]) for row in last(ran, "failures")]
    assert sorted(told) == [("off_schema", "validate", False, 1, 0), ("refused", "validate", False, 0, 0)]
    assert ran.table("results").height == 1
    assert ran.run(*BASE, name).exit_code == 1
    assert counts(ran) == {"found": 2, "skipped": 1, "failed": 1, "calls": 1}


def test_what_was_read_again_can_be_read_again(ran, server):
    """The answers stay where they were stored."""
    for _ in range(2):
        assert ran.run(*AGAIN, wall(ran, *LOOSE)).exit_code == 0
    assert counts(ran) == {"found": 2, "accepted": 2}
    assert len(server.asked) == 2


def test_the_latest_answer_that_validates_wins(ran, server, replies):
    """A later one that does not is passed over."""
    server.script = [replies.ok({"color": "blue", "total": 1})]
    assert ran.run(*BASE, wall(ran, *STRICT), "--redo", "all").exit_code == 0
    server.script = [replies.ok({"colour": "none"})]
    assert ran.run(*BASE, wall(ran, *STRICT), "--redo", "all").exit_code == 1
    assert ran.run(*AGAIN, wall(ran, *STRICT)).exit_code == 0
    assert {row["color"] for row in last(ran, "results")} == {"blue"}


def test_documents_without_an_answer_are_left_as_they_are(ran, server):
    """What is new remains, a changed file too; and the closing says how many have none."""
    ran.images("new.jpg", size=(310, 200))
    (ran.folder / "in" / "b.jpg").write_bytes((ran.folder / "in" / "b.jpg").read_bytes() + b"\0")
    ended = ran.run(*AGAIN, wall(ran, *LOOSE))
    assert ended.exit_code == 0, ended.output
    assert counts(ran) == {"found": 3, "accepted": 1, "remaining": 2}
    assert "2 documents have no stored answer and are not done: run without --redo" in " ".join(ended.stdout.split())
    assert len(server.asked) == 2


def test_what_is_done_without_an_answer_is_skipped(ran, server, replies):
    """Accepted by a run that kept none."""
    ran.images("c.jpg", size=(310, 200))
    server.script = [replies.ok({"color": "blue", "total": 1})]
    ran.run(*BASE, wall(ran, *STRICT), env={"TILEWISE_KEEP_REPLIES": "none"})
    ended = ran.run(*AGAIN, wall(ran, *LOOSE))
    assert counts(ran) == {"found": 3, "skipped": 1, "accepted": 2}
    assert last(ran)[0]["warnings"] == ["1 documents have no stored answer, of which 1 are done"]
    assert ended.exit_code == 0


def test_nothing_stored_is_said(workspace, server):
    """A run that keeps no replies cannot be read again."""
    workspace.run(*BASE, wall(workspace, *STRICT), env={"TILEWISE_KEEP_REPLIES": "none"})
    ended = workspace.run(*AGAIN, wall(workspace, *LOOSE))
    assert ended.exit_code == 2
    assert "has no stored answers of schema 'wall'" in ended.stderr
    assert "TILEWISE_KEEP_REPLIES=all" in ended.stderr
    assert workspace.table("runs").height == 1


def test_it_is_announced_and_estimated_for_nothing(ran):
    """By cause, like any redo; it costs nothing."""
    name = wall(ran, *LOOSE)
    found = json.loads(ran.run(*AGAIN, name, "--dry-run", "--json").stdout)
    assert (found["documents"], found["cost_usd"]["high"]) == (2, 0)
    assert {cause: told["documents"] for cause, told in found["causes"].items()} == {"done": 1, "retry": 1}
    line = next(line for line in ran.run(*AGAIN, name).stderr.splitlines() if line.startswith("reprocessing"))
    assert line == "reprocessing: 1 document for $0: 1 done before; and 1 to retry for $0"


def test_a_limit_holds(ran):
    """It takes so many of those that have an answer."""
    assert ran.run(*AGAIN, wall(ran, *LOOSE), "--limit", "1").exit_code == 0
    assert counts(ran) == {"found": 1, "accepted": 1}


def test_it_is_done_in_volumes(ran):
    """Each published whole; what waits is counted once."""
    ran.images("0.jpg", "c.jpg", size=(310, 200))
    env = {"TILEWISE_VOLUME": "1", "TILEWISE_CHUNK": "1"}
    assert ran.run(*AGAIN, wall(ran, *LOOSE), env=env).exit_code == 0
    rows = last(ran)
    assert [sum(row[name] for row in rows) for name in ("found", "accepted", "remaining")] == [4, 2, 2]


def test_answers_of_local_reading_are_for_offline_runs(ran, server, replies):
    """They stand in for nothing that a vision model reads; and no local reader is started for them."""
    server.script = [replies.ok({"color": "grey", "total": 2}, model="offline/rapidocr")]
    ran.run(*BASE, wall(ran, *STRICT), "--redo", "all", "--output", "local")
    ended = ran.run(*AGAIN, wall(ran, *LOOSE), "--output", "local")
    assert ended.exit_code == 2
    (ran.folder / "sitecustomize.py").write_text("open('started', 'w').close()")  # whatever Python begins here says so
    offline = ("--output", "local", "--offline")
    assert ran.run(*AGAIN, wall(ran, *LOOSE), *offline, env={"PYTHONPATH": str(ran.folder)}).exit_code == 0
    assert not (ran.folder / "started").exists()
