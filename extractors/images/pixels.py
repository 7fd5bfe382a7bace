"""Decodes a picture to what a viewer shows: upright, opaque, in 8-bit grey or sRGB, at the wanted size.

The order matters: transparency is removed before pixels are mixed by resizing, and colours are converted after it, when
there are fewer of them.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageChops

from extractors.images.colour import convert_to_srgb
from extractors.images.grey import find_grey
from extractors.images.open import open_picture, translate_errors
from extractors.images.tiff import check_supported, is_tiff, read_frames
from extractors.images.turn import SWAPPED, turn_upright

if TYPE_CHECKING:
    from extractors.core.tiles import Size

# Reads as well as LANCZOS on receipts at 60 % of its time: docs/benchmarks.md, "How a picture is made smaller".
FILTER = Image.Resampling.HAMMING
_NEAR_WHITE = 200  # of 255: what is lighter is hard to see on white
_DARK_SHARE = 0.02  # of what is visible; less ink than that does not make a picture
_DARK_GROUND = (32, 32, 32)


def load_pixels(data: bytes, stage: str, page: int | None, orientation: int, size: Size | None = None) -> Image.Image:
    """Decode the picture, or a TIFF's frame by its number from 1, to L or RGB of this upright size or of its own.

    Raises DocumentError: `unreadable` for broken pixels, `unsupported` for those that would not be decoded right.
    """
    with translate_errors("unreadable", stage):
        if is_tiff(data):
            pixels, profile = _load_tiff(data, stage, page)
            orientation = 1
        else:
            picture = open_picture(BytesIO(data), stage)
            _scale_while_decoding(picture, orientation, size)
            picture.load()
            pixels, profile = picture, picture.info.get("icc_profile")
        stored = size if size is None or orientation not in SWAPPED else (size.height, size.width)
        pixels = _remove_alpha(_reduce_depth(pixels))
        if stored is not None and pixels.size != tuple(stored):
            pixels = _resize(pixels, stored)
        return turn_upright(convert_to_srgb(pixels, profile), orientation)


def _resize(pixels: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize; of a grey picture in RGB one channel for all three, which gives the same pixels in half the time."""
    if (grey := find_grey(pixels)) is None:
        return pixels.resize(size, FILTER)
    return Image.merge("RGB", [grey.resize(size, FILTER)] * 3)


def _load_tiff(data: bytes, stage: str, page: int | None) -> tuple[Image.Image, bytes | None]:
    from extractors.images.tiff_pixels import decode_frame  # noqa: PLC0415 - only a TIFF needs it

    frames = read_frames(BytesIO(data), stage)
    frame = frames[(page or 1) - 1]
    check_supported(frame, stage)
    profile = frame.tags.get(34675)
    return decode_frame(data, frame), profile if isinstance(profile, bytes) else None


def _scale_while_decoding(picture: Image.Image, orientation: int, size: Size | None) -> None:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 where that is still as large as wanted."""
    if size is not None and picture.format in {"JPEG", "MPO"}:
        picture.draft(None, (size.height, size.width) if orientation in SWAPPED else size)


def _reduce_depth(picture: Image.Image) -> Image.Image:
    """Bring 16-bit grey to 8 bits, and numbers without a fixed white to their range."""
    if picture.mode.startswith("I;16"):
        key = picture.info.get("transparency")
        shades = picture.convert("I")
        grey = shades.point(lambda value: value * (1 / 256) - 0.499).convert("L")
        if isinstance(key, int):  # a shade that stands for nothing, of 16 bits
            hidden = ImageChops.lighter(*(_select(shades, key, step) for step in (-1, 1)))
            grey = Image.merge("LA", (grey, hidden))
        return grey
    if picture.mode in {"I", "F"}:
        low, high = picture.getextrema()
        assert isinstance(low, int | float)
        assert isinstance(high, int | float)
        span = max(high - low, 1)
        return picture.convert("F").point(lambda value: value * (255 / span) - low * 255 / span).convert("L")
    return picture


def _select(shades: Image.Image, key: int, step: int) -> Image.Image:
    """White where a shade is above (step 1) or below (-1) the key."""
    return shades.point(lambda value: value * (255 * step) - 255 * step * key).convert("L")


def _remove_alpha(picture: Image.Image) -> Image.Image:
    """Lay what is transparent over white, or over a dark ground where what is visible would be lost on white."""
    if picture.mode == "1":
        return picture.convert("L")
    if picture.mode in {"L", "RGB", "CMYK", "LAB"} and "transparency" not in picture.info:
        return picture
    if picture.mode not in {"RGBA", "LA", "PA", "La", "RGBa"} and "transparency" not in picture.info:
        return picture.convert("RGB")
    visible = picture.convert("RGBA")
    alpha = visible.getchannel("A")
    lowest, highest = alpha.getextrema()
    if lowest == 255 or (highest == 0 and picture.format == "BMP"):  # writers of BMP leave the fourth byte 0
        return visible.convert("L" if picture.mode in {"L", "LA", "La"} else "RGB")
    ground = Image.new("RGB", visible.size, _choose_ground(visible, alpha))
    ground.paste(visible, mask=alpha)
    return ground.convert("L") if picture.mode in {"L", "LA", "La"} else ground


def _choose_ground(visible: Image.Image, alpha: Image.Image) -> tuple[int, int, int]:
    mask = alpha.point([0] * 64 + [255] * 192)
    shades = visible.convert("L").histogram(mask)
    total = sum(shades)
    return _DARK_GROUND if total and sum(shades[:_NEAR_WHITE]) < _DARK_SHARE * total else (255, 255, 255)
