"""What the page of a run costs: CPU and peak memory of `tilewise report`, and bytes of the page.

    python benchmarks/page.py [--images 200] [--folder FOLDER]

Draws pictures of 2 megapixels (three in four are JPEG, one is PNG), writes the tables of a run that read them with one
failure in forty and one climb in twenty, and runs `tilewise report` in a process of its own. `--folder` keeps them.
"""

import argparse
import json
import random
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
from measure import clean_environment, own_versions, report, run_process
from PIL import Image, ImageDraw

from extractors.record.tables import columns

RUN, DAY, SIZE = "20261120T021500Z-3f9a", "run_date=2026-11-20", (1200, 1660)
BEGAN = datetime(2026, 11, 20, 2, 15, tzinfo=UTC)
ITEM = pl.Struct({"description": pl.String, "quantity": pl.Decimal(38, 6), "amount": pl.Decimal(38, 4)})
FIELDS = {
    "company": pl.String,
    "date": pl.Date,
    "address": pl.String,
    "total": pl.Decimal(38, 4),
    "currency": pl.String,
    "line_items": pl.List(ITEM),
}


def draw(path):
    """A receipt on a grainy ground, as a phone takes it."""
    number = int(path.stem)
    noise = np.random.default_rng(number)
    shade = np.linspace(150, 235, SIZE[0])[None, :, None] + noise.normal(0, 5, (SIZE[1], SIZE[0], 1))
    picture = Image.fromarray(np.clip(shade + np.array([0, -4, -14]), 0, 255).astype("uint8"))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((180, 60, 1020, 1600), fill=(250, 249, 244))
    for line in range(36):
        pen.text(
            (220, 90 + 41 * line),
            f"ITEM {number * 37 + line:09} x {line}   {number % 97}.{line:02}",
            (40, 40, 44),
            font_size=30,
        )
    picture.save(path, quality=88) if path.suffix == ".jpg" else picture.save(path, compress_level=1)


def rows(paths):
    """The rows of a run that has read these files: results, failures, calls, replies and images."""
    tables = {name: [] for name in ("results", "failures", "calls", "replies", "images")}
    for number, path in enumerate(paths):
        seeded, status = random.Random(number), path.stat()
        failed, climbed = number % 40 == 7, number % 20 == 3
        items = [
            {
                "description": f"ITEM {number * 37 + line:09}",
                "quantity": Decimal(line + 1),
                "amount": Decimal(f"{line}.50"),
            }
            for line in range(seeded.randrange(2, 9))
        ]
        value = {
            "company": f"Company {number % 90} Trading Limited",
            "date": date(2026, 11, 1 + number % 28),
            "address": f"No. {number}, Jalan Besar, 45600 Batang Berjuntai, Selangor",
            "total": Decimal(f"{number}.40"),
            "currency": "MYR",
            "line_items": items,
        }
        body = json.dumps(
            {"choices": [{"message": {"content": json.dumps(value, default=str)}, "finish_reason": "stop"}]}
        )
        name, version = str(path), f"{status.st_size}-{status.st_mtime_ns}"
        for attempt in range(1, 2 + climbed):
            call = {
                "run": RUN, "document": name, "attempt": attempt, "rung": 400 * attempt, "pages": 1,
                "started_at": BEGAN + timedelta(seconds=number * 0.4), "seconds": seeded.lognormvariate(0.6, 0.5),
                "http_status": 200, "outcome": "off_schema" if failed or attempt <= climbed else "accepted",
                "billed": "yes", "bill_rule": "formula", "sent_width": 600, "sent_height": 830,
                "estimated_prompt_tokens": 400 * attempt + 580, "prompt_tokens": 400 * attempt + 580 + number % 9,
                "completion_tokens": 40 + 22 * len(items), "residual_tokens": number % 9, "cost_usd": Decimal("0.0004"),
            }  # fmt: skip
            tables["calls"].append(call)
            tables["replies"].append({"run": RUN, "document": name, "attempt": attempt, "reply": body})
        image = {"run": RUN, "document": name, "page": 1, "image": name, "size": status.st_size, "version": version}
        shape = {
            "width": SIZE[0],
            "height": SIZE[1],
            "orientation": 1,
            "format": "JPEG" if path.suffix == ".jpg" else "PNG",
        }
        tables["images"].append(image | shape | {"action": "resize", "reason": "cheaper", "tokens_planned": 400})
        if failed:
            failure = {"run": RUN, "document": name, "stage": "validate", "kind": "off_schema", "final": True}
            tables["failures"].append(failure | {"message": "total: Input should be a number", "attempts": 1 + climbed})
            continue
        own = {"_document": name, "_image": name, "_rung": 400 + 400 * climbed, "_attempts": 1 + climbed, "_run": RUN}
        tables["results"].append(value | own | {"_cost_usd": Decimal("0.0004"), "_model": "maker/model"})
    return tables


def publish(output, paths):
    """Writes the tables below the output."""
    tables = rows(paths)
    failed = len(tables["failures"])
    run = {
        "run": RUN, "volume": 1, "flow": "run", "schema": "receipt", "source": str(paths[0].parent), "model": "maker/model",
        "status": "completed", "started_at": BEGAN, "finished_at": BEGAN + timedelta(minutes=14), "found": len(paths),
        "skipped": 0, "duplicates": 0, "rejected": 0, "accepted": len(paths) - failed, "failed": failed, "remaining": 0,
        "calls": len(tables["calls"]), "warnings": [], "cost_usd": Decimal("0.84"), "job": "{}", "version": "0.1.0",
    }  # fmt: skip
    tables["runs"] = [run]
    for name, given in tables.items():
        schema = FIELDS | columns.RESULTS if name == "results" else getattr(columns, name.upper())
        folder = output / name / "schema=receipt" / DAY if name in {"results", "replies"} else output / name / DAY
        folder.mkdir(parents=True, exist_ok=True)
        pl.DataFrame([dict.fromkeys(schema) | row for row in given], schema=schema, orient="row").write_parquet(
            folder / f"{RUN}.parquet"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="report-"))
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    paths = [pictures / f"{number:05}.{'png' if number % 4 == 3 else 'jpg'}" for number in range(options.images)]
    with ProcessPoolExecutor() as processes:
        list(processes.map(draw, [path for path in paths if not path.exists()], chunksize=20))
    publish(folder / "out", paths)
    command = [str(Path(sys.executable).with_name("tilewise")), "report", RUN, "--output", str(folder / "out")]
    used = run_process(command, env=clean_environment())
    path = Path(used.output.strip())
    row = (options.images, used.cpu, used.peak_mib, path.stat().st_size / 1e6)
    report("page", str(path), ("images", "CPU s", "peak MiB", "MB"), [row], versions=own_versions("polars", "Pillow"))


if __name__ == "__main__":
    main()
