"""What a camera or a scanner does to a sheet: turning, perspective, shadow, blur and noise. All of it seeded."""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image, ImageFilter

Random = np.random.Generator
Point = tuple[float, float]


def seeded(name: str) -> Random:
    """Give the random numbers that belong to a file's name: one picture's never depend on another's."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def skew(sheet: Image.Image, degrees: float, ground: tuple[int, int, int]) -> Image.Image:
    """Turn the sheet a little, as a hand puts it on the glass."""
    return sheet.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=ground)


def shade(picture: Image.Image, random: Random, depth: float) -> Image.Image:
    """Darken in soft patches: the far end, a shadow, a fold."""
    patches = random.uniform(1 - depth, 1, (4, 3)).astype(np.float32)
    field = Image.fromarray(patches).resize(picture.size, Image.Resampling.BICUBIC)
    return _apply(picture, np.asarray(field), 0)


def noise(picture: Image.Image, random: Random, sigma: float, grain: int = 1) -> Image.Image:
    """Add the sensor's noise; `grain` is the size of its specks, which a phone smooths before it saves."""
    shape = (-(-picture.height // grain), -(-picture.width // grain))
    specks = Image.fromarray(random.standard_normal(shape, np.float32) * np.float32(sigma))
    return _apply(picture, 1, np.asarray(specks.resize(picture.size, Image.Resampling.BICUBIC)))


def blur(picture: Image.Image, radius: float) -> Image.Image:
    """Miss the focus by a little."""
    return picture.filter(ImageFilter.GaussianBlur(radius))


def fade(picture: Image.Image, share: float) -> Image.Image:
    """Bleach the ink, as thermal paper does in a wallet."""
    return Image.blend(picture, Image.new(picture.mode, picture.size, (244, 240, 232)), share)


def table(size: tuple[int, int], random: Random, colour: tuple[int, int, int]) -> Image.Image:
    """Give a wooden table: long streaks and a slow change of light."""
    width, height = size
    streaks = Image.fromarray(random.standard_normal((max(2, height // 9), 5)).astype(np.float32))
    grain = np.asarray(streaks.resize(size, Image.Resampling.BICUBIC)) * 9
    light = Image.fromarray(random.uniform(0.8, 1.1, (3, 3)).astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return _apply(Image.new("RGB", (width, height), colour), np.asarray(light), grain)


def lay(sheet: Image.Image, ground: Image.Image, corners: tuple[Point, Point, Point, Point]) -> Image.Image:
    """Lay the sheet on the ground, its corners (clockwise from the upper left) at these shares of the ground's size."""
    places = [(x * ground.width, y * ground.height) for x, y in corners]
    width, height = sheet.size
    coefficients = _perspective(places, [(0, 0), (width, 0), (width, height), (0, height)])
    bent = sheet.transform(ground.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
    mask = Image.new("L", sheet.size, 255).transform(
        ground.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC
    )
    shadow = mask.filter(ImageFilter.GaussianBlur(ground.width / 90)).point(lambda level: level * 0.45)
    below = Image.composite(Image.new("RGB", ground.size, (20, 14, 10)), ground, shadow)
    return Image.composite(bent, below, mask)


def _perspective(to: list[Point], since: list[tuple[int, int]]) -> list[float]:
    """Solve for the eight numbers with which Pillow looks up each new pixel in the old picture."""
    rows, values = [], []
    for (x, y), (u, v) in zip(to, since, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return [float(number) for number in np.linalg.solve(np.array(rows), np.array(values))]


def _apply(picture: Image.Image, factor: np.ndarray | float, summand: np.ndarray | float) -> Image.Image:
    """Multiply and add, the same in every channel."""
    pixels = np.asarray(picture, np.float32)
    if pixels.ndim == 3:
        factor, summand = (part[..., None] if isinstance(part, np.ndarray) else part for part in (factor, summand))
    return Image.fromarray(np.clip(pixels * factor + summand, 0, 255).astype(np.uint8))
