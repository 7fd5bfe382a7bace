"""Converts pixels to sRGB by their ICC profile, and CMYK and Lab without one by what they mean."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageCms

if TYPE_CHECKING:
    from collections.abc import Sequence

_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}  # ICC's colour spaces and Pillow's modes
_SRGB = ImageCms.createProfile("sRGB")
_SAMPLES = (0, 31, 64, 96, 128, 170, 210, 255)
_CLOSE = 3  # of 255: profiles that differ less from sRGB are sRGB's many variants


def convert_to_srgb(picture: Image.Image, profile: object) -> Image.Image:
    """Convert to RGB, or to L where the picture is grey. A profile that is broken or of another space is ignored."""
    data = bytes(profile) if isinstance(profile, bytes | bytearray) else b""
    transform = _find_transform(data, picture.mode)
    if transform is not None:
        converted = ImageCms.applyTransform(picture, transform)
        assert converted is not None
        return converted.getchannel("G") if picture.mode == "L" else converted
    if picture.mode in {"L", "RGB"}:
        return picture
    return picture.convert("RGB")


@lru_cache(maxsize=64)  # a camera or a scanner writes one profile into all its files
def _find_transform(data: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the transform to sRGB; None where the picture needs no conversion."""
    if mode == "LAB":
        return ImageCms.buildTransform(ImageCms.createProfile("LAB"), _SRGB, "LAB", "RGB")
    if not data:
        return None
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(data))
        if _SPACES.get(source.profile.xcolor_space.strip()) != mode:
            return None
        transform = ImageCms.buildTransform(source, _SRGB, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    except (ImageCms.PyCMSError, OSError):
        return None
    return None if mode != "CMYK" and _changes_little(transform, mode) else transform


def _changes_little(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Tell whether no sampled colour differs visibly after the transform."""
    values: Sequence[tuple[int, ...]] = [(value,) for value in _SAMPLES]
    if mode == "RGB":
        values = [(red, green, blue) for red in _SAMPLES for green in _SAMPLES for blue in _SAMPLES]
    before = Image.frombytes(mode, (len(values), 1), bytes(part for value in values for part in value))
    after = ImageCms.applyTransform(before, transform)
    assert after is not None
    pairs = zip(before.convert("RGB").tobytes(), after.tobytes(), strict=True)
    return max(abs(one - other) for one, other in pairs) <= _CLOSE
