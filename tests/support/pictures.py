"""One small picture in many encodings: TIFF, PNG, WebP, HEIC and JPEG variants, each with its expected pixels."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from typing import NamedTuple

import numpy as np
import pillow_heif
import tifffile
from PIL import Image, ImageCms, ImageDraw

ZLIB, TILE = {"compression": "zlib"}, {"tile": (16, 32)}


class Variant(NamedTuple):
    """A file and its expected RGB, or None where libvips gives the expected pixels; `loss` is the allowed mean."""

    name: str
    data: bytes
    shown: np.ndarray | None = None
    loss: float = 2.0


def draw_card(size=(75, 53)):
    """Draw shades of all channels and hard edges, with sides that no tile or byte divides."""
    across = np.linspace(0, 255, size[0])[None, :].repeat(size[1], 0)
    down = np.linspace(0, 255, size[1])[:, None].repeat(size[0], 1)
    picture = Image.fromarray(np.stack([across, down, 255 - across], -1).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((5, 5, 20, 15), fill="white")
    draw.rectangle((30, 20, 44, 40), fill="black")
    draw.text((8, 25), "ink 47", fill=(200, 0, 0))
    return picture


CARD = draw_card()
RGB = np.asarray(CARD)
GREY = np.asarray(CARD.convert("L"))


def grey_of(values):
    """Repeat one channel three times."""
    return np.repeat(np.asarray(values)[..., None], 3, -1)


def write_tiff(values, **options):
    """Write a TIFF with tifffile."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def save(picture, form, **options):
    """Write a picture with Pillow."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def list_tiffs():
    """List the TIFF variants of all kinds."""
    return itertools.chain(
        list_integers(), list_bits(), list_measured(), list_palettes(), list_extras(), list_inks(), list_codecs()
    )


def list_integers():
    """8- and 16-bit grey and RGB: all senses, byte orders, tiles, planes, compressions and predictors.

    libvips gives the expected pixels.
    """
    storage = [
        {},
        TILE,
        ZLIB,
        ZLIB | TILE,
        {"compression": "lzw"},
        {"compression": "packbits"},
        {"compression": "lzma"},
    ]
    storage += [ZLIB | {"predictor": 2}, ZLIB | TILE | {"predictor": 2}, {"compression": "zstd"}, {"rowsperstrip": 7}]
    storage += [{"bigtiff": True}, {"bigtiff": True} | TILE | ZLIB]
    for bits, order, (number, options) in itertools.product((8, 16), "<>", enumerate(storage)):
        kind, factor = (np.uint8, 1) if bits == 8 else (np.uint16, 257)
        given = {"byteorder": order, **options}
        unknown = options.get("compression") in {"lzma", "zstd"}  # to the binary of libvips
        for sense in ("minisblack", "miniswhite"):
            data = write_tiff(GREY.astype(kind) * factor, photometric=sense, **given)
            shown = GREY if sense == "minisblack" else 255 - GREY
            yield Variant(f"grey-{bits}-{order}-{sense}-{number}", data, grey_of(shown) if unknown else None)
        colours = RGB.astype(kind) * factor
        data = write_tiff(colours, photometric="rgb", **given)
        yield Variant(f"rgb-{bits}-{order}-{number}", data, RGB if unknown else None)
        planes = np.ascontiguousarray(np.moveaxis(colours, -1, 0))
        data = write_tiff(planes, photometric="rgb", planarconfig="separate", **given)
        unknown = unknown or "tile" in options or "rowsperstrip" in options
        yield Variant(f"rgb-{bits}-{order}-planar-{number}", data, RGB if unknown else None)


def list_bits():
    """All other depths from 1 to 32 bits: grey in both senses, and RGB."""
    for bits in [*range(1, 8), *range(9, 16), 20, 24, 31, 32]:
        most = 2**bits - 1
        kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
        packs = bits not in {24, 32}
        for order in "<>" if bits in {24, 32} else "<":
            for name, source in (("grey", GREY), ("rgb", RGB)):
                values = np.round(source / 255 * most).astype(kind)
                shown = np.round(values / most * 255)
                options = {"byteorder": order, "photometric": "rgb" if name == "rgb" else "minisblack"}
                if bits == 24:
                    data = write_24(values, order)
                else:
                    data = write_tiff(values, **options, **({"bitspersample": bits} if packs else {}))
                yield Variant(f"{name}-{bits}-{order}", data, shown if name == "rgb" else grey_of(shown))
        if bits == 24:
            continue
        values = np.round((255 - GREY) / 255 * most).astype(kind)
        extra = {"bitspersample": bits} if packs else {}
        data = write_tiff(values, photometric="miniswhite", **extra)
        yield Variant(f"grey-{bits}-miniswhite", data, grey_of(255 - np.round(values / most * 255)))


def write_24(values, order):
    """Write uncompressed samples of 24 bits, which tifffile cannot."""
    wide = values.astype(order + "u4").tobytes()
    parts = np.frombuffer(wide, np.uint8).reshape(-1, 4)
    packed = (parts[:, :3] if order == "<" else parts[:, 1:]).tobytes()
    samples = values.shape[2] if values.ndim == 3 else 1
    return write_plain(packed, order, bits=(24,) * samples, photometric=2 if samples == 3 else 1)


def write_plain(packed, order="<", *, bits, photometric, size=CARD.size, more=()):
    """Write an uncompressed TIFF of one strip from its tags."""
    width, height = size
    depth = struct.pack(order + "HH", *bits, 0)[:4] if len(bits) == 1 else None
    tags = [
        (256, 4, width),
        (257, 4, height),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, "data"),
        (277, 3, len(bits)),
    ]
    tags += [(278, 4, height), (279, 4, len(packed)), (258, 3, bits), *more]
    tags.sort()
    start = 8 + 2 + 12 * len(tags) + 4
    body, entries = b"", b""
    for tag, kind, value in tags:
        numbers = value if isinstance(value, tuple) else (value,)
        if value == "data":
            numbers = (0,)
        coded = struct.pack(order + ("H" if kind == 3 else "I") * len(numbers), *numbers)
        if len(coded) > 4:
            coded, body = struct.pack(order + "I", start + len(body)), body + coded
        entries += struct.pack(order + "HHI", tag, kind, len(numbers)) + coded.ljust(4, b"\0")
    offset = start + len(body)
    marked = struct.pack(order + "HHI", 273, 4, 1)
    entries = entries.replace(marked + bytes(4), marked + struct.pack(order + "I", offset))
    assert depth is None or len(depth) == 4
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + struct.pack(order + "H", len(tags)) + entries + bytes(4) + body + packed


def list_measured():
    """Floating-point and signed samples, with values that are not finite."""
    shades = GREY.astype(np.float64)
    for kind, order in itertools.product((np.float16, np.float32, np.float64), "<>"):
        for name, values in (("255", shades), ("1", shades / 255), ("range", shades * 3 - 100)):
            data = write_tiff(values.astype(kind), byteorder=order, photometric="minisblack")
            yield Variant(f"{np.dtype(kind).name}-{order}-{name}", data, grey_of(GREY))
        odd = shades.copy()
        odd[0, :3] = np.nan, np.inf, -np.inf
        for first in (0, 1):
            given = {"photometric": "minisblack", "byteorder": order, **(ZLIB if first else {})}
            data = write_tiff(np.roll(odd, first).astype(kind), **given)
            yield Variant(f"{np.dtype(kind).name}-{order}-odd-{first}", data, grey_of(np.roll(GREY, first)))
        data = write_tiff((RGB / 255).astype(kind), byteorder=order, photometric="rgb")
        yield Variant(f"rgb-{np.dtype(kind).name}-{order}", data, RGB)
        if kind is not np.float16:
            data = write_tiff(shades.astype(kind), predictor=3, byteorder=order, photometric="minisblack", **ZLIB)
            yield Variant(f"{np.dtype(kind).name}-{order}-predictor", data, grey_of(GREY))
        data = write_tiff(255 - shades.astype(kind), byteorder=order, photometric="miniswhite")
        yield Variant(f"{np.dtype(kind).name}-{order}-miniswhite", data, grey_of(GREY))
    for bits, order in itertools.product((8, 16, 32), "<>"):
        values = ((GREY.astype(np.int64) - 128) << (bits - 8)).astype(f"i{bits // 8}")
        data = write_tiff(values, byteorder=order, photometric="minisblack")
        yield Variant(f"int{bits}-{order}", data, grey_of(GREY))
        data = write_tiff(values, byteorder=order, photometric="minisblack", predictor=2, **ZLIB)
        yield Variant(f"int{bits}-{order}-predictor", data, grey_of(GREY))


def list_palettes():
    """Palettes of 16-bit and of 8-bit values, with indices of 4, 8 and 16 bits."""
    few = CARD.quantize(16)
    table = np.array((few.getpalette() + [0] * 768)[:768]).reshape(-1, 3)[:256]
    indices = np.asarray(few)
    shown = table[indices]
    for (name, factor), order, options in itertools.product((("16", 257), ("8", 1)), "<>", ({}, ZLIB, TILE)):
        colormap = (table.T * factor).astype(np.uint16)
        given = {"photometric": "palette", "colormap": colormap, "byteorder": order, **options}
        yield Variant(f"palette-8-of-{name}-{order}-{len(options)}", write_tiff(indices, **given), shown)
    packed = np.asarray(few.quantize(16))
    rows = np.pad(packed, ((0, 0), (0, packed.shape[1] % 2)))
    nibbles = ((rows[:, ::2] << 4) | rows[:, 1::2]).tobytes()
    colormap = tuple(int(value) * 257 for value in table[:16].T.ravel())
    data = write_plain(nibbles, bits=(4,), photometric=3, more=[(320, 3, colormap)])
    yield Variant("palette-4", data, table[packed])
    deep = np.zeros((3, 65536), np.uint16)
    deep[:, :256] = table.T * 257
    data = write_tiff(indices.astype(np.uint16), photometric="palette", colormap=deep)
    yield Variant("palette-16", data, shown)


def list_extras():
    """Grey and RGB with additional samples."""
    alpha = np.linspace(0, 255, GREY.size).reshape(GREY.shape).astype(np.uint8)
    for bits, kind in itertools.product((8, 16), ("unassalpha", "unspecified")):
        given = {"extrasamples": [kind]}
        factor = np.uint16(257) if bits == 16 else np.uint8(1)
        data = write_tiff(np.dstack([RGB, alpha]) * factor, photometric="rgb", **given)
        yield Variant(f"rgb-{bits}-{kind}", data)
        planes = np.ascontiguousarray(np.moveaxis(np.dstack([RGB, alpha]) * factor, -1, 0))
        data = write_tiff(planes, photometric="rgb", planarconfig="separate", **given, **ZLIB)
        yield Variant(f"rgb-{bits}-{kind}-planar", data)
        data = write_tiff(np.dstack([GREY, alpha]) * factor, photometric="minisblack", planarconfig="contig", **given)
        yield Variant(f"grey-{bits}-{kind}", data)
    part = (np.dstack([RGB.astype(np.uint16) * alpha[..., None] // 255, alpha])).astype(np.uint8)
    yield Variant("rgb-8-assocalpha", write_tiff(part, photometric="rgb", extrasamples=["assocalpha"]))


def list_inks():
    """CMYK of the inks of Pillow, and Lab."""
    inks = np.asarray(CARD.convert("CMYK"))
    shown = np.asarray(CARD.convert("CMYK").convert("RGB"))
    for bits, planar, order in itertools.product((8, 16), (False, True), "<>"):
        values = inks.astype(np.uint16) * 257 if bits == 16 else inks
        given = {"photometric": "separated", "byteorder": order, **ZLIB}
        if planar:
            values, given = np.ascontiguousarray(np.moveaxis(values, -1, 0)), given | {"planarconfig": "separate"}
        yield Variant(f"cmyk-{bits}-{'planar' if planar else 'chunky'}-{order}", write_tiff(values, **given), shown)
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(CARD, to_lab)
    signed = np.frombuffer(lab.tobytes(), np.uint8).reshape(RGB.shape)
    offset = signed ^ np.array([0, 128, 128], np.uint8)
    yield Variant("icclab-8", write_tiff(offset, photometric="icclab"), RGB, 3)
    yield Variant("cielab-8", write_tiff(signed, photometric="cielab"), RGB, 3)
    yield Variant("cielab-16", write_tiff(signed.astype(np.uint16) << 8, photometric="cielab"), RGB, 3)


def list_codecs():
    """Encodings that Pillow's libtiff decodes: fax, JPEG, WebP, YCbCr."""
    two = CARD.convert("1")
    for codec in ("raw", "group3", "group4", "tiff_ccitt", "packbits", "tiff_lzw", "tiff_adobe_deflate"):
        yield Variant(f"two-{codec}", save(two, "TIFF", compression=codec))
    for codec in ("jpeg", "raw", "tiff_lzw"):
        yield Variant(f"ycbcr-{codec}", save(CARD.convert("YCbCr"), "TIFF", compression=codec), RGB, 4)
    yield Variant("jpeg-rgb", write_tiff(RGB, photometric="rgb", compression="jpeg"))
    yield Variant("jpeg-ycbcr", write_tiff(RGB, photometric="ycbcr", compression="jpeg"))
    yield Variant("jpeg-ycbcr-tiles", write_tiff(RGB, photometric="ycbcr", compression="jpeg", tile=(64, 64)))
    yield Variant("jpeg-grey", write_tiff(GREY, photometric="minisblack", compression="jpeg"))
    for orientation in range(1, 9):
        tag = [(274, "H", 1, orientation, True)]
        yield Variant(f"turned-{orientation}", write_tiff(RGB, photometric="rgb", extratags=tag))
        deep = RGB.astype(np.uint16) * 257
        yield Variant(f"turned-{orientation}-16", write_tiff(deep, photometric="rgb", extratags=tag))


def list_others():
    """PNG, WebP, JPEG and HEIC variants; libvips gives the expected pixels except for HEIC."""
    return itertools.chain(list_pngs(), list_lossy(), list_heifs())


def list_pngs():
    """All colour types and depths of PNG."""
    for bits, kind, samples in [(1, 0, 1), (2, 0, 1), (4, 0, 1), (8, 0, 1), (16, 0, 1), (8, 2, 3), (16, 2, 3)]:
        yield Variant(f"png-{bits}-{kind}", write_png(bits, kind, RGB if samples == 3 else GREY))
    alpha = np.linspace(0, 255, GREY.size).reshape(GREY.shape).astype(np.uint8)
    for bits in (8, 16):
        yield Variant(f"png-{bits}-4", write_png(bits, 4, np.dstack([GREY, alpha])))
        yield Variant(f"png-{bits}-6", write_png(bits, 6, np.dstack([RGB, alpha])))
    key = struct.pack(">H", int(GREY[0, 0]) * 257)
    yield Variant("png-16-0-key", write_png(16, 0, GREY, (b"tRNS", key)))
    for colours in (2, 4, 16, 256):
        yield Variant(f"png-palette-{colours}", save(CARD.quantize(colours), "PNG"))
        yield Variant(f"png-palette-{colours}-clear", save(CARD.quantize(colours), "PNG", transparency=1))


def write_png(bits, kind, values, *extra):
    """Write a PNG of any depth and colour type."""
    height, width = values.shape[:2]
    values = values.reshape(height, -1)
    if bits == 16:
        rows = [(values[row].astype(">u2") * 257).astype(">u2").tobytes() for row in range(height)]
    elif bits == 8:
        rows = [values[row].tobytes() for row in range(height)]
    else:
        small = values >> (8 - bits)
        unpacked = [np.unpackbits(small[row][:, None], axis=1)[:, 8 - bits :].ravel() for row in range(height)]
        rows = [np.packbits(bits_of_row).tobytes() for bits_of_row in unpacked]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)), *extra]
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(write_chunk, chunks))


def write_chunk(chunk):
    """Write one chunk of a PNG."""
    name, body = chunk
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def list_lossy():
    """WebP and JPEG."""
    clear = CARD.copy()
    clear.putalpha(Image.linear_gradient("L").resize(CARD.size))
    for options in ({"lossless": True}, {"quality": 90}, {"quality": 40}):
        yield Variant(f"webp-{len(options)}-{options.get('quality')}", save(CARD, "WEBP", **options))
        yield Variant(f"webp-clear-{options.get('quality')}", save(clear, "WEBP", **options))
    for progressive, subsampling in itertools.product((False, True), (0, 1, 2)):
        given = {"progressive": progressive, "subsampling": subsampling, "quality": 95}
        yield Variant(f"jpeg-{progressive}-{subsampling}", save(CARD, "JPEG", **given))
    yield Variant("jpeg-grey", save(CARD.convert("L"), "JPEG"))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        yield Variant(f"jpeg-turned-{orientation}", save(CARD, "JPEG", exif=exif, quality=95))


def list_heifs():
    """HEIC in 8 bits, grey and with alpha."""
    pillow_heif.register_heif_opener()
    yield Variant("heic", save(CARD, "HEIF", quality=95), RGB, 6)
    yield Variant("heic-lossless", save(CARD, "HEIF", quality=-1, chroma=444), RGB, 4)
    yield Variant("heic-grey", save(CARD.convert("L"), "HEIF", quality=95), grey_of(GREY), 4)
