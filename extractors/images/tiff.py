"""Reads TIFF frames: their tags, which of them are pages, and what of their layout can be decoded.

Frames are reached by their own directories, not by Pillow's `seek`: Pillow cannot open a file whose first frame has a
layout that it does not know, and counts thumbnails and masks as pages. `tiff_pixels.py` decodes a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import TiffImagePlugin

from extractors.core.errors import DocumentError
from extractors.core.tiles import Size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# libtiff reads uncompressed strips, tiles and planes of every order; Pillow's own reader of them does not.
TiffImagePlugin.READ_LIBTIFF = True

MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BIG_MM = MARKS[3]
_MOST_FRAMES = 100_000
_MOST_SAMPLES = 16
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2  # bits of NewSubfileType, and SubfileType's value
_RGB, _PALETTE, _INKS, _YCBCR, _CIELAB, _ICCLAB = 2, 3, 5, 6, 8, 9  # photometric interpretations; 0 and 1 are grey
_FAX = frozenset({2, 3, 4, 32771, 32809})
_PHOTO = frozenset({6, 7})  # JPEG of both kinds; the libtiff of Pillow reads no WebP
_LOSSLESS = frozenset({1, 5, 8, 32773, 32946, 34925, 50000})
_COLOURS = {0: 1, 1: 1, _RGB: 3, _PALETTE: 1, _INKS: 4, _YCBCR: 3, _CIELAB: 3, _ICCLAB: 3}
_UINT, _INT, _FLOAT, _VOID = 1, 2, 3, 4


@dataclass(frozen=True)
class Frame:
    """One frame: its tags and where its directory stands in the file."""

    tags: Mapping[int, Any]  # Any: a tag's value may be a number, a text or a tuple
    offset: int
    is_big_endian: bool = False

    def number(self, tag: int, default: int) -> int:
        """Give a tag's first value as a whole number."""
        value = self.tags.get(tag, default)
        value = value[0] if isinstance(value, tuple) and value else value
        return int(value) if isinstance(value, int | float) else default

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Give all values of a tag."""
        value = self.tags.get(tag, ())
        return value if isinstance(value, tuple) else (value,)

    @cached_property
    def size(self) -> Size:
        """The stored width and height."""
        return Size(self.number(256, 0), self.number(257, 0))

    @cached_property
    def orientation(self) -> int:
        """As in EXIF, 1 to 8."""
        value = self.number(274, 1)
        return value if value in range(1, 9) else 1

    @cached_property
    def density(self) -> tuple[float, float]:
        """Dots in a unit of width and of height; (1, 1) where they are not given."""
        x, y = (self.tags.get(tag, 1) for tag in (282, 283))
        try:
            return float(x), float(y)
        except (TypeError, ValueError, ZeroDivisionError):
            return 1.0, 1.0

    @cached_property
    def samples(self) -> int:
        """Samples a pixel."""
        return self.number(277, 1)

    @cached_property
    def bits(self) -> int:
        """Bits a sample; 0 where the samples differ."""
        depths = set(self.numbers(258) or (1,))
        return int(depths.pop()) if len(depths) == 1 else 0

    @cached_property
    def format(self) -> int:
        """1 unsigned, 2 signed, 3 floating; 0 where the samples differ."""
        listed = self.numbers(339) or (_UINT,)
        if self.photometric == _CIELAB and listed[:3] == (_UINT, _INT, _INT):
            return _UINT  # as CIELab is without this tag, too
        formats = set(listed)
        kind = formats.pop() if len(formats) == 1 else 0
        return _UINT if kind == _VOID else int(kind)

    @cached_property
    def photometric(self) -> int:
        """What the samples mean; where that is missing, what libtiff takes."""
        guess = 0 if self.compression in _FAX else _RGB if self.samples >= 3 else 1
        return _YCBCR if self.compression == 6 else self.number(262, guess)

    @cached_property
    def compression(self) -> int:
        """The TIFF number of its compression."""
        return self.number(259, 1)

    @cached_property
    def planar(self) -> bool:
        """Whether each sample has a plane of its own."""
        return self.number(284, 1) == 2 and self.samples > 1

    @cached_property
    def colours(self) -> int:
        """How many samples are colours; those behind them are extra."""
        return _COLOURS.get(self.photometric, 0)

    @cached_property
    def reduced(self) -> bool:
        """Whether this is a thumbnail, a pyramid's level or a mask of another frame, and no page."""
        kind = self.number(254, 0)
        return bool(kind & (_REDUCED | _MASK)) or (254 not in self.tags and self.number(255, 0) == _OLD_REDUCED)

    @cached_property
    def by_pillow(self) -> bool:
        """Whether Pillow and libtiff decode this layout right; the others are decoded sample by sample."""
        if self.compression in _FAX | _PHOTO or self.photometric == _YCBCR:
            return True
        if self.format != _UINT or self.samples != self.colours or 262 not in self.tags:
            return False  # Pillow takes white for 0 where libtiff takes black
        return (self.bits == 8 and self.photometric in {0, 1, _RGB}) or (self.bits == 1 and self.photometric in {0, 1})

    def explain_unsupported(self) -> str | None:
        """Describe why this frame cannot be decoded right; None where it can."""
        if self.compression not in _FAX | _PHOTO | _LOSSLESS:
            return f"compression {self.compression}"
        if self.photometric not in _COLOURS:
            return f"photometric interpretation {self.photometric}"
        known = 1 <= self.colours <= self.samples <= _MOST_SAMPLES
        if not known and (self.photometric, self.samples) != (_YCBCR, 1):
            return f"{self.samples} samples a pixel of photometric interpretation {self.photometric}"
        if self.photometric == _INKS and self.number(332, 1) != 1:
            return "inks that are not CMYK"
        return self._explain_depth()

    def _explain_depth(self) -> str | None:
        depth = f"{self.bits or 'mixed'} bits of sample format {self.format or 'mixed'}"
        if self.photometric == _YCBCR or self.compression in _PHOTO:
            return None if (self.bits, self.format) == (8, _UINT) else depth
        if self.compression in _FAX:
            return None if self.bits == 1 else depth
        allowed = {_UINT: range(1, 33), _INT: (8, 16, 32), _FLOAT: (16, 32, 64)}.get(self.format, ())
        if self.photometric in {_PALETTE, _INKS, _CIELAB, _ICCLAB}:
            allowed = (1, 2, 4, 8, 16) if self.photometric == _PALETTE else (8, 16)
            allowed = allowed if self.format == _UINT else ()
        predictor = self.number(317, 1)
        if predictor not in {1, 2, 3} or (predictor > 1 and self.bits not in {8, 16, 32, 64}):
            return f"predictor {predictor} with {depth}"
        return None if self.bits in allowed else depth


def is_tiff(head: bytes) -> bool:
    """Tell whether a file that begins with these bytes is a TIFF."""
    return head.startswith(MARKS)


def read_frames(stream: BinaryIO, stage: str) -> list[Frame]:
    """Read the frames that are pages: neither thumbnails nor pyramid levels nor masks.

    A file of nothing else is its first frame, or what its sub-directories hold in full size. What Pillow raises for
    broken directories passes.
    """
    chain = list(_walk(stream))
    full = [frame for frame in chain if not frame.reduced]
    if not full:
        children = [_read_directory(stream, offset)[0] for frame in chain for offset in frame.numbers(330)]
        full = [frame for frame in children if not frame.reduced] or chain[:1]
    if not full:
        raise DocumentError("the TIFF has no frame", kind="unreadable", stage=stage)
    return full


def check_supported(frame: Frame, stage: str) -> None:
    """Raise DocumentError `unsupported` for a frame whose pixels would not be decoded right."""
    if frame.size.width < 1 or frame.size.height < 1:
        raise DocumentError("the TIFF frame has no size", kind="unreadable", stage=stage)
    if reason := frame.explain_unsupported():
        message = f"a TIFF with {reason}, which cannot be decoded: convert it to PNG or JPEG"
        raise DocumentError(message, kind="unsupported", stage=stage)


def _walk(stream: BinaryIO) -> Iterator[Frame]:
    """Read the directories of the main chain."""
    offset, seen = _start_directory(stream).next, set[int]()
    while offset and offset not in seen and len(seen) < _MOST_FRAMES:
        seen.add(offset)
        frame, offset = _read_directory(stream, offset)
        yield frame


def _read_directory(stream: BinaryIO, offset: int) -> tuple[Frame, int]:
    """Read one directory, and where the next one stands (0 for none)."""
    directory = _start_directory(stream)
    stream.seek(offset)
    directory.load(stream)
    return Frame({tag: directory[tag] for tag in directory}, offset, directory.prefix == b"MM"), directory.next or 0


def _start_directory(stream: BinaryIO) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Make an empty directory that knows the file's byte order and its first offset."""
    stream.seek(0)
    head = stream.read(16)
    if head[:4] != _BIG_MM:
        return TiffImagePlugin.ImageFileDirectory_v2(head if b"+" in head[:4] else head[:8])
    directory = TiffImagePlugin.ImageFileDirectory_v2(head[:8])
    directory._bigtiff, directory.next = True, int.from_bytes(head[8:])  # noqa: SLF001 - Pillow sees it only in II
    return directory
