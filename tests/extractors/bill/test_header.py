"""header.py: what the header of an image file has, and the tokens of the image as it is, without decoding a pixel."""

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

PROFILE = {"icc_profile": bytes(200)}  # a WebP with a profile has the extended format
ORIENTATIONS = [(1, False), (2, False), (3, False), (4, False), (5, True), (6, True), (7, True), (8, True)]


def encode(form, size=(40, 30), mode="RGB", **options):
    """The bytes of an image file."""
    buffer = BytesIO()
    Image.new(mode, size).save(buffer, form, **options)
    return buffer.getvalue()


def make_exif(orientation):
    """EXIF metadata with this orientation."""
    data = Image.Exif()
    data[ExifTags.Base.Orientation] = orientation
    return data


def make_chunk(kind, data):
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_png(width, height, pixels=b"garbage"):
    """A PNG whose header has this size, with any bytes as pixels."""
    header = make_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + make_chunk(b"IDAT", pixels) + make_chunk(b"IEND", b"")


def make_frames(count):
    """Frames of different colours, so that no encoder merges them."""
    return [Image.new("RGB", (40, 30), (40 * index, 0, 0)) for index in range(1, count)]


def read_bytes(data):
    """The header of a file with these bytes."""
    return read_header(BytesIO(data))


def bill_file(path, data):
    """The billed page of a file with these bytes."""
    path.write_bytes(data)
    return bill_found(Found(str(path), len(data)), create_store(str(path)))


def bill_found(found, images):
    """The one billed page of this file."""
    (page,) = read_pages(found, images, frames=False, most=10)
    return page


def bill_rejected(path, data):
    """The kind, the stage and the finality of the problem of a file with these bytes."""
    problem = bill_file(path, data).problem
    return problem.kind, problem.stage, problem.final


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_header_has_size_and_format_of_each_format(form):
    assert read_bytes(encode(form)) == Header(Size(40, 30), form, 1, 1)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(("orientation", "swapped"), ORIENTATIONS)
def test_header_of_a_turned_picture_has_its_upright_size(form, orientation, swapped):
    """Orientations 5 to 8 swap the sides; the header also has the orientation, by which the pixels are turned later."""
    header = read_bytes(encode(form, exif=make_exif(orientation)))
    assert header.size == (Size(30, 40) if swapped else Size(40, 30))
    assert header.orientation == orientation


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_unknown_orientation_is_upright(orientation):
    """EXIF has 1 to 8."""
    assert read_bytes(encode("JPEG", exif=make_exif(orientation))) == Header(Size(40, 30), "JPEG", 1, 1)


def test_damaged_exif_is_ignored():
    data = encode("JPEG", exif=b"Exif\0\0this is not TIFF")
    assert b"this is not TIFF" in data
    assert read_bytes(data).orientation == 1


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
def test_header_counts_the_frames_of_a_file(form):
    assert read_bytes(encode(form, save_all=True, append_images=make_frames(3))).frames == 3


def test_picture_of_two_frames_is_billed_for_its_first(tmp_path):
    """A note says what is left out."""
    billed_page = bill_file(tmp_path / "a.tiff", encode("TIFF", save_all=True, append_images=make_frames(2)))
    assert (billed_page.header.frames, billed_page.note) == (2, "first of 2 frames")


def test_picture_of_one_frame_has_no_note(tmp_path):
    assert bill_file(tmp_path / "a.tiff", encode("TIFF")).note is None


def test_mpo_photo_is_a_jpeg_of_one_frame(tmp_path):
    """MPO is a JPEG with smaller pictures after it, which are not frames."""
    page = bill_file(tmp_path / "a.jpg", encode("MPO", save_all=True, append_images=make_frames(2)))
    assert page.header == Header(Size(40, 30), "JPEG", 1, 1)
    assert page.note is None


def test_format_is_that_of_the_bytes_not_of_the_name(tmp_path):
    assert bill_file(tmp_path / "a.jpg", encode("PNG")).header.format == "PNG"


@pytest.mark.parametrize(
    ("size", "formula", "table"),
    [((560, 560), 1601, 1601), ((561, 561), 1601, 6404), ((1280, 720), 3202, 6404), ((1120, 560), 3202, 3202)],
)
def test_page_has_the_tokens_of_formula_and_table(tmp_path, size, formula, table):
    page = bill_file(tmp_path / "a.png", encode("PNG", size, "L"))
    assert (page.tokens_formula, page.tokens_table) == (formula, table)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tokens_are_those_of_the_upright_size(tmp_path, orientation):
    """Both rules are symmetric, so the tokens do not change."""
    page = bill_file(tmp_path / "a.jpg", encode("JPEG", (1200, 500), exif=make_exif(orientation)))
    assert (page.tokens_formula, page.tokens_table) == (3202, 3202)


def test_image_with_broken_pixels_is_billed(tmp_path):
    """No pixel is decoded."""
    page = bill_file(tmp_path / "a.png", make_png(1280, 720, b"no zlib stream"))
    assert (page.problem, page.header.size, page.tokens_formula) == (None, Size(1280, 720), 3202)


def test_jpeg_cut_after_its_header_is_billed(tmp_path):
    """The missing pixels are detected when they are decoded."""
    data = encode("JPEG", (640, 480))
    page = bill_file(tmp_path / "a.jpg", data[: data.index(b"\xff\xda") + 20])
    assert (page.problem, page.header.size) == (None, Size(640, 480))


def test_header_of_too_many_pixels_is_rejected(tmp_path):
    """A size of 60,000 x 60,000 allocates no memory."""
    page = bill_file(tmp_path / "a.png", make_png(60_000, 60_000))
    assert page.problem.kind == "too_many_pixels"
    assert "60000x60000" in page.problem.message


@pytest.mark.parametrize(("width", "height", "kind"), [(20_000, 10_000, None), (20_000, 10_001, "too_many_pixels")])
def test_200_million_pixels_are_accepted_and_one_row_more_is_rejected(tmp_path, width, height, kind):
    problem = bill_file(tmp_path / "a.png", make_png(width, height)).problem
    assert (problem and problem.kind) == kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"this is a letter, not a picture", "not_an_image"),
        (b"\x89PNG\r\n\x1a\n", "not_an_image"),
        (make_png(40, 30)[:20], "unreadable"),
        (b"\x00" * 100, "not_an_image"),
    ],
    ids=["empty", "text", "signature", "cut", "zeros"],
)
def test_file_that_is_no_picture_is_rejected_finally(tmp_path, data, kind):
    """The problem has the kind and the stage."""
    assert bill_rejected(tmp_path / "a.jpg", data) == (kind, "bill", True)


@pytest.mark.parametrize("length", [2, 3, 10, 30, 100])
def test_jpeg_cut_in_its_header_is_rejected_finally(tmp_path, length):
    kind, stage, final = bill_rejected(tmp_path / "a.jpg", encode("JPEG")[:length])
    assert kind in {"not_an_image", "unreadable"}
    assert (stage, final) == ("bill", True)


@given(data=st.binary(max_size=200))
def test_read_header_of_random_bytes_raises_a_document_error(data):
    with pytest.raises(DocumentError):
        read_bytes(b"\xff\xd8\xff" + data)


def test_problem_of_the_scan_is_kept():
    """The file is not opened."""
    problem = Problem("missing", "scan", "gone", final=False)
    assert bill_found(Found("/nowhere/a.jpg", problem=problem), create_store("/nowhere")).problem == problem


def test_file_deleted_after_the_scan_is_a_problem_of_the_bill(tmp_path):
    """It is not final."""
    problem = bill_found(Found(str(tmp_path / "a.jpg"), 10), create_store(str(tmp_path))).problem
    assert (problem.kind, problem.stage, problem.final) == ("missing", "bill", False)


def test_rejected_image_has_no_tokens(tmp_path):
    """They are unknown and not 0, as the size is unknown."""
    page = bill_file(tmp_path / "a.jpg", b"text")
    assert (page.header, page.tokens_formula, page.tokens_table) == (None, None, None)


def test_video_is_not_read():
    """It has neither a header nor a problem, as no rule bills it."""
    found = Found("/no/such/v.mp4", video=True)
    billed = bill_found(found, create_store("/no/such"))
    assert (billed.found, billed.header, billed.problem) == (found, None, None)
