"""A run with a witness is killed before the witness has looked: the next run runs it on the stored answer.

Covers `extractors.run.witness.recovery`.
"""

import json

import pytest
from PIL import Image, ImageDraw, ImageFont

pytestmark = pytest.mark.slow

ANSWER = {"caption": "Green Garden Cafe", "alt_text": "A red wall", "tags": []}
REPLY = "committed update calls, update days, update runs"


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_recovered_document_has_the_evidence_of_its_witness(scenario, serve, replies):
    """Under the killed run, whose settings have a witness; nothing is sent again."""
    server = serve(replies.ok(json.dumps(ANSWER)))
    picture = Image.new("RGB", (640, 120), "white")
    ImageDraw.Draw(picture).text((30, 30), "GREEN GARDEN CAFE", font=ImageFont.load_default(28), fill="black")
    [path] = scenario.workspace.images("a.png")
    picture.save(path)
    url = {"TILEWISE_BASE_URL": server.url}
    killed = scenario.run("--witness", "all", kill=(REPLY, 1), env=url)
    recovery = scenario.run(env=url)
    [row] = scenario.table("results").to_dicts()
    assert (killed.killed, recovery.status, len(server.pictures)) == (True, 0, 1), recovery.stderr
    assert row["_run"] != recovery.row["run"]
    assert {cell["field"]: cell["page"] for cell in row["_evidence"]} == {"caption": 1, "alt_text": 0, "tags": None}
    assert 25 <= next(cell["y"] for cell in row["_evidence"] if cell["field"] == "caption") <= 60
