"""jpeg.py: the frame of a JPEG is the one that Pillow finds, and a file that is odd has none."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from extractors.images.jpeg import find_frame

MODES = {1: "L", 3: "RGB", 4: "CMYK"}


def encode(mode="RGB", size=(60, 40), **options):
    buffer = BytesIO()
    Image.new(mode, size).save(buffer, "JPEG", **options)
    return buffer.getvalue()


ENCODED = encode(comment=b"a comment", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")


@given(
    mode=st.sampled_from(sorted(MODES.values())),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    progressive=st.booleans(),
    comment=st.binary(max_size=200),
)
def test_frame_has_the_size_and_the_mode_that_pillow_finds(mode, size, progressive, comment):
    frame = find_frame(encode(mode, size, progressive=progressive, comment=comment))
    assert (tuple(frame.size), MODES[frame.components]) == (size, mode)


def test_fill_bytes_before_a_marker_are_skipped():
    place = ENCODED.index(b"\xff\xc0")
    assert find_frame(ENCODED[:place] + b"\xff\xff" + ENCODED[place:]) == find_frame(ENCODED)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about changed EXIF
@given(place=st.integers(0, ENCODED.index(b"\xff\xda")), value=st.integers(0, 255))
def test_frame_of_a_changed_file_is_the_one_that_pillow_finds(place, value):
    """Where Pillow opens the file and a frame is found, both have the same size and components."""
    data = ENCODED[:place] + bytes([value]) + ENCODED[place + 1 :]
    try:
        picture = Image.open(BytesIO(data), formats=["JPEG"])
    except (OSError, SyntaxError, ValueError, IndexError):
        return
    frame = find_frame(data)
    assert frame is None or (tuple(frame.size), MODES.get(frame.components)) == (picture.size, picture.mode)


@pytest.mark.parametrize("length", range(0, ENCODED.index(b"\xff\xda") + 3, 7))
def test_file_that_ends_before_its_first_scan_has_no_frame(length):
    assert find_frame(ENCODED[:length]) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(1000)])
def test_file_of_another_format_has_no_frame(data):
    assert find_frame(data) is None


def test_file_with_two_frames_has_none():
    start = ENCODED.index(b"\xff\xc0")
    frame = ENCODED[start : start + 2 + int.from_bytes(ENCODED[start + 2 : start + 4])]
    assert find_frame(ENCODED[:start] + frame + ENCODED[start:]) is None


@pytest.mark.parametrize("marker", [0xC3, 0xC9, 0xCF])
def test_lossless_and_arithmetic_codes_have_no_frame(marker):
    assert find_frame(ENCODED.replace(b"\xff\xc0", bytes([0xFF, marker]), 1)) is None
