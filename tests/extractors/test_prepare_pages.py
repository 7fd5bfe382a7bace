"""prepare: PDF pages drawn at the size that is sent, and TIFF frames by their numbers."""

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
def prepare_page(tmp_path):
    """Prepare the page of this number in a file of these bytes, at its own size or this one."""

    def run(data, number=1, size=None, name="a.pdf"):
        path = tmp_path / name
        path.write_bytes(data)
        reader = create_store(str(path))
        billed = read_pages(Found(str(path), len(data)), reader, frames=True, most=10)[number - 1]
        step = LadderStep(1601, size or billed.header.size, 1601)
        return prepare(reader, PlannedPage(billed, "resize", "cheaper", (step,)), step)

    return run


def open_block(image):
    """Open the image of the block."""
    _, _, data = json.loads(image.block)["image_url"]["url"].partition(",")
    return Image.open(BytesIO(b64decode(data, validate=True)))


def build_scan(colour):
    """Build a PDF of one page that contains only an image."""
    buffer = BytesIO()
    photo = Image.merge("RGB", [Image.effect_noise((400, 300), 40)] * 3)
    Image.blend(photo, Image.new("RGB", photo.size, colour), 0.2).save(buffer, "PDF", resolution=200)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [Size(791, 1119), Size(1653, 2339), None])
def test_pdf_page_has_the_size_of_the_step(prepare_page, pdf, size):
    """It is drawn at that size."""
    assert open_block(prepare_page(pdf("one"), size=size)).size == tuple(size or Size(1653, 2339))


def test_pdf_page_is_drawn_again_for_a_higher_rung(prepare_page, pdf):
    """The smaller image is not enlarged: edges stay sharp."""
    small, large = (open_block(prepare_page(pdf("one"), size=Size(side, side * 842 // 595))) for side in (300, 1200))
    grey = [sum(picture.convert("L").histogram()[64:192]) / picture.width for picture in (small, large)]
    assert grey[1] < 2 * grey[0]  # the width of edges in pixels stays the same; an enlargement would multiply it


def test_pdf_pages_are_encoded_and_have_the_hash_of_the_file(prepare_page, pdf):
    data = pdf("one", "two")
    assert {(image.encoded, image.sha256) for image in (prepare_page(data, 1), prepare_page(data, 2))} == {
        (True, hashlib.sha256(data).hexdigest())
    }
    assert prepare_page(data, 1).block != prepare_page(data, 2).block


def test_pdf_page_of_black_text_is_a_grey_png(prepare_page, pdf):
    """A PNG is smaller than a JPEG of such a page and has sharp edges."""
    picture = open_block(prepare_page(pdf("one")))
    assert (picture.format, picture.mode) == ("PNG", "L")


@pytest.mark.parametrize(("colour", "mode"), [("gray", "L"), ("red", "RGB")])
def test_scanned_pdf_page_is_a_jpeg(prepare_page, colour, mode):
    """A PNG of noise is larger."""
    picture = open_block(prepare_page(build_scan(colour)))
    assert (picture.format, picture.mode) == ("JPEG", mode)


def test_pdf_page_keeps_red_and_blue_apart(prepare_page):
    (red, _), (_, _), (blue, _) = (band.getextrema() for band in open_block(prepare_page(build_scan("red"))).split())
    assert red > blue


@pytest.mark.parametrize("number", [1, 2, 3])
def test_tiff_frame_is_sent_by_its_number(prepare_page, number):
    """It has its own pixels and its own size."""
    buffer, sizes = BytesIO(), [(40, 30), (20, 60), (50, 50)]
    first, *others = (Image.new("L", size, 50 * place) for place, size in enumerate(sizes, 1))
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    picture = open_block(prepare_page(buffer.getvalue(), number, name="a.tif"))
    assert (picture.size, picture.getextrema()) == (sizes[number - 1], (50 * number, 50 * number))


def test_pdf_page_that_no_longer_exists_is_unreadable(prepare_page, pdf, tmp_path):
    """The file changes after its headers are read."""
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf("one", "two"))
    reader = create_store(str(path))
    second = read_pages(Found(str(path), 2048), reader, frames=False, most=10)[1]
    path.write_bytes(pdf("one"))
    step = LadderStep(1601, second.header.size, 1601)
    with pytest.raises(DocumentError, match="the page cannot be opened") as raised:
        prepare(reader, PlannedPage(second, "send", "fits", (step,)), step)
    assert (raised.value.kind, raised.value.stage) == ("unreadable", "prepare")
