"""ending.py: a truncated picture is never sent, in full size or smaller, also where zeros replace its end."""

import importlib
import json
from base64 import b64decode
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from extractors.bill.pages import read_pages
from extractors.core import Found, LadderStep, PlannedPage
from extractors.core.errors import DocumentError
from extractors.core.tiles import Size
from extractors.images.ending import is_cut
from extractors.images.support import can_read_heif, can_read_pdf
from extractors.prepare import prepare

SIZE = Size(320, 400)
FORMATS = ["JPEG", "WEBP", "AVIF", *(["HEIF"] if can_read_heif() else []), *(["PDF"] if can_read_pdf() else [])]


class MemoryStore:
    """A store that holds one file in memory."""

    def __init__(self, data):
        self.data = data

    def read(self, found):
        """All bytes of the file."""
        return self.data

    def open(self, found):
        """A stream of the file."""
        return BytesIO(self.data)

    def read_header(self, found, parse):
        """Returns None, as the file is not on this machine."""


def save(form, **options):
    """A noisy picture in this format."""
    if form == "HEIF":
        importlib.import_module("pillow_heif").register_heif_opener()
    buffer = BytesIO()
    Image.effect_noise(SIZE, 60).convert("RGB").save(buffer, form, **options)
    return buffer.getvalue()


WHOLE = {form: save(form) for form in FORMATS}
PROGRESSIVE = save("JPEG", progressive=True)


def send(data, share=1):
    """The picture that is sent for these bytes, in this share of its size."""
    (billed,) = read_pages(
        Found("a.pdf" if data[:4] == b"%PDF" else "a", size=len(data)), MemoryStore(data), frames=False, most=9
    )
    if billed.problem:
        raise DocumentError(billed.problem.message, kind=billed.problem.kind, stage="bill")
    size = billed.header.size.scale_to(round(max(billed.header.size) * share))
    step = LadderStep(1601, size, 1601)
    block = json.loads(prepare(MemoryStore(data), PlannedPage(billed, "send", "fits", (step,)), step).block)
    return Image.open(BytesIO(b64decode(block["image_url"]["url"].partition(",")[2])))


@pytest.mark.parametrize("form", FORMATS)
@given(part=st.floats(0.4, 0.9), share=st.sampled_from([1, 0.5]))
def test_picture_whose_end_is_zeros_is_rejected(form, part, share):
    """An interrupted copy or download leaves such a file, and a decoder draws a flat area there."""
    data = WHOLE[form]
    end = data.rindex(b"\xff\xd9") + 2 if form == "PDF" else len(data)
    first_zero = round(end * part)
    with pytest.raises(DocumentError) as rejected:
        send(data[:first_zero] + bytes(end - first_zero) + data[end:], share)
    assert rejected.value.kind == "unreadable"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("tail", [b"", bytes(5000), b"\0\0\0\x18ftypmp42" + bytes(5000)])
def test_bytes_after_a_whole_picture_are_ignored(form, tail):
    """Phones append videos, and memory cards fill up their blocks."""
    assert min(send(WHOLE[form] + tail).size) > 200


@pytest.mark.skipif("PDF" not in FORMATS, reason="the extra `pdf` is not installed")
def test_jpeg_in_a_pdf_without_its_end_marker_is_drawn():
    """Some programs write a stream length that cuts the marker off."""
    head, _, tail = WHOLE["PDF"].rpartition(b"\xff\xd9")
    assert min(send(head + b"\n\n" + tail).size) > 200


@given(st.integers(3, 20_000), st.booleans())
def test_jpeg_without_its_last_pixels_is_cut_and_without_its_end_marker_is_not(missing, progressive):
    jpeg = PROGRESSIVE if progressive else WHOLE["JPEG"]
    assert not is_cut(jpeg[:-2])
    assert is_cut(jpeg[: -2 - missing])
