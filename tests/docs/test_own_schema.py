"""The user-defined schema of docs/schemas.md reads the sample that the page names."""

import json

import pytest
from support.markdown import ROOT, page

TRUTH = ROOT / "data" / "samples" / "tickets" / "truth.jsonl"


@pytest.mark.slow
def test_documented_command_reads_the_ticket_as_its_truth(docs_workspace):
    [line] = [line for line in page("schemas").commands if "--offline" in line]
    result = docs_workspace.workspace.run(*docs_workspace.arguments(line), "--json", env={"TILEWISE_BASE_URL": None})
    assert result.exit_code == 0, result.output
    truth = json.loads(TRUTH.read_text())
    assert truth.pop("image") in line
    assert json.loads(result.stdout)["fields"] == truth
