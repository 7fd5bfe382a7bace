"""Which formats are read is told without Pillow's own modules, and as Pillow tells it."""

from PIL import features

from extractors.images.support import CAN_READ_AVIF, CAN_READ_JPEG2000


def test_support_agrees_with_pillow():
    """A format that Pillow decodes is listed, and no other."""
    assert (features.check("avif"), features.check("jpg_2000")) == (CAN_READ_AVIF, CAN_READ_JPEG2000)
