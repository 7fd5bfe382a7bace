"""How much worse pictures cost: accuracy, coverage and certificate by kind and strength of fault, read by local OCR.

    .venv/bin/python benchmarks/robustness.py IMAGES TRUTH.jsonl --work FOLDER [--schema receipt] [--kind KIND]… [--strength S]…

Makes every picture worse by one fault (benchmarks/degrade.py) and runs `tilewise tune` on the result, offline. FOLDER keeps
pictures, ledger and results: the same command goes on where it was stopped. 40 receipts take about two minutes a row.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from degrade import KINDS, degrade_folder

TARGET = 0.8  # of right documents among those that skip review: what 40 labels can show


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--schema", default="receipt")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--strength", type=float, action="append")
    options = parser.parse_args()
    print("| fault | strength | values right, whole images | recommended ladder | of faithful's tokens | values right, by it |"
          f" documents that may skip review at {TARGET:.0%} |")  # fmt: skip
    print("|---|--:|--:|--:|--:|--:|--:|", flush=True)
    results = [measure(options, None, 0.0)]
    for strength in options.strength or (0.5, 1.0):
        results += [measure(options, kind, strength) for kind in options.kind or KINDS]
    print(json.dumps(results))


def measure(options: argparse.Namespace, kind: str | None, strength: float) -> dict[str, object]:
    """The figures of one fault; None for the pictures as they are. Prints its row of the table."""
    images = options.images if kind is None else options.work / f"{kind}-{strength:g}"
    if not images.exists():
        part = options.work / f"{images.name}.part"  # of a command that was stopped, if it is there
        degrade_folder(options.images, part, strength=strength, kind=kind)
        part.rename(images)
    tuned = tune(images.resolve(), options)
    ladders = {tuple(choice["ladder"]): choice for choice in tuned["choices"] if choice["climb_below"] is None}
    whole, chosen, certificate = ladders[max(ladders)], tuned["recommended"], tuned["certificate"]
    row = {
        "fault": kind or "none",
        "strength": strength,
        "accuracy_whole": whole["accuracy_mean"],
        "ladder": chosen["ladder"],
        "climb_below": chosen["climb_below"],
        "image_tokens_share": chosen["image_tokens_share"],
        "accuracy": chosen["accuracy_mean"],
        "coverage": certificate["share"],
        "bound": certificate["bound"],
        "errors": tuned["confidence"]["all"]["errors"],
    }
    ladder = ", ".join(f"{tokens:,}" for tokens in row["ladder"])
    share = f"{row['coverage']:.0%} (bound {row['bound']:.1%})" if row["coverage"] else "none"
    print(f"| {row['fault']} | {strength:g} | {row['accuracy_whole']:.1%} | {ladder} | {row['image_tokens_share']:.0%} |"
          f" {row['accuracy']:.1%} | {share} |", flush=True)  # fmt: skip
    return row


def tune(images: Path, options: argparse.Namespace) -> dict[str, object]:
    """What `tilewise tune --json` prints for these pictures."""
    work = options.work.resolve()
    settings = {
        "TILEWISE_BASE_URL": "offline",
        "TILEWISE_LEDGER": f"sqlite:///{work / 'ledger.db'}",
        "TILEWISE_OUTPUT": str(work / "out" / images.name),
    }
    command = [
        sys.executable,
        "-m",
        "flows",
        "tune",
        images,
        "--truth",
        options.truth.resolve(),
        "--schema",
        options.schema,
    ]
    command += ["--target", str(TARGET), "--yes", "--json"]
    done = subprocess.run(
        list(map(str, command)), env=os.environ | settings, stdout=subprocess.PIPE, check=True, cwd=work
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
