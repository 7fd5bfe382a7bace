"""Draw every sample image, and write the truth beside it: `python data/samples/render.py [--into FOLDER]`.

Seeded, and with the font that Pillow brings along: the same pictures on every machine with the same Pillow.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import broken
import invoices
import receipts
import scenes
import tickets

FOLDERS = ("receipts", "invoices", "screenshots", "comparison", "documents", "tickets", "bad")


def render(into: Path) -> None:
    """Write all samples below a folder, over what is there."""
    folders = {name: into / name for name in FOLDERS}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    _truth(folders["receipts"], receipts.render(folders["receipts"]))
    _truth(folders["invoices"], invoices.render(folders["invoices"]))
    _truth(folders["tickets"], tickets.render(folders["tickets"]))
    scenes.render_screenshots(folders["screenshots"])
    scenes.render_comparison(folders["comparison"])
    invoices.render_documents(folders["documents"])
    broken.render(folders["bad"])


def _truth(folder: Path, lines: list[dict[str, object]]) -> None:
    (folder / "truth.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--into", type=Path, default=Path(__file__).parent, metavar="FOLDER")
    render(arguments.parse_args().into)
