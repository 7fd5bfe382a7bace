"""tiff.py: the frames of a TIFF that are pages, their tags, and kinds of frames that are rejected."""

import io

import pytest
import tifffile
from support.pictures import GREY, RGB, write_plain, write_tiff

from extractors.core.errors import DocumentError
from extractors.images.tiff import check_supported, is_tiff, read_frames


def write_frames(*frames):
    """A TIFF of frames, each an array and its NewSubfileType."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for values, kind in frames:
            writer.write(
                values, subfiletype=kind, photometric="rgb" if values.ndim == 3 else "minisblack", metadata=None
            )
    return buffer.getvalue()


def list_sizes(data):
    """The sizes of the frames that are pages."""
    return [tuple(frame.size) for frame in read_frames(io.BytesIO(data), "bill")]


def read_refusal(data):
    """The kind and the message of the error for the first frame."""
    (frame,) = read_frames(io.BytesIO(data), "bill")
    with pytest.raises(DocumentError) as raised:
        check_supported(frame, "bill")
    return raised.value.kind, raised.value.message


@pytest.mark.parametrize("kind", [1, 4, 5])
def test_reduced_frames_and_masks_are_no_pages(kind):
    """A thumbnail may precede the picture, and the levels of a pyramid follow it."""
    small = GREY[::4, ::4] > 99 if kind & 4 else RGB[::4, ::4].copy()
    assert list_sizes(write_frames((small, kind), (RGB, 0), (small, kind), (RGB, 2))) == [(75, 53), (75, 53)]


def test_file_of_reduced_frames_only_is_its_first_frame():
    """A picture with the wrong NewSubfileType is read."""
    small = RGB[::4, ::4].copy()
    assert list_sizes(write_frames((small, 1), (small[::2, ::2].copy(), 1))) == [(19, 14)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_tags_are_read_in_both_byte_orders_and_in_bigtiff(order, big):
    """Pillow does not read a big-endian BigTIFF."""
    data = write_tiff(GREY, byteorder=order, bigtiff=big, resolution=(204, 98))
    (frame,) = read_frames(io.BytesIO(data), "bill")
    assert is_tiff(data[:16])
    assert (frame.size, frame.bits, frame.samples, frame.density) == ((75, 53), 8, 1, (204, 98))


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"photometric": 32803}, "photometric interpretation 32803"),
        ({"photometric": 34892}, "photometric interpretation 34892"),
        ({"photometric": 5}, "1 samples a pixel of photometric interpretation 5"),
        ({"photometric": 8, "bits": (8,)}, "1 samples a pixel of photometric interpretation 8"),
        ({"photometric": 1, "bits": (64,)}, "64 bits of sample format 1"),
        ({"photometric": 2, "bits": (5, 6, 5)}, "mixed bits of sample format 1"),
        ({"photometric": 1, "more": [(339, 3, 6)]}, "8 bits of sample format 6"),
        ({"photometric": 5, "bits": (8,) * 4, "more": [(332, 3, 2)]}, "inks that are not CMYK"),
        ({"photometric": 1, "more": [(317, 3, 7)]}, "predictor 7"),
        ({"photometric": 8, "bits": (16,) * 3, "more": [(339, 3, (2, 2, 2))]}, "16 bits of sample format 2"),
        ({"photometric": 5, "bits": (16,) * 4, "more": [(339, 3, (2, 2, 2, 2))]}, "16 bits of sample format 2"),
    ],
)
def test_frame_that_would_be_decoded_wrong_is_rejected(tags, words):
    """Raw sensor data, spot inks and complex numbers would have false colours."""
    kind, message = read_refusal(write_plain(bytes(75 * 53 * 8), **{"bits": (8,), **tags}))
    assert (kind, words in message) == ("unsupported", True), message


def test_jpeg2000_and_webp_compression_is_rejected_as_unsupported():
    for codec in ("jpeg2000", "webp"):
        assert read_refusal(write_tiff(RGB, photometric="rgb", compression=codec))[0] == "unsupported"


def test_directory_that_names_itself_as_the_next_is_one_frame():
    data = bytearray(write_plain(GREY.tobytes(), bits=(8,), photometric=1))
    count = int.from_bytes(data[8:10], "little")
    data[10 + 12 * count : 14 + 12 * count] = (8).to_bytes(4, "little")
    assert list_sizes(bytes(data)) == [(75, 53)]
