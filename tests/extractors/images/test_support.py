"""support.py: the formats that can be read, detected without importing Pillow's modules."""

from PIL import features

from extractors.images.support import CAN_READ_AVIF, CAN_READ_JPEG2000


def test_support_agrees_with_pillow():
    assert (features.check("avif"), features.check("jpg_2000")) == (CAN_READ_AVIF, CAN_READ_JPEG2000)
