"""images/ending.py: a picture that breaks off is never sent, whole or smaller, also where its rest is zeros."""

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


class Held:
    """A store that holds one file in memory."""

    def __init__(self, data):
        self.data = data

    def read(self, found):
        """All bytes."""
        return self.data

    def open(self, found):
        """As a stream."""
        return BytesIO(self.data)

    def read_header(self, found, parse):
        """Not a file of this machine."""


def save(form, **options):
    """A picture with detail everywhere, in this format."""
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
        Found("a.pdf" if data[:4] == b"%PDF" else "a", size=len(data)), Held(data), frames=False, most=9
    )
    if billed.problem:
        raise DocumentError(billed.problem.message, kind=billed.problem.kind, stage="bill")
    size = billed.header.size.scale_to(round(max(billed.header.size) * share))
    step = LadderStep(1601, size, 1601)
    block = json.loads(prepare(Held(data), PlannedPage(billed, "send", "fits", (step,)), step).block)
    return Image.open(BytesIO(b64decode(block["image_url"]["url"].partition(",")[2])))


@pytest.mark.parametrize("form", FORMATS)
@given(part=st.floats(0.4, 0.9), share=st.sampled_from([1, 0.5]))
def test_pixels_that_end_in_zeros_are_rejected(form, part, share):
    """As a copy or a download that was interrupted leaves them; a decoder draws a flat area there."""
    data = WHOLE[form]
    end = data.rindex(b"\xff\xd9") + 2 if form == "PDF" else len(data)
    cut = round(end * part)
    with pytest.raises(DocumentError) as rejected:
        send(data[:cut] + bytes(end - cut) + data[end:], share)
    assert rejected.value.kind == "unreadable"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("tail", [b"", bytes(5000), b"\0\0\0\x18ftypmp42" + bytes(5000)])
def test_what_stands_behind_a_whole_picture_is_ignored(form, tail):
    """Phones write videos there, cards fill up their blocks."""
    assert min(send(WHOLE[form] + tail).size) > 200


@pytest.mark.skipif("PDF" not in FORMATS, reason="the extra `pdf` is not installed")
def test_a_jpeg_in_a_pdf_that_lacks_its_end_alone_is_drawn():
    """Producers that count a stream's bytes wrong cut the mark off."""
    head, _, tail = WHOLE["PDF"].rpartition(b"\xff\xd9")
    assert min(send(head + b"\n\n" + tail).size) > 200


@given(st.integers(3, 20_000), st.booleans())
def test_a_jpeg_is_cut_where_it_lacks_pixels(missing, progressive):
    """The mark of its end is no pixel."""
    whole = PROGRESSIVE if progressive else WHOLE["JPEG"]
    assert not is_cut(whole[:-2])
    assert is_cut(whole[: -2 - missing])
