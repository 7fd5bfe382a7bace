"""Turns stored pixels upright, as EXIF's orientation says, and makes a size one of square pixels."""

from __future__ import annotations

from PIL import Image

from extractors.core.tiles import Size

SWAPPED = frozenset({5, 6, 7, 8})  # orientations that swap width and height
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_LEAST_STRETCH, _MOST_STRETCH = 1.02, 4.0  # less is rounding, more is a tag that means nothing


def square_size(width: int, height: int, density: tuple[float, float]) -> Size:
    """Give the size in square pixels of a picture with these dots in a unit of each side: the coarser side grows."""
    across, down = density
    if across > 0 and down > 0:
        stretch = across / down
        if _LEAST_STRETCH < stretch < _MOST_STRETCH:
            return Size(width, round(height * stretch))
        if _LEAST_STRETCH < 1 / stretch < _MOST_STRETCH:
            return Size(round(width / stretch), height)
    return Size(width, height)


def turn_upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Turn or mirror the picture by its orientation, 1 to 8."""
    turn = _TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)
