"""`--witness`: a run locates the values of its answers on the original images."""

import json
import re

import pytest
from PIL import Image, ImageDraw, ImageFont

from extractors.endpoint import extra

RUN = ("run", "in", "--schema", "receipt", "--bill", "formula")
LINES = ("GREEN GARDEN CAFE", "DATE 29/01/2018", "COFFEE WITH MILK   4.50", "CHEESE CAKE   8.00", "TOTAL   12.50")
ANSWER = {
    "company": "Green Garden Cafe", "date": "2018-01-29", "address": "1 Elm Road", "total": 12.5, "currency": None,
    "line_items": [{"description": "Coffee with milk", "amount": 4.5}],
}  # fmt: skip


def draw_receipt(path, lines=LINES):
    """A small receipt with lines 60 px apart."""
    picture = Image.new("RGB", (640, 360), "white")
    for row, text in enumerate(lines):
        name, _, amount = text.partition("   ")
        font = ImageFont.load_default(28)
        ImageDraw.Draw(picture).text((30, 30 + 60 * row), name, font=font, fill="black")
        ImageDraw.Draw(picture).text((500, 30 + 60 * row), amount, font=font, fill="black")
    picture.save(path)


@pytest.mark.slow
def test_witness_records_page_and_box_of_each_value(workspace, serve, replies):
    """By extractors.endpoint.ocr.worker: page 0 for a value that is on no page, `[?]` for a row that is missing."""
    workspace.with_images("a.png").using(serve(replies.ok(json.dumps(ANSWER))))
    draw_receipt(workspace.folder / "in" / "a.png")
    result = workspace.run(*RUN, "--witness", "all")
    assert result.exit_code == 0
    row = workspace.only("results")
    evidence = {value["field"]: value for value in row["_evidence"]}
    assert {name: value["page"] for name, value in evidence.items()} == {
        "company": 1,
        "date": 1,
        "address": 0,
        "total": 1,
        "currency": None,
        "line_items": None,
        "line_items[0].description": 1,
        "line_items[0].amount": 1,
        "line_items[?]": 1,
    }
    heights = {name: value["y"] + value["height"] // 2 for name, value in evidence.items() if value["y"] is not None}
    lines = {name: round((height - 45) / 60) for name, height in heights.items()}
    assert lines == {
        "company": 0, "date": 1, "total": 4, "line_items[0].description": 2, "line_items[0].amount": 2, "line_items[?]": 3,
    }  # fmt: skip
    assert row["_confidence"] is None
    assert "values that stand on no page" in result.stdout


@pytest.mark.slow
def test_try_shows_the_place_of_each_value(workspace, serve, replies):
    """In the text and in JSON; without a witness there is none."""
    workspace.with_images("a.png").using(serve(replies.ok(json.dumps(ANSWER))))
    draw_receipt(workspace.folder / "in" / "a.png")
    command = ("try", "in/a.png", "--schema", "receipt", "--yes", "--bill", "formula")
    text = workspace.run(*command, "--witness", "doubtful").stdout
    assert 'address: "1 Elm Road" (on no page)' in text
    assert re.search(r"^  total: .*\(page 1, \d+ x \d+ px at", text, re.MULTILINE)
    pages = json.loads(workspace.run(*command, "--witness", "all", "--json").stdout)["seen_on_page"]
    assert (pages["total"], pages["address"], pages["currency"]) == (1, 0, None)
    assert json.loads(workspace.run(*command, "--json").stdout)["seen_on_page"] is None


@pytest.mark.soak  # property tests of the score and of the tuning cover each step
@pytest.mark.slow
def test_witnessed_score_is_tuned_and_used_by_runs_with_witness(workspace, serve, replies):
    """Every answer has the same probabilities and total; half of the receipts print another total."""

    def answer(_):
        body = json.loads(replies.ok(json.dumps(content)).body)
        text = body["choices"][0]["message"]["content"]
        body["choices"][0]["logprobs"] = {"content": [{"token": part, "logprob": -0.1} for part in text]}
        return replies.raw(json.dumps(body))

    items = [{"description": "Coffee with milk", "amount": 4.5}, {"description": "Cheese cake", "amount": 8}]
    content = ANSWER | {"address": None, "line_items": items}
    workspace.with_images().using(serve(answer))
    labels = []
    for number in range(28):
        total = 12.5 if number % 2 else 13.7
        name = f"{number}.png"
        draw_receipt(workspace.folder / "in" / name, (*LINES[:4], f"TOTAL   {total:.2f}", f"NO {number}"))
        labels.append({"uri": name, "total": total, "date": "2018-01-29"})
    (workspace.folder / "truth.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in labels))
    tune = ("tune", "in", "--truth", "truth.jsonl", "--schema", "receipt", "--witness", "--apply")
    prices = ("--review-cost", "0.5", "--error-cost", "5", "--yes", "--json")
    result = workspace.run(*tune, *prices)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["witnessed"]["review"]["slipped"] == 0
    assert report["witnessed"]["review"]["reviewed"] < 28 == report["dollars"]["chosen"]["reviewed"]
    second = workspace.run(*RUN, "--witness", "all", "--yes")
    assert "its score with the witness" in second.stderr
    rows = workspace.table("results")
    confidences = dict(zip(rows["_document"].str.extract(r"(\d+)\.png").cast(int), rows["_confidence"], strict=True))
    below = report["witnessed"]["review"]["review_below"]
    assert {number % 2 for number, confidence in confidences.items() if confidence < below} == {0}
    assert {number % 2 for number, confidence in confidences.items() if confidence >= below} == {1}


def test_missing_witness_packages_are_named_before_any_call(workspace, server, monkeypatch):
    """One line with the extra; exit code 2."""
    monkeypatch.setitem(extra._NEEDS, "witness", ("a_package_that_is_not_there",))
    workspace.with_images("a.jpg").using(server)
    result = workspace.run(*RUN, "--witness", "doubtful")
    assert (result.exit_code, server.keys) == (2, [])
    assert 'pip install "tilewise[offline]"' in result.stderr


@pytest.mark.slow
def test_copies_have_the_evidence_of_their_original(workspace, serve, replies):
    """A copy in the same run, and one of an earlier run; the summary counts the original alone."""
    workspace.with_images("a.png", "b.png").using(serve(replies.ok(json.dumps(ANSWER))))
    for name in ("a.png", "b.png"):
        draw_receipt(workspace.folder / "in" / name)
    run = (*RUN, "--witness", "all")
    assert re.search(r"documents looked at by the witness +1\n", workspace.run(*run).stdout)
    draw_receipt(workspace.folder / "in" / "c.png")
    assert workspace.run(*run).exit_code == 0
    rows = workspace.table("results").sort("_document")
    places = rows["_evidence"].to_list()
    assert rows["_copied_from"].is_null().to_list().count(True) == 1
    assert {cell["page"] for cell in places[0]} == {None, 0, 1}
    assert places[1:] == [places[0]] * 2
