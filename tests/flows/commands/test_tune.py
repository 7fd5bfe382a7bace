"""The command `tune`: what it reads, records, reports and refuses.

Covers `extractors.run.tune.session`, `extractors.run.tune.tuner`, `extractors.run.tune.readings`,
`extractors.run.tune.paid_replies`, `extractors.run.tune.blank_control`, `extractors.run.tune.evaluation`,
`extractors.run.tune.analysis`, `extractors.run.tune.view`, `extractors.record.tables.stored_calls`, `extractors.record.tables.tuning` and
`extractors.report.tuning.page`, `extractors.report.tuning.charts`.
"""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from support.command import parts

from extractors.record.output import open_output
from extractors.record.tables.retention import list_expired

TUNE = ("tune", "in", "--truth", "truth.jsonl", "--schema", "caption", "--yes", "--json")
ANSWER = {"caption": "A wall", "alt_text": None, "tags": ["wall"]}
SCHEMA_OF_AN_UNKNOWN_TYPE = """
from typing import Annotated
from pydantic import BaseModel, ConfigDict, PlainValidator, WithJsonSchema

class Place:
    def __init__(self, name):
        self.name = name

class Sign(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    place: Annotated[Place, PlainValidator(Place), WithJsonSchema({"type": "string"})]
"""
NAMES = tuple(f"{name}.jpg" for name in "abcdef")


@pytest.fixture
def labelled_workspace(workspace):
    """Six images of three rungs each, five of them with a label."""
    workspace.with_images(*NAMES, size=(1500, 1200))
    lines = [{"uri": name, "caption": "A wall" if name != "b.jpg" else "A door"} for name in NAMES[:5]]
    (workspace.folder / "truth.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return workspace


def test_tune_reads_labelled_images_once_at_every_rung(labelled_workspace, serve, replies):
    """A second tuning makes no call, and a run afterwards reads every document."""
    server = serve(replies.ok(ANSWER))
    labelled_workspace.using(server)
    first = labelled_workspace.run(*TUNE)
    assert first.exit_code == 0, first.output
    summary = json.loads(first.stdout)
    assert (summary["images"], summary["fields"], summary["applied"]) == (5, ["caption"], False)
    assert summary["unlooked"] == ["caption", "tags"]
    assert summary["recommended"] in summary["choices"]
    assert (summary["recommended"]["ladder"], summary["recommended"]["accuracy"]) == ([1601], {"caption": 0.8})
    assert summary["recommended"]["image_tokens_share"] == 0.25
    assert summary["certificate"]["needed"] == 299
    assert summary["confidence"]["all"] == {"errors": 0, "auc": None, "ece": None}  # this server gives no probabilities
    row_counts = {
        name: labelled_workspace.table(name).height for name in ("results", "calls", "replies", "images", "failures")
    }
    assert row_counts == {"results": 0, "calls": 18, "replies": 18, "images": 5, "failures": 0}
    calls = labelled_workspace.table("calls")
    assert calls.select("document", "attempt").is_unique().all()
    assert sorted(calls["rung"].unique()) == [1601, 3202, 6404]
    row = labelled_workspace.only("runs")
    assert (row["flow"], row["status"], row["found"], row["accepted"], row["calls"]) == ("tune", "completed", 5, 5, 18)
    assert "18 of them stored, 0 calls" in labelled_workspace.run(*TUNE[:-1], "--apply").stderr
    assert len(server.asked) == 18
    next_run = json.loads(labelled_workspace.run("run", "in", "--schema", "caption", "--yes", "--json").stdout)
    assert (next_run["accepted"], next_run["skipped"], next_run["policy"]) == (6, 0, "tuned")
    assert set(labelled_workspace.table("images").filter(pl.col("run") == next_run["run"])["rung"]) == {1601}


def test_tune_writes_comparisons_and_documents_to_label_next(labelled_workspace, serve, replies):
    """Each labelled field has one row per rung; documents without a label are listed."""
    labelled_workspace.using(serve(replies.ok(ANSWER)))
    assert labelled_workspace.run(*TUNE).exit_code == 0
    [path] = (labelled_workspace.folder / "out" / "tuning").glob("*.parquet")
    rows = pl.read_parquet(path)
    assert (rows.height, rows["right"].sum(), set(rows["rung"])) == (15, 12, {0, 1, 2})
    mismatch = rows.filter(~pl.col("right")).row(0, named=True)
    assert (mismatch["document"].rpartition("/")[2], mismatch["truth"], mismatch["read"]) == (
        "b.jpg",
        '"a door"',
        '"a wall"',
    )
    [label_list] = (labelled_workspace.folder / "out" / "tuning").glob("*-label-next.csv")
    [(document, draw)] = pl.read_csv(label_list).rows()
    assert document == str(labelled_workspace.folder / "in" / "f.jpg")
    assert draw in {"random", "doubtful"}  # by a hash of the whole name
    [page] = (labelled_workspace.folder / "out" / "reports").glob("tune-*.html")
    text = page.read_text()
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert text.count("<figure") == text.count("<svg") == 2
    assert "none of them read a document" in labelled_workspace.run("report").output  # a tuning has its own page
    later = datetime.now(UTC) + timedelta(days=1)
    expired = list_expired(open_output(str(labelled_workspace.folder / "out")), "reports", timedelta(hours=12), later)
    assert expired == [f"reports/{page.name}"]
    assert labelled_workspace.run("forget", "in/b.jpg", "--yes").exit_code == 0
    assert (pl.read_parquet(path).height, page.exists(), label_list.exists()) == (12, False, False)


@pytest.mark.parametrize(
    ("settings", "flags", "code", "words"),
    [
        ({"TILEWISE_ASK_ABOVE": "0.01"}, TUNE[:-2], 2, "above TILEWISE_ASK_ABOVE=0.01"),
        ({}, (*TUNE, "--target", "1"), 2, "target 1.0: use a share"),
        ({}, (*TUNE, "--from-rows", "--witness"), 2, "leave out --witness"),
        ({}, ("tune", "in", "--truth", "none.jsonl", "--schema", "caption"), 2, "none.jsonl cannot be read"),
        ({"TILEWISE_DAILY_BUDGET": "0.000001"}, TUNE, 3, "the day's budget"),
    ],
)
def test_tune_sends_nothing_without_approval_budget_or_labels(
    labelled_workspace, serve, replies, settings, flags, code, words
):
    server = serve(replies.ok(ANSWER))
    labelled_workspace.using(server)
    result = labelled_workspace.run(*flags, env=settings)
    assert (result.exit_code, server.asked, words in result.output) == (code, [], True), result.output


def test_tune_refuses_a_field_that_cannot_be_compared(labelled_workspace, serve, replies):
    """The message names the field and its type, and no call is made."""
    server = serve(replies.ok(ANSWER))
    labelled_workspace.using(server)
    (labelled_workspace.folder / "sign.py").write_text(SCHEMA_OF_AN_UNKNOWN_TYPE)
    labels = [{"uri": name, "place": "A"} for name in NAMES[:2]]
    (labelled_workspace.folder / "truth.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in labels))
    result = labelled_workspace.run("tune", "in", "--truth", "truth.jsonl", "--schema", "sign.py:Sign", "--yes")
    assert (result.exit_code, server.asked) == (2, []), result.output
    assert "field 'place': values of type Place cannot be compared with a label" in result.output


def test_stopped_tuning_continues_without_repeating_calls(labelled_workspace, serve, replies):
    """Replies from before the day's budget was spent are kept, and a part of the replies gives no result."""
    server = serve(replies.ok(ANSWER))
    labelled_workspace.using(server)
    first = labelled_workspace.run(*TUNE, env={"TILEWISE_DAILY_BUDGET": "0.008"})
    calls = len(server.asked)
    assert (first.exit_code, first.stdout, 0 < calls < 18) == (3, "", True), first.output
    row = labelled_workspace.only("runs")
    assert (row["status"], row["calls"], row["accepted"] + row["remaining"]) == ("budget_spent", calls, 5)
    assert labelled_workspace.table("results").height == 0
    assert labelled_workspace.run(*TUNE).exit_code == 0
    assert len(server.asked) == 18


@pytest.mark.parametrize(
    ("answers", "unlooked"), [({"caption": None, "tags": []}, []), ({"caption": "N/A?", "tags": []}, ["caption"])]
)
def test_tune_names_fields_answered_on_a_blank_image(labelled_workspace, serve, replies, answers, unlooked):
    """Nulls and empty lists do not count as answers, also in a refused document."""

    def answer(request):
        is_control = any(size == (420, 560) for _, size in parts(request))
        return replies.ok(answers if is_control else ANSWER)

    labelled_workspace.using(serve(answer))
    summary = json.loads(labelled_workspace.run(*TUNE).stdout)
    assert summary["unlooked"] == unlooked
