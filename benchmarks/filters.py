"""Compares ways to make a picture smaller: CPU, bytes, and fields that local OCR reads right on labelled receipts.

    python benchmarks/filters.py IMAGES TRUTH.jsonl [--side 1119] [--side 559] [--repeats 3] [--only NAME] [--no-ocr]

TRUTH is as for accuracy.py. CPU is of resizing and encoding one picture, decoded before, in milliseconds; each row says
how many fields it gained and lost against the first row, with the 95 % interval of the difference in share.
"""

import argparse
import asyncio
import base64
import json
import math
import time
from io import BytesIO
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
from accuracy import same_company, same_date, same_total
from PIL import Image
from pydantic import ValidationError

from extractors.endpoint.fill.fill import fill_schema
from extractors.endpoint.ocr.picture import parse_picture
from extractors.endpoint.ocr.read import Ocr
from schemas.receipt import Receipt

FIELDS = (("company", same_company), ("date", same_date), ("total", same_total))


class Method(NamedTuple):
    """A way to make a picture smaller: filter, chroma subsampling, JPEG quality, and how far JPEG decoding scales."""

    name: str
    filter: Image.Resampling
    subsampling: int
    quality: int
    gap: float = 1.0  # the decoder leaves at least this multiple of the wanted side


L, B, H, T, X = (Image.Resampling[name] for name in ("LANCZOS", "BICUBIC", "HAMMING", "BILINEAR", "BOX"))
METHODS = (
    Method("LANCZOS 4:4:4 q90", L, 0, 90),
    Method("HAMMING 4:2:0 q90", H, 2, 90),
    Method("BICUBIC 4:2:0 q90", B, 2, 90),
    Method("HAMMING 4:2:0 q85", H, 2, 85),
    Method("HAMMING 4:2:0 q75", H, 2, 75),
    Method("LANCZOS 4:2:0 q90", L, 2, 90),
    Method("BILINEAR 4:2:0 q90", T, 2, 90),
    Method("BOX 4:2:0 q90", X, 2, 90),
    Method("HAMMING 4:4:4 q90", H, 0, 90),
    Method("BICUBIC 4:2:0 q90, gap 2", B, 2, 90, 2.0),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--side", type=int, action="append")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", action="append")
    parser.add_argument("--no-ocr", action="store_true")
    options = parser.parse_args()
    truth = [json.loads(line) for line in options.truth.read_text().splitlines()]
    methods = [each for each in METHODS if not options.only or each.name in options.only]
    ocr = None if options.no_ocr else Ocr()
    for side in options.side or (1119, 559):
        print(f"\nlongest side {side} px, {len(truth)} receipts\n")
        print("| method | CPU ms | KiB | fields right | gained | lost | difference (95 %) |")
        print("|---|--:|--:|--:|--:|--:|--:|", flush=True)
        first = None
        for method in methods:
            files = [encode(options.images / line["image"], method, side, options.repeats) for line in truth]
            cpu, size = fmean(cpu for cpu, _ in files), fmean(len(data) for _, data in files) / 1024
            right = [] if ocr is None else asyncio.run(read(ocr, [data for _, data in files], truth))
            first = first or right
            print(f"| {method.name} | {cpu:.1f} | {size:.0f} | {compare(right, first)} |", flush=True)


def encode(path, method, side, repeats):
    """CPU milliseconds of resizing and encoding, the least of some repeats, and the JPEG."""
    source = Image.open(path)
    scale = min(1.0, side / max(source.size))
    size = tuple(max(1, round(each * scale)) for each in source.size)
    source.draft(None, tuple(math.ceil(each * method.gap) for each in size))
    source.load()
    pixels, spent, data = source if source.mode in {"L", "RGB"} else source.convert("RGB"), [], b""
    for _ in range(repeats):
        started = time.thread_time()
        smaller = pixels if pixels.size == size else pixels.resize(size, method.filter)
        buffer = BytesIO()
        smaller.info = {}
        smaller.save(buffer, "JPEG", quality=method.quality, subsampling=method.subsampling)
        spent.append(1000 * (time.thread_time() - started))
        data = buffer.getvalue()
    return min(spent), data


async def read(ocr, files, truth):
    """For every receipt and field, whether it was read right."""
    schema, gate = Receipt.model_json_schema(), asyncio.Semaphore(2)

    async def one(data, line):
        url = "data:image/jpeg;base64," + base64.b64encode(data).decode()
        async with gate:
            found = await ocr.read((parse_picture(url),), lambda document: fill_schema(schema, document))
        try:
            row = Receipt.model_validate(found).model_dump()
        except ValidationError:
            return [False] * len(FIELDS)
        return [same(line, row) for _, same in FIELDS]

    results = await asyncio.gather(*(one(*each) for each in zip(files, truth, strict=True)))
    return [right for fields in results for right in fields]


def compare(right, first):
    """Fields right, what was gained and lost against the first method, and the interval of the difference."""
    if not right:
        return "- | - | - | -"
    changes = np.array(right, dtype=int) - np.array(first, dtype=int)
    half = 1.96 * changes.std(ddof=1) / math.sqrt(len(changes))
    interval = f"{changes.mean():+.3f} ± {half:.3f}"
    return f"{sum(right)} of {len(right)} | {(changes > 0).sum()} | {(changes < 0).sum()} | {interval}"


if __name__ == "__main__":
    main()
