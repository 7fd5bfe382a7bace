"""Each receipt: its shop, its paper, what happened to it on the way, and the file that it became."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import camera
import numpy as np
import shops
from camera import Random
from paper import Style, sheet
from PIL import Image, ImageDraw
from till import receipt

if TYPE_CHECKING:
    from pathlib import Path

    from sale import Sale

Making = Callable[[Image.Image, Random], Image.Image]
Saving = dict[str, Any]  # Any: each of Pillow's encoders has options of its own

MONO = 0.58  # the pitch of a till's letters
DESK, SLATE, OAK = (96, 66, 46), (70, 74, 80), (148, 116, 84)


def _flat(sheet: Image.Image, random: Random) -> Image.Image:
    """As a flatbed sees it: straight, a little soft, a little noisy."""
    return camera.noise(camera.blur(sheet, 0.5), random, 4)


def _grey(sheet: Image.Image, random: Random) -> Image.Image:
    return _flat(sheet.convert("L"), random)


def _turned(degrees: float) -> Making:
    def make(sheet: Image.Image, random: Random) -> Image.Image:
        turned = camera.skew(sheet, degrees, (226, 224, 220))
        return camera.noise(camera.shade(camera.blur(turned, 0.7), random, 0.14), random, 5)

    return make


def _faded(sheet: Image.Image, random: Random) -> Image.Image:
    return camera.noise(camera.blur(camera.fade(sheet, 0.38), 0.8), random, 4)


def _a4(sheet: Image.Image, random: Random) -> Image.Image:
    turned = sheet.convert("L").rotate(0.6, Image.Resampling.BICUBIC, fillcolor=246)
    return camera.shade(camera.blur(turned, 0.9), random, 0.05)


def _phone(sheet: Image.Image, random: Random) -> Image.Image:
    """An upright photo that the phone stores lying on its side, as its sensor lies."""
    ground = camera.table((3024, 4032), random, DESK)
    photo = camera.lay(
        camera.shade(sheet, random, 0.1), ground, ((0.13, 0.05), (0.9, 0.03), (0.93, 0.96), (0.08, 0.97))
    )
    photo = camera.noise(camera.shade(camera.blur(photo, 1.6), random, 0.2), random, 2.2, grain=2)
    return photo.transpose(Image.Transpose.ROTATE_90)


def _thumbnail(sheet: Image.Image, random: Random) -> Image.Image:
    return camera.noise(sheet.resize((463, 894), Image.Resampling.LANCZOS), random, 3)


def _torn(sheet: Image.Image, random: Random) -> Image.Image:
    """Cut out, with a torn lower edge, on nothing."""
    width, height = sheet.size
    teeth = [(x, height - 4 - int(random.integers(0, 16))) for x in range(width, -1, -9)]
    mask = Image.new("L", sheet.size)
    ImageDraw.Draw(mask).polygon([(0, 0), (width, 0), *teeth, (0, height - 8)], fill=255)
    cut = sheet.convert("RGBA")
    cut.putalpha(mask)
    return cut.rotate(-1.5, Image.Resampling.BICUBIC, expand=True, fillcolor=(0, 0, 0, 0))


def _palette(sheet: Image.Image, random: Random) -> Image.Image:
    return camera.shade(sheet, random, 0.04).quantize(16, dither=Image.Dither.NONE)


def _bilevel(sheet: Image.Image, random: Random) -> Image.Image:
    rough = camera.noise(camera.blur(sheet.convert("L"), 0.6), random, 14)
    return rough.point(lambda level: 255 * (level > 165)).convert("1", dither=Image.Dither.NONE)


def _cmyk(sheet: Image.Image, random: Random) -> Image.Image:
    return _flat(sheet, random).convert("CMYK")


def _deep(sheet: Image.Image, random: Random) -> Image.Image:
    grey = np.asarray(camera.shade(sheet.convert("L"), random, 0.06), np.uint16)
    return Image.fromarray(grey * 257)


def _snapshot(sheet: Image.Image, random: Random) -> Image.Image:
    ground = camera.table((1080, 1600), random, OAK)
    photo = camera.lay(sheet, ground, ((0.14, 0.06), (0.86, 0.04), (0.9, 0.95), (0.1, 0.96)))
    return camera.noise(camera.shade(camera.blur(photo, 0.8), random, 0.2), random, 5, grain=2)


def _on_slate(sheet: Image.Image, random: Random) -> Image.Image:
    ground = camera.table((900, 1200), random, SLATE)
    photo = camera.lay(sheet, ground, ((0.12, 0.03), (0.9, 0.05), (0.88, 0.97), (0.1, 0.95)))
    return camera.noise(camera.shade(camera.blur(photo, 0.7), random, 0.15), random, 5)


@dataclass(frozen=True, slots=True)
class Shot:
    """One receipt on its way from the till to the file."""

    sale: Sale
    style: Style
    make: Making = _flat
    save: Saving = field(default_factory=lambda: {"quality": 80})
    height: int | None = None
    bars: bool = False


SHOTS = {
    "till-short-01.jpg": Shot(shops.KOPITIAM, Style(540, 23, pitch=MONO), bars=True),
    "till-short-02.jpg": Shot(shops.DINER, Style(560, 27, margin=36, paper=(255, 252, 240)), _turned(2.0)),
    "till-short-03.jpg": Shot(shops.MARKT, Style(520, 23, pitch=MONO, ink=50, paper=(246, 246, 248)), _turned(-1.2)),
    "till-short-04.jpg": Shot(shops.CAFE, Style(560, 26, ink=55), _on_slate),
    "till-skewed.jpg": Shot(shops.BAKERY, Style(640, 24, pitch=MONO, tall=1.2), _turned(2.8), {"quality": 72}),
    "till-faded.jpg": Shot(shops.PHARMACY, Style(540, 24, heavy=True), _faded),
    "till-fuel.jpg": Shot(shops.FUEL, Style(500, 24, pitch=MONO, ink=60), _grey, bars=True),
    "long-grocery.jpg": Shot(
        shops.GROCERY, Style(600, 22, pitch=MONO, spacing=1.36, heavy=True), _grey, {"quality": 70}, 2200
    ),
    "a4-scan.jpg": Shot(
        shops.HARDWARE, Style(2480, 70, margin=230, spacing=1.55), _a4, {"quality": 32, "dpi": (300, 300)}, 3508
    ),
    "phone-photo-exif6.jpg": Shot(shops.STATIONERY, Style(1400, 66, margin=70), _phone, {"quality": 58}),
    "thumbnail-463x894.jpg": Shot(shops.MINIMART, Style(926, 48, margin=50, heavy=True), _thumbnail, height=1788),
    "alpha.png": Shot(shops.RAMEN, Style(560, 24, margin=34, pitch=MONO), _torn, {"optimize": True}),
    "palette.png": Shot(shops.TAXI, Style(540, 25, margin=32, paper=(255, 244, 206)), _palette, {"optimize": True}),
    "bilevel.png": Shot(shops.MUSEUM, Style(560, 28), _bilevel, {"optimize": True}),
    "cmyk.jpg": Shot(shops.CURRY, Style(620, 26, paper=(252, 250, 238)), _cmyk, {"quality": 68}),
    "deep-16bit.png": Shot(shops.BISTRO, Style(560, 26), _deep, {"optimize": True}),
    "photo.webp": Shot(shops.SATAY, Style(720, 32, pitch=MONO), _snapshot, {"quality": 72}),
}


def render(folder: Path) -> list[dict[str, object]]:
    """Write every receipt into the folder, and give the truth about each."""
    for name, shot in SHOTS.items():
        page = sheet(
            receipt(shot.sale, title_scale=1.25 if shot.style.pitch else 1.5, bars=shot.bars), shot.style, shot.height
        )
        picture = shot.make(page, camera.seeded(name))
        picture.save(folder / name, **shot.save, **_orientation(name))
    return [shot.sale.truth(name) for name, shot in SHOTS.items()]


def _orientation(name: str) -> Saving:
    """Say, for the one photo that lies on its side, how to turn it; no other file carries metadata."""
    if "exif6" not in name:
        return {}
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    return {"exif": exif}
