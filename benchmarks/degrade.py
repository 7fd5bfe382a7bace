"""Make photographs worse as phones do, so that readings of them hold enough errors to measure a confidence by.

    .venv/bin/python benchmarks/degrade.py IMAGES INTO [--seed 7] [--strength 1.0] [--kind KIND]

Each picture gets a phone's angle, a fold, a shadow, blur and JPEG artefacts, of a strength of its own up to the one that is
given, drawn from the seed and the picture's name: the same pictures come out at every run. With `--kind` each picture gets
this one fault, at just this strength. Names and suffixes stay, so the truth still fits. PNG files have no JPEG artefacts.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
BEST_QUALITY = 80  # JPEG, of a picture without artefacts


def degrade(picture: Image.Image, draw: random.Random, strength: float) -> tuple[Image.Image, int]:
    """The picture with all faults, and the JPEG quality to save it with."""
    level = strength * draw.betavariate(1.2, 1.2)  # most pictures are between good and bad
    worse = picture.convert("RGB")
    for add_fault in FAULTS.values():
        worse = add_fault(worse, draw, level)
    return worse, find_quality(level * draw.uniform(0.6, 1.0))


def degrade_by(kind: str, picture: Image.Image, draw: random.Random, strength: float) -> tuple[Image.Image, int]:
    """The picture with one fault, and the JPEG quality to save it with."""
    worse = picture.convert("RGB")
    if kind == JPEG:
        return worse, find_quality(strength)
    return FAULTS[kind](worse, draw, strength), BEST_QUALITY


def find_quality(level: float) -> int:
    """The JPEG quality at a level from 0 to 1."""
    return max(8, round(BEST_QUALITY - 62 * level))


def tilt(picture: Image.Image, draw: random.Random, level: float) -> Image.Image:
    """The picture as photographed from the side: each corner moves inwards, on a dark table."""
    width, height = picture.size
    most = 0.09 * level

    def near(x: int, y: int) -> tuple[float, float]:
        inwards = draw.uniform(0, most) * width, draw.uniform(0, most) * height
        return x + (inwards[0] if x == 0 else -inwards[0]), y + (inwards[1] if y == 0 else -inwards[1])

    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    seen = [near(*corner) for corner in corners]
    return picture.transform(
        picture.size,
        Image.Transform.PERSPECTIVE,
        solve_perspective(seen, corners),
        Image.Resampling.BICUBIC,
        fillcolor=(70, 62, 55),
    )


def solve_perspective(seen: list[tuple[float, float]], corners: list[tuple[int, int]]) -> list[float]:
    """The coefficients by which Pillow finds the source of each pixel that is seen."""
    rows, values = [], []
    for (x, y), (u, v) in zip(seen, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return list(np.linalg.solve(np.array(rows, float), np.array(values, float)))


def fold(picture: Image.Image, draw: random.Random, level: float) -> Image.Image:
    """One or two creases across the paper: a dark and a bright line, beside which the lines of text are shifted."""
    pixels = np.asarray(picture).astype(np.float32)
    height = pixels.shape[0]
    for _ in range(draw.choice((1, 1, 2))):
        at = int(height * draw.uniform(0.15, 0.85))
        wide = max(2, int(height * 0.006 * (0.5 + level)))
        shift = round(6 * level * draw.uniform(-1, 1))
        pixels[at:] = np.roll(pixels[at:], shift, axis=1)
        distance = np.abs(np.arange(height) - at)[:, None, None] / wide
        pixels *= 1 - 0.75 * level * np.exp(-(distance**2))
        pixels += 35 * level * np.exp(-((distance - 1.6) ** 2))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def shade(picture: Image.Image, draw: random.Random, level: float) -> Image.Image:
    """A soft shadow over a part of the paper, and a loss of contrast in all of it."""
    pixels = np.asarray(picture).astype(np.float32)
    height, width = pixels.shape[:2]
    angle = draw.uniform(0, 2 * np.pi)
    across = np.cos(angle) * np.linspace(-1, 1, width)[None, :] + np.sin(angle) * np.linspace(-1, 1, height)[:, None]
    shadow = 1 / (1 + np.exp(-(across - draw.uniform(-0.5, 0.6)) * draw.uniform(4, 14)))
    pixels *= 1 - 0.7 * level * shadow[:, :, None]
    grey = draw.uniform(90, 150)
    pixels += (grey - pixels) * 0.45 * level
    noise = np.random.default_rng(draw.randrange(2**32)).normal(0, 14 * level, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def blur(picture: Image.Image, draw: random.Random, level: float) -> Image.Image:
    """Out of focus; and sometimes moved."""
    scale = max(picture.size) / 1000
    out_of_focus = picture.filter(ImageFilter.GaussianBlur(1.5 * level * scale * draw.uniform(0.5, 1.0)))
    moved = round(3 * level * scale * draw.uniform(0, 1))
    if moved < 1 or draw.random() < 0.5:
        return out_of_focus
    pixels, axis = np.asarray(out_of_focus).astype(np.float32), draw.choice((0, 1))
    total = np.zeros_like(pixels)
    for step in range(-moved, moved + 1):
        total += np.roll(pixels, step, axis=axis)
    return Image.fromarray((total / (2 * moved + 1)).astype(np.uint8))


FAULTS: dict[str, Callable[[Image.Image, random.Random, float], Image.Image]] = {
    "angle": tilt,
    "fold": fold,
    "shadow": shade,
    "blur": blur,
}
JPEG = "jpeg"
KINDS = (*FAULTS, JPEG)


def degrade_folder(images: Path, into: Path, *, seed: int = 7, strength: float = 1.0, kind: str | None = None) -> None:
    """Writes all pictures of a folder, made worse, into another folder."""
    into.mkdir(parents=True, exist_ok=True)
    for path in sorted(each for each in images.iterdir() if each.suffix.lower() in SUFFIXES):
        draw = random.Random(f"{seed} {path.name}")
        with Image.open(path) as picture:
            worse, quality = degrade_by(kind, picture, draw, strength) if kind else degrade(picture, draw, strength)
        options = {"quality": quality} if path.suffix.lower() != ".png" else {}
        worse.save(into / path.name, **options)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("images", type=Path)
    parser.add_argument("into", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--kind", choices=KINDS)
    options = parser.parse_args()
    degrade_folder(options.images, options.into, seed=options.seed, strength=options.strength, kind=options.kind)


if __name__ == "__main__":
    main()
