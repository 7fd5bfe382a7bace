"""bill/webp.py: the size of a WebP from its first bytes is what Pillow says, or is left to Pillow."""

import io

import pytest
from PIL import Image

from extractors.bill.header import read_header
from extractors.bill.webp import read_plain_webp
from extractors.core.tiles import Size

PROFILE = {"icc_profile": bytes(200)}  # makes the file an extended one


def webp(mode="RGB", size=(317, 205), **options):
    """A WebP as a stream."""
    buffer = io.BytesIO()
    Image.new(mode, size, "white").save(buffer, "WEBP", **options)
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize("options", [{}, {"lossless": True}, PROFILE, PROFILE | {"lossless": True}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_plain_webp_is_as_large_as_pillow_says(mode, options):
    """Lossy, lossless and extended, with alpha and without; the stream is at its start again."""
    stream = webp(mode, **options)
    assert read_plain_webp(stream) == Size(*Image.open(webp(mode, **options)).size) == Size(317, 205)
    assert stream.tell() == 0


@pytest.mark.parametrize("size", [(1, 1), (16383, 1), (1, 16383)])
@pytest.mark.parametrize("lossless", [False, True])
def test_the_smallest_and_the_longest_sides_are_read(size, lossless):
    """Fourteen bits hold a side."""
    assert read_plain_webp(webp(size=size, lossless=lossless)) == Size(*size)


def test_what_may_be_turned_is_left_to_pillow():
    """An orientation stands at the end of the file."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = webp(exif=exif)
    assert read_plain_webp(stream) is None
    assert read_header(stream).size == Size(205, 317)


def test_what_moves_is_left_to_pillow():
    """Its frames have to be counted."""
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "blue")]
    stream = io.BytesIO()
    frames[0].save(stream, "WEBP", save_all=True, append_images=frames[1:])
    stream.seek(0)
    assert read_plain_webp(stream) is None
    assert read_header(stream).frames == 2


@pytest.mark.parametrize("data", [b"", b"RIFF", webp().getvalue()[:-10], webp().getvalue()[:25], bytes(40)])
def test_what_is_cut_short_or_no_webp_is_left_to_pillow(data):
    """Pillow says what is wrong with it."""
    stream = io.BytesIO(data)
    assert read_plain_webp(stream) is None
    assert stream.tell() == 0
