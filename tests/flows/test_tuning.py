"""Stored tunings: `run`, `estimate`, `apply` and `doctor` use and name what `tune --apply` has stored."""

import contextlib
import json
from datetime import UTC, datetime
from math import exp, inf

import pytest

from extractors.core import Fingerprint
from extractors.core.schema import load
from extractors.core.tiles import get_rule
from extractors.core.tuning import Certificate, Ladder, Review, Tuning, TuningProtocol
from extractors.record.ledger import Ledger
from extractors.validate.score import Score, SignalModel

SOURCE = ("in", "--schema", "caption", "--bill", "formula")
RUN = ("run", *SOURCE)
RED = """from pydantic import BaseModel, field_validator


class Red(BaseModel):
    color: str

    @field_validator("color")
    @classmethod
    def _red(cls, value):
        if value != "red":
            raise ValueError("not red at all")
        return value
"""
CERTIFICATE = Certificate(target=0.9, documents=300, threshold=0.7, share=0.9, lower_bound=0.91)
CHEAPEST, WHOLE = (1119, 1119), (2000, 2000)  # pictures that are sent of the image


@pytest.fixture(autouse=True)
def one_large_image(workspace, server, replies):
    """One image, of which `balanced` sends one tile first, and a server that bills as planned."""
    server.answers_with(replies.billing(get_rule("formula").tokens))
    workspace.with_images("a.jpg", size=WHOLE).using(server)


def bill_with_logprob(replies, logprob):
    """A script that bills as planned and gives every character this log probability."""

    def answer(asked):
        body = json.loads(replies.billing(get_rule("formula").tokens)(asked).body)
        text = body["choices"][0]["message"]["content"]
        body["choices"][0]["logprobs"] = {"content": [{"token": part, "logprob": logprob} for part in text]}
        return replies.raw(json.dumps(body))

    return answer


@pytest.fixture
def store(workspace, server):
    """Stores a tuning, of the whole image alone by default; an invalid body is stored unchanged."""

    def store_tuning(body=None, *, budgets=(6404,), mode="json_schema", schema="caption", **values):
        with contextlib.chdir(workspace.folder):
            read = load(schema)
        key = Fingerprint(server.url, "maker/model", read.name, read.hash, read.prompt_hash("0.0 False"))
        protocol = TuningProtocol(
            endpoint=key.endpoint,
            model=key.model,
            schema_name=key.schema,
            schema_hash=key.schema_hash,
            prompt_hash=key.prompt_hash,
            mode=mode,
        )
        ladder = Ladder(rule="formula", budgets=budgets)
        at = datetime(2026, 11, 30, tzinfo=UTC)
        tuning = Tuning(protocol=protocol, ladder=ladder, measured_at=at, run="20261130T100000Z-aaaa", **values)
        with Ledger(workspace.env["TILEWISE_LEDGER"]) as ledger:
            ledger.memory.keep_tuning(key, tuning.run, body or tuning.model_dump_json())

    return store_tuning


def test_run_and_estimate_use_the_stored_ladder(workspace, server, store):
    """The picture is that of the ladder, and one line has the date of the tuning."""
    store()
    estimate = workspace.run("estimate", *SOURCE)
    assert "tuning of 2026-11-30" in estimate.stdout
    result = workspace.run(*RUN)
    assert (result.exit_code, server.pictures) == (0, [WHOLE])
    assert "tuning of 2026-11-30" in result.stderr
    row = workspace.only("runs")
    assert (row["policy"], row["warnings"], json.loads(row["stopped_at_rung"])) == ("tuned", [], {"6404": 1})


def test_explicit_policy_wins_over_the_stored_ladder(workspace, server, store):
    store()
    result = workspace.run(*RUN, "--policy", "balanced")
    assert (result.exit_code, server.pictures) == (0, [CHEAPEST])
    assert workspace.only("runs")["policy"] == "balanced"


@pytest.mark.parametrize(
    ("stored", "words"),
    [({"mode": "tools"}, "mode differ"), ({"body": "{"}, "cannot be read")],
    ids=["protocol", "body"],
)
def test_unusable_tuning_is_one_warning(workspace, server, store, stored, words):
    """The run follows its policy."""
    store(**stored)
    assert workspace.run(*RUN).exit_code == 0
    assert server.pictures == [CHEAPEST]
    [warning] = workspace.only("runs")["warnings"]
    assert words in warning


def test_stored_score_gives_the_confidence_and_decides_which_documents_climb(workspace, server, replies, store):
    """This score trusts an answer that the lower rung agrees with, and ignores the probabilities of its tokens."""
    server.answers_with(bill_with_logprob(replies, -0.01))
    agreed = SignalModel(signals=("agreed",), means=(0,), scales=(1,), weights=(3,), intercept=0)
    score = Score(pooled=agreed).model_dump(mode="json")
    store(budgets=(1601, 6404), score=score, climb_below={"caption": 0.9})
    result = workspace.run(*RUN)
    assert (result.exit_code, server.pictures) == (0, [CHEAPEST, WHOLE])
    row = workspace.only("results")
    assert (row["_rung"], row["_confidence"]) == (6404, pytest.approx(1 / (1 + exp(-3))))
    workspace.run(*RUN, "--redo", "all", "--policy", "balanced", "--climb-below", "0.4")
    assert server.pictures[2:] == [CHEAPEST]


@pytest.mark.parametrize(
    ("stored", "below", "is_low"),
    [
        ({"certificate": CERTIFICATE}, 0.7, False),
        ({"certificate": CERTIFICATE, "review": Review(review_cost=1, error_cost=20, below=0.995)}, 0.995, True),
        ({"review": Review(review_cost=1, error_cost=20)}, inf, True),
        ({}, None, False),
    ],
    ids=["certified", "by dollars", "every document", "none"],
)
def test_page_marks_documents_below_the_threshold_in_force(workspace, server, replies, store, stored, below, is_low):
    """The confidence is 0.99; the threshold of review wins over the certified one, and `runs` has it."""
    server.answers_with(bill_with_logprob(replies, -0.01))
    store(**stored)
    assert workspace.run(*RUN, "--confidence").exit_code == 0
    assert workspace.only("runs")["review_below"] == below
    assert workspace.run("report").exit_code == 0
    [page] = (workspace.folder / "out" / "reports").glob("*.html")
    assert ("badge is-doubtful" in page.read_text()) is is_low


def test_stored_plan_keeps_its_tuning(workspace, server, store):
    """A later tuning changes neither its ladder nor its thresholds."""
    store()
    plan = json.loads(workspace.run(*RUN, "--plan-only", "--json").stdout)["plan"]
    store(budgets=(1601,), climb_below_all=0.9)
    result = workspace.run("apply", plan)
    assert (result.exit_code, server.pictures) == (0, [WHOLE])
    assert "climbs only after a refusal" in result.stderr
    assert workspace.only("runs")["policy"] == "tuned"


def test_ladder_that_ends_below_the_whole_image_is_published_as_resized(workspace, server, replies, store):
    """A doubtful answer climbs no further, and the saving is relative to the whole image."""
    store(budgets=(1601,), climb_below_all=0.9)
    server.answers_with(bill_with_logprob(replies, -2.0))
    result = workspace.run(*RUN)
    assert (result.exit_code, server.pictures) == (0, [CHEAPEST])
    row = workspace.only("results")
    assert (row["_action"], row["_rung"]) == ("resize", 1601)
    assert "4,803 image tokens (75.0 %)" in result.stdout


def test_refused_value_climbs_above_a_stored_ladder_to_the_whole_image(workspace, server, replies, store):
    """A document does not fail for pixels that the ladder omits."""
    name = workspace.module(RED)
    store(budgets=(1601,), schema=f"{name}:Red")
    server.answers_with(replies.ok({"color": "blue"}), replies.ok({"color": "red"}))
    assert workspace.run("run", "in", "--schema", f"{name}:Red", "--bill", "formula").exit_code == 0
    assert server.pictures == [CHEAPEST, WHOLE]
    assert workspace.only("results")["_rung"] == 6404


def test_doctor_shows_the_tunings_of_the_model_by_schema(workspace, server, store):
    """The line has the ladder, the threshold, and whether the confidence can rank."""
    store(ranks=False, climb_below={"caption": 0.9})
    verdict, *lines = workspace.run("doctor").stdout.splitlines()
    [line] = [line for line in lines if "tuning caption" in line]
    assert "tuning caption" in verdict
    assert line.startswith("note")
    assert "ladder 6,404 image tokens, climbs below caption 0.9, this model's confidence cannot rank" in line


def test_cascade_without_a_second_rung_is_one_warning(workspace, server):
    """Under `faithful` there is no rung to climb to."""
    assert workspace.run(*RUN, "--policy", "faithful", "--climb-below", "0.9").exit_code == 0
    warnings = workspace.only("runs")["warnings"]  # and one that the server gave no log probabilities
    assert sum("--policy faithful" in warning for warning in warnings) == 1
