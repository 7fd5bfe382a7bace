"""Decodes one frame of a TIFF to an upright picture in L, LA, RGB, RGBA, CMYK or LAB of 8 bits a sample.

What Pillow decodes right is left to it. Of every other layout libtiff only unpacks the bytes: the frame's directory is
written anew as one of 8-bit grey whose width is a row's bytes, and the samples are taken out of those rows here.
"""

from __future__ import annotations

import math
import struct
from array import array
from io import BytesIO
from itertools import accumulate
from typing import TYPE_CHECKING

from PIL import Image, ImageChops

from extractors.images.turn import turn_upright

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from extractors.images.tiff import Frame

_WHITES = (1.0, 255.0, 65535.0, 2.0**24 - 1, 2.0**31 - 1, 2.0**32 - 1)  # what full white usually is, by file and tool
BIG_MARKS = (b"II+\0", b"MM\0+")
_ROUNDING = 1.0001  # of a picture in F, whose numbers have 24 bits
_EXACT_BITS = 24  # Pillow's bit decoder loses bits of longer samples
_PALETTE, _INKS, _CIELAB, _ICCLAB = 3, 5, 8, 9


def decode_frame(data: bytes, frame: Frame) -> Image.Image:
    """Decode the frame's pixels. What Pillow raises for broken data passes."""
    if frame.by_pillow:
        source = _copy_directory(data, frame) if data.startswith(BIG_MARKS) else _point_at(data, frame.offset)
        with Image.open(BytesIO(source), formats=("TIFF",)) as picture:
            picture.load()  # turns it upright
        return picture.convert("L") if picture.mode == "1" else picture
    return turn_upright(_assemble(frame, _read_samples(data, frame)), frame.orientation)


def _assemble(frame: Frame, samples: Sequence[Image.Image]) -> Image.Image:
    """Make one picture of the frame's samples, with alpha where there is one."""
    if frame.photometric == _PALETTE:
        return _apply_palette(samples[0], frame)
    planes = _scale(samples, frame)
    colours, extra = planes[: frame.colours], planes[frame.colours :]
    if frame.photometric == _INKS:
        return Image.merge("CMYK", colours)
    if frame.photometric in {_CIELAB, _ICCLAB}:
        return _merge_lab(colours, signed=frame.photometric == _CIELAB)
    if frame.photometric == 0:
        colours = [ImageChops.invert(colours[0])]
    alpha = _choose_alpha(frame, extra)
    return _merge(colours, alpha, premultiplied=1 in frame.numbers(338)[:1])


def _choose_alpha(frame: Frame, extra: Sequence[Image.Image]) -> Image.Image | None:
    """Give the extra sample that is alpha; one of unknown meaning that hides everything is ignored."""
    if not extra:
        return None
    kinds = (*frame.numbers(338), *([0] * len(extra)))
    for kind, plane in zip(kinds, extra, strict=False):
        if kind in {1, 2}:
            return plane
    return extra[0] if extra[0].getbbox() else None


def _merge(colours: list[Image.Image], alpha: Image.Image | None, *, premultiplied: bool) -> Image.Image:
    if alpha is None:
        return colours[0] if len(colours) == 1 else Image.merge("RGB", colours)
    red, green, blue = colours * 3 if len(colours) == 1 else colours
    bands = [red, green, blue, alpha]
    whole = Image.merge("RGBA", bands)
    if not premultiplied:
        return whole
    return Image.frombytes("RGBa", whole.size, whole.tobytes()).convert("RGBA")


def _merge_lab(planes: Sequence[Image.Image], *, signed: bool) -> Image.Image:
    """Pillow's LAB has a and b with an offset of 128, as ICC's has; in CIELab they are signed."""
    light, *chroma = planes
    if signed:
        chroma = [plane.point([value ^ 128 for value in range(256)]) for plane in chroma]
    return Image.merge("LAB", [light, *chroma])


def _apply_palette(indices: Image.Image, frame: Frame) -> Image.Image:
    """Look the indices up in the colour map: 16 bits a value, or 8 where none is larger, as libtiff reads it."""
    values = frame.numbers(320)
    count = len(values) // 3
    shift = 8 if max(values, default=0) > 255 else 0
    maps = [bytes(value >> shift & 255 for value in values[band * count : (band + 1) * count]) for band in range(3)]
    if frame.bits <= 8:
        tables = [plane[:256].ljust(256, b"\0") for plane in maps]
        return Image.merge("RGB", [indices.point(list(table)) for table in tables])
    numbers = array("i", indices.convert("I").tobytes())
    planes = (bytes(table[number] if number < count else 0 for number in numbers) for table in maps)
    return Image.merge("RGB", [Image.frombytes("L", indices.size, plane) for plane in planes])


# --- values to shades


def _scale(samples: Sequence[Image.Image], frame: Frame) -> list[Image.Image]:
    """Bring the samples, 8-bit ones or numbers of any range, to 8 bits each; colours share one range."""
    if all(sample.mode == "L" for sample in samples):
        return list(samples)
    if frame.format == 1 and frame.bits < 16:
        low, high = 0.0, float(2**frame.bits - 1)
    else:
        low, high = _find_range(samples[: frame.colours], frame)
    span = (high - low) or 1.0
    return [_to_shades(sample, 255 / span, -low * 255 / span) for sample in samples]


def _to_shades(sample: Image.Image, factor: float, offset: float) -> Image.Image:
    return sample.point(lambda value: value * factor + (offset + 0.5)).convert("L")


def _find_range(samples: Iterable[Image.Image], frame: Frame) -> tuple[float, float]:
    """Give what is black and what is white: the usual white that the values fill to more than half, else their range."""
    extrema = [sample.getextrema() for sample in samples]
    low = float(min(low for low, _ in extrema))  # type: ignore[arg-type]  # of one band
    high = float(max(high for _, high in extrema))  # type: ignore[arg-type]
    whites = (2.0**frame.bits - 1, *_WHITES) if frame.format == 1 else _WHITES
    white = next((white for white in sorted(whites) if high <= white * _ROUNDING), high)
    return (0.0, white) if low >= 0 and high > white / 2 else (low, high)


# --- rows to samples


def _read_samples(data: bytes, frame: Frame) -> list[Image.Image]:
    """Read every sample as a picture of its own: L for 8 bits and the upper half of 16, else F."""
    width, height = frame.size
    if frame.planar:
        planes = [_unpack(data, frame, plane) for plane in range(frame.samples)]
        return [_take_sample(rows, frame, 0, 1) for rows in planes]
    rows = _unpack(data, frame, None)
    if frame.bits % 8:
        packed = _read_bits(rows, width * frame.samples, height, frame.bits)
        return [_take_columns(packed, place, frame) for place in range(frame.samples)]
    return [_take_sample(rows, frame, place, frame.samples) for place in range(frame.samples)]


def _take_sample(rows: bytes, frame: Frame, place: int, samples: int) -> Image.Image:
    """Take one sample of whole bytes out of rows of this many samples a pixel."""
    size, depth = frame.size, frame.bits // 8
    if frame.bits % 8:
        return _as_indices(_read_bits(rows, *size, frame.bits), frame)
    parts = [rows[place * depth + byte :: samples * depth] for byte in range(depth)]
    if frame.is_big_endian:
        parts.reverse()  # least significant first
    if frame.format == 1 and frame.bits in {8, 16} and not (frame.photometric == _PALETTE and frame.bits == 16):
        return Image.frombytes("L", size, parts[-1])
    joined = bytearray(len(parts[0]) * (4 if depth == 3 else depth))
    step = len(joined) // len(parts[0])
    for byte, part in enumerate(parts):
        joined[byte::step] = part
    return _read_numbers(bytes(joined), size, frame.format, 8 * step)


def _read_numbers(values: bytes, size: tuple[int, int], kind: int, bits: int) -> Image.Image:
    """Read little-endian numbers as a picture in F; those that are not finite become the nearest end of the range."""
    if kind == 3:
        return _read_floats(values, size, bits)
    if bits == 8:
        flipped = Image.frombytes("L", size, values).point([value ^ 128 for value in range(256)])
        return flipped.convert("F").point(lambda value: value * 1 - 128)
    return Image.frombytes("F", size, values, "raw", f"F;{bits}S" if kind == 2 else f"F;{bits}")


def _read_floats(values: bytes, size: tuple[int, int], bits: int) -> Image.Image:
    if bits == 16:
        values = array("f", struct.unpack(f"<{len(values) // 2}e", values)).tobytes()
    picture = Image.frombytes("F", size, values, "raw", "F;64F" if bits == 64 else "F;32F")
    numbers = array("f", picture.tobytes())
    if math.isfinite(sum(numbers)):
        return picture
    finite = [number for number in numbers if math.isfinite(number)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    cleaned = array("f", (low if math.isnan(number) else min(max(number, low), high) for number in numbers))
    return Image.frombytes("F", size, cleaned.tobytes())


def _read_bits(rows: bytes, width: int, height: int, bits: int) -> Image.Image:
    """Read samples of any number of bits, the first in the highest bits, each row padded to whole bytes."""
    if bits <= _EXACT_BITS:
        return Image.frombytes("F", (width, height), rows, "bit", bits, 8, 0, 0, 1)
    stride, mask = (width * bits + 7) // 8, 2**bits - 1
    values = array("f")
    for row in range(0, height * stride, stride):
        for place in range(0, width, 8):  # 8 samples are whole bytes
            start = row + place * bits // 8
            group = int.from_bytes(rows[start : min(start + bits, row + stride)].ljust(bits, b"\0"))
            values.extend(group >> (7 - each) * bits & mask for each in range(min(8, width - place)))
    return Image.frombytes("F", (width, height), values.tobytes())


def _take_columns(packed: Image.Image, place: int, frame: Frame) -> Image.Image:
    """Take every n-th column, for a sample among n."""
    if frame.samples == 1:
        return _as_indices(packed, frame)
    shift = place + 0.5 - frame.samples / 2
    return packed.transform(
        frame.size, Image.Transform.AFFINE, (frame.samples, 0, shift, 0, 1, 0), Image.Resampling.NEAREST
    )


def _as_indices(picture: Image.Image, frame: Frame) -> Image.Image:
    return picture.convert("L") if frame.photometric == _PALETTE else picture


# --- strips and tiles to rows


def _unpack(data: bytes, frame: Frame, plane: int | None) -> bytes:
    """Unpack the rows of all samples, or of one plane: each row is whole bytes, without a tile's padding."""
    samples = 1 if frame.planar else frame.samples
    wanted = (frame.size.width * samples * frame.bits + 7) // 8
    tile = frame.number(322, 0)
    across = -(-frame.size.width // tile) if tile else 1
    part = (tile or frame.size.width) * samples * frame.bits
    stride = across * part // 8 if tile else (part + 7) // 8
    packed = _write_directory(data, frame, plane, stride, stride // across)
    with Image.open(BytesIO(packed), formats=("TIFF",)) as picture:
        picture.load()
    rows = picture.tobytes()
    if (predictor := frame.number(317, 1)) > 1 and frame.compression != 1:
        rows = _undo_predictor(rows, frame, predictor, samples, stride // across)
    if stride == wanted:
        return rows
    return b"".join(rows[start : start + wanted] for start in range(0, len(rows), stride))


def _write_directory(data: bytes, frame: Frame, plane: int | None, stride: int, part: int) -> bytes:
    """Append a directory that shows the frame's strips or tiles as 8-bit grey, and point the file at it."""
    offsets, counts = (
        (frame.numbers(324), frame.numbers(325))
        if 324 in frame.tags
        else (
            frame.numbers(273),
            frame.numbers(279),
        )
    )
    if plane is not None:
        share = len(offsets) // frame.samples
        offsets, counts = (each[plane * share : (plane + 1) * share] for each in (offsets, counts))
    tags: dict[int, tuple[int | bytes, ...]] = {
        256: (stride,),
        257: (frame.size.height,),
        258: (8,),
        259: (frame.compression,),
        262: (1,),
        277: (1,),
    }
    if 324 in frame.tags:
        tags |= {322: (part,), 323: (frame.number(323, 0),), 324: offsets, 325: counts}
    else:
        tags |= {273: offsets, 278: (min(frame.number(278, frame.size.height), frame.size.height),), 279: counts}
    if 266 in frame.tags:
        tags[266] = (frame.number(266, 1),)
    return _append_directory(data, {tag: values for tag, values in tags.items() if values})


def _copy_directory(data: bytes, frame: Frame) -> bytes:
    """Write a BigTIFF frame's directory as a classic one: Pillow reads no BigTIFF of big-endian order."""
    names = (256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 322, 323, 324, 325, 347, 530)
    return _append_directory(data, {tag: frame.numbers(tag) for tag in names if frame.numbers(tag)})


def _append_directory(data: bytes, tags: dict[int, tuple[int | bytes, ...]]) -> bytes:
    """Append a classic directory of whole numbers and bytes, also to a BigTIFF, and point the file at it."""
    order = ">" if data[:2] == b"MM" else "<"
    start = len(data) + len(data) % 2
    end = start + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, numbers in sorted(tags.items()):
        raw = b"".join(each for each in numbers if isinstance(each, bytes))
        packed = raw or struct.pack(f"{order}{len(numbers)}I", *numbers)
        kind, count = (7, len(raw)) if raw else (4, len(numbers))
        if len(packed) > 4:
            values, packed = values + packed, struct.pack(order + "I", end + len(values))
        entries += struct.pack(f"{order}HHI", tag, kind, count) + packed.ljust(4, b"\0")
    count_of_entries = struct.pack(order + "H", len(tags))
    whole = data + bytes(len(data) % 2) + count_of_entries + entries + bytes(4) + values
    mark = b"MM\0*" if order == ">" else b"II*\0"
    return mark + struct.pack(order + "I", start) + whole[8:]


def _point_at(data: bytes, offset: int) -> bytes:
    """Make a directory of a classic TIFF the file's first."""
    place = struct.pack((">" if data[:2] == b"MM" else "<") + "I", offset)
    return data if data[4:8] == place else data[:4] + place + data[8:]


def _undo_predictor(rows: bytes, frame: Frame, predictor: int, samples: int, part: int) -> bytes:
    """Add up the differences that were stored in place of samples, in each row of each strip or tile."""
    undo = _add_floats if predictor == 3 else _add_integers
    parts = (rows[start : start + part] for start in range(0, len(rows), part))
    return b"".join(undo(row, samples, frame) for row in parts)


def _add_integers(row: bytes, samples: int, frame: Frame) -> bytes:
    values = array({8: "B", 16: "H", 32: "I", 64: "Q"}[frame.bits], row)
    swap = frame.is_big_endian != (struct.pack("=H", 1) == b"\0\1")
    if swap:
        values.byteswap()
    most = 2**frame.bits - 1
    for place in range(samples):
        values[place::samples] = array(values.typecode, (value & most for value in accumulate(values[place::samples])))
    if swap:
        values.byteswap()
    return values.tobytes()


def _add_floats(row: bytes, samples: int, frame: Frame) -> bytes:
    """Floating-point differences are of bytes, the most significant byte of every sample first."""
    added = bytearray(row)
    for place in range(samples):
        added[place::samples] = bytes(value & 255 for value in accumulate(row[place::samples]))
    depth = frame.bits // 8
    count = len(row) // depth
    joined = bytearray(len(row))
    for byte in range(depth):
        place = byte if frame.is_big_endian else depth - 1 - byte
        joined[place::depth] = added[byte * count : (byte + 1) * count]
    return bytes(joined)
