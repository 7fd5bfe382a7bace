"""pixels.py: background, depth and size of decoded pixels."""

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
    """The bytes of a file."""
    buffer = BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def draw_word(colour):
    """A word on a transparent picture."""
    picture = Image.new("RGBA", (120, 40), (0, 0, 0, 0))
    ImageDraw.Draw(picture).text((10, 10), "TOTAL 8.20", fill=colour)
    return picture


@pytest.mark.parametrize(
    ("colour", "background"),
    [("white", (32, 32, 32)), ("#f4f4f4", (32, 32, 32)), ("black", (255, 255, 255)), ("#c00", (255, 255, 255))],
)
def test_transparent_picture_is_drawn_on_a_contrasting_background(colour, background):
    """White letters are drawn on dark grey, all others on white."""
    assert load_pixels(save(draw_word(colour)), "prepare", None, 1).getpixel((0, 0)) == background


def test_white_page_with_transparent_corners_stays_white():
    picture = Image.new("RGBA", (120, 40), "white")
    ImageDraw.Draw(picture).text((10, 10), "TOTAL 8.20", fill="black")
    picture.paste((0, 0, 0, 0), (0, 0, 3, 3))
    assert load_pixels(save(picture), "prepare", None, 1).getpixel((0, 0)) == (255, 255, 255)


def insert(png, name, body):
    """A PNG with this chunk before its pixels."""
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    place = png.index(b"IDAT") - 4
    return png[:place] + chunk + png[place:]


def test_png_with_a_long_compressed_text_is_decoded():
    """The text is not decompressed."""
    info = PngInfo()
    info.add_text("prompt", "x" * 2_000_000, zip=True)
    assert load_pixels(save(Image.new("L", (9, 9), 7), pnginfo=info), "prepare", None, 1).getpixel((0, 0)) == 7


@pytest.mark.parametrize("body", [b"p\0\0" + zlib.compress(bytes(9 * 2**20)), b"p\0\0broken", b"p", b""])
def test_png_with_a_broken_or_too_long_profile_is_decoded(body):
    """The profile is ignored."""
    data = insert(save(Image.new("L", (9, 9), 7)), b"iCCP", body)
    assert load_pixels(data, "prepare", None, 1).getpixel((0, 0)) == 7


def test_wrong_checksum_of_a_png_comment_is_ignored_and_of_its_pixels_is_an_error():
    data = insert(save(Image.new("L", (9, 9), 7)), b"tEXt", b"a\0b")
    place = data.index(b"tEXt") + 7
    assert load_pixels(data[:place] + b"\0\0\0\0" + data[place + 4 :], "prepare", None, 1).getpixel((0, 0)) == 7
    broken = bytearray(data)
    broken[data.index(b"IDAT") + 8] ^= 255
    with pytest.raises(DocumentError):
        load_pixels(bytes(broken), "prepare", None, 1)


@pytest.mark.parametrize("orientation", [1, 6])
def test_requested_size_is_upright(orientation):
    """A picture with orientation 6 is stored turned."""
    data = save(Image.new("RGB", (80, 40)), "JPEG")
    size = Size(20, 10) if orientation == 1 else Size(10, 20)
    assert load_pixels(data, "prepare", None, orientation, size).size == size


def test_heif_is_decoded():
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    data = save(Image.new("RGB", (64, 64), (200, 30, 40)), "HEIF")
    assert load_pixels(data, "prepare", None, 1).getpixel((30, 30)) == pytest.approx((200, 30, 40), abs=6)
