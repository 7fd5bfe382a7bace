"""`--climb-below`: doubtful answers are read again on the next rung, and the most confident answer is published."""

import contextlib
import json
from math import log

import duckdb
import pytest

from extractors.record.output.folder import FolderOutput
from extractors.report.page.runs import open_run
from extractors.report.page.tables import load_summary

RUN = ("run", "in", "--schema", "caption", "--bill", "formula")
CLIMB = (*RUN, "--climb-below", "0.9")
LOW, TOP = (1119, 1119), (2000, 2000)  # pictures on the first and the last rung: 1,601 and 6,404 tokens


@pytest.fixture(autouse=True)
def one_large_image(workspace):
    """A workspace with one image, large enough to be sent smaller first."""
    workspace.with_images("a.jpg", size=(2000, 2000))


def answer(replies, caption, confidence, tokens=1601):
    """A caption with this confidence; None: no log probabilities came. Billed by the rung's image tokens."""
    usage = {"prompt_tokens": 500 + tokens, "completion_tokens": 100, "total_tokens": 0}
    content = json.dumps({"caption": caption, "alt_text": None, "tags": []})
    body = json.loads(replies.ok(content, usage=usage).body)
    if confidence is not None:
        before, after = content.split(caption)
        logprobs = [(before, 0.0), (caption, log(confidence)), (after, 0.0)]
        body["choices"][0]["logprobs"] = {"content": [{"token": t, "logprob": logprob} for t, logprob in logprobs]}
    return replies.raw(json.dumps(body))


@pytest.fixture
def climb(workspace, server, replies):
    """Runs against a server that gives these answers: (caption, confidence) or whole replies; returns both."""

    def run(*answers, args=CLIMB, **env):
        rungs = (1601, 6404, 6404, 6404)
        script = [
            answer(replies, *spec, tokens) if isinstance(spec[0], str) else spec
            for spec, tokens in zip(answers, rungs, strict=False)
        ]
        server.asked.clear()
        server.answers_with(*script)
        return workspace.run(*args, env={"TILEWISE_BASE_URL": server.url, **env}), server

    return run


def read_row(workspace):
    """Caption, rung and confidence of the only row."""
    row = workspace.only("results")
    return row["caption"], row["_rung"], None if row["_confidence"] is None else round(row["_confidence"], 2)


def test_confident_answer_stops_at_first_rung(climb, workspace):
    result, server = climb(("sure", 0.9))
    assert (result.exit_code, server.pictures, read_row(workspace)) == (0, [LOW], ("sure", 1601, 0.9))
    row = workspace.only("runs")
    assert (json.loads(row["stopped_at_rung"]), row["cost_wasted_usd"]) == ({"1601": 1}, 0)


@pytest.mark.parametrize(
    ("top_answer", "published"),
    [(("top", 0.7), ("top", 6404, 0.7)), (("top", 0.3), ("low", 1601, 0.5)), (("top", None), None)],
)
def test_doubtful_answer_climbs_and_most_confident_is_published(climb, workspace, top_answer, published):
    """The row has the tokens and the cost of both; the cost of the other answer counts as wasted."""
    result, server = climb(("low", 0.5), top_answer)
    assert (result.exit_code, server.pictures) == (0, [LOW, TOP])
    assert read_row(workspace) == (published or ("top", 6404, None))
    document, run = workspace.only("results"), workspace.only("runs")
    wasted_rung = 6404 if published and published[0] == "low" else 1601
    assert (document["_attempts"], document["_image_tokens_estimated"]) == (2, 1601 + 6404)
    assert document["_cost_usd"] == run["cost_usd"] == workspace.table("calls")["cost_usd"].sum()
    [waste] = workspace.table("calls").sort("attempt").filter(rung=wasted_rung)["cost_usd"]
    assert run["cost_wasted_usd"] == waste
    assert workspace.table("calls")["outcome"].to_list() == ["accepted", "accepted"]
    assert json.loads(run["stopped_at_rung"]) == {str(document["_rung"]): 1}
    assert "climbed" in result.stdout


def test_spend_views_and_page_agree_on_a_climb(climb, workspace):
    """The unpublished answer is wasted in `spend` and in the view; the page names the rung that was reached."""
    climb(("low", 0.5), ("top", 0.7))
    run = workspace.only("runs")
    total = json.loads(workspace.run("spend", "--json").stdout)["total"]
    assert total["wasted_usd"] == pytest.approx(float(run["cost_wasted_usd"]))
    with duckdb.connect() as database:
        views = (workspace.folder / "out" / "views.sql").read_text()
        with contextlib.chdir(workspace.folder / "out"):
            database.execute(views)
            [(wasted,)] = database.execute("SELECT sum(wasted_usd) FROM spend_by_day").fetchall()
            [(stopped,)] = database.execute("SELECT stopped_at_rung FROM runs_latest").fetchall()
    assert (wasted, json.loads(stopped)) == (run["cost_wasted_usd"], {"6404": 1})
    page = load_summary(open_run(FolderOutput(workspace.folder / "out"), None))
    assert ("stopped at 6,404 image tokens a page", "1 document") in page.rungs


def test_unknown_confidence_does_not_climb(climb, workspace):
    """A server without log probabilities is read once."""
    result, server = climb(("low", None))
    assert (result.exit_code, len(server.asked), read_row(workspace)) == (0, 1, ("low", 1601, None))


def test_climb_below_does_not_redo_results(climb, workspace):
    """A document with a result is skipped, even if it is doubtful."""
    climb(("low", 0.1), args=RUN)
    _, server = climb(("low", 0.1))
    assert server.asked == []


@pytest.mark.parametrize("error", ["bad", "cut", "context", "down"])
def test_error_on_a_higher_rung_publishes_the_lower_answer(climb, workspace, replies, error):
    """Off schema, truncated, over the context, or a server error: the lower answer is paid for and valid."""
    errors = {
        "bad": replies.ok({"odd": 1}),
        "cut": replies.ok('{"caption": "A wa', finish="length"),
        "context": replies.error(400, "maximum context length is 4096 tokens", "context_length_exceeded"),
        "down": replies.error(500),
    }
    result, server = climb(("low", 0.5), errors[error], TILEWISE_ATTEMPTS="1", TILEWISE_REASKS="0")
    assert (result.exit_code, read_row(workspace)) == (0, ("low", 1601, 0.5)), result.output
    assert server.pictures[:2] == [LOW, TOP]
    assert workspace.table("failures").is_empty()
    run = workspace.only("runs")
    assert run["cost_wasted_usd"] == workspace.table("calls").filter(billed="yes", rung=6404)["cost_usd"].sum()


def test_refused_key_publishes_the_lower_answer_and_stops(climb, workspace, replies):
    result, _ = climb(("low", 0.5), replies.error(401))
    assert (result.exit_code, read_row(workspace)) == (2, ("low", 1601, 0.5))
    assert workspace.only("runs")["status"] == "refused"
    _, server = climb(("again", 0.9))
    assert server.asked == []


def test_spent_budget_publishes_the_lower_answer(climb, workspace):
    """The call on the higher rung does not fit into the budget and is not sent; nothing is paid twice."""
    climb(("first", 0.9), args=(*RUN, "--output", "other", "--policy", "faithful", "--yes"))
    [reserved] = workspace.table("calls", "other")["reserved_usd"]
    workspace.env["TILEWISE_LEDGER"] = f"sqlite:///{workspace.folder / 'new.db'}"
    result, server = climb(("low", 0.5), ("top", 0.95), args=(*CLIMB, "--budget", str(reserved)))
    assert (result.exit_code, len(server.asked)) == (3, 1)
    assert read_row(workspace) == ("low", 1601, 0.5)
    run = workspace.only("runs")
    assert (run["status"], run["accepted"], run["remaining"]) == ("budget_spent", 1, 0)
    assert run["cost_usd"] <= reserved
    _, server = climb(("again", 0.9))
    assert server.asked == []


def test_agreement_on_agree_on_fields_publishes_higher_rung(climb, workspace):
    """Even if the lower rung was more confident."""
    name = workspace.module(
        "from pydantic import BaseModel\n\nAGREE_ON = ['caption']\n\n\nclass Page(BaseModel):\n"
        "    caption: str\n    alt_text: str | None\n    tags: list[str]\n"
    )
    args = ("run", "in", "--schema", f"{name}:Page", "--bill", "formula", "--climb-below", "0.9")
    result, server = climb(("The Wall", 0.5), ("the  wall", 0.3), args=args)
    assert (result.exit_code, server.pictures) == (0, [LOW, TOP])
    assert read_row(workspace) == ("the  wall", 6404, 0.3)


def test_reparse_uses_the_published_answer(climb, workspace):
    """It does not use the last answer of the climb."""
    climb(("low", 0.5), ("top", 0.3))
    assert workspace.run(*RUN, "--redo", "reparse").exit_code == 0
    rows = workspace.table("results").sort("_extracted_at")
    assert rows["caption"].to_list() == ["low", "low"]
    assert rows["_rung"].to_list() == [1601, 1601]
    assert rows["_confidence"].to_list() == [pytest.approx(0.5)] * 2


def test_try_shows_every_rung(climb, workspace):
    """It publishes no row."""
    args = ("try", "in/a.jpg", "--schema", "caption", "--bill", "formula", "--climb-below", "0.9", "--json")
    result, _ = climb(("low", 0.5), ("top", 0.8), args=args)
    report = json.loads(result.stdout)
    assert [attempt["rung"] for attempt in report["attempts"]] == [1601, 6404]
    assert (report["outcome"], report["fields"]["caption"]) == ("accepted", "top")


def test_stored_plan_keeps_climb_below(climb, workspace):
    plan = json.loads(climb(("low", 0.5), args=(*CLIMB, "--plan-only", "--json"))[0].stdout)["plan"]
    result, server = climb(("low", 0.5), ("top", 0.95), args=("apply", plan))
    assert (result.exit_code, server.pictures) == (0, [LOW, TOP])
    assert read_row(workspace) == ("top", 6404, 0.95)


def test_stop_during_a_climb_publishes_the_lower_answer(climb, workspace, replies):
    """`--max-time` ends while the higher rung is in flight; that call is aborted."""
    result, server = climb(("low", 0.5), replies.nothing, args=(*CLIMB, "--max-time", "2s"), TILEWISE_DRAIN="0")
    assert (result.exit_code, len(server.asked), read_row(workspace)) == (3, 2, ("low", 1601, 0.5))
    run = workspace.only("runs")
    assert (run["status"], run["accepted"], run["remaining"]) == ("stopped", 1, 0)
    assert workspace.table("calls").sort("attempt")["outcome"].to_list() == ["accepted", "aborted"]


@pytest.mark.slow
def test_run_killed_during_a_climb_is_recovered_without_calls(workspace, server, replies, wait):
    """The next run publishes the lower answer under the killed run."""
    server.answers_with(answer(replies, "low", 0.5), replies.nothing)
    with workspace.using(server).start(*CLIMB) as process:
        wait(lambda: len(server.asked) == 2)
        process.kill()
    result = workspace.run(*CLIMB)
    assert (result.exit_code, len(server.asked), read_row(workspace)) == (0, 2, ("low", 1601, 0.5))
    runs = workspace.table("runs").sort("started_at").to_dicts()
    assert [(row["status"], row["accepted"], row["calls"], row["skipped"]) for row in runs] == [
        ("abandoned", 1, 2, 0),
        ("completed", 0, 0, 1),
    ]
    assert json.loads(runs[0]["stopped_at_rung"]) == {"1601": 1}
