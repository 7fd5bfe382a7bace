"""The schema of a user's own that docs/schemas.md describes: it reads the sample that the page names."""

import json

import pytest
from support.markdown import ROOT, page

TRUTH = ROOT / "data" / "samples" / "tickets" / "truth.jsonl"


@pytest.mark.slow
def test_ticket_is_read_offline_as_its_truth_says(documented):
    """By the command as it is shown."""
    [line] = [each for each in page("schemas").commands if "--offline" in each]
    ended = documented.workspace.run(*documented.arguments(line), "--json", env={"TILEWISE_BASE_URL": None})
    assert ended.exit_code == 0, ended.output
    truth = json.loads(TRUTH.read_text())
    assert truth.pop("image") in line
    assert json.loads(ended.stdout)["fields"] == truth
