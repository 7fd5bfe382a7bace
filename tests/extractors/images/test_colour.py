"""colour.py: pixels with a profile other than sRGB are converted to sRGB."""

import struct
from io import BytesIO

import pytest
from PIL import Image, ImageCms

from extractors.images.colour import convert_to_srgb
from extractors.images.pixels import load_pixels

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encode_fixed(value):
    """An s15Fixed16 number of ICC."""
    return struct.pack(">i", round(value * 65536))


def make_profile(primaries, space=b"RGB ", gamma=563 / 256):
    """A matrix profile of these primaries, given as XYZ at D50, or a grey profile."""
    white = b"XYZ \0\0\0\0" + encode_fixed(0.9642) + encode_fixed(1) + encode_fixed(0.8249)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {b"wtpt": white, **({b"kTRC": curve} if space == b"GRAY" else {})}
    for name, xyz in zip("rgb", primaries, strict=False):
        tags[name.encode() + b"XYZ"] = b"XYZ \0\0\0\0" + b"".join(map(encode_fixed, xyz))
        tags[name.encode() + b"TRC"] = curve
    body, table = b"", struct.pack(">I", len(tags))
    for name, data in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data
    head = bytearray(128)
    head[8:12], head[12:16], head[16:20], head[20:24] = b"\2\x40\0\0", b"mntr", space, b"XYZ "
    head[36:40], head[68:80] = b"acsp", encode_fixed(0.9642) + encode_fixed(1) + encode_fixed(0.8249)
    profile_bytes = bytes(head) + table + body
    return struct.pack(">I", len(profile_bytes)) + profile_bytes[4:]


P3 = make_profile([(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)])


def convert(colour, profile, mode="RGB"):
    """One colour, converted."""
    return convert_to_srgb(Image.new(mode, (4, 4), colour), profile).getpixel((0, 0))


def test_display_p3_is_converted():
    """A P3 red is outside sRGB, so its green and blue decrease."""
    assert convert((200, 100, 100), P3) == pytest.approx((214, 93, 97), abs=4)
    assert convert((255, 255, 255), P3) == pytest.approx((255, 255, 255), abs=1)


def test_srgb_is_not_converted():
    """The picture itself is returned, also where there is no profile."""
    picture = Image.new("RGB", (4, 4), (200, 100, 50))
    assert convert_to_srgb(picture, SRGB) is picture
    assert convert_to_srgb(picture, None) is picture


def test_grey_picture_with_a_grey_profile_keeps_one_channel():
    """Its values are converted."""
    linear = make_profile([], b"GRAY", gamma=1.0)
    assert convert(55, linear, "L") == pytest.approx(128, abs=3)


@pytest.mark.parametrize(
    "profile",
    [b"", b"no profile", SRGB[:100], make_profile([], b"GRAY"), "text"],
    ids=["empty", "words", "cut", "grey", "text"],  # the profiles contain the time of their creation
)
def test_broken_profile_or_one_of_another_colour_space_is_ignored(profile):
    assert convert((200, 100, 50), profile) == (200, 100, 50)


def test_cmyk_without_a_profile_is_converted_to_rgb():
    assert convert((255, 0, 0, 0), None, "CMYK") == (0, 255, 255)


def test_load_pixels_converts_a_jpeg_with_a_p3_profile():
    buffer = BytesIO()
    Image.new("RGB", (64, 64), (200, 100, 100)).save(buffer, "JPEG", icc_profile=P3, quality=95)
    assert load_pixels(buffer.getvalue(), "prepare", None, 1).getpixel((9, 9)) == pytest.approx((214, 93, 97), abs=6)
