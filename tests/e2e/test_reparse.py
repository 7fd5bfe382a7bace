"""`--redo reparse`: stored answers are validated again with the current schema, without a call."""

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


def make_schema(workspace, *fields, after=""):
    """A user's schema named `wall` with these fields."""
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
def two_images(workspace, server, replies):
    """Two images; the answer about the second has no total, that about the first a large one."""

    def script(request):
        picture = request["messages"][1]["content"][1]["image_url"]["url"]
        answer = {"color": "red", "note": "seen"}
        return replies.ok(answer if len(picture) > 2500 else answer | {"total": 30})

    server.answers_with(script)
    workspace.with_images("a.jpg").with_images("b.jpg", size=(900, 800)).using(server, reasks="0")


@pytest.fixture
def workspace_with_a_failure(workspace, server):
    """The workspace after a run: one document accepted, one failed."""
    assert workspace.run(*BASE, make_schema(workspace, *STRICT)).exit_code == 1
    assert len(server.asked) == 2
    return workspace


def last_rows(workspace, table="runs"):
    """The rows of the newest run in a table."""
    newest = workspace.table("runs").sort("started_at")["run"][-1]
    frame = workspace.table(table)
    return frame.filter(pl.col("_run" if table == "results" else "run") == newest).to_dicts()


def counts(workspace):
    """The counts of the newest row of `runs` that are not 0."""
    names = ("found", "skipped", "rejected", "accepted", "failed", "remaining", "calls")
    [row] = last_rows(workspace)
    return {name: row[name] for name in names if row[name]}


def test_reparse_accepts_failure_after_field_becomes_optional(workspace_with_a_failure, server):
    """It makes no call and publishes no new reply."""
    result = workspace_with_a_failure.run(*AGAIN, make_schema(workspace_with_a_failure, *LOOSE), env=NO_KEY)
    assert result.exit_code == 0, result.output
    assert len(server.asked) == 2
    assert counts(workspace_with_a_failure) == {"found": 2, "accepted": 2}
    assert sorted((row["_document"][-5:], row["total"]) for row in last_rows(workspace_with_a_failure, "results")) == [
        ("a.jpg", 30),
        ("b.jpg", None),
    ]
    assert last_rows(workspace_with_a_failure, "calls") == []
    assert last_rows(workspace_with_a_failure, "replies") == []


def test_reparse_does_not_contact_the_endpoint(workspace_with_a_failure):
    """Neither for answers nor for prices: no server listens at its address."""
    unreachable = NO_KEY | {"TILEWISE_BASE_URL": "http://127.0.0.1:9/v1"}
    assert (
        workspace_with_a_failure.run(*AGAIN, make_schema(workspace_with_a_failure, *LOOSE), env=unreachable).exit_code
        == 0
    )


def test_reparsed_row_keeps_origin_of_its_answer(workspace_with_a_failure):
    """It has today's schema hash, the model and the image of the paid call, and costs nothing."""
    [before] = workspace_with_a_failure.table("results").to_dicts()
    [failure] = workspace_with_a_failure.table("failures").to_dicts()
    workspace_with_a_failure.run(*AGAIN, make_schema(workspace_with_a_failure, *LOOSE), env=NO_KEY)
    first, second = sorted(last_rows(workspace_with_a_failure, "results"), key=lambda row: row["_document"])
    kept_columns = (
        "_key",
        "_sha256",
        "_prompt_hash",
        "_model_requested",
        "_model",
        "_version",
        "_modified",
        "_manifest",
    )
    sent_columns = (
        "_action",
        "_encoded",
        "_rung",
        "_width",
        "_height",
        "_sent_width",
        "_sent_height",
        "_pages",
        "_image",
    )
    assert {name: first[name] for name in (*kept_columns, *sent_columns)} == {
        name: before[name] for name in (*kept_columns, *sent_columns)
    }
    assert first["_schema_hash"] != before["_schema_hash"]
    assert first["_extracted_at"] > before["_extracted_at"]
    zero_columns = ("_attempts", "_prompt_tokens", "_completion_tokens", "_image_tokens_estimated", "_cost_usd")
    assert [[row[name] for name in zero_columns] for row in (first, second)] == [[0, 0, 0, 0, Decimal(0)]] * 2
    assert (second["_prompt_hash"], second["_model_requested"]) == (failure["prompt_hash"], failure["model_requested"])
    assert last_rows(workspace_with_a_failure)[0]["cost_usd"] == 0


def test_reparsed_failure_has_the_columns_of_a_fresh_result(workspace_with_a_failure, workspace):
    workspace_with_a_failure.run(*AGAIN, make_schema(workspace_with_a_failure, *LOOSE), env=NO_KEY)
    reparsed = next(row for row in last_rows(workspace_with_a_failure, "results") if row["_document"].endswith("b.jpg"))
    assert (
        workspace_with_a_failure.run(
            *BASE, make_schema(workspace_with_a_failure, *LOOSE), "--output", "fresh"
        ).exit_code
        == 0
    )
    fresh = next(
        row for row in workspace.table("results", output="fresh").to_dicts() if row["_document"].endswith("b.jpg")
    )
    columns = ("_sha256", "_encoded", "_action", "_rung", "_width", "_height", "_sent_width", "_sent_height")
    assert {name: reparsed[name] for name in columns} == {name: fresh[name] for name in columns}


def test_reparse_accepts_answers_after_validator_is_loosened(workspace, server):
    workspace.run(
        *BASE, make_schema(workspace, *LOOSE, after=REFUSING.format(most=20).replace("value >", "value and value >"))
    )
    assert {row["kind"] for row in workspace.table("failures").to_dicts()} == {"refused"}
    calls = len(server.asked)
    result = workspace.run(
        *AGAIN, make_schema(workspace, *LOOSE, after=REFUSING.format(most=40).replace("value >", "value and value >"))
    )
    assert result.exit_code == 0, result.output
    assert counts(workspace) == {"found": 2, "accepted": 2}
    assert len(server.asked) == calls


def test_reparse_fills_added_field_from_stored_answer(workspace_with_a_failure):
    """Null if the answer has no such field."""
    name = make_schema(workspace_with_a_failure, *LOOSE, "note: str | None = None", "size: int | None = None")
    assert workspace_with_a_failure.run(*AGAIN, name).exit_code == 0
    *_, newest = sorted(
        (workspace_with_a_failure.folder / "out" / "results").rglob("*.parquet"),
        key=lambda file: file.stat().st_mtime_ns,
    )
    assert pl.read_parquet(newest).select("note", "size").rows() == [("seen", None)] * 2


def test_reparse_refuses_a_retyped_field(workspace_with_a_failure):
    """Readers could not combine the new rows with the old."""
    result = workspace_with_a_failure.run(*AGAIN, make_schema(workspace_with_a_failure, "color: str", "total: str"))
    assert result.exit_code == 2
    assert "field 'total' was Int64, is String" in result.stderr
    assert workspace_with_a_failure.table("runs").height == 1


def test_answer_invalid_today_is_a_nonfinal_failure(workspace_with_a_failure):
    """The earlier result stays current, so the document is skipped by later runs."""
    name = make_schema(workspace_with_a_failure, *STRICT, after=REFUSING.format(most=20))
    assert workspace_with_a_failure.run(*AGAIN, name, env=NO_KEY).exit_code == 1
    assert counts(workspace_with_a_failure) == {"found": 2, "failed": 2}
    failures = [
        (row["kind"], row["stage"], row["final"], row["tries"], row["cost_usd"])
        for row in last_rows(workspace_with_a_failure, "failures")
    ]
    assert sorted(failures) == [("off_schema", "validate", False, 1, 0), ("refused", "validate", False, 0, 0)]
    assert workspace_with_a_failure.table("results").height == 1
    assert workspace_with_a_failure.run(*BASE, name).exit_code == 1
    assert counts(workspace_with_a_failure) == {"found": 2, "skipped": 1, "failed": 1, "calls": 1}


def test_reparse_can_be_repeated(workspace_with_a_failure, server):
    for _ in range(2):
        assert workspace_with_a_failure.run(*AGAIN, make_schema(workspace_with_a_failure, *LOOSE)).exit_code == 0
    assert counts(workspace_with_a_failure) == {"found": 2, "accepted": 2}
    assert len(server.asked) == 2


def test_reparse_takes_the_latest_valid_answer(workspace_with_a_failure, server, replies):
    """A later invalid answer is passed over."""
    server.script = [replies.ok({"color": "blue", "total": 1})]
    assert (
        workspace_with_a_failure.run(*BASE, make_schema(workspace_with_a_failure, *STRICT), "--redo", "all").exit_code
        == 0
    )
    server.script = [replies.ok({"colour": "none"})]
    assert (
        workspace_with_a_failure.run(*BASE, make_schema(workspace_with_a_failure, *STRICT), "--redo", "all").exit_code
        == 1
    )
    assert workspace_with_a_failure.run(*AGAIN, make_schema(workspace_with_a_failure, *STRICT)).exit_code == 0
    assert {row["color"] for row in last_rows(workspace_with_a_failure, "results")} == {"blue"}


def test_reparse_leaves_documents_without_stored_answer(workspace_with_a_failure, server):
    """New and changed files remain, and the summary names their number."""
    workspace_with_a_failure.images("new.jpg", size=(310, 200))
    (workspace_with_a_failure.folder / "in" / "b.jpg").write_bytes(
        (workspace_with_a_failure.folder / "in" / "b.jpg").read_bytes() + b"\0"
    )
    result = workspace_with_a_failure.run(*AGAIN, make_schema(workspace_with_a_failure, *LOOSE))
    assert result.exit_code == 0, result.output
    assert counts(workspace_with_a_failure) == {"found": 3, "accepted": 1, "remaining": 2}
    assert "2 documents have no stored answer and are not done: run without --redo" in " ".join(result.stdout.split())
    assert len(server.asked) == 2


def test_reparse_skips_results_without_stored_answer(workspace_with_a_failure, server, replies):
    """The run that accepted them kept no replies; a warning says so."""
    workspace_with_a_failure.images("c.jpg", size=(310, 200))
    server.script = [replies.ok({"color": "blue", "total": 1})]
    workspace_with_a_failure.run(
        *BASE, make_schema(workspace_with_a_failure, *STRICT), env={"TILEWISE_KEEP_REPLIES": "none"}
    )
    result = workspace_with_a_failure.run(*AGAIN, make_schema(workspace_with_a_failure, *LOOSE))
    assert counts(workspace_with_a_failure) == {"found": 3, "skipped": 1, "accepted": 2}
    assert last_rows(workspace_with_a_failure)[0]["warnings"] == [
        "1 documents have no stored answer, of which 1 are done"
    ]
    assert result.exit_code == 0


def test_reparse_without_any_stored_answer_is_refused(workspace, server):
    """The message names TILEWISE_KEEP_REPLIES."""
    workspace.run(*BASE, make_schema(workspace, *STRICT), env={"TILEWISE_KEEP_REPLIES": "none"})
    result = workspace.run(*AGAIN, make_schema(workspace, *LOOSE))
    assert result.exit_code == 2
    assert "has no stored answers of schema 'wall'" in result.stderr
    assert "TILEWISE_KEEP_REPLIES=all" in result.stderr
    assert workspace.table("runs").height == 1


def test_reparse_is_announced_by_cause_with_cost_0(workspace_with_a_failure):
    name = make_schema(workspace_with_a_failure, *LOOSE)
    estimated = json.loads(workspace_with_a_failure.run(*AGAIN, name, "--dry-run", "--json").stdout)
    assert (estimated["documents"], estimated["cost_usd"]["high"]) == (2, 0)
    assert {cause: group["documents"] for cause, group in estimated["causes"].items()} == {"done": 1, "retry": 1}
    line = next(
        line
        for line in workspace_with_a_failure.run(*AGAIN, name).stderr.splitlines()
        if line.startswith("reprocessing")
    )
    assert line == "reprocessing: 1 document for $0: 1 done before; and 1 to retry for $0"


def test_limit_counts_documents_with_stored_answers(workspace_with_a_failure):
    assert (
        workspace_with_a_failure.run(*AGAIN, make_schema(workspace_with_a_failure, *LOOSE), "--limit", "1").exit_code
        == 0
    )
    assert counts(workspace_with_a_failure) == {"found": 1, "accepted": 1}


def test_reparse_publishes_volumes(workspace_with_a_failure):
    """The documents that remain are counted once."""
    workspace_with_a_failure.images("0.jpg", "c.jpg", size=(310, 200))
    env = {"TILEWISE_VOLUME": "1", "TILEWISE_CHUNK": "1"}
    assert workspace_with_a_failure.run(*AGAIN, make_schema(workspace_with_a_failure, *LOOSE), env=env).exit_code == 0
    rows = last_rows(workspace_with_a_failure)
    assert [sum(row[name] for row in rows) for name in ("found", "accepted", "remaining")] == [4, 2, 2]


def test_reparse_uses_offline_answers_only_offline(workspace_with_a_failure, server, replies):
    """It starts no local reader."""
    server.script = [replies.ok({"color": "grey", "total": 2}, model="offline/rapidocr")]
    workspace_with_a_failure.run(
        *BASE, make_schema(workspace_with_a_failure, *STRICT), "--redo", "all", "--output", "local"
    )
    result = workspace_with_a_failure.run(*AGAIN, make_schema(workspace_with_a_failure, *LOOSE), "--output", "local")
    assert result.exit_code == 2
    (workspace_with_a_failure.folder / "sitecustomize.py").write_text(
        "open('started', 'w').close()"
    )  # written by every Python process that starts
    offline = ("--output", "local", "--offline")
    assert (
        workspace_with_a_failure.run(
            *AGAIN,
            make_schema(workspace_with_a_failure, *LOOSE),
            *offline,
            env={"PYTHONPATH": str(workspace_with_a_failure.folder)},
        ).exit_code
        == 0
    )
    assert not (workspace_with_a_failure.folder / "started").exists()
