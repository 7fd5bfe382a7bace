"""Tune, offline: real OCR reads the sample receipts at every rung, and what is stored is used by the next run."""

import json
import shutil
from pathlib import Path

import pytest

RECEIPTS = Path(__file__).parents[2] / "data" / "samples" / "receipts"

pytestmark = pytest.mark.slow  # real OCR, in a process of its own


def test_sample_receipts_are_tuned_and_read_by_the_tuning(workspace):
    """Blank pictures are not answered, log probabilities give confidences, and doctor shows what is stored."""
    workspace.env |= dict.fromkeys(("TILEWISE_API_KEY", "TILEWISE_MODEL", "TILEWISE_PRICES"))
    workspace.using("offline")
    lines = [json.loads(line) for line in (RECEIPTS / "truth.jsonl").read_text().splitlines()]
    lines = [line for line in lines if (RECEIPTS / line["image"]).suffix == ".jpg"][:3]
    for line in lines:
        shutil.copy(RECEIPTS / line["image"], workspace.folder / "in")
    (workspace.folder / "truth.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    ended = workspace.run("tune", "in", "--truth", "truth.jsonl", "--schema", "receipt", "--apply", "--json")
    assert ended.exit_code == 0, ended.output
    shown = json.loads(ended.stdout)
    assert (shown["images"], shown["unlooked"], shown["applied"]) == (3, [], True)
    assert shown["recommended"]["accuracy"]["total"] == 1
    assert workspace.only("runs")["cost_usd"] == 0
    assert "offline/rapidocr" in workspace.run("doctor").output
    run = json.loads(workspace.run("run", "in", "--schema", "receipt", "--json").stdout)
    assert (run["accepted"], run["policy"]) == (3, "tuned")
