"""grey.py: a grey RGB picture is resized in one channel, with the same pixels as in three."""

from io import BytesIO

import pytest
from PIL import Image

from extractors.core.tiles import Size
from extractors.images.grey import find_grey
from extractors.images.pixels import load_pixels


def save(picture, form="PNG", **options):
    """The bytes of a file."""
    buffer = BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def draw_grey(mode="RGB"):
    """A grey page with noise, larger than the sample that detects colours."""
    return Image.effect_noise((150, 190), 60).convert(mode)


def put_spot(picture):
    """Colours one pixel outside the sample that detects colours."""
    picture.putpixel((74, 93), (0, 255, 0))
    return picture


@pytest.mark.parametrize(
    "data",
    [
        save(draw_grey(), "JPEG", quality=60),
        save(draw_grey(), "JPEG", quality=90, subsampling=0, progressive=True),
        save(draw_grey("L"), "JPEG"),
        save(Image.merge("RGB", [draw_grey("L") for _ in range(3)]), "JPEG"),
        save(draw_grey()),
        save(put_spot(draw_grey())),
        save(draw_grey(), "WEBP", lossless=True),
        save(put_spot(draw_grey()), "WEBP", lossless=True),
        save(draw_grey(), "BMP"),
        save(Image.new("RGB", (150, 190), "white")),
        save(Image.new("RGB", (2000, 2), "white")),
    ],
)
@pytest.mark.parametrize("size", [Size(101, 128), Size(150, 1)])
def test_load_pixels_gives_the_pixels_of_a_plain_resize(data, size):
    """It resizes one channel of a grey RGB picture."""
    with Image.open(BytesIO(data)) as picture:
        picture.draft(None, size)
        expected = picture.resize(size, Image.Resampling.HAMMING)
    pixels = load_pixels(data, "prepare", None, 1, size)
    assert (pixels.mode, pixels.tobytes()) == (expected.mode, expected.tobytes())


@pytest.mark.parametrize(
    ("picture", "is_grey"),
    [
        (draw_grey(), True),
        (Image.new("RGB", (1, 1), "white"), True),
        (put_spot(draw_grey()), False),
        (Image.new("RGB", (9, 9), "#fffeff"), False),
        (draw_grey("L"), False),
        (draw_grey("RGBA"), False),
    ],
)
def test_find_grey_returns_a_channel_only_if_all_three_are_equal(picture, is_grey):
    """One coloured pixel makes a picture coloured, and other modes have no grey channel."""
    grey = find_grey(picture)
    assert (grey is not None) == is_grey
    assert grey is None or grey.tobytes() == picture.getchannel("B").tobytes()
