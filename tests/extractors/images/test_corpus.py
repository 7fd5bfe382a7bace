"""pixels.py: every kind of file has the pixels that libvips shows, or that were written."""

import io

import numpy as np
import pytest

from extractors.bill.header import read_header
from extractors.images.pixels import load_pixels

pytestmark = pytest.mark.slow
pyvips = pytest.importorskip("pyvips")
pictures = pytest.importorskip("support.pictures")


def show_by_libvips(data):
    """The RGB that libvips shows on white."""
    picture = pyvips.Image.new_from_buffer(data, "").autorot().colourspace("srgb")
    if picture.hasalpha():
        picture = picture.flatten(background=255)
    return np.asarray(picture.cast("uchar"))[..., :3]


def measure_difference(variant):
    """The mean difference of a variant from its reference, in 255ths."""
    shown = show_by_libvips(variant.data) if variant.shown is None else variant.shown
    orientation = read_header(io.BytesIO(variant.data)).orientation
    pixels = load_pixels(variant.data, "prepare", None, orientation)
    return abs(np.asarray(pixels.convert("RGB")).astype(int) - shown.astype(int)).mean()


@pytest.mark.parametrize(("lister", "least"), [("list_tiffs", 300), ("list_others", 40)])
def test_variants_of_all_formats_have_the_reference_pixels(lister, least):
    """No TIFF, PNG, WebP, JPEG or HEIC differs from its reference by more than its format loses."""
    variants = list(getattr(pictures, lister)())
    wrong = {
        variant.name: round(float(error), 1)
        for variant in variants
        if (error := measure_difference(variant)) > variant.loss
    }
    assert wrong == {}
    assert len(variants) >= least
