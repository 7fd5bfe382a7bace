"""quality.py: how blur, fading and size change the sharpness and contrast of a picture."""

from functools import cache

import pytest
from PIL import Image, ImageDraw, ImageFilter

from extractors.images.quality import measure_quality


@cache
def draw_text():
    """A page of small text, in RGB."""
    picture = Image.new("RGB", (900, 1200), "white")
    draw = ImageDraw.Draw(picture)
    for row in range(300, 900, 24):
        draw.text((20, row), "TOTAL 12.50 MYR cash 20.00 change 7.50 " * 4, fill="black", font_size=20)
    return picture


def resize_text(longest):
    """The page of text at this size."""
    return draw_text().resize((longest * 3 // 4, longest))


@pytest.mark.parametrize("longest", [500, 2100])
def test_blur_lowers_sharpness_and_fading_lowers_contrast(longest):
    sharp = measure_quality(resize_text(longest))
    blurred = measure_quality(resize_text(longest).filter(ImageFilter.GaussianBlur(longest / 600)))
    faded = measure_quality(resize_text(longest).point(lambda level: 200 + level * 55 // 255))
    assert blurred.sharpness < sharp.sharpness / 3
    assert faded.contrast == pytest.approx(sharp.contrast * 55 / 255, rel=0.05)


def test_quality_hardly_depends_on_the_size_of_the_picture():
    small, large = measure_quality(resize_text(1200)), measure_quality(resize_text(1600))
    assert small.contrast == pytest.approx(large.contrast, rel=0.1)
    assert small.sharpness == pytest.approx(large.sharpness, rel=0.5)


@pytest.mark.parametrize("picture", [Image.new("L", (1, 1)), Image.new("RGB", (3000, 1), "red")])
def test_picture_of_one_colour_has_the_same_quality_at_any_size_and_mode(picture):
    assert measure_quality(picture) == measure_quality(Image.new("L", (64, 64)))
