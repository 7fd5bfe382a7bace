"""`tune` with local OCR: the sample receipts are read at every rung, and the next run uses the stored tuning."""

import json
import shutil
from pathlib import Path

import pytest

RECEIPTS = Path(__file__).parents[2] / "data" / "samples" / "receipts"

pytestmark = pytest.mark.slow  # real OCR, in a process of its own


def test_tune_offline_stores_a_tuning_that_the_next_run_uses(workspace):
    """No field is answered on a blank image, the total is right, and `doctor` shows the tuning."""
    workspace.env |= dict.fromkeys(("TILEWISE_API_KEY", "TILEWISE_MODEL", "TILEWISE_PRICES"))
    workspace.using("offline")
    lines = [json.loads(line) for line in (RECEIPTS / "truth.jsonl").read_text().splitlines()]
    lines = [line for line in lines if (RECEIPTS / line["image"]).suffix == ".jpg"][:3]
    for line in lines:
        shutil.copy(RECEIPTS / line["image"], workspace.folder / "in")
    (workspace.folder / "truth.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    result = workspace.run("tune", "in", "--truth", "truth.jsonl", "--schema", "receipt", "--apply", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["images"], report["unlooked"], report["applied"]) == (3, [], True)
    assert report["recommended"]["accuracy"]["total"] == 1
    assert workspace.only("runs")["cost_usd"] == 0
    assert "offline/rapidocr" in workspace.run("doctor").output
    run = json.loads(workspace.run("run", "in", "--schema", "receipt", "--json").stdout)
    assert (run["accepted"], run["policy"]) == (3, "tuned")
