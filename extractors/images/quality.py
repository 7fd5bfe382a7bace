"""Measures how sharp and how rich in contrast a picture is: cheap signals for how well its text can be read.

Both are measured on the middle half of the picture in grey, at the size that it has where the longest side of the whole
picture is 640 pixels. They compare pictures of one kind; text that is small or sparse has less of both.
"""

from __future__ import annotations

from math import sqrt
from operator import mul
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageFilter

from extractors.core import Quality

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 640  # pixels to which the picture is reduced, never enlarged
MOST = 960  # pixels of a side that are looked at, so that a large picture takes no longer
_LEVELS = range(256)
_SQUARES = [level * level for level in _LEVELS]


def measure_quality(pixels: Image.Image) -> Quality:
    """The quality of a decoded picture, L or RGB.

    `sharpness` is the variance of the difference between a pixel and the mean of the 3 by 3 pixels around it, in squared
    grey levels; `contrast` is the standard deviation of the grey levels, divided by 255.
    """
    grey = _reduce_middle(pixels)
    detail = ImageChops.subtract(grey, grey.filter(ImageFilter.BoxBlur(1)), scale=1, offset=128)
    return Quality(_variance(detail.histogram()), sqrt(_variance(grey.histogram())) / 255)


def _reduce_middle(pixels: Image.Image) -> Image.Image:
    longest = max(pixels.size)
    share = min(0.5, MOST / longest)
    width, height = (max(1, round(side * share)) for side in pixels.size)
    left, top = (pixels.width - width) // 2, (pixels.height - height) // 2
    middle = pixels.crop((left, top, left + width, top + height)).convert("L")
    if longest <= LONGEST:
        return middle
    size = (max(1, round(side * LONGEST / longest)) for side in middle.size)
    return middle.resize((next(size), next(size)), Image.Resampling.BOX, reducing_gap=1.0)


def _variance(histogram: Sequence[int]) -> float:
    count = sum(histogram)
    mean: float = sum(map(mul, histogram, _LEVELS)) / count
    square: float = sum(map(mul, histogram, _SQUARES)) / count
    return max(square - mean * mean, 0.0)
