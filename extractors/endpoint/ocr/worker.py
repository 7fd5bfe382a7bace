"""The process that reads pages for the witness: `python -m extractors.endpoint.ocr.worker`.

Its stdin has one picture after another: a line of JSON with `width`, `height` and `mode`, then the pixels. For each its stdout
has the length of the answer in eight bytes, and the lines of the page as JSON. It ends with its stdin.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import BinaryIO

import orjson
from PIL import Image

from extractors.endpoint.ocr.page_words import list_lines
from extractors.endpoint.ocr.read import read_pieces

LENGTH_BYTES = 8
_NICE = 10  # requests and their preparation come first


def main() -> None:
    """Read pages until stdin ends."""
    with suppress(OSError):
        os.nice(_NICE)
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # what libraries print must not mix with the answers
    while header := sys.stdin.buffer.readline():
        answer = orjson.dumps(list_lines(read_pieces(_receive(orjson.loads(header), sys.stdin.buffer))))
        answers.write(len(answer).to_bytes(LENGTH_BYTES) + answer)
        answers.flush()


def _receive(header: dict[str, int | str], stream: BinaryIO) -> Image.Image:
    """The picture that follows its header."""
    width, height, mode = int(header["width"]), int(header["height"]), str(header["mode"])
    pixels = stream.read(width * height * len(mode))
    return Image.frombytes(mode, (width, height), pixels)


if __name__ == "__main__":
    main()
