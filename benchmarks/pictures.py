"""Draws the pictures of the benchmarks into a folder: till receipts of data/samples, as a scanner or a camera stores them.

    python benchmarks/pictures.py FOLDER --kind small --count 1000

Nothing is downloaded. `small` is within 1,119 px and is sent as it is, `medium` has 1 to 2 megapixels and is resized,
`large` has 12 megapixels, `tiny` is 300 px wide. A few receipts are encoded once; every copy carries its number in a JPEG comment, so all
files differ in content and cost the same to decode.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DRAWN = {"tiny": 16, "small": 16, "medium": 16, "large": 4}  # that many are encoded; the others are copies of them
STORE = Path(tempfile.gettempdir()) / "tilewise-benchmarks-1"  # the number changes with the pictures


def store_pictures(kind, count):
    """The folder of so many pictures of this kind; a process of its own draws them if it does not exist."""
    folder = STORE / f"{kind}-{count}"
    if not folder.exists():
        print(f"  drawing {count:,} pictures ({kind}) into {folder}", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, str(folder), "--kind", kind, "--count", str(count)]
        subprocess.run(command, check=True)
    return folder


def draw(folder, kind, count):
    """Write the pictures below another name, then give the folder its own."""
    pictures = [encode(kind, number) for number in range(min(DRAWN[kind], count))]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        drawn = Path(beside) / "drawn"
        drawn.mkdir()
        for number in range(count):
            (drawn / f"{number:06d}.jpg").write_bytes(with_comment(pictures[number % len(pictures)], number))
        drawn.rename(folder)


def with_comment(jpeg, number):
    """The same picture, with its number in a comment after the first marker."""
    comment = b"%012d" % number
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def encode(kind, number):
    """One receipt as a JPEG."""
    sys.path.insert(0, str(ROOT / "data" / "samples"))
    from io import BytesIO

    import camera
    import shops
    from paper import Style, sheet
    from PIL import Image
    from sale import Sale
    from till import receipt

    sales = [value for value in vars(shops).values() if isinstance(value, Sale)]
    sale, random = sales[number % len(sales)], camera.seeded(f"{kind}-{number}")
    page = sheet(receipt(sale, bars=number % 3 == 0), Style(540 + 10 * (number % 8), 23 + number % 3))
    if kind == "tiny":
        page.thumbnail((300, 600))
    elif kind == "small":
        page.thumbnail((1119, 1119 - 16 * (number % 5)), Image.Resampling.LANCZOS)
    else:
        pixels = 12_000_000 if kind == "large" else 1_000_000 + 1_000_000 * number // DRAWN[kind]
        page = stretch(page, pixels, Image)
    buffer = BytesIO()
    camera.noise(camera.shade(page, random, 0.1), random, 4, grain=2).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def stretch(page, pixels, image):
    """The page on a sheet of three to four, with about so many pixels."""
    height = max(page.height, page.width * 4 // 3)
    ground = image.new("RGB", (max(height * 3 // 4, page.width), height), (96, 66, 46))
    ground.paste(page, ((ground.width - page.width) // 2, 0))
    scale = (pixels / (ground.width * ground.height)) ** 0.5
    return ground.resize((round(ground.width * scale), round(ground.height * scale)), image.Resampling.BICUBIC)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=DRAWN, default="small")
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    draw(options.folder, options.kind, options.count)
