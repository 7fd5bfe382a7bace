"""A run with a witness is killed before it has looked: the next run looks at what was answered, and publishes it.

Covers `extractors.run.witness.recovery`.
"""

import json

import pytest
from PIL import Image, ImageDraw, ImageFont

pytestmark = pytest.mark.slow

ANSWER = {"caption": "Green Garden Cafe", "alt_text": "A red wall", "tags": []}
REPLY = "committed insert days, update calls, update runs"


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_document_that_is_recovered_has_the_places_of_its_values(kill_run, serve, replies):
    """Under the run that was killed, which had a witness; nothing is sent again."""
    server = serve(replies.ok(json.dumps(ANSWER)))
    picture = Image.new("RGB", (640, 120), "white")
    ImageDraw.Draw(picture).text((30, 30), "GREEN GARDEN CAFE", font=ImageFont.load_default(28), fill="black")
    [path] = kill_run.workspace.images("a.png")
    picture.save(path)
    url = {"TILEWISE_BASE_URL": server.url}
    killed = kill_run.run("--witness", "all", kill=(REPLY, 1), env=url)
    again = kill_run.run(env=url)
    [row] = kill_run.table("results").to_dicts()
    assert (killed.killed, again.status, len(server.pictures)) == (True, 0, 1), again.stderr
    assert row["_run"] != again.row["run"]
    assert {cell["field"]: cell["page"] for cell in row["_evidence"]} == {"caption": 1, "alt_text": 0, "tags": None}
    assert 25 <= next(cell["y"] for cell in row["_evidence"] if cell["field"] == "caption") <= 60
