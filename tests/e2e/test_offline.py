"""Offline: a rendered receipt is read by local OCR, without key and network."""

import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

RECEIPTS = Path(__file__).parents[2] / "data" / "samples" / "receipts"


pytestmark = pytest.mark.slow  # real OCR, in a process of its own


@pytest.fixture(scope="module")
def workspace_of_a_receipt(workspaces):
    """A workspace with one rendered receipt, and neither key, model nor prices."""
    workspace = workspaces()
    workspace.env |= dict.fromkeys(("TILEWISE_API_KEY", "TILEWISE_MODEL", "TILEWISE_PRICES"))
    shutil.copy(RECEIPTS / "till-short-01.jpg", workspace.folder / "in")
    return workspace


def test_offline_run_reads_a_receipt(workspace_of_a_receipt):
    """The total is right, the cost is 0, and the token estimate is exact."""
    truth = json.loads((RECEIPTS / "truth.jsonl").read_text().splitlines()[0])
    result = workspace_of_a_receipt.run("run", "in", "--schema", "receipt", "--offline")
    row, run = workspace_of_a_receipt.only("results"), workspace_of_a_receipt.only("runs")
    assert result.exit_code == 0, result.output
    assert (truth["image"], row["total"]) == ("till-short-01.jpg", Decimal(truth["total"]))
    assert (row["_model"], run["endpoint"], run["bill_rule"]) == ("offline/rapidocr", "offline", "formula")
    assert (run["cost_usd"], run["residual_tokens"]) == (0, 0)


def test_offline_result_is_read_again_by_a_model(workspace_of_a_receipt, serve, replies):
    """Results of local OCR count for offline runs only."""
    answer = replies.ok({"company": "KEDAI KOPI", "date": "2018-03-13", "total": "21.10", "currency": "MYR"})
    env = {"TILEWISE_BASE_URL": serve(answer).url, "TILEWISE_API_KEY": "sk-1", "TILEWISE_MODEL": "maker/model"}
    result = workspace_of_a_receipt.run("run", "in", "--schema", "receipt", "--yes", env=env)
    assert result.exit_code == 0
    assert workspace_of_a_receipt.table("results").sort("_extracted_at")["_model"].to_list() == [
        "offline/rapidocr",
        "maker/model",
    ]
