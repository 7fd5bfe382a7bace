"""Which image formats this installation reads; apart from `open` and `pdf`, so that listing a folder imports no Pillow."""

from __future__ import annotations

import importlib.util

from PIL import _imaging

INSTALL_HEIF = "pip install 'tilewise[heif]'"
INSTALL_PDF = "pip install 'tilewise[pdf]'"
CAN_READ_AVIF = importlib.util.find_spec("PIL._avif") is not None
CAN_READ_JPEG2000 = hasattr(_imaging, "jpeg2k_decoder")


def can_read_heif() -> bool:
    """Tell whether the extra `heif` is installed, without importing it."""
    return importlib.util.find_spec("pillow_heif") is not None


def can_read_pdf() -> bool:
    """Tell whether the extra `pdf` is installed, without importing it."""
    return importlib.util.find_spec("pypdfium2") is not None
