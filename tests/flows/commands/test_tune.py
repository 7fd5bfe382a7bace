"""The command `tune`: what it reads, what it records and reports, and what it refuses.

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
def labelled(workspace):
    """Six pictures of three rungs each, five of them with a label."""
    workspace.with_images(*NAMES, size=(1500, 1200))
    lines = [{"uri": name, "caption": "A wall" if name != "b.jpg" else "A door"} for name in NAMES[:5]]
    (workspace.folder / "truth.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return workspace


def test_labelled_images_are_read_at_every_rung_once_and_stay_to_be_done(labelled, serve, replies):
    """A second tuning makes no call; a run after it reads every document."""
    server = serve(replies.ok(ANSWER))
    labelled.using(server)
    first = labelled.run(*TUNE)
    assert first.exit_code == 0, first.output
    shown = json.loads(first.stdout)
    assert (shown["images"], shown["fields"], shown["applied"]) == (5, ["caption"], False)
    assert shown["unlooked"] == ["caption", "tags"]
    assert shown["recommended"] in shown["choices"]
    assert (shown["recommended"]["ladder"], shown["recommended"]["accuracy"]) == ([1601], {"caption": 0.8})
    assert shown["recommended"]["image_tokens_share"] == 0.25
    assert shown["certificate"]["needed"] == 299
    assert shown["confidence"]["all"] == {"errors": 0, "auc": None, "ece": None}  # this server gives no probabilities
    heights = {name: labelled.table(name).height for name in ("results", "calls", "replies", "images", "failures")}
    assert heights == {"results": 0, "calls": 18, "replies": 18, "images": 5, "failures": 0}
    calls = labelled.table("calls")
    assert calls.select("document", "attempt").is_unique().all()
    assert sorted(calls["rung"].unique()) == [1601, 3202, 6404]
    row = labelled.only("runs")
    assert (row["flow"], row["status"], row["found"], row["accepted"], row["calls"]) == ("tune", "completed", 5, 5, 18)
    assert "18 of them stored, 0 calls" in labelled.run(*TUNE[:-1], "--apply").stderr
    assert len(server.asked) == 18
    after = json.loads(labelled.run("run", "in", "--schema", "caption", "--yes", "--json").stdout)
    assert (after["accepted"], after["skipped"], after["policy"]) == (6, 0, "tuned")
    assert set(labelled.table("images").filter(pl.col("run") == after["run"])["rung"]) == {1601}


def test_comparisons_and_the_next_labels_are_written(labelled, serve, replies):
    """One row for each labelled field and rung; documents without a label are to be labelled next."""
    labelled.using(serve(replies.ok(ANSWER)))
    assert labelled.run(*TUNE).exit_code == 0
    [path] = (labelled.folder / "out" / "tuning").glob("*.parquet")
    rows = pl.read_parquet(path)
    assert (rows.height, rows["right"].sum(), set(rows["rung"])) == (15, 12, {0, 1, 2})
    wrong = rows.filter(~pl.col("right")).row(0, named=True)
    assert (wrong["document"].rpartition("/")[2], wrong["truth"], wrong["read"]) == ("b.jpg", '"a door"', '"a wall"')
    [listed] = (labelled.folder / "out" / "tuning").glob("*-label-next.csv")
    [(document, draw)] = pl.read_csv(listed).rows()
    assert document == str(labelled.folder / "in" / "f.jpg")
    assert draw in {"random", "doubtful"}  # by a hash of the whole name
    [page] = (labelled.folder / "out" / "reports").glob("tune-*.html")
    text = page.read_text()
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert text.count("<figure") == text.count("<svg") == 2
    assert "none of them read a document" in labelled.run("report").output  # a tuning has its own page
    later = datetime.now(UTC) + timedelta(days=1)
    expired = list_expired(open_output(str(labelled.folder / "out")), "reports", timedelta(hours=12), later)
    assert expired == [f"reports/{page.name}"]
    assert labelled.run("forget", "in/b.jpg", "--yes").exit_code == 0
    assert (pl.read_parquet(path).height, page.exists(), listed.exists()) == (12, False, False)


@pytest.mark.parametrize(
    ("settings", "flags", "code", "named"),
    [
        ({"TILEWISE_ASK_ABOVE": "0.01"}, TUNE[:-2], 2, "above TILEWISE_ASK_ABOVE=0.01"),
        ({}, (*TUNE, "--target", "1"), 2, "target 1.0: use a share"),
        ({}, (*TUNE, "--from-rows", "--witness"), 2, "leave out --witness"),
        ({}, ("tune", "in", "--truth", "none.jsonl", "--schema", "caption"), 2, "none.jsonl cannot be read"),
        ({"TILEWISE_DAILY_BUDGET": "0.000001"}, TUNE, 3, "the day's budget"),
    ],
)
def test_nothing_is_sent_without_approval_or_budget_or_labels(labelled, serve, replies, settings, flags, code, named):
    server = serve(replies.ok(ANSWER))
    labelled.using(server)
    ended = labelled.run(*flags, env=settings)
    assert (ended.exit_code, server.asked, named in ended.output) == (code, [], True), ended.output


def test_field_that_cannot_be_compared_is_named_before_anything_is_sent(labelled, serve, replies):
    server = serve(replies.ok(ANSWER))
    labelled.using(server)
    (labelled.folder / "sign.py").write_text(SCHEMA_OF_AN_UNKNOWN_TYPE)
    labels = [{"uri": name, "place": "A"} for name in NAMES[:2]]
    (labelled.folder / "truth.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in labels))
    ended = labelled.run("tune", "in", "--truth", "truth.jsonl", "--schema", "sign.py:Sign", "--yes")
    assert (ended.exit_code, server.asked) == (2, []), ended.output
    assert "field 'place': values of type Place cannot be compared with a label" in ended.output


def test_stopped_tuning_goes_on_without_paying_again(labelled, serve, replies):
    """What was read before the day's budget was spent is kept; nothing is concluded from a part."""
    server = serve(replies.ok(ANSWER))
    labelled.using(server)
    stopped = labelled.run(*TUNE, env={"TILEWISE_DAILY_BUDGET": "0.008"})
    paid = len(server.asked)
    assert (stopped.exit_code, stopped.stdout, 0 < paid < 18) == (3, "", True), stopped.output
    row = labelled.only("runs")
    assert (row["status"], row["calls"], row["accepted"] + row["remaining"]) == ("budget_spent", paid, 5)
    assert labelled.table("results").height == 0
    assert labelled.run(*TUNE).exit_code == 0
    assert len(server.asked) == 18


@pytest.mark.parametrize(
    ("answers", "unlooked"), [({"caption": None, "tags": []}, []), ({"caption": "N/A?", "tags": []}, ["caption"])]
)
def test_fields_that_are_answered_on_a_blank_picture_are_named(labelled, serve, replies, answers, unlooked):
    """Nulls and empty lists are no answers; a refused document counts all the same."""

    def answer(asked):
        is_control = any(size == (420, 560) for _, size in parts(asked))
        return replies.ok(answers if is_control else ANSWER)

    labelled.using(serve(answer))
    shown = json.loads(labelled.run(*TUNE).stdout)
    assert shown["unlooked"] == unlooked
