"""prepare: the image that is sent looks like the file in a viewer, for every mode, depth and orientation."""

import json
import struct
import zlib
from base64 import b64decode
from io import BytesIO

import pytest
from PIL import ExifTags, Image, ImageCms, features
from PIL.PngImagePlugin import PngInfo

from extractors.bill.header import read_header
from extractors.core import BilledPage, Found, LadderStep, PlannedPage
from extractors.core.errors import DocumentError
from extractors.core.tiles import Size
from extractors.prepare import prepare

WHITE, RED, BLUE = (255, 255, 255), (255, 0, 0), (0, 0, 255)
SIZE = (64, 48)

# The visible corners of the first and last pixel of the stored first row, as EXIF defines each orientation.
CORNERS = [
    (1, "top left", "top right"),
    (2, "top right", "top left"),
    (3, "bottom right", "bottom left"),
    (4, "bottom left", "bottom right"),
    (5, "top left", "bottom left"),
    (6, "top right", "bottom right"),
    (7, "bottom right", "top right"),
    (8, "bottom left", "top left"),
]


class MemoryStore:
    """A store that holds one image in memory."""

    def __init__(self, data):
        self.data = data

    def read(self, found):
        return self.data


def save(picture, form="PNG", **options):
    """Encode a picture as a file."""
    buffer = BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def send_bytes(data, size=None):
    """Return the bytes of the image that is sent for these bytes."""
    header = read_header(BytesIO(data))
    step = LadderStep(1601, Size(*size) if size else header.size, 1601)
    page = PlannedPage(BilledPage(Found("a"), header), "send", "fits", (step,))
    return b64decode(json.loads(prepare(MemoryStore(data), page, step).block)["image_url"]["url"].partition(",")[2])


def send_picture(data, size=None):
    """Open the image that is sent for these bytes."""
    picture = Image.open(BytesIO(send_bytes(data, size)))
    picture.load()
    return picture


def sent_colour(data, size=None):
    """Return the colour in the middle of the sent image, as RGB."""
    picture = send_picture(data, size).convert("RGB")
    return picture.getpixel((picture.width // 2, picture.height // 2))


def build_marked_picture():
    """Build a white picture with its top left corner red and its top right corner blue."""
    picture = Image.new("RGB", SIZE, WHITE)
    picture.paste(RED, (0, 0, 16, 16))
    picture.paste(BLUE, (SIZE[0] - 16, 0, SIZE[0], 16))
    return picture


def exif(orientation):
    """Build EXIF metadata with an orientation."""
    data = Image.Exif()
    data[ExifTags.Base.Orientation] = orientation
    return data


def corner_colour(picture, name):
    """Return the colour well inside a corner."""
    down, across = name.split()
    x = picture.width // 10 if across == "left" else picture.width - picture.width // 10
    y = picture.height // 10 if down == "top" else picture.height - picture.height // 10
    return picture.convert("RGB").getpixel((x, y))


def build_png(width, height, depth, kind, row, *extra):
    """Build a PNG of a depth and colour type that Pillow does not write, each row of these bytes."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * height))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(chunk(*name_and_data) for name_and_data in extra)
        + pixels
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        pytest.param("AVIF", {"quality": 100}, marks=pytest.mark.skipif(not features.check("avif"), reason="no AVIF")),
    ],
)
@pytest.mark.parametrize("share", [1, 2])
@pytest.mark.parametrize(("orientation", "red", "blue"), CORNERS)
def test_image_of_any_orientation_is_sent_upright(form, options, share, orientation, red, blue):
    """Both marked corners are where a viewer shows them, at full size and resized."""
    data = save(build_marked_picture(), form, exif=exif(orientation), **options)
    upright = read_header(BytesIO(data)).size
    picture = send_picture(data, [side // share for side in upright])
    assert picture.size == (upright.width // share, upright.height // share)
    assert corner_colour(picture, red) == pytest.approx(RED, abs=12)
    assert corner_colour(picture, blue) == pytest.approx(BLUE, abs=12)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_sent_image_has_no_orientation(orientation):
    """A reader would rotate it a second time."""
    assert send_picture(save(build_marked_picture(), "JPEG", exif=exif(orientation))).getexif() == {}


def test_alpha_is_flattened_on_white():
    """A transparent pixel becomes white, a half transparent one a mix of its colour and white."""
    picture = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    assert sent_colour(save(picture)) == WHITE
    picture.paste((0, 0, 0, 128), (0, 0, *SIZE))
    assert sent_colour(save(picture)) == (127, 127, 127)


def test_bmp_with_alpha_0_everywhere_is_opaque():
    """Writers of BMP often leave the fourth byte 0."""
    for alpha, expected in ((0, RED), (255, RED)):
        body = bytes((0, 0, 255, alpha)) * 8
        masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        head = struct.pack("<IiiHHIIiiII", 108, 4, 2, 1, 32, 3, len(body), 2835, 2835, 0, 0) + masks + bytes(52)
        data = b"BM" + struct.pack("<IHHI", 122 + len(body), 0, 0, 122) + head + body
        assert sent_colour(data) == expected


def test_grey_with_alpha_is_flattened_on_white():
    assert sent_colour(save(Image.new("LA", SIZE, (0, 0)))) == WHITE
    assert sent_colour(save(Image.new("LA", SIZE, (90, 255)))) == (90, 90, 90)


@pytest.mark.parametrize(("mode", "key", "expected"), [("RGB", (1, 2, 3), WHITE), ("RGB", (9, 9, 9), (1, 2, 3))])
def test_transparent_colour_of_a_png_becomes_white(mode, key, expected):
    """A PNG may declare one colour transparent."""
    assert sent_colour(save(Image.new(mode, SIZE, (1, 2, 3)), transparency=key)) == expected


def test_transparent_grey_of_a_png_becomes_white():
    assert sent_colour(save(Image.new("L", SIZE, 7), transparency=7)) == WHITE


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette_image_is_sent_in_its_colours(form):
    picture = Image.new("P", SIZE, 1)
    picture.putpalette([255, 255, 255, 200, 100, 50])
    assert sent_colour(save(picture, form)) == (200, 100, 50)


@pytest.mark.parametrize(("alpha", "expected"), [(b"\xff\x00", WHITE), (b"\xff\xff", (200, 100, 50))])
def test_transparent_palette_colour_becomes_white(alpha, expected):
    picture = Image.new("P", SIZE, 1)
    picture.putpalette([255, 255, 255, 200, 100, 50])
    assert sent_colour(save(picture, transparency=alpha)) == expected


def test_cmyk_is_converted_to_rgb():
    data = save(Image.new("CMYK", SIZE, (0, 255, 255, 0)), "JPEG", quality=95)
    assert sent_colour(data) == pytest.approx(RED, abs=4)
    assert send_picture(data).mode == "RGB"


@pytest.mark.parametrize(("shade", "expected"), [(0, 0), (32_768, 128), (65_535, 255), (25_700, 100)])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_to_8_bits(form, shade, expected):
    """The range is scaled, not clipped."""
    data = save(Image.new("I;16", SIZE, shade), form)
    assert sent_colour(data) == pytest.approx((expected,) * 3, abs=1)
    assert send_picture(data).mode == "L"


def test_16_bit_colour_is_scaled_to_8_bits():
    data = build_png(64, 48, 16, 2, struct.pack(">HHH", 65_535, 32_768, 0) * 64)
    assert sent_colour(data) == pytest.approx((255, 128, 0), abs=1)
    assert send_bytes(data)[24] == 8


def test_16_bit_grey_with_alpha_is_scaled_and_flattened():
    assert sent_colour(build_png(64, 48, 16, 4, struct.pack(">HH", 32_768, 65_535) * 64)) == pytest.approx(
        (128,) * 3, abs=1
    )
    assert sent_colour(build_png(64, 48, 16, 4, struct.pack(">HH", 0, 0) * 64)) == WHITE


@pytest.mark.parametrize(
    ("depth", "row", "expected"), [(1, b"\xff" * 8, 255), (2, b"\x55" * 16, 85), (4, b"\x88" * 32, 136)]
)
def test_grey_of_1_2_or_4_bits_is_scaled_to_8_bits(depth, row, expected):
    assert sent_colour(build_png(64, 48, depth, 0, row)) == (expected,) * 3


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize(("bit", "expected"), [(0, 0), (1, 255)])
def test_1_bit_image_is_sent_as_8_bit_grey(form, bit, expected):
    data = save(Image.new("1", SIZE, bit), form)
    assert send_picture(data).mode == "L"
    assert sent_colour(data) == (expected,) * 3


@pytest.mark.parametrize("mode", ["I", "F"])
def test_image_of_numbers_without_a_fixed_white_is_scaled_by_its_extrema(mode):
    """The least value becomes black, the greatest white."""
    picture = Image.new(mode, SIZE, 1000)
    picture.paste(3000, (0, 0, 32, 48))
    picture.paste(2000, (28, 20, 36, 28))
    data = save(picture, "TIFF")
    assert sent_colour(data) == pytest.approx((127,) * 3, abs=1)
    assert send_picture(data).getextrema() == (0, 255)


@pytest.mark.parametrize("form", ["GIF", "TIFF"])
def test_first_frame_is_sent(form):
    """It is the frame that was billed."""
    data = save(Image.new("RGB", SIZE, RED), form, save_all=True, append_images=[Image.new("RGB", SIZE, BLUE)])
    assert sent_colour(data) == RED


def test_first_frame_of_an_animated_png_is_sent_alone():
    """The image is encoded again, with one frame."""
    data = save(Image.new("RGB", SIZE, RED), "PNG", save_all=True, append_images=[Image.new("RGB", SIZE, BLUE)])
    assert (getattr(send_picture(data), "n_frames", 1), sent_colour(data)) == (1, RED)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP"])
def test_grey_image_is_sent_in_one_channel(form):
    assert send_picture(save(Image.new("L", SIZE, 90), form), (32, 24)).mode == "L"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_metadata_of_an_encoded_image_is_dropped(form):
    """Place, camera, profile and comment are not sent."""
    private = exif(1)
    private[ExifTags.Base.Make] = "SECRET-CAMERA"
    private.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSAreaInformation] = b"SECRET-PLACE"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more = {"JPEG": {"comment": "SECRET-COMMENT"}, "TIFF": {"description": "SECRET-COMMENT"}}.get(form, {})
    data = save(build_marked_picture(), form, exif=private, icc_profile=profile, **more)
    sent = send_bytes(data, (32, 24))
    assert b"SECRET" in data
    assert [word for word in (b"SECRET", b"Exif", b"ICC_PROFILE", b"acsp", b"GPS") if word in sent] == []


def test_text_chunk_of_an_encoded_png_is_dropped():
    text = PngInfo()
    text.add_text("Comment", "SECRET")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    sent = send_bytes(save(Image.new("RGBA", SIZE), pnginfo=text, icc_profile=profile, exif=exif(1)))
    assert [word for word in (b"SECRET", b"tEXt", b"iCCP", b"eXIf") if word in sent] == []


def build_png_with_text(words, **options):
    """Build a PNG with a text chunk."""
    text = PngInfo()
    text.add_text("prompt", words, **options)
    return save(Image.new("L", SIZE, 90), pnginfo=text)


@pytest.mark.parametrize("options", [{"zip": True}, {}])
def test_png_with_metadata_that_other_decoders_reject_is_encoded_again(options):
    """A text of two megabytes is not sent, compressed or not; a short one is sent with the original's bytes."""
    long, short = build_png_with_text("x" * 2_000_000, **options), build_png_with_text("short", **options)
    assert b"prompt" not in send_bytes(long)
    assert sent_colour(long) == (90, 90, 90)
    assert send_bytes(short) == short


def test_png_with_a_wrong_checksum_of_its_text_is_encoded_again():
    """Strict decoders reject the file, although its pixels are intact."""
    data = bytearray(build_png_with_text("short"))
    data[data.index(b"short")] ^= 1
    assert b"prompt" not in send_bytes(bytes(data))
    assert sent_colour(bytes(data)) == (90, 90, 90)


def test_png_with_a_wrong_checksum_of_its_pixels_is_refused():
    data = bytearray(save(build_marked_picture()))
    data[data.index(b"IDAT") + 20] ^= 1
    with pytest.raises(DocumentError, match="cannot be decoded"):
        send_bytes(bytes(data))
