"""The largest files and pictures that are read; apart from `open`, so that listing a folder does not import Pillow."""

from __future__ import annotations

MAX_PIXELS = 200_000_000  # the largest phone sensors; 600 MB when decoded
MAX_BYTES = 256 * 2**20  # of a file as found; what is sent has a limit of its own
