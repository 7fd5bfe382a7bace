"""bill/pages.py: what the pages of a file are: those of a PDF, the frames of a TIFF where asked for, else one picture."""

import struct
from io import BytesIO

import pytest
from PIL import ExifTags, Image, TiffImagePlugin

from extractors.bill import read_pages
from extractors.core.tiles import Size, get_rule
from extractors.scan import create_store, scan

A4 = Size(1653, 2339)
MANY = 10


def tiff(*frames):
    """A TIFF of frames, each a size and an orientation."""
    buffer = BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, new=True) as writer:
        for size, orientation in frames:
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = orientation
            Image.new("L", size).save(writer, "TIFF", exif=exif)
            writer.newFrame()
    return buffer.getvalue()


def moving(form):
    """A picture of three frames, of another kind than TIFF."""
    buffer, colours = BytesIO(), ("red", "green", "blue")
    first, *others = (Image.new("RGB", (40, 30), colour) for colour in colours)
    first.save(buffer, form, save_all=True, append_images=others)
    return buffer.getvalue()


@pytest.fixture
def billed(tmp_path):
    """The pages of a file of these bytes."""

    def read(data, name="a.tif", *, frames=False, most=MANY):
        path = tmp_path / name
        path.write_bytes(data)
        (found,) = scan(str(path))
        return read_pages(found, create_store(str(path)), frames=frames, most=most)

    return read


def summary(billed):
    """Each page's number, and its size or what is wrong with it."""
    return [(each.found.page, each.header.size if each.header else each.problem.kind) for each in billed]


def test_each_page_of_a_pdf_is_billed(billed, pdf):
    """By its size at 200 dpi, under the file's name and its number."""
    first, second = billed(pdf("one", "two"), "a.pdf")
    assert first.found.name.endswith("/a.pdf#page=1")
    assert summary([first, second]) == [(1, A4), (2, A4)]
    assert (second.found.version, second.found.modified) == (first.found.version, first.found.modified)
    assert (second.header.format, second.header.frames, second.note) == ("PDF", 2, None)
    assert (second.tokens_formula, second.tokens_table) == (
        get_rule("formula").tokens(A4),
        get_rule("table").tokens(A4),
    )


@pytest.mark.parametrize("before", [b"", b"From: somebody\r\n\r\n"])
@pytest.mark.parametrize("name", ["a.pdf", "A.PDF", "a.jpg"])
def test_a_pdf_is_known_by_its_bytes(billed, pdf, name, before):
    """Whatever it is called, and whatever a mail server has put before it."""
    assert summary(billed(before + pdf("one"), name)) == [(1, A4)]


def test_a_picture_that_is_called_a_pdf_is_a_picture(billed):
    """The bytes decide here, too."""
    (page,) = billed(tiff(((40, 30), 1)), "a.pdf")
    assert (page.found.page, page.header.format, page.header.size) == (None, "TIFF", Size(40, 30))


def test_each_frame_of_a_tiff_is_a_page_where_frames_are_pages(billed):
    """Each with its own size and orientation."""
    frames = billed(tiff(((40, 30), 1), ((60, 20), 6), ((10, 50), 3)), frames=True)
    assert summary(frames) == [(1, Size(40, 30)), (2, Size(20, 60)), (3, Size(10, 50))]
    assert [each.header.orientation for each in frames] == [1, 6, 3]
    assert {(each.header.frames, each.note) for each in frames} == {(3, None)}


def test_elsewhere_a_tiff_is_its_first_frame(billed):
    """A note says what is left out."""
    (page,) = billed(tiff(((40, 30), 1), ((60, 20), 1)))
    assert (page.found.page, page.header.size, page.note) == (None, Size(40, 30), "first of 2 frames")


def test_a_tiff_of_one_frame_is_a_picture(billed):
    """It has no pages to tell apart."""
    assert summary(billed(tiff(((40, 30), 1)), frames=True)) == [(None, Size(40, 30))]


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_an_animation_has_no_pages(billed, form):
    """Its frames are one picture that moves."""
    (page,) = billed(moving(form), f"a.{form.lower()}", frames=True)
    assert (page.found.page, page.note) == (None, "first of 3 frames")


def test_a_phone_photo_has_no_pages(billed):
    """The previews behind an MPO are none."""
    assert summary(billed(moving("MPO"), "a.jpg", frames=True)) == [(None, Size(40, 30))]


def test_too_many_pages_are_one_that_is_rejected(billed, pdf):
    """The flaw says how many there are, how many may be, and where that is set."""
    (page,) = billed(pdf("1", "2", "3"), "a.pdf", most=2)
    assert (page.found.page, page.header, page.problem.kind, page.problem.final) == (
        None,
        None,
        "too_many_pages",
        False,
    )
    assert page.problem.message == "3 pages are over TILEWISE_MAX_IMAGES=2"


def test_too_many_frames_are_too_many_pages(billed):
    """Where frames are pages; else the first is sent, as ever."""
    data = tiff(*[((40, 30), 1)] * 3)
    assert summary(billed(data, frames=True, most=2)) == [(None, "too_many_pages")]
    assert summary(billed(data, most=2)) == [(None, Size(40, 30))]


def test_as_many_pages_as_may_be_are_billed(billed, pdf):
    """The limit is sharp."""
    assert len(billed(pdf("1", "2", "3"), "a.pdf", most=3)) == 3


def test_a_broken_page_has_its_own_flaw(billed, pdf):
    """Whose document is then rejected; the others have their sizes."""
    assert summary(billed(pdf("one", None, "three"), "a.pdf")) == [(1, A4), (2, "unreadable"), (3, A4)]


def test_a_frame_that_claims_too_many_pixels_has_its_own_flaw(billed):
    """Each frame is held against the limit, not only the first."""
    data = tiff(((40, 30), 1), ((41, 31), 1))
    for tag, side in ((256, 41), (257, 31)):
        entry, claim = (struct.pack("<HHII", tag, 4, 1, each) for each in (side, 60_000))
        assert data.count(entry) == 1
        data = data.replace(entry, claim)
    assert summary(billed(data, frames=True)) == [(1, Size(40, 30)), (2, "too_many_pixels")]


@pytest.mark.parametrize(("texts", "password", "kind"), [((), None, "empty"), (("one",), "secret", "password")])
def test_a_pdf_that_cannot_be_opened_is_one_page_with_a_flaw(billed, pdf, texts, password, kind):
    """Nobody knows how many it has."""
    (page,) = billed(pdf(*texts, password=password), "a.pdf")
    assert (page.found.page, page.problem.kind, page.problem.stage, page.problem.final) == (
        None,
        kind,
        "bill",
        kind == "empty",
    )


def test_a_file_that_is_called_a_pdf_and_is_none_is_no_image(billed):
    """As any other file of which nothing can be made."""
    assert summary(billed(b"a letter", "a.pdf")) == [(None, "not_an_image")]
    assert summary(billed(b"", "a.pdf")) == [(None, "empty")]
