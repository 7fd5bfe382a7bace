"""pages.py: the pages of a file: those of a PDF, the frames of a TIFF where frames are pages, else one picture."""

import struct
from io import BytesIO

import pytest
from PIL import ExifTags, Image, TiffImagePlugin

from extractors.bill import read_pages
from extractors.core.tiles import Size, get_rule
from extractors.scan import create_store, scan

A4 = Size(1653, 2339)
MANY = 10


def make_tiff(*frames):
    """A TIFF of frames, each a size and an orientation."""
    buffer = BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, new=True) as writer:
        for size, orientation in frames:
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = orientation
            Image.new("L", size).save(writer, "TIFF", exif=exif)
            writer.newFrame()
    return buffer.getvalue()


def make_animation(form):
    """A picture of three frames in a format other than TIFF."""
    buffer, colours = BytesIO(), ("red", "green", "blue")
    first, *others = (Image.new("RGB", (40, 30), colour) for colour in colours)
    first.save(buffer, form, save_all=True, append_images=others)
    return buffer.getvalue()


@pytest.fixture
def bill_pages(tmp_path):
    """Bills the pages of a file of these bytes."""

    def read(data, name="a.tif", *, frames=False, most=MANY):
        path = tmp_path / name
        path.write_bytes(data)
        (found,) = scan(str(path))
        return read_pages(found, create_store(str(path)), frames=frames, most=most)

    return read


def summarize(pages):
    """Each page's number, and its size or the kind of its problem."""
    return [(page.found.page, page.header.size if page.header else page.problem.kind) for page in pages]


def test_each_page_of_a_pdf_is_billed(bill_pages, pdf):
    """Its size is at 200 dpi, and its name is that of the file with its number."""
    first, second = bill_pages(pdf("one", "two"), "a.pdf")
    assert first.found.name.endswith("/a.pdf#page=1")
    assert summarize([first, second]) == [(1, A4), (2, A4)]
    assert (second.found.version, second.found.modified) == (first.found.version, first.found.modified)
    assert (second.header.format, second.header.frames, second.note) == ("PDF", 2, None)
    assert (second.tokens_formula, second.tokens_table) == (
        get_rule("formula").tokens(A4),
        get_rule("table").tokens(A4),
    )


@pytest.mark.parametrize("prefix", [b"", b"From: sender@example.com\r\n\r\n"])
@pytest.mark.parametrize("name", ["a.pdf", "A.PDF", "a.jpg"])
def test_pdf_is_recognized_by_its_bytes(bill_pages, pdf, name, prefix):
    """It may have any name, and text before it."""
    assert summarize(bill_pages(prefix + pdf("one"), name)) == [(1, A4)]


def test_picture_named_pdf_is_a_picture(bill_pages):
    (page,) = bill_pages(make_tiff(((40, 30), 1)), "a.pdf")
    assert (page.found.page, page.header.format, page.header.size) == (None, "TIFF", Size(40, 30))


def test_each_frame_of_a_tiff_is_a_page_where_frames_are_pages(bill_pages):
    """Each page has its own size and orientation."""
    pages = bill_pages(make_tiff(((40, 30), 1), ((60, 20), 6), ((10, 50), 3)), frames=True)
    assert summarize(pages) == [(1, Size(40, 30)), (2, Size(20, 60)), (3, Size(10, 50))]
    assert [page.header.orientation for page in pages] == [1, 6, 3]
    assert {(page.header.frames, page.note) for page in pages} == {(3, None)}


def test_tiff_without_frames_as_pages_is_its_first_frame(bill_pages):
    """A note says what is left out."""
    (page,) = bill_pages(make_tiff(((40, 30), 1), ((60, 20), 1)))
    assert (page.found.page, page.header.size, page.note) == (None, Size(40, 30), "first of 2 frames")


def test_tiff_of_one_frame_has_no_page_number(bill_pages):
    assert summarize(bill_pages(make_tiff(((40, 30), 1)), frames=True)) == [(None, Size(40, 30))]


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_animation_is_one_page(bill_pages, form):
    (page,) = bill_pages(make_animation(form), f"a.{form.lower()}", frames=True)
    assert (page.found.page, page.note) == (None, "first of 3 frames")


def test_mpo_photo_is_one_page(bill_pages):
    """The previews after the first picture are not pages."""
    assert summarize(bill_pages(make_animation("MPO"), "a.jpg", frames=True)) == [(None, Size(40, 30))]


def test_pdf_of_too_many_pages_is_one_rejected_page(bill_pages, pdf):
    """The message has the number of pages, the limit and its setting."""
    (page,) = bill_pages(pdf("1", "2", "3"), "a.pdf", most=2)
    assert (page.found.page, page.header, page.problem.kind, page.problem.final) == (
        None,
        None,
        "too_many_pages",
        False,
    )
    assert page.problem.message == "3 pages are over TILEWISE_MAX_IMAGES=2"


def test_tiff_of_too_many_frames_is_rejected_only_where_frames_are_pages(bill_pages):
    """Otherwise its first frame is sent."""
    data = make_tiff(*[((40, 30), 1)] * 3)
    assert summarize(bill_pages(data, frames=True, most=2)) == [(None, "too_many_pages")]
    assert summarize(bill_pages(data, most=2)) == [(None, Size(40, 30))]


def test_pdf_with_as_many_pages_as_the_limit_is_billed(bill_pages, pdf):
    assert len(bill_pages(pdf("1", "2", "3"), "a.pdf", most=3)) == 3


def test_broken_page_of_a_pdf_has_its_own_problem(bill_pages, pdf):
    """The other pages have their sizes."""
    assert summarize(bill_pages(pdf("one", None, "three"), "a.pdf")) == [(1, A4), (2, "unreadable"), (3, A4)]


def test_frame_of_too_many_pixels_has_its_own_problem(bill_pages):
    """The limit applies to each frame."""
    data = make_tiff(((40, 30), 1), ((41, 31), 1))
    for tag, side in ((256, 41), (257, 31)):
        entry, claim = (struct.pack("<HHII", tag, 4, 1, value) for value in (side, 60_000))
        assert data.count(entry) == 1
        data = data.replace(entry, claim)
    assert summarize(bill_pages(data, frames=True)) == [(1, Size(40, 30)), (2, "too_many_pixels")]


@pytest.mark.parametrize(("texts", "password", "kind"), [((), None, "empty"), (("one",), "secret", "password")])
def test_pdf_that_cannot_be_opened_is_one_page_with_a_problem(bill_pages, pdf, texts, password, kind):
    """The number of its pages is unknown."""
    (page,) = bill_pages(pdf(*texts, password=password), "a.pdf")
    assert (page.found.page, page.problem.kind, page.problem.stage, page.problem.final) == (
        None,
        kind,
        "bill",
        kind == "empty",
    )


def test_other_file_named_pdf_is_no_image(bill_pages):
    assert summarize(bill_pages(b"a letter", "a.pdf")) == [(None, "not_an_image")]
    assert summarize(bill_pages(b"", "a.pdf")) == [(None, "empty")]
