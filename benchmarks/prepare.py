"""Prepare beside Pillow, libvips and OpenCV: CPU of decoding, resizing to 1,119 px and encoding one picture.

    python benchmarks/prepare.py [--kind medium] [--kind large] [--repeats 3]
    python benchmarks/prepare.py --read IMAGES TRUTH.jsonl     fields that local OCR reads right in what each way sends

All ways make a JPEG of quality 90 with 4:2:0 of the same size; tilewise's also hashes the file and writes the base64 of
the request. `Pillow, thumbnail` is what a user writes (LANCZOS, which decodes large JPEGs at a fraction of their size);
`without draft` decodes every pixel. TRUTH is as for accuracy.py; the difference is that against the first way.
"""

import argparse
import asyncio
import json
import time
from io import BytesIO
from pathlib import Path

from measure import own_versions, report, run_in_turn, run_way
from pictures import store_pictures

SIDE, COUNTS = 1119, {"medium": 32, "large": 8}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=COUNTS, action="append")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--read", nargs=2, type=Path, metavar=("IMAGES", "TRUTH"))
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read_fields(*options.read)
    elif options.way:
        measure(options.way, options.kind[0])
    else:
        for kind in options.kind or COUNTS:
            compare(kind, options.repeats)


def compare(kind, repeats):
    """Print what one picture of this kind takes in each way."""
    store_pictures(kind, 200 if kind == "medium" else COUNTS[kind])
    usages = run_in_turn({way: lambda way=way: run_way(__file__, way, "--kind", kind) for way in WAYS}, repeats)
    vips, plain = usages["libvips"].cpu, usages["Pillow, without draft"].cpu
    rows = [
        (way, used.cpu * 1000, used.cpu / vips, used.cpu / plain, json.loads(used.output)["kib"], used.peak_mib)
        for way, used in usages.items()
    ]
    header = ("way", "CPU ms", "of libvips", "of Pillow without draft", "KiB", "peak MiB of the process")
    versions = own_versions("Pillow", "pyvips", "opencv-python-headless")
    title = f"JPEGs of {'12 megapixels' if kind == 'large' else '1 to 2 megapixels'}, resized to {SIDE:,} px"
    report(f"prepare {kind}", title, header, rows, versions=versions)


def measure(way, kind):
    """Print CPU seconds of one picture, the first left out, and KiB."""
    folder = store_pictures(kind, 200 if kind == "medium" else COUNTS[kind])
    files = [path.read_bytes() for path in sorted(folder.iterdir())[: COUNTS[kind]]]
    WAYS[way](files[0], SIDE)
    start, made = time.process_time(), [WAYS[way](data, SIDE) for data in files]
    cpu = (time.process_time() - start) / len(files)
    sizes = [len(decode_block(data)) for data in made]
    print(json.dumps({"cpu": cpu, "kib": sum(sizes) / len(sizes) / 1024}))


def size_within(width, height, side):
    """The size at which the longest side is at most this."""
    scale = min(1.0, side / max(width, height))
    return round(width * scale), round(height * scale)


def tilewise(data, side):
    """The image block that is sent, by the code of a run."""
    from extractors.bill.header import read_header
    from extractors.core import BilledPage, Found, LadderStep, PlannedPage
    from extractors.core.tiles import Size
    from extractors.prepare import prepare

    class Held:
        readers = 1

        def read(self, found):  # noqa: ARG002 - as every Store
            return data

    header = read_header(BytesIO(data))
    step = LadderStep(1, Size(*size_within(*header.size, side)), 1)
    page = PlannedPage(BilledPage(Found("picture.jpg"), header), "resize", "cheaper", (step,))
    return prepare(Held(), page, step).block


def decode_block(made):
    """The JPEG, also where it is in an image block."""
    from base64 import b64decode

    if made[:1] != b"{":
        return made
    return b64decode(json.loads(made)["image_url"]["url"].split(",", 1)[1])


def pillow(data, side, gap=2.0):
    """As a user writes it."""
    from PIL import Image

    image = Image.open(BytesIO(data))
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=gap)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=90, subsampling=2)
    return buffer.getvalue()


def pillow_without_draft(data, side):
    """All pixels are decoded."""
    return pillow(data, side, None)


def libvips(data, side):
    """`vips thumbnail`: decodes at a fraction, too, and resizes by LANCZOS in linear steps of the stored values."""
    import pyvips

    pyvips.cache_set_max(0)
    image = pyvips.Image.thumbnail_buffer(data, side, height=side, size="down")
    return image.jpegsave_buffer(Q=90, subsample_mode="on", strip=True)


def opencv(data, side):
    """INTER_AREA, as OpenCV recommends to make a picture smaller."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    size = size_within(image.shape[1], image.shape[0], side)
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


WAYS = {
    "Pillow, thumbnail": pillow,
    "tilewise": tilewise,
    "libvips": libvips,
    "OpenCV": opencv,
    "Pillow, without draft": pillow_without_draft,
}


def read_fields(images, truth):
    """Print how many fields are read right in what each way sends."""
    from filters import compare as compare_fields
    from filters import read

    from extractors.endpoint.ocr.read import Ocr

    lines, ocr, rows, first = [json.loads(line) for line in truth.read_text().splitlines()], Ocr(), [], None
    for way, make in WAYS.items():
        files = [decode_block(make((images / line["image"]).read_bytes(), SIDE)) for line in lines]
        right = asyncio.run(read(ocr, files, lines))
        first = first or right
        rows.append((way, *compare_fields(right, first).split(" | ")))
    header = ("way", "fields right", "gained", "lost", "difference (95 %)")
    report("prepare read", f"{len(lines)} receipts resized to {SIDE:,} px, read by local OCR", header, rows)


if __name__ == "__main__":
    main()
