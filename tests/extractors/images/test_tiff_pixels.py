"""tiff_pixels.py: one variant of each kind of TIFF has the written pixels; test_corpus.py tests all variants."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from support import pictures
from support.pictures import GREY, RGB, grey_of, write_plain, write_tiff

from extractors.core.errors import DocumentError
from extractors.images.pixels import load_pixels
from extractors.images.tiff import read_frames
from extractors.images.tiff_pixels import decode_frame

KINDS = {
    variant.name: variant
    for variant in (*pictures.list_bits(), *pictures.list_measured(), *pictures.list_palettes(), *pictures.list_inks())
}
TESTED = [
    *("grey-1-<", "grey-3-<", "rgb-5-<", "grey-7-miniswhite", "grey-12-<", "rgb-14-<", "grey-24->", "rgb-31-<"),
    *("grey-32->", "grey-32-miniswhite", "float16-<-1", "float32->-predictor", "float64-<-odd-0", "float32->-odd-1"),
    *("rgb-float32-<", "float32-<-miniswhite", "int8-<", "int16->-predictor", "int32-<", "palette-8-of-8-<-0"),
    *("palette-8-of-16->-1", "palette-4", "palette-16", "cmyk-16-planar->", "icclab-8", "cielab-16"),
]


def show(data):
    """The RGB values of these bytes."""
    return np.asarray(load_pixels(data, "prepare", None, 1).convert("RGB")).astype(int)


@pytest.mark.parametrize("name", TESTED)
def test_tiff_variant_has_the_written_pixels(name):
    """Pillow rejects these depths, formats, palettes and inks, or decodes them wrong."""
    variant = KINDS[name]
    assert abs(show(variant.data) - variant.shown).mean() <= variant.loss


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 32)}, {"compression": "zlib", "predictor": 2}])
def test_16_bit_grey_keeps_its_shades(order, photometric, options):
    """It is read with either photometric interpretation and byte order, in strips and tiles, with and without a predictor."""
    data = write_tiff(GREY.astype(np.uint16) * 257, byteorder=order, photometric=photometric, **options)
    shown = GREY if photometric == "minisblack" else 255 - GREY
    assert (show(data) == grey_of(shown)).all()


@pytest.mark.parametrize("big", [False, True])
def test_separate_planes_of_16_bits_are_combined(big):
    """Each colour has strips of its own."""
    planes = np.ascontiguousarray(np.moveaxis(RGB.astype(np.uint16) * 257, -1, 0))
    data = write_tiff(planes, photometric="rgb", planarconfig="separate", bigtiff=big, byteorder=">", tile=(16, 32))
    assert (show(data) == RGB).all()


def test_unspecified_sample_of_zeros_is_not_alpha():
    data = write_tiff(np.dstack([RGB, np.zeros_like(GREY)]), photometric="rgb", extrasamples=["unspecified"])
    assert (show(data) == RGB).all()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_frame_is_turned_once_by_its_orientation(bits, orientation):
    """Pillow decodes 8 bits and not 16 bits."""
    values = RGB.astype(np.uint16) * 257 if bits == 16 else RGB
    data = write_tiff(values, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    exif = Image.Exif()
    exif[274] = orientation
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG", exif=exif)
    assert (show(data) == np.asarray(load_pixels(buffer.getvalue(), "prepare", None, orientation))).all()


def test_frame_after_one_that_pillow_cannot_open_is_decoded():
    """Pillow's own `seek` fails at a first frame of an unknown layout."""
    buffer = io.BytesIO()
    first = write_tiff(np.round(GREY / 255 * 31).astype(np.uint8), bitspersample=5)
    buffer.write(first)
    buffer.seek(0)
    pictures.tifffile.imwrite(buffer, RGB, photometric="rgb", append=True)
    frames = read_frames(io.BytesIO(buffer.getvalue()), "prepare")
    assert (np.asarray(decode_frame(buffer.getvalue(), frames[1])) == RGB).all()


def test_grey_frame_without_photometric_interpretation_is_black_for_0():
    """It is read as by libtiff."""
    entry = struct.pack("<HHI", 262, 3, 1) + b"\1\0\0\0"
    data = write_plain(GREY.tobytes(), bits=(8,), photometric=1).replace(entry, b"\x07\x01" + entry[2:])
    assert abs(show(data) - grey_of(GREY)).max() == 0


def test_cielab_with_sample_formats_equals_cielab_without():
    """The lightness is unsigned and the two chromas are signed."""
    packed = bytes([128, 20, 236]) * GREY.size
    plain, tagged = (
        write_plain(packed, bits=(8,) * 3, photometric=8, more=more) for more in ([], [(339, 3, (1, 2, 2))])
    )
    assert (show(plain) == show(tagged)).all()


def test_cut_pixels_are_rejected_with_a_message():
    """Pillow gives only a number for this error."""
    with pytest.raises(DocumentError, match="its pixels are broken or cut short"):
        show(write_tiff(GREY, photometric="minisblack")[:-500])
