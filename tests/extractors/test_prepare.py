"""prepare: which bytes are sent as they are, what is refused, and the shape of the block."""

import hashlib
import json
from base64 import b64decode
from io import BytesIO
from random import Random

import pytest
from PIL import ExifTags, Image

from extractors.bill.header import read_header
from extractors.core import UNSEEN, BilledPage, Found, LadderStep, PlannedPage
from extractors.core.errors import DocumentError
from extractors.core.tiles import Size
from extractors.prepare import MAX_SENT_BYTES, prepare, prepare_link

UNTOUCHED = [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "L"), ("WEBP", "RGB")]
MEDIA = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


class Held:
    """A store that holds one image in memory."""

    def __init__(self, data):
        self.data = data

    def read(self, found):
        """All bytes."""
        return self.data


def encode(form, mode="RGB", size=(120, 80), **options):
    """An image file's bytes: a gradient, so that cut pixels are missed."""
    picture = Image.linear_gradient("L").resize(size).convert(mode)
    if mode == "RGBA":
        picture.putalpha(100)
    buffer = BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def prepare_bytes(data, size=None, whole=None, *, measure=False):
    """The image of these bytes prepared at its own size or this one; `whole` is what it was when it was billed."""
    header = read_header(BytesIO(whole or data))
    step = LadderStep(1601, Size(*size) if size else header.size, 1601)
    return prepare(
        Held(data), PlannedPage(BilledPage(Found("a"), header), "send", "fits", (step,)), step, measure=measure
    )


def read_block(block):
    """Media type and bytes of what the block carries."""
    head, _, data = json.loads(block)["image_url"]["url"].partition(",")
    return head.removeprefix("data:").removesuffix(";base64"), b64decode(data, validate=True)


def picture(data, size=None):
    """The picture that is sent for the image of these bytes."""
    return Image.open(BytesIO(read_block(prepare_bytes(data, size).block)[1]))


def refusal(data, size=None, whole=None):
    """Kind, stage and finality of the error that preparing these bytes ends in."""
    with pytest.raises(DocumentError) as raised:
        prepare_bytes(data, size, whole)
    return raised.value.kind, raised.value.stage, raised.value.final


def noise(size):
    """Pixels that no encoder makes smaller."""
    return Image.frombytes("RGB", size, Random(1).randbytes(3 * size[0] * size[1]))


def cut(data, share=0.6):
    """The first part of a file."""
    return data[: int(len(data) * share)]


@pytest.mark.parametrize(("form", "mode"), UNTOUCHED)
def test_an_upright_8_bit_picture_is_sent_as_it_is(form, mode):
    """Not a byte of the original changes on its way."""
    data = encode(form, mode)
    assert read_block(prepare_bytes(data).block) == (MEDIA[form], data)
    assert prepare_bytes(data).encoded is False


def test_the_previews_behind_a_phone_photo_do_not_keep_it_from_being_sent():
    """An MPO is sent as the JPEG that it begins with."""
    data = encode("MPO", save_all=True, append_images=[Image.new("RGB", (120, 80))])
    assert read_block(prepare_bytes(data).block) == ("image/jpeg", data)


def test_a_progressive_jpeg_is_sent_as_it_is():
    """Several scans in one file are one picture."""
    data = encode("JPEG", progressive=True)
    assert read_block(prepare_bytes(data).block) == ("image/jpeg", data)


def test_a_jpeg_with_a_preview_in_its_metadata_is_sent_as_it_is():
    """The end of an embedded preview is not taken for the end of the picture, nor for a damage."""
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "\xff\xd9"
    data = encode("JPEG", exif=exif, comment=encode("JPEG", size=(16, 16)))
    assert read_block(prepare_bytes(data).block) == ("image/jpeg", data)


def test_bytes_behind_the_end_of_a_jpeg_do_no_harm():
    """Cameras append what they like."""
    data = encode("JPEG") + b"maker notes"
    assert read_block(prepare_bytes(data).block) == ("image/jpeg", data)


@pytest.mark.parametrize(
    ("form", "mode", "form_sent"),
    [
        ("GIF", "L", "PNG"),
        ("BMP", "RGB", "PNG"),
        ("TIFF", "RGB", "PNG"),
        ("PNG", "RGBA", "PNG"),
        ("PNG", "P", "PNG"),
        ("WEBP", "RGBA", "JPEG"),
        ("JPEG", "CMYK", "JPEG"),
    ],
)
def test_what_must_be_encoded_keeps_its_quality(form, mode, form_sent):
    """A lossless original becomes a PNG at its own size, a lossy one a JPEG; the block says which."""
    block = prepare_bytes(encode(form, mode)).block
    assert read_block(block)[0] == MEDIA[form_sent]
    assert Image.open(BytesIO(read_block(block)[1])).format == form_sent


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_a_resized_picture_is_a_jpeg(form):
    """Once pixels are lost there is nothing for a lossless format to keep."""
    assert picture(encode(form), (60, 40)).format == "JPEG"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "TIFF"])
def test_encoding_is_said(form):
    """`encoded` tells a resized picture from the original's bytes."""
    assert prepare_bytes(encode(form), (60, 40)).encoded is True


@pytest.mark.parametrize("size", [(60, 40), (61, 41), (119, 79), (1, 1), (15, 10), (7, 80)])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_target_size_is_reached_exactly(form, size):
    """What is billed is what is sent, to the pixel."""
    assert picture(encode(form), size).size == size


@pytest.mark.parametrize("size", [(800, 600), (799, 599), (401, 301), (400, 300), (399, 299), (200, 150), (101, 76)])
def test_the_decoder_s_own_scaling_ends_at_the_target(size):
    """A JPEG that is scaled while it is decoded still has the size that was planned."""
    assert picture(encode("JPEG", size=(1600, 1200)), size).size == size


def test_the_prepared_picture_says_its_size():
    """The size is that of the step, and of the picture in the block."""
    assert prepare_bytes(encode("JPEG"), (60, 40)).size == Size(60, 40)


def test_the_block_is_an_image_block_of_the_wire():
    """The block is JSON with a data URL and nothing else."""
    data = encode("PNG")
    block = json.loads(prepare_bytes(data).block)
    assert block["type"] == "image_url"
    assert list(block) == ["type", "image_url"]
    assert list(block["image_url"]) == ["url"]
    assert block["image_url"]["url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize("size", [None, (60, 40)])
def test_the_hash_is_that_of_the_original(size):
    """However a picture is sent, it is known by the bytes that were found."""
    data = encode("JPEG")
    assert prepare_bytes(data, size).sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("form", "mode"), UNTOUCHED)
@pytest.mark.parametrize("size", [None, (60, 40)])
def test_a_file_cut_short_is_refused(form, mode, size):
    """A picture with a missing part is not sent, neither as it is nor encoded anew."""
    whole = encode(form, mode)
    assert refusal(cut(whole), size, whole) == ("unreadable", "prepare", True)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "BMP"])
def test_a_file_cut_short_that_must_be_encoded_is_refused(form):
    """What cannot be decoded to its end has no picture."""
    assert refusal(cut(encode(form, size=(300, 200)), 0.9)) == ("unreadable", "prepare", True)


def test_a_progressive_jpeg_cut_short_is_refused():
    """A first rough scan is not the picture."""
    assert refusal(cut(encode("JPEG", progressive=True), 0.8)) == ("unreadable", "prepare", True)


def test_the_end_of_a_preview_is_not_the_end_of_the_picture():
    """A JPEG cut short is refused, though a smaller JPEG in its comment is complete."""
    data = encode("JPEG", comment=encode("JPEG", size=(16, 16)))
    assert refusal(cut(data, 0.9)) == ("unreadable", "prepare", True)


@pytest.mark.parametrize("count", [1, 2])
def test_a_jpeg_without_its_last_bytes_is_refused(count):
    """A file that is short of its end marker was cut, however little is missing."""
    assert refusal(encode("JPEG")[:-count]) == ("unreadable", "prepare", True)


def test_pixels_that_are_garbage_are_refused():
    """A good header does not make a picture."""
    data = bytearray(encode("PNG", "P"))
    start = data.index(b"IDAT") + 4
    data[start : start + 8] = b"garbage!"
    assert refusal(bytes(data)) == ("unreadable", "prepare", True)


def test_what_the_store_refuses_stays_refused():
    """An error of the store passes as it is."""

    class Gone:
        """A store whose file is gone."""

        def read(self, found):
            """Refuse."""
            raise DocumentError("gone", kind="missing", stage="scan", final=False)

    header = read_header(BytesIO(encode("PNG")))
    step = LadderStep(1601, header.size, 1601)
    with pytest.raises(DocumentError, match="gone") as raised:
        prepare(Gone(), PlannedPage(BilledPage(Found("a"), header), "send", "fits", (step,)), step)
    assert (raised.value.kind, raised.value.final) == ("missing", False)


def test_a_picture_over_the_limit_is_sent_smaller():
    """A PNG of more than 10 MB becomes a JPEG within them, at the same size."""
    buffer = BytesIO()
    noise((2000, 1700)).save(buffer, "PNG", compress_level=0)
    result = prepare_bytes(buffer.getvalue())
    media, data = read_block(result.block)
    assert len(buffer.getvalue()) > MAX_SENT_BYTES >= len(data)
    assert (media, result.encoded) == ("image/jpeg", True)
    assert Image.open(BytesIO(data)).size == (2000, 1700)


def test_a_jpeg_over_the_limit_is_encoded_anew():
    """The limit holds for every format; bytes behind the picture count as well."""
    data = encode("JPEG") + bytes(MAX_SENT_BYTES)
    result = prepare_bytes(data)
    assert result.encoded is True
    assert len(read_block(result.block)[1]) < MAX_SENT_BYTES


def test_a_picture_of_exactly_the_limit_is_sent_as_it_is():
    """10 MB are allowed."""
    data = encode("JPEG")
    data += bytes(MAX_SENT_BYTES - len(data))
    assert prepare_bytes(data).encoded is False


@pytest.mark.parametrize(("video", "kind"), [(False, "image_url"), (True, "video_url")])
def test_what_is_passed_on_is_a_block_with_its_url(video, kind):
    """Nothing of it is read, so it has no hash; the URL, which may be signed, is not shown."""
    page = PlannedPage(
        BilledPage(Found("https://store.example/a", video=video)), "url", "passed_on", (LadderStep(0, UNSEEN, 0),)
    )
    prepared = prepare_link(page, 'https://store.example/a?sig="5e1f"')
    assert json.loads(prepared.block) == {"type": kind, kind: {"url": 'https://store.example/a?sig="5e1f"'}}
    assert (prepared.sha256, prepared.encoded) == ("", False)
    assert "5e1f" not in repr(prepared)


def test_quality_is_measured_where_a_picture_is_decoded_anyway():
    """Bytes that are sent as they are, and runs that do not ask for it, decode nothing for it."""
    data = encode("PNG")
    resized = prepare_bytes(data, (60, 40), measure=True)
    assert resized.quality.contrast > 0.1
    assert resized.block == prepare_bytes(data, (60, 40)).block
    assert (prepare_bytes(data, measure=True).quality, prepare_bytes(data, (60, 40)).quality) == (None, None)
