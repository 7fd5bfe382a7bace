"""How often local OCR sees values that are printed, values of which one digit was changed, and rows that are missing.

    python benchmarks/witness.py IMAGES TRUTH [--words FILE] [--draw FOLDER]

IMAGES is a folder, TRUTH a `.jsonl` with a column `image` and the fields of the schema `receipt`; its `line_items`, if there
are any, are dropped one at a time. `--words` keeps what was
read, for the next time; `--draw` draws the boxes of dates and totals, to look at.
"""

import argparse
import json
import random
import re
from collections import Counter
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from extractors.core.evidence import Box
from extractors.endpoint.ocr.page_words import list_lines
from extractors.endpoint.ocr.read import read_pieces
from extractors.images.pixels import load_pixels
from extractors.validate.witness.document import find_sightings
from extractors.validate.witness.words import PageLine, PageWord
from schemas.receipt import Receipt

FIELDS = ("company", "date", "address", "total")
CHANGES = 20  # of each value, one digit each
MARGIN = 60  # px around a box that is drawn


def main():
    options = parse_arguments()
    truth = [json.loads(line) for line in options.truth.read_text(encoding="utf-8").splitlines()]
    words = read_all(options.images, [row["image"] for row in truth], options.words)
    seen, changed, rows, chance = Counter(), Counter(), Counter(), random.Random(7)
    for row in truth:
        lines = parse_lines(words[row["image"]])
        values = {name: row[name] for name in FIELDS}
        rows.update(drop_rows(row, lines))
        boxes = find(values, lines)
        seen.update((name, each.page) for name, each in boxes.items())
        if options.draw:
            draw(options.images / row["image"], boxes, options.draw)
        for name in ("date", "total", "address"):
            for _ in range(CHANGES):
                if (other := change_digit(values, name, chance)) is not None:
                    changed[name, find(other, lines)[name].page] += 1
    report("printed values that are seen", seen, seen_is_right=True)
    report("values with one digit changed that are not seen", changed, seen_is_right=False)
    if rows["dropped"]:
        print(f"rows that are dropped and counted as missing  {rows['counted']} of {rows['dropped']}")
        print(f"lines counted as missing in whole lists       {rows['false']}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--words", type=Path)
    parser.add_argument("--draw", type=Path)
    return parser.parse_args()


def read_all(folder, names, kept):
    """The lines of each picture, read or as they were kept."""
    words = json.loads(kept.read_text(encoding="utf-8")) if kept and kept.exists() else {}
    for name in names:
        if name not in words:
            with Image.open(folder / name) as image:
                orientation = image.getexif().get(0x0112, 1)
            pixels = load_pixels((folder / name).read_bytes(), "benchmark", None, orientation)
            words[name] = list_lines(read_pieces(pixels))
    if kept:
        kept.write_text(json.dumps(words), encoding="utf-8")
    return words


def parse_lines(lines):
    return tuple(
        PageLine(tuple(PageWord(text, Box(*box), spaced=spaced) for text, *box, spaced in line)) for line in lines
    )


def find(values, lines):
    """The sighting of each field."""
    found = find_sightings(Receipt.model_validate(values), [lines])
    return {each.field: each for each in found.values if each.field in FIELDS}


def drop_rows(row, lines):
    """How many of the rows, dropped one at a time, are counted as missing; and how many lines with none dropped."""
    items = row.get("line_items") or []
    whole = count_missing(row, items, lines)
    counted = sum(count_missing(row, items[:place] + items[place + 1 :], lines) > whole for place in range(len(items)))
    return {"dropped": len(items), "counted": counted, "false": whole}


def count_missing(row, items, lines):
    receipt = Receipt.model_validate({**{name: row[name] for name in FIELDS}, "line_items": items})
    return find_sightings(receipt, [lines]).missing_rows


def change_digit(values, name, chance):
    """The values with one digit of this one changed; None where that is no date, or it has no digit."""
    receipt = Receipt.model_validate(values)
    text = str(getattr(receipt, name))
    places = [match.start() for match in re.finditer(r"\d", text)]
    if not places:
        return None
    place = chance.choice(places)
    digit = chance.choice([each for each in "0123456789" if each != text[place]])
    other = {**values, name: text[:place] + digit + text[place + 1 :]}
    try:
        different = getattr(Receipt.model_validate(other), name)
    except ValueError:
        return None
    return other if different != getattr(receipt, name) else None


def draw(path, boxes, folder):
    """The parts of a picture around the boxes of its date and total."""
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(path) as image:
        picture = ImageOps.exif_transpose(image).convert("RGB")
    for name in ("date", "total"):
        if (box := boxes[name].box) is not None:
            marked = picture.copy()
            ImageDraw.Draw(marked).rectangle((box.x, box.y, box.right, box.bottom), outline="red", width=3)
            cut = (box.x - 3 * MARGIN, box.y - MARGIN, box.right + 3 * MARGIN, box.bottom + MARGIN)
            marked.crop(tuple(map(int, cut))).save(folder / f"{path.stem}-{name}.png")


def report(title, counts, *, seen_is_right):
    print(title)
    for name in FIELDS:
        judged = sum(count for (field, page), count in counts.items() if field == name and page is not None)
        right = sum(
            count
            for (field, page), count in counts.items()
            if field == name and page is not None and bool(page) == seen_is_right
        )
        if judged:
            print(f"  {name:8} {right:5} of {judged:5}  {right / judged:6.1%}")


if __name__ == "__main__":
    main()
