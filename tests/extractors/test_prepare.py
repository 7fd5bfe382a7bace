"""prepare: which bytes are sent unchanged, which images are refused, and the shape of the image block."""

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


class MemoryStore:
    """A store that holds one image in memory."""

    def __init__(self, data):
        self.data = data

    def read(self, found):
        return self.data


def encode(form, mode="RGB", size=(120, 80), **options):
    """Encode an image file: a gradient, so that missing pixels are visible."""
    picture = Image.linear_gradient("L").resize(size).convert(mode)
    if mode == "RGBA":
        picture.putalpha(100)
    buffer = BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def prepare_bytes(data, size=None, whole=None, *, measure=False):
    """Prepare the image of these bytes at its own size or this one; `whole` has the bytes that were billed."""
    header = read_header(BytesIO(whole or data))
    step = LadderStep(1601, Size(*size) if size else header.size, 1601)
    return prepare(
        MemoryStore(data), PlannedPage(BilledPage(Found("a"), header), "send", "fits", (step,)), step, measure=measure
    )


def read_block(block):
    """Return media type and bytes of the image block."""
    head, _, data = json.loads(block)["image_url"]["url"].partition(",")
    return head.removeprefix("data:").removesuffix(";base64"), b64decode(data, validate=True)


def prepare_picture(data, size=None):
    """Open the image that is sent for these bytes."""
    return Image.open(BytesIO(read_block(prepare_bytes(data, size).block)[1]))


def find_refusal(data, size=None, whole=None):
    """Return kind, stage and finality of the error that preparing these bytes raises."""
    with pytest.raises(DocumentError) as raised:
        prepare_bytes(data, size, whole)
    return raised.value.kind, raised.value.stage, raised.value.final


def noise(size):
    """Build pixels that no encoder makes smaller."""
    return Image.frombytes("RGB", size, Random(1).randbytes(3 * size[0] * size[1]))


def cut(data, share=0.6):
    """Return the first part of a file."""
    return data[: int(len(data) * share)]


@pytest.mark.parametrize(("form", "mode"), UNTOUCHED)
def test_upright_8_bit_image_is_sent_unchanged(form, mode):
    data = encode(form, mode)
    assert read_block(prepare_bytes(data).block) == (MEDIA[form], data)
    assert prepare_bytes(data).encoded is False


def test_mpo_photo_is_sent_unchanged_as_a_jpeg():
    """An MPO file is a JPEG followed by previews."""
    data = encode("MPO", save_all=True, append_images=[Image.new("RGB", (120, 80))])
    assert read_block(prepare_bytes(data).block) == ("image/jpeg", data)


def test_progressive_jpeg_is_sent_unchanged():
    """Several scans in one file are one picture."""
    data = encode("JPEG", progressive=True)
    assert read_block(prepare_bytes(data).block) == ("image/jpeg", data)


def test_jpeg_with_a_preview_in_its_metadata_is_sent_unchanged():
    """The end marker of the preview is not taken for the end of the picture."""
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "\xff\xd9"
    data = encode("JPEG", exif=exif, comment=encode("JPEG", size=(16, 16)))
    assert read_block(prepare_bytes(data).block) == ("image/jpeg", data)


def test_jpeg_with_bytes_after_its_end_is_sent_unchanged():
    """Cameras append data of their own."""
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
def test_encoded_image_stays_lossless_or_lossy_as_its_original(form, mode, form_sent):
    """A lossless original becomes a PNG at its own size, a lossy one a JPEG; the block has the media type."""
    block = prepare_bytes(encode(form, mode)).block
    assert read_block(block)[0] == MEDIA[form_sent]
    assert Image.open(BytesIO(read_block(block)[1])).format == form_sent


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_resized_image_is_a_jpeg(form):
    """After resizing, a lossless format has no advantage."""
    assert prepare_picture(encode(form), (60, 40)).format == "JPEG"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "TIFF"])
def test_resized_image_is_marked_as_encoded(form):
    assert prepare_bytes(encode(form), (60, 40)).encoded is True


@pytest.mark.parametrize("size", [(60, 40), (61, 41), (119, 79), (1, 1), (15, 10), (7, 80)])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_resized_image_has_exactly_the_target_size(form, size):
    """The billed size is the sent size, to the pixel."""
    assert prepare_picture(encode(form), size).size == size


@pytest.mark.parametrize("size", [(800, 600), (799, 599), (401, 301), (400, 300), (399, 299), (200, 150), (101, 76)])
def test_jpeg_scaled_by_its_decoder_has_exactly_the_target_size(size):
    assert prepare_picture(encode("JPEG", size=(1600, 1200)), size).size == size


def test_prepared_size_is_that_of_the_step():
    assert prepare_bytes(encode("JPEG"), (60, 40)).size == Size(60, 40)


def test_block_is_json_with_a_data_url():
    """The block has no other keys."""
    data = encode("PNG")
    block = json.loads(prepare_bytes(data).block)
    assert block["type"] == "image_url"
    assert list(block) == ["type", "image_url"]
    assert list(block["image_url"]) == ["url"]
    assert block["image_url"]["url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize("size", [None, (60, 40)])
def test_sha256_is_that_of_the_original_bytes(size):
    """It is the same for every size that is sent."""
    data = encode("JPEG")
    assert prepare_bytes(data, size).sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("form", "mode"), UNTOUCHED)
@pytest.mark.parametrize("size", [None, (60, 40)])
def test_truncated_file_is_refused(form, mode, size):
    """An incomplete picture is sent neither unchanged nor encoded."""
    whole = encode(form, mode)
    assert find_refusal(cut(whole), size, whole) == ("unreadable", "prepare", True)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "BMP"])
def test_truncated_file_that_must_be_encoded_is_refused(form):
    assert find_refusal(cut(encode(form, size=(300, 200)), 0.9)) == ("unreadable", "prepare", True)


def test_truncated_progressive_jpeg_is_refused():
    """Its first scans alone are not the picture."""
    assert find_refusal(cut(encode("JPEG", progressive=True), 0.8)) == ("unreadable", "prepare", True)


def test_truncated_jpeg_with_a_complete_preview_is_refused():
    data = encode("JPEG", comment=encode("JPEG", size=(16, 16)))
    assert find_refusal(cut(data, 0.9)) == ("unreadable", "prepare", True)


@pytest.mark.parametrize("count", [1, 2])
def test_jpeg_without_its_end_marker_is_refused(count):
    """One missing byte is enough."""
    assert find_refusal(encode("JPEG")[:-count]) == ("unreadable", "prepare", True)


def test_image_with_corrupt_pixels_is_refused():
    """Its header is valid."""
    data = bytearray(encode("PNG", "P"))
    start = data.index(b"IDAT") + 4
    data[start : start + 8] = b"garbage!"
    assert find_refusal(bytes(data)) == ("unreadable", "prepare", True)


def test_error_of_the_store_is_raised_unchanged():
    class MissingStore:
        """A store whose file does not exist."""

        def read(self, found):
            raise DocumentError("gone", kind="missing", stage="scan", final=False)

    header = read_header(BytesIO(encode("PNG")))
    step = LadderStep(1601, header.size, 1601)
    with pytest.raises(DocumentError, match="gone") as raised:
        prepare(MissingStore(), PlannedPage(BilledPage(Found("a"), header), "send", "fits", (step,)), step)
    assert (raised.value.kind, raised.value.final) == ("missing", False)


def test_image_over_the_byte_limit_is_sent_as_a_smaller_jpeg():
    """A PNG of more than 10 MB becomes a JPEG of the same size in pixels."""
    buffer = BytesIO()
    noise((2000, 1700)).save(buffer, "PNG", compress_level=0)
    result = prepare_bytes(buffer.getvalue())
    media, data = read_block(result.block)
    assert len(buffer.getvalue()) > MAX_SENT_BYTES >= len(data)
    assert (media, result.encoded) == ("image/jpeg", True)
    assert Image.open(BytesIO(data)).size == (2000, 1700)


def test_jpeg_over_the_byte_limit_is_encoded_again():
    """Bytes after the end of the picture count, too."""
    data = encode("JPEG") + bytes(MAX_SENT_BYTES)
    result = prepare_bytes(data)
    assert result.encoded is True
    assert len(read_block(result.block)[1]) < MAX_SENT_BYTES


def test_image_of_exactly_the_byte_limit_is_sent_unchanged():
    data = encode("JPEG")
    data += bytes(MAX_SENT_BYTES - len(data))
    assert prepare_bytes(data).encoded is False


@pytest.mark.parametrize(("video", "kind"), [(False, "image_url"), (True, "video_url")])
def test_prepare_link_builds_a_block_with_the_url(video, kind):
    """The bytes are not read, so there is no hash; `repr` hides the URL, which may be signed."""
    page = PlannedPage(
        BilledPage(Found("https://store.example/a", video=video)), "url", "passed_on", (LadderStep(0, UNSEEN, 0),)
    )
    prepared = prepare_link(page, 'https://store.example/a?sig="5e1f"')
    assert json.loads(prepared.block) == {"type": kind, kind: {"url": 'https://store.example/a?sig="5e1f"'}}
    assert (prepared.sha256, prepared.encoded) == ("", False)
    assert "5e1f" not in repr(prepared)


def test_quality_is_measured_only_for_decoded_images():
    """Bytes that are sent unchanged are not decoded for it, and neither is any image without `measure`."""
    data = encode("PNG")
    resized = prepare_bytes(data, (60, 40), measure=True)
    assert resized.quality.contrast > 0.1
    assert resized.block == prepare_bytes(data, (60, 40)).block
    assert (prepare_bytes(data, measure=True).quality, prepare_bytes(data, (60, 40)).quality) == (None, None)
