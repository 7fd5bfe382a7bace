"""prepare: what a person would see is what is sent, whatever the mode, the depth or the orientation of the file."""

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

# Where the stored picture's first and last pixel of its first row are seen, as EXIF defines each orientation.
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


class Held:
    """A store that holds one image in memory."""

    def __init__(self, data):
        self.data = data

    def read(self, found):
        """All bytes."""
        return self.data


def save(picture, form="PNG", **options):
    """A file's bytes."""
    buffer = BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def send_bytes(data, size=None):
    """The bytes of the picture that is sent for the image of these bytes."""
    header = read_header(BytesIO(data))
    step = LadderStep(1601, Size(*size) if size else header.size, 1601)
    page = PlannedPage(BilledPage(Found("a"), header), "send", "fits", (step,))
    return b64decode(json.loads(prepare(Held(data), page, step).block)["image_url"]["url"].partition(",")[2])


def send_picture(data, size=None):
    """The picture that is sent for the image of these bytes."""
    picture = Image.open(BytesIO(send_bytes(data, size)))
    picture.load()
    return picture


def colour(data, size=None):
    """The colour in the middle of the picture that is sent, as RGB."""
    picture = send_picture(data, size).convert("RGB")
    return picture.getpixel((picture.width // 2, picture.height // 2))


def build_marked_picture():
    """A white picture, its first pixels red and the last of its first row blue."""
    picture = Image.new("RGB", SIZE, WHITE)
    picture.paste(RED, (0, 0, 16, 16))
    picture.paste(BLUE, (SIZE[0] - 16, 0, SIZE[0], 16))
    return picture


def exif(orientation):
    """EXIF metadata that holds an orientation."""
    data = Image.Exif()
    data[ExifTags.Base.Orientation] = orientation
    return data


def corner(picture, name):
    """The colour well inside a corner."""
    down, across = name.split()
    x = picture.width // 10 if across == "left" else picture.width - picture.width // 10
    y = picture.height // 10 if down == "top" else picture.height - picture.height // 10
    return picture.convert("RGB").getpixel((x, y))


def png(width, height, depth, kind, row, *extra):
    """A PNG of a depth and colour type that Pillow does not write, each row of these bytes."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * height))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*each) for each in extra) + pixels + chunk(b"IEND", b"")


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
def test_a_turned_picture_is_sent_upright(form, options, share, orientation, red, blue):
    """Each EXIF orientation puts two marked corners where a viewer would show them, at full size and resized."""
    data = save(build_marked_picture(), form, exif=exif(orientation), **options)
    upright = read_header(BytesIO(data)).size
    picture = send_picture(data, [side // share for side in upright])
    assert picture.size == (upright.width // share, upright.height // share)
    assert corner(picture, red) == pytest.approx(RED, abs=12)
    assert corner(picture, blue) == pytest.approx(BLUE, abs=12)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_picture_is_turned_once(orientation):
    """What is sent carries no orientation by which somebody might turn it again."""
    assert send_picture(save(build_marked_picture(), "JPEG", exif=exif(orientation))).getexif() == {}


def test_alpha_is_flattened_on_white():
    """What is transparent is seen as paper, what is half transparent as half its colour."""
    picture = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    assert colour(save(picture)) == WHITE
    picture.paste((0, 0, 0, 128), (0, 0, *SIZE))
    assert colour(save(picture)) == (127, 127, 127)


def test_a_bmp_whose_alpha_is_0_everywhere_is_opaque():
    """Writers of BMP leave the fourth byte 0; a picture that is transparent all over would be a blank page."""
    for alpha, shown in ((0, RED), (255, RED)):
        body = bytes((0, 0, 255, alpha)) * 8
        masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        head = struct.pack("<IiiHHIIiiII", 108, 4, 2, 1, 32, 3, len(body), 2835, 2835, 0, 0) + masks + bytes(52)
        data = b"BM" + struct.pack("<IHHI", 122 + len(body), 0, 0, 122) + head + body
        assert colour(data) == shown


def test_grey_with_alpha_is_flattened_on_white():
    """A transparent grey picture has no black ground."""
    assert colour(save(Image.new("LA", SIZE, (0, 0)))) == WHITE
    assert colour(save(Image.new("LA", SIZE, (90, 255)))) == (90, 90, 90)


@pytest.mark.parametrize(("mode", "key", "shown"), [("RGB", (1, 2, 3), WHITE), ("RGB", (9, 9, 9), (1, 2, 3))])
def test_a_colour_declared_transparent_is_white(mode, key, shown):
    """A PNG may name one colour that is not there."""
    assert colour(save(Image.new(mode, SIZE, (1, 2, 3)), transparency=key)) == shown


def test_a_grey_declared_transparent_is_white():
    """The same for a grey picture."""
    assert colour(save(Image.new("L", SIZE, 7), transparency=7)) == WHITE


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_becomes_its_colours(form):
    """Indices mean nothing to a model; the colours behind them do."""
    picture = Image.new("P", SIZE, 1)
    picture.putpalette([255, 255, 255, 200, 100, 50])
    assert colour(save(picture, form)) == (200, 100, 50)


@pytest.mark.parametrize(("alpha", "shown"), [(b"\xff\x00", WHITE), (b"\xff\xff", (200, 100, 50))])
def test_a_transparent_palette_is_flattened_on_white(alpha, shown):
    """A colour of the palette may be transparent as well."""
    picture = Image.new("P", SIZE, 1)
    picture.putpalette([255, 255, 255, 200, 100, 50])
    assert colour(save(picture, transparency=alpha)) == shown


def test_cmyk_becomes_the_colour_that_it_prints():
    """A JPEG from a print shop is not sent in inks."""
    data = save(Image.new("CMYK", SIZE, (0, 255, 255, 0)), "JPEG", quality=95)
    assert colour(data) == pytest.approx(RED, abs=4)
    assert send_picture(data).mode == "RGB"


@pytest.mark.parametrize(("deep", "shown"), [(0, 0), (32_768, 128), (65_535, 255), (25_700, 100)])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_shades(form, deep, shown):
    """A mid-grey stays a mid-grey: the range is scaled, never clipped."""
    data = save(Image.new("I;16", SIZE, deep), form)
    assert colour(data) == pytest.approx((shown,) * 3, abs=1)
    assert send_picture(data).mode == "L"


def test_16_bit_colour_keeps_its_shades():
    """A PNG of 48 bits a pixel is sent with 24."""
    data = png(64, 48, 16, 2, struct.pack(">HHH", 65_535, 32_768, 0) * 64)
    assert colour(data) == pytest.approx((255, 128, 0), abs=1)
    assert send_bytes(data)[24] == 8


def test_16_bit_grey_with_alpha_keeps_its_shades():
    """Depth and transparency at once."""
    assert colour(png(64, 48, 16, 4, struct.pack(">HH", 32_768, 65_535) * 64)) == pytest.approx((128,) * 3, abs=1)
    assert colour(png(64, 48, 16, 4, struct.pack(">HH", 0, 0) * 64)) == WHITE


@pytest.mark.parametrize(
    ("depth", "row", "shown"), [(1, b"\xff" * 8, 255), (2, b"\x55" * 16, 85), (4, b"\x88" * 32, 136)]
)
def test_few_bits_of_grey_keep_their_shades(depth, row, shown):
    """1, 2 and 4 bits a pixel are spread over the whole range."""
    assert colour(png(64, 48, depth, 0, row)) == (shown,) * 3


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize(("bit", "shown"), [(0, 0), (1, 255)])
def test_black_and_white_become_grey(form, bit, shown):
    """A scan of one bit a pixel is sent as 8-bit grey."""
    data = save(Image.new("1", SIZE, bit), form)
    assert send_picture(data).mode == "L"
    assert colour(data) == (shown,) * 3


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_measured_picture_is_spread_over_the_range(mode):
    """Where a picture's numbers have no fixed white, its least is black and its largest is white."""
    picture = Image.new(mode, SIZE, 1000)
    picture.paste(3000, (0, 0, 32, 48))
    picture.paste(2000, (28, 20, 36, 28))
    data = save(picture, "TIFF")
    assert colour(data) == pytest.approx((127,) * 3, abs=1)
    assert send_picture(data).getextrema() == (0, 255)


@pytest.mark.parametrize("form", ["GIF", "TIFF"])
def test_the_first_frame_is_sent(form):
    """Of several frames the model sees the one that the bill counted."""
    data = save(Image.new("RGB", SIZE, RED), form, save_all=True, append_images=[Image.new("RGB", SIZE, BLUE)])
    assert colour(data) == RED


def test_the_first_frame_of_an_animation_is_sent_alone():
    """An animated WebP or PNG is encoded anew, with one frame."""
    data = save(Image.new("RGB", SIZE, RED), "PNG", save_all=True, append_images=[Image.new("RGB", SIZE, BLUE)])
    assert (getattr(send_picture(data), "n_frames", 1), colour(data)) == (1, RED)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP"])
def test_grey_stays_grey(form):
    """A grey picture is not blown up to three channels."""
    assert send_picture(save(Image.new("L", SIZE, 90), form), (32, 24)).mode == "L"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_metadata_is_dropped(form):
    """Neither place, camera, profile nor comment leaves with a picture that is encoded anew."""
    private = exif(1)
    private[ExifTags.Base.Make] = "SECRET-CAMERA"
    private.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSAreaInformation] = b"SECRET-PLACE"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more = {"JPEG": {"comment": "SECRET-COMMENT"}, "TIFF": {"description": "SECRET-COMMENT"}}.get(form, {})
    data = save(build_marked_picture(), form, exif=private, icc_profile=profile, **more)
    again = send_bytes(data, (32, 24))
    assert b"SECRET" in data
    assert [word for word in (b"SECRET", b"Exif", b"ICC_PROFILE", b"acsp", b"GPS") if word in again] == []


def test_text_in_a_png_is_dropped():
    """A lossless original that must be encoded loses its comments too."""
    text = PngInfo()
    text.add_text("Comment", "SECRET")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    again = send_bytes(save(Image.new("RGBA", SIZE), pnginfo=text, icc_profile=profile, exif=exif(1)))
    assert [word for word in (b"SECRET", b"tEXt", b"iCCP", b"eXIf") if word in again] == []


def write_text(words, **options):
    """A PNG with a text beside its pixels."""
    text = PngInfo()
    text.add_text("prompt", words, **options)
    return save(Image.new("L", SIZE, 90), pnginfo=text)


@pytest.mark.parametrize("options", [{"zip": True}, {}])
def test_a_png_with_metadata_that_other_decoders_reject_is_encoded_anew(options):
    """A text of two megabytes does not travel, packed or not; a short one does, with the original's bytes."""
    long, short = write_text("x" * 2_000_000, **options), write_text("short", **options)
    assert b"prompt" not in send_bytes(long)
    assert colour(long) == (90, 90, 90)
    assert send_bytes(short) == short


def test_a_png_with_a_wrong_checksum_beside_its_pixels_is_encoded_anew():
    """Strict decoders reject the file, and its pixels are sound."""
    data = bytearray(write_text("short"))
    data[data.index(b"short")] ^= 1
    assert b"prompt" not in send_bytes(bytes(data))
    assert colour(bytes(data)) == (90, 90, 90)


def test_a_png_with_a_wrong_checksum_of_its_pixels_is_rejected():
    """Its bytes are not sent for a server to stumble over."""
    data = bytearray(save(build_marked_picture()))
    data[data.index(b"IDAT") + 20] ^= 1
    with pytest.raises(DocumentError, match="cannot be decoded"):
        send_bytes(bytes(data))
