"""The confidence of values in the tables of a run: recorded, reparsed, restored, never copied; one warning without it."""

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


def confidence_of(row):
    """The confidence of each field of a row."""
    assert {entry[name] for entry in row["_evidence"] for name in ("page", "x", "y", "width", "height")} == {None}
    return {entry["field"]: entry["confidence"] for entry in row["_evidence"]}


def test_confidence_is_recorded_and_reparsed_but_not_copied(workspace, serve, replies):
    """It is in results, fields and images; reparsing a stored reply gives the same values."""
    workspace.with_images("a.jpg", "z.jpg", size=(2000, 1500)).using(serve(with_logprobs(replies)))
    (workspace.folder / "in" / "z.jpg").write_bytes((workspace.folder / "in" / "a.jpg").read_bytes())
    assert workspace.run(*RUN, "--confidence").exit_code == 0
    rows = workspace.table("results").to_dicts()
    (copy,) = (row for row in rows if row["_copied_from"] is not None)
    (first,) = (row for row in rows if row["_copied_from"] is None)
    assert confidence_of(first) == pytest.approx(EVIDENCE)
    assert first["_confidence"] == pytest.approx(exp(-1.5))
    assert (copy["_confidence"], copy["_evidence"]) == (None, None)
    assert "0.223" in workspace.run("rows").stdout
    means = {row["field"]: row["mean_confidence"] for row in workspace.table("fields").to_dicts()}
    assert means == pytest.approx(EVIDENCE)
    measured = workspace.table("images").drop_nulls("sharpness")
    assert (measured["document"].to_list(), measured["contrast"].null_count()) == ([first["_document"]], 0)
    assert not any(WARNING in text for text in workspace.only("runs")["warnings"])
    assert workspace.run(*RUN, "--redo", "reparse", "--include", first["_document"].rpartition("/")[2]).exit_code == 0
    reparsed = workspace.table("results").sort("_extracted_at").to_dicts()[-1]
    assert reparsed["_run"] != first["_run"]
    assert confidence_of(reparsed) == pytest.approx(EVIDENCE)


def test_run_without_confidence_records_no_evidence(workspace, serve, replies):
    """Nor the quality of the image, although it is decoded."""
    workspace.with_images("a.jpg", size=(2000, 1500)).using(serve(replies.ok(ANSWER)))
    assert workspace.run(*RUN).exit_code == 0
    row, image = workspace.only("results"), workspace.only("images")
    assert (row["_confidence"], row["_evidence"], image["sharpness"], image["contrast"]) == (None,) * 4
    assert not any(WARNING in text for text in workspace.only("runs")["warnings"])
    assert "_confidence" not in workspace.run("rows").output


def test_try_shows_the_confidence_of_each_value(workspace, serve, replies):
    """In the text and in the JSON object."""
    workspace.with_images("a.jpg").using(serve(with_logprobs(replies)))
    command = ("try", "in/a.jpg", "--schema", "caption", "--yes", "--bill", "formula")
    assert '"A wall" (confidence 0.22)' in workspace.run(*command, "--confidence").stdout
    assert json.loads(workspace.run(*command, "--confidence", "--json").stdout)["confidence"] == pytest.approx(EVIDENCE)


@pytest.mark.parametrize("reasoning", [None, "It shows a wall."])
def test_run_without_any_confidence_warns_once(workspace, serve, replies, reasoning):
    """The server gives no log probabilities, or the model reasons."""
    answer = with_logprobs(replies, reasoning_content=reasoning) if reasoning else replies.ok(ANSWER)
    workspace.with_images("a.jpg", "b.jpg").using(serve(answer))
    assert workspace.run(*RUN, "--confidence").exit_code == 0
    assert [WARNING in text for text in workspace.only("runs")["warnings"] if "confidence" in text] == [True]
    assert workspace.table("results")["_confidence"].null_count() == 2
