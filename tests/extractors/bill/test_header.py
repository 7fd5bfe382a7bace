"""bill/header.py: what an image's header says and what it is billed as it is, without decoding a pixel."""

import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from extractors.bill import read_pages
from extractors.bill.header import read_header
from extractors.core import Found, Header, Problem
from extractors.core.errors import DocumentError
from extractors.core.tiles import Size
from extractors.scan import create_store

PROFILE = {"icc_profile": bytes(200)}  # makes the file an extended one
ORIENTATIONS = [(1, False), (2, False), (3, False), (4, False), (5, True), (6, True), (7, True), (8, True)]


def encode(form, size=(40, 30), mode="RGB", **options):
    """An image file's bytes."""
    buffer = BytesIO()
    Image.new(mode, size).save(buffer, form, **options)
    return buffer.getvalue()


def exif(orientation):
    """EXIF metadata that holds an orientation."""
    data = Image.Exif()
    data[ExifTags.Base.Orientation] = orientation
    return data


def chunk(kind, data):
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, pixels=b"garbage"):
    """A PNG whose header claims this size, with whatever for pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def frames(count):
    """Two-coloured frames, so that no encoder merges them."""
    return [Image.new("RGB", (40, 30), (40 * index, 0, 0)) for index in range(1, count)]


def header_of(data):
    """The header of a file with these bytes."""
    return read_header(BytesIO(data))


def bill_file(path, data):
    """A file of these bytes, found and billed."""
    path.write_bytes(data)
    return bill(Found(str(path), len(data)), create_store(str(path)))


def bill(found, images):
    """The one page of this file."""
    (page,) = read_pages(found, images, frames=False, most=10)
    return page


def outcome(path, data):
    """The flaw's kind, stage and finality of a file with these bytes."""
    flaw = bill_file(path, data).problem
    return flaw.kind, flaw.stage, flaw.final


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_each_format_says_its_size_and_name(form):
    """Width, height and format are read from every known format."""
    assert header_of(encode(form)) == Header(Size(40, 30), form, 1, 1)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(("orientation", "turned"), ORIENTATIONS)
def test_a_turned_picture_has_its_upright_size(form, orientation, turned):
    """Orientations 5 to 8 swap the sides; the orientation itself is kept for those who turn the pixels."""
    header = header_of(encode(form, exif=exif(orientation)))
    assert header.size == (Size(30, 40) if turned else Size(40, 30))
    assert header.orientation == orientation


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_means_nothing_is_upright(orientation):
    """EXIF knows 1 to 8; with another number the picture stands as it is stored."""
    assert header_of(encode("JPEG", exif=exif(orientation))) == Header(Size(40, 30), "JPEG", 1, 1)


def test_metadata_that_is_no_exif_is_passed_over():
    """A damaged EXIF block does not hide a picture that every viewer shows."""
    assert header_of(encode("JPEG", exif=b"Exif\0\0this is not TIFF")).orientation == 1


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
def test_frames_are_counted(form):
    """The header counts every frame of the file."""
    assert header_of(encode(form, save_all=True, append_images=frames(3))).frames == 3


def test_a_picture_of_two_frames_is_billed_for_its_first(tmp_path):
    """A note says what is left out."""
    billed_page = bill_file(tmp_path / "a.tiff", encode("TIFF", save_all=True, append_images=frames(2)))
    assert (billed_page.header.frames, billed_page.note) == (2, "first of 2 frames")


def test_a_picture_of_one_frame_has_no_note(tmp_path):
    """Nothing is left out, and nothing is said."""
    assert bill_file(tmp_path / "a.tiff", encode("TIFF")).note is None


def test_a_phone_photo_with_previews_is_a_jpeg_of_one_frame(tmp_path):
    """MPO is a JPEG with smaller pictures behind it: they are not frames that anybody misses."""
    page = bill_file(tmp_path / "a.jpg", encode("MPO", save_all=True, append_images=frames(2)))
    assert page.header == Header(Size(40, 30), "JPEG", 1, 1)
    assert page.note is None


def test_the_format_is_that_of_the_bytes(tmp_path):
    """A PNG named `.jpg` is a PNG."""
    assert bill_file(tmp_path / "a.jpg", encode("PNG")).header.format == "PNG"


@pytest.mark.parametrize(
    ("size", "formula", "table"),
    [((560, 560), 1601, 1601), ((561, 561), 1601, 6404), ((1280, 720), 3202, 6404), ((1120, 560), 3202, 3202)],
)
def test_both_readings_of_the_bill_are_given(tmp_path, size, formula, table):
    """The documented formula and the documented table are both applied to the image as it is."""
    page = bill_file(tmp_path / "a.png", encode("PNG", size, "L"))
    assert (page.tokens_formula, page.tokens_table) == (formula, table)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_bill_is_that_of_the_upright_size(tmp_path, orientation):
    """A turned picture is billed as a person sees it; both readings are symmetrical, so the amount stays."""
    page = bill_file(tmp_path / "a.jpg", encode("JPEG", (1200, 500), exif=exif(orientation)))
    assert (page.tokens_formula, page.tokens_table) == (3202, 3202)


def test_no_pixel_is_decoded(tmp_path):
    """An image whose pixels are garbage is billed by its header like any other."""
    page = bill_file(tmp_path / "a.png", png(1280, 720, b"no zlib stream"))
    assert (page.problem, page.header.size, page.tokens_formula) == (None, Size(1280, 720), 3202)


def test_a_jpeg_cut_after_its_header_is_billed(tmp_path):
    """What was lost behind the header is seen when the pixels are decoded, not before."""
    data = encode("JPEG", (640, 480))
    page = bill_file(tmp_path / "a.jpg", data[: data.index(b"\xff\xda") + 20])
    assert (page.problem, page.header.size) == (None, Size(640, 480))


def test_a_claim_of_too_many_pixels_is_rejected(tmp_path):
    """A header of 60,000 x 60,000 asks for no memory."""
    page = bill_file(tmp_path / "a.png", png(60_000, 60_000))
    assert page.problem.kind == "too_many_pixels"
    assert "60000x60000" in page.problem.message


@pytest.mark.parametrize(("width", "height", "kind"), [(20_000, 10_000, None), (20_000, 10_001, "too_many_pixels")])
def test_the_limit_of_pixels_is_sharp(tmp_path, width, height, kind):
    """200 million pixels are allowed, one row more is not."""
    flaw = bill_file(tmp_path / "a.png", png(width, height)).problem
    assert (flaw and flaw.kind) == kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"this is a letter, not a picture", "not_an_image"),
        (b"\x89PNG\r\n\x1a\n", "not_an_image"),
        (png(40, 30)[:20], "unreadable"),
        (b"\x00" * 100, "not_an_image"),
    ],
    ids=["empty", "text", "signature", "cut", "zeros"],
)
def test_what_is_no_picture_is_rejected_for_good(tmp_path, data, kind):
    """The flaw names its reason, the stage that saw it, and that another try cannot cure it."""
    assert outcome(tmp_path / "a.jpg", data) == (kind, "bill", True)


@pytest.mark.parametrize("length", [2, 3, 10, 30, 100])
def test_a_jpeg_header_cut_short_is_rejected_for_good(tmp_path, length):
    """Where the file ends before its size is said, there is nothing to bill."""
    kind, stage, final = outcome(tmp_path / "a.jpg", encode("JPEG")[:length])
    assert kind in {"not_an_image", "unreadable"}
    assert (stage, final) == ("bill", True)


@given(data=st.binary(max_size=200))
def test_no_bytes_bring_a_scan_down(data):
    """Whatever a file begins with, reading its header gives a header or a DocumentError."""
    with pytest.raises(DocumentError):
        header_of(b"\xff\xd8\xff" + data)


def test_a_flaw_of_the_scan_is_carried_on():
    """What could not be listed is not opened, and keeps its own reason and stage."""
    flaw = Problem("missing", "scan", "gone", final=False)
    assert bill(Found("/nowhere/a.jpg", problem=flaw), create_store("/nowhere")).problem == flaw


def test_a_file_that_vanishes_after_the_scan_is_a_flaw(tmp_path):
    """What the store refuses becomes a flaw of the bill, as final as the store says."""
    flaw = bill(Found(str(tmp_path / "a.jpg"), 10), create_store(str(tmp_path))).problem
    assert (flaw.kind, flaw.stage, flaw.final) == ("missing", "bill", False)


def test_a_flawed_image_has_no_bill(tmp_path):
    """Tokens are unknown, not zero, where the size is unknown."""
    page = bill_file(tmp_path / "a.jpg", b"text")
    assert (page.header, page.tokens_formula, page.tokens_table) == (None, None, None)


def test_a_video_is_not_looked_into():
    """No rule bills it: it has no header and no flaw, and nothing is read of it."""
    found = Found("/no/such/v.mp4", video=True)
    billed = bill(found, create_store("/no/such"))
    assert (billed.found, billed.header, billed.problem) == (found, None, None)
