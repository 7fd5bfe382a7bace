"""prepare: a PDF's page drawn at the size that is sent, and a frame of a TIFF by its number."""

import hashlib
import json
from base64 import b64decode
from io import BytesIO

import pytest
from PIL import Image

from extractors.bill import read_pages
from extractors.core import Found, LadderStep, PlannedPage
from extractors.core.errors import DocumentError
from extractors.core.tiles import Size
from extractors.prepare import prepare
from extractors.scan import create_store


@pytest.fixture
def prepared(tmp_path):
    """The page of this number of a file of these bytes, prepared at its own size or at this one."""

    def make(data, number=1, size=None, name="a.pdf"):
        path = tmp_path / name
        path.write_bytes(data)
        reader = create_store(str(path))
        billed = read_pages(Found(str(path), len(data)), reader, frames=True, most=10)[number - 1]
        step = LadderStep(1601, size or billed.header.size, 1601)
        return prepare(reader, PlannedPage(billed, "resize", "cheaper", (step,)), step)

    return make


def open_block(prepared):
    """The picture that the block carries."""
    _, _, data = json.loads(prepared.block)["image_url"]["url"].partition(",")
    return Image.open(BytesIO(b64decode(data, validate=True)))


def build_scan(colour):
    """A PDF of one page that is nothing but a picture."""
    buffer = BytesIO()
    photo = Image.merge("RGB", [Image.effect_noise((400, 300), 40)] * 3)
    Image.blend(photo, Image.new("RGB", photo.size, colour), 0.2).save(buffer, "PDF", resolution=200)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [Size(791, 1119), Size(1653, 2339), None])
def test_a_page_is_sent_at_the_size_of_the_step(prepared, pdf, size):
    """Drawn at it, so that a larger one is as sharp as a smaller one."""
    assert open_block(prepared(pdf("one"), size=size)).size == tuple(size or Size(1653, 2339))


def test_a_page_is_drawn_anew_for_a_higher_rung(prepared, pdf):
    """It is no enlargement of what was sent before: its edges are."""
    small, large = (open_block(prepared(pdf("one"), size=Size(side, side * 842 // 595))) for side in (300, 1200))
    grey = [sum(picture.convert("L").histogram()[64:192]) / picture.width for picture in (small, large)]
    assert grey[1] < 2 * grey[0]  # pixels on an edge: as many a line, and not sixteen times as many


def test_what_is_sent_of_a_pdf_is_encoded_and_known_by_the_file(prepared, pdf):
    """The hash is of the bytes that were found, for every page the same."""
    data = pdf("one", "two")
    assert {(each.encoded, each.sha256) for each in (prepared(data, 1), prepared(data, 2))} == {
        (True, hashlib.sha256(data).hexdigest())
    }
    assert prepared(data, 1).block != prepared(data, 2).block


def test_a_page_of_black_text_is_a_grey_png(prepared, pdf):
    """It is smaller than a JPEG of the same page, and no edge is blurred."""
    picture = open_block(prepared(pdf("one")))
    assert (picture.format, picture.mode) == ("PNG", "L")


@pytest.mark.parametrize(("colour", "mode"), [("gray", "L"), ("red", "RGB")])
def test_a_scanned_page_is_a_jpeg(prepared, colour, mode):
    """A PNG of noise is larger."""
    picture = open_block(prepared(build_scan(colour)))
    assert (picture.format, picture.mode) == ("JPEG", mode)


def test_colours_are_those_of_the_page(prepared):
    """Red is not sent as blue."""
    (red, _), (_, _), (blue, _) = (band.getextrema() for band in open_block(prepared(build_scan("red"))).split())
    assert red > blue


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_frame_is_sent_by_its_number(prepared, number):
    """Its own pixels, in its own size."""
    buffer, sizes = BytesIO(), [(40, 30), (20, 60), (50, 50)]
    first, *others = (Image.new("L", size, 50 * place) for place, size in enumerate(sizes, 1))
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    picture = open_block(prepared(buffer.getvalue(), number, name="a.tif"))
    assert (picture.size, picture.getextrema()) == (sizes[number - 1], (50 * number, 50 * number))


def test_a_page_that_went_missing_is_broken(prepared, pdf, tmp_path):
    """A file that changes between its header and its pixels is no crash."""
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf("one", "two"))
    reader = create_store(str(path))
    second = read_pages(Found(str(path), 2048), reader, frames=False, most=10)[1]
    path.write_bytes(pdf("one"))
    step = LadderStep(1601, second.header.size, 1601)
    with pytest.raises(DocumentError, match="the page cannot be opened") as raised:
        prepare(reader, PlannedPage(second, "send", "fits", (step,)), step)
    assert (raised.value.kind, raised.value.stage) == ("unreadable", "prepare")
