"""Files that no picture can be read from, each broken in its own way."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

import shops
from paper import Style, sheet
from till import receipt

if TYPE_CHECKING:
    from pathlib import Path


def render(folder: Path) -> None:
    """Write every broken file into the folder."""
    (folder / "truncated.jpg").write_bytes(_truncated())
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text-named.jpg").write_text("This is a note, not a picture: somebody renamed it.\n", encoding="ascii")
    (folder / "claims-60000x60000.png").write_bytes(_claiming(60_000, 60_000))


def _truncated() -> bytes:
    """Cut a real JPEG in the middle of its scan: the header still tells the size."""
    whole = BytesIO()
    sheet(receipt(shops.CAFE), Style(480)).save(whole, "JPEG", quality=75)
    scan = whole.getvalue().index(b"\xff\xda")
    return whole.getvalue()[: (scan + len(whole.getvalue())) // 2]


def _claiming(width: int, height: int) -> bytes:
    """Write a PNG of a few bytes whose header claims this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\xff\xff")
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
