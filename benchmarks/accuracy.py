"""How many fields local OCR reads right on labelled receipts, by policy.

    python benchmarks/accuracy.py IMAGES TRUTH.jsonl [--policy faithful] [--show]

TRUTH has one JSON object a line: `image` (a file name), `company`, `date`, `total`. Dates are compared as dates, day
first; totals as numbers; companies without case and punctuation. `--show` prints what was read wrongly.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import polars as pl

from schemas.receipt import Receipt


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--policy", default="faithful")
    parser.add_argument("--show", action="store_true")
    asked = parser.parse_args()
    truth = {line["image"]: line for line in map(json.loads, asked.truth.read_text().splitlines())}
    with tempfile.TemporaryDirectory() as folder:
        rows = read(asked.images, asked.policy, Path(folder))
    pairs = [(line, rows.get(image)) for image, line in truth.items()]
    print(f"{len(pairs)} receipts, --offline --policy {asked.policy}\n")
    print("| field | right | of | share |\n|---|--:|--:|--:|")
    for field, same in (("company", same_company), ("date", same_date), ("total", same_total)):
        wrong = [(line, row) for line, row in pairs if row is None or not same(line, row)]
        right = len(pairs) - len(wrong)
        print(f"| {field} | {right} | {len(pairs)} | {right / len(pairs):.3f} |")
        if asked.show:
            for line, row in wrong:
                print(f"  {line['image']}: {line[field]!r} was read as {row and row[field]!r}", file=sys.stderr)


def read(images, policy, folder):
    """The published row of every image, by file name; exit code 1 only says that some were not accepted."""
    output = folder / "out"
    command = [sys.executable, "-m", "flows", "run", str(images), "--schema", "receipt", "--offline", "--direct"]
    environment = os.environ | {"TILEWISE_LEDGER": f"sqlite:///{folder / 'ledger.db'}"}
    done = subprocess.run([*command, "--policy", policy, "--output", str(output)], env=environment, check=False)
    if done.returncode not in {0, 1}:
        sys.exit(done.returncode)
    rows = pl.read_parquet(output / "results" / "**" / "*.parquet").iter_rows(named=True)
    return {Path(row["_image"]).name: row for row in rows}


def same_company(line, row):
    return plain(line["company"]) == plain(row["company"] or "")


def plain(text):
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def same_date(line, row):
    return Receipt(date=line["date"], company="x").date == row["date"]


def same_total(line, row):
    return Decimal(re.sub(r"[^\d.]", "", line["total"])) == row["total"]


if __name__ == "__main__":
    main()
