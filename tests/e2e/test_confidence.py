"""The confidence of values in the tables of a run: recorded, reparsed, restored, never copied, and missing with one warning."""

import json
from math import exp

import pytest

RUN = ("run", "in", "--schema", "caption", "--bill", "formula")
ANSWER = '{"caption": "A wall", "alt_text": null, "tags": []}'
TOKENS = ['{"', "caption", '": "', "A", " wall", '", "alt_text": ', "null", ', "tags": []}']
LOGPROBS = [-0.125, 0.0, -0.25, -0.5, -1.5, 0.0, -0.75, -0.03125]
EVIDENCE = {"caption": exp(-1.5), "alt_text": exp(-0.75), "tags": exp(-0.03125)}
WARNING = "no confidence is known"


def with_logprobs(replies, **message):
    """An answer with its log probabilities."""
    body = json.loads(replies.ok(ANSWER).body)
    body["choices"][0]["message"] |= message
    body["choices"][0]["logprobs"] = {"tokens": TOKENS, "token_logprobs": LOGPROBS}
    return replies.raw(json.dumps(body))


def evidence(row):
    """The confidence of each field of a row."""
    assert {each[name] for each in row["_evidence"] for name in ("page", "x", "y", "width", "height")} == {None}
    return {each["field"]: each["confidence"] for each in row["_evidence"]}


def test_confidence_of_each_value_is_recorded_and_read_again(workspace, serve, replies):
    """In results, fields and images; a copy has none; a stored reply is reparsed with the same."""
    workspace.with_images("a.jpg", "z.jpg", size=(2000, 1500)).using(serve(with_logprobs(replies)))
    (workspace.folder / "in" / "z.jpg").write_bytes((workspace.folder / "in" / "a.jpg").read_bytes())
    assert workspace.run(*RUN, "--confidence").exit_code == 0
    rows = workspace.table("results").to_dicts()
    (copy,) = (row for row in rows if row["_copied_from"] is not None)
    (first,) = (row for row in rows if row["_copied_from"] is None)
    assert evidence(first) == pytest.approx(EVIDENCE)
    assert first["_confidence"] == pytest.approx(exp(-1.5))
    assert (copy["_confidence"], copy["_evidence"]) == (None, None)
    assert "0.223" in workspace.run("rows").stdout
    means = {row["field"]: row["mean_confidence"] for row in workspace.table("fields").to_dicts()}
    assert means == pytest.approx(EVIDENCE)
    measured = workspace.table("images").drop_nulls("sharpness")
    assert (measured["document"].to_list(), measured["contrast"].null_count()) == ([first["_document"]], 0)
    assert not any(WARNING in text for text in workspace.only("runs")["warnings"])
    assert workspace.run(*RUN, "--redo", "reparse", "--include", first["_document"].rpartition("/")[2]).exit_code == 0
    again = workspace.table("results").sort("_extracted_at").to_dicts()[-1]
    assert again["_run"] != first["_run"]
    assert evidence(again) == pytest.approx(EVIDENCE)


def test_nothing_is_recorded_without_the_flag(workspace, serve, replies):
    """No evidence, and no quality of the picture, which is decoded all the same."""
    workspace.with_images("a.jpg", size=(2000, 1500)).using(serve(replies.ok(ANSWER)))
    assert workspace.run(*RUN).exit_code == 0
    row, image = workspace.only("results"), workspace.only("images")
    assert (row["_confidence"], row["_evidence"], image["sharpness"], image["contrast"]) == (None,) * 4
    assert not any(WARNING in text for text in workspace.only("runs")["warnings"])
    assert "_confidence" not in workspace.run("rows").output


def test_try_shows_the_confidence_of_each_value(workspace, serve, replies):
    """Beside the value, and as an object in JSON, which is empty where none was asked for."""
    workspace.with_images("a.jpg").using(serve(with_logprobs(replies)))
    command = ("try", "in/a.jpg", "--schema", "caption", "--yes", "--bill", "formula")
    assert '"A wall" (confidence 0.22)' in workspace.run(*command, "--confidence").stdout
    assert json.loads(workspace.run(*command, "--confidence", "--json").stdout)["confidence"] == pytest.approx(EVIDENCE)


@pytest.mark.parametrize("reasoning", [None, "It shows a wall."])
def test_a_run_whose_confidence_is_null_throughout_warns_once(workspace, serve, replies, reasoning):
    """A server that gives no log probabilities, and a model that reasons."""
    answer = with_logprobs(replies, reasoning_content=reasoning) if reasoning else replies.ok(ANSWER)
    workspace.with_images("a.jpg", "b.jpg").using(serve(answer))
    assert workspace.run(*RUN, "--confidence").exit_code == 0
    assert [WARNING in text for text in workspace.only("runs")["warnings"] if "confidence" in text] == [True]
    assert workspace.table("results")["_confidence"].null_count() == 2
