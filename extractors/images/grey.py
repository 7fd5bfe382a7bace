"""Finds grey pictures among those in RGB: scanners and phone apps save grey pages as JPEG in colour."""

from __future__ import annotations

from PIL import Image, ImageChops

_SIDE = 64  # of the sample that tells most colour pictures, at a hundredth of the time that all pixels take


def find_grey(picture: Image.Image) -> Image.Image | None:
    """Give the one channel, L, of a picture in RGB whose three are equal in every pixel; None for any other picture."""
    if picture.mode != "RGB":
        return None
    sample = picture.resize((min(_SIDE, picture.width), min(_SIDE, picture.height)), Image.Resampling.NEAREST)
    return _merge_equal(picture) if _merge_equal(sample) else None


def _merge_equal(picture: Image.Image) -> Image.Image | None:
    red, green, blue = picture.split()
    differs = ImageChops.difference(red, green).getbbox() or ImageChops.difference(green, blue).getbbox()
    return None if differs else green
