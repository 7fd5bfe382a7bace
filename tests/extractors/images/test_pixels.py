"""images/pixels.py: what decoding does beside the format: ground, depth and size."""

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from extractors.core.errors import DocumentError
from extractors.core.tiles import Size
from extractors.images.pixels import load_pixels


def save(picture, form="PNG", **options):
    """Write a file's bytes."""
    buffer = BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def draw_word(colour):
    """Draw a word on nothing."""
    picture = Image.new("RGBA", (120, 40), (0, 0, 0, 0))
    ImageDraw.Draw(picture).text((10, 10), "TOTAL 8.20", fill=colour)
    return picture


@pytest.mark.parametrize(
    ("colour", "ground"),
    [("white", (32, 32, 32)), ("#f4f4f4", (32, 32, 32)), ("black", (255, 255, 255)), ("#c00", (255, 255, 255))],
)
def test_the_ground_shows_the_ink(colour, ground):
    """White letters on nothing are laid over a dark ground, all others over white."""
    assert load_pixels(save(draw_word(colour)), "prepare", None, 1).getpixel((0, 0)) == ground


def test_a_white_page_with_clear_edges_and_dark_text_stays_white():
    """A screenshot with round corners is no white ink."""
    picture = Image.new("RGBA", (120, 40), "white")
    ImageDraw.Draw(picture).text((10, 10), "TOTAL 8.20", fill="black")
    picture.paste((0, 0, 0, 0), (0, 0, 3, 3))
    assert load_pixels(save(picture), "prepare", None, 1).getpixel((0, 0)) == (255, 255, 255)


def insert(png, name, body):
    """Put a chunk before a PNG's pixels."""
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    place = png.index(b"IDAT") - 4
    return png[:place] + chunk + png[place:]


def test_long_texts_of_a_png_do_not_hide_its_pixels():
    """Two megabytes packed into a few kilobytes, and a gigabyte's worth, are not unpacked."""
    info = PngInfo()
    info.add_text("prompt", "x" * 2_000_000, zip=True)
    assert load_pixels(save(Image.new("L", (9, 9), 7), pnginfo=info), "prepare", None, 1).getpixel((0, 0)) == 7


@pytest.mark.parametrize("body", [b"p\0\0" + zlib.compress(bytes(9 * 2**20)), b"p\0\0broken", b"p", b""])
def test_an_odd_profile_of_a_png_does_not_hide_its_pixels(body):
    """One that is too long, broken or cut is ignored."""
    data = insert(save(Image.new("L", (9, 9), 7)), b"iCCP", body)
    assert load_pixels(data, "prepare", None, 1).getpixel((0, 0)) == 7


def test_a_wrong_checksum_beside_the_pixels_does_not_hide_them():
    """Of the pixels it is an error, of a comment it is none."""
    data = insert(save(Image.new("L", (9, 9), 7)), b"tEXt", b"a\0b")
    place = data.index(b"tEXt") + 7
    assert load_pixels(data[:place] + b"\0\0\0\0" + data[place + 4 :], "prepare", None, 1).getpixel((0, 0)) == 7
    broken = bytearray(data)
    broken[data.index(b"IDAT") + 8] ^= 255
    with pytest.raises(DocumentError):
        load_pixels(bytes(broken), "prepare", None, 1)


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_size_wanted_is_upright(orientation):
    """A turned picture is resized as it is stored."""
    data = save(Image.new("RGB", (80, 40)), "JPEG")
    size = Size(20, 10) if orientation == 1 else Size(10, 20)
    assert load_pixels(data, "prepare", None, orientation, size).size == size


def test_a_heif_is_decoded_whatever_its_name():
    """Its reader is imported only then."""
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    data = save(Image.new("RGB", (64, 64), (200, 30, 40)), "HEIF")
    assert load_pixels(data, "prepare", None, 1).getpixel((30, 30)) == pytest.approx((200, 30, 40), abs=6)
