"""turn.py: pixels are made square by resolution tags; test_prepare_pixels.py tests each orientation."""

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
def test_square_size_enlarges_the_side_of_lower_resolution(density, size):
    """The resolutions must differ by at least 2 % and at most four times; another tag is ignored."""
    assert square_size(*PLAIN, density) == size


@pytest.mark.parametrize(("form", "mode"), [("TIFF", "1"), ("TIFF", "L"), ("PNG", "L"), ("JPEG", "L"), ("BMP", "L")])
def test_header_of_a_fax_has_the_size_with_square_pixels(form, mode):
    buffer = BytesIO()
    Image.new(mode, PLAIN).save(buffer, form, dpi=(204, 98))
    assert read_header(BytesIO(buffer.getvalue())).size == (100, 104)
