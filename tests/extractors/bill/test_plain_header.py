"""plain_header.py: headers read without Pillow equal those that Pillow reads, and odd files are left to Pillow."""

import random
from io import BytesIO
from itertools import product

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from extractors.bill.header import read_by_pillow, read_header
from extractors.bill.plain_header import read_plain_header
from extractors.core import Header
from extractors.core.errors import DocumentError
from extractors.core.tiles import Size

PROFILE = {"icc_profile": bytes(200)}  # a WebP with a profile has the extended format
ORIENTED = b'<x tiff:Orientation="6"/>'


def save(form="JPEG", mode="RGB", size=(317, 205), **options):
    """The bytes of a file."""
    buffer = BytesIO()
    Image.new(mode, size, "white").save(buffer, form, **options)
    return buffer.getvalue()


def make_exif(**fields):
    """EXIF of a camera with these fields by number, such as `_274=6`."""
    exif = Image.Exif()
    exif[0x010F], exif[0x9C9B] = "Maker", b"a title"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    exif.update({int(name[1:]): value for name, value in fields.items()})
    return exif


def read_as_pillow(data):
    """The header that Pillow reads, or the kind of its error."""
    try:
        return read_by_pillow(BytesIO(data))
    except DocumentError as error:
        return error.kind


def read_plain(data):
    """The header that is read without Pillow."""
    return read_plain_header(BytesIO(data))


TURNED, SQUARE, LONG = (
    make_exif(_274=6),
    make_exif(_282=300.0, _283=150.0, _296=2),
    make_exif(_274=3, _37500=bytes(9000)),
)
TEXTS = PngInfo()
TEXTS.add_text("Title", "long" * 2000)
ORDINARY = {
    **{f"jpeg {mode}": save(mode=mode) for mode in ("L", "RGB", "CMYK")},
    "jpeg progressive": save(progressive=True, quality=95, subsampling=0, comment=b"made by a test"),
    "jpeg dots": save(dpi=(204, 98)),
    "jpeg turned": save(exif=TURNED, dpi=(204, 98)),
    "jpeg turned, profile": save(exif=TURNED, xmp=ORIENTED, **PROFILE),
    "jpeg square": save(exif=SQUARE),
    "jpeg long": save(exif=LONG, xmp=b"<x/>"),
    "jpeg long parts": save(exif=TURNED, comment=bytes(9000), xmp=bytes(9000), icc_profile=bytes(9000)),
    "jpeg no meaning": save(exif=make_exif(_274=9), xmp=ORIENTED),
    **{f"png {mode}": save("PNG", mode) for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "I;16")},
    "png dots": save("PNG", dpi=(204, 98)),
    "png long parts": save("PNG", exif=LONG, pnginfo=TEXTS, dpi=(204, 98)),
    "png turned": save("PNG", exif=TURNED, pnginfo=PngInfo(), **PROFILE),
}
LEFT = {
    "no image": b"no image",
    "empty": b"",
    "no scan": save()[:300],
    "turned by XMP": save(xmp=ORIENTED),
    "EXIF of no order": save(exif=b"Exif\0\0" + bytes(40)),
    "two of EXIF": save(exif=TURNED).replace(b"\xff\xdb", b"\xff\xe1\0\x16Exif\0\0" + bytes(14) + b"\xff\xdb", 1),
    "resolution of bytes": save(exif=SQUARE).replace(b"\x01\x1a\0\x05", b"\x01\x1a\0\x01", 1),
    "half a table": save().replace(b"\xff\xdb\0\x43\0", b"\xff\xdb\0\x43\x10", 1),
    "several pictures": save("MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
    "junk between": save().replace(b"\xff\xdb", b"\0\xff\xdb", 1),
    "png cut": save("PNG")[:30],
    "moving png": save("PNG", save_all=True, append_images=[Image.new("RGB", (317, 205))]),
    "wrong checksum": save("PNG").replace(b"\0\0\1\x3d", b"\0\0\1\x3e", 1),
}


@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY)
def test_plain_header_of_an_ordinary_file_equals_that_of_pillow(data):
    assert read_plain(data) == read_as_pillow(data) is not None


@pytest.mark.parametrize("data", LEFT.values(), ids=LEFT)
def test_plain_header_of_an_odd_file_is_none(data):
    """Pillow reads it or raises an error."""
    assert read_plain(data) is None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ORDINARY)
def test_plain_header_of_a_damaged_file_equals_that_of_pillow_or_is_none(name):
    """The file has a changed, an inserted or a missing byte, or is cut."""
    chance, original = random.Random(name), ORDINARY[name]
    wrong = []
    for _, kind in product(range(40), ("change", "insert", "remove", "cut")):
        place = chance.randrange(min(len(original), 700))
        byte = bytes([chance.choice([0, 1, 2, 8, 255, chance.randrange(256)])])
        remainder = {
            "change": byte + original[place + 1 :],
            "insert": byte + original[place:],
            "remove": original[place + 1 :],
            "cut": b"",
        }
        data = original[:place] + remainder[kind]
        plain_header = read_plain(data)
        if plain_header is not None and plain_header != (pillow := read_as_pillow(data)):
            wrong.append((kind, place, byte, plain_header, pillow))
    assert wrong == []


def test_plain_header_of_a_failing_stream_is_none():
    """Pillow meets the error again, and there it is translated."""

    class Failing(BytesIO):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    assert read_plain_header(Failing(save())) is None


@pytest.mark.parametrize("options", [{}, {"lossless": True}, PROFILE, PROFILE | {"lossless": True}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_plain_header_of_a_webp_equals_that_of_pillow(mode, options):
    """It may be lossy, lossless or extended, with or without alpha."""
    data = save("WEBP", mode, **options)
    assert read_plain(data) == read_as_pillow(data) == Header(Size(317, 205), "WEBP", 1, 1)


@pytest.mark.parametrize("size", [(1, 1), (16383, 1), (1, 16383)])
@pytest.mark.parametrize("lossless", [False, True])
def test_plain_header_has_the_smallest_and_the_longest_sides_of_webp(size, lossless):
    """A side has fourteen bits."""
    assert read_plain(save("WEBP", size=size, lossless=lossless)).size == Size(*size)


def test_plain_header_of_a_webp_with_exif_is_none():
    """The orientation is at the end of the file."""
    data = save("WEBP", exif=TURNED)
    assert read_plain(data) is None
    assert read_header(BytesIO(data)).size == Size(205, 317)


def test_plain_header_of_an_animated_webp_is_none():
    """Pillow counts its frames."""
    data = save("WEBP", save_all=True, append_images=[Image.new("RGB", (317, 205), "red")])
    assert read_plain(data) is None
    assert read_header(BytesIO(data)).frames == 2


@pytest.mark.parametrize("data", [b"RIFF", save("WEBP")[:-10], save("WEBP")[:25], bytes(40)])
def test_plain_header_of_a_cut_webp_is_none(data):
    """Pillow raises the error."""
    assert read_plain(data) is None
