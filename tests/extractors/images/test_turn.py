"""images/turn.py: square pixels by resolution tags; each orientation is tried in test_prepare_pixels.py."""

from io import BytesIO

import pytest
from PIL import Image

from extractors.bill.header import read_header
from extractors.images.turn import square_size

PLAIN = (100, 50)


@pytest.mark.parametrize(
    ("density", "size"),
    [
        ((204, 98), (100, 104)),
        ((98, 204), (208, 50)),
        ((204, 196), (100, 52)),
        ((300, 300), PLAIN),
        ((300, 299), PLAIN),
        ((1, 1), PLAIN),
        ((0, 72), PLAIN),
        ((72, 0), PLAIN),
        ((1, 300), PLAIN),
    ],
)
def test_the_coarser_side_grows(density, size):
    """By at least 2 %, and by no more than four times: a tag that says more means nothing."""
    assert square_size(*PLAIN, density) == size


@pytest.mark.parametrize(("form", "mode"), [("TIFF", "1"), ("TIFF", "L"), ("PNG", "L"), ("JPEG", "L"), ("BMP", "L")])
def test_a_fax_has_square_pixels_in_every_format(form, mode):
    """Its header says the size that is shown."""
    buffer = BytesIO()
    Image.new(mode, PLAIN).save(buffer, form, dpi=(204, 98))
    assert read_header(BytesIO(buffer.getvalue())).size == (100, 104)
