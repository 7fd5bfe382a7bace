"""Pictures without a till: windows of two programs, and one shelf photographed before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import camera
import numpy as np
from paper import font
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from pathlib import Path

Colour = tuple[int, int, int]

BOARD = (
    ("To do", (("Write release notes", "Docs", (231, 159, 60)), ("Check the invoice import", "Backend", (78, 132, 196)),
               ("New icons for the menu", "Design", (178, 94, 160)))),
    ("In progress", (("Search by date", "Backend", (78, 132, 196)), ("Faster first page", "Web", (84, 160, 110)))),
    ("Review", (("Dark theme", "Design", (178, 94, 160)),)),
    ("Done", (("Login with a passkey", "Web", (84, 160, 110)), ("Nightly backup", "Backend", (78, 132, 196)),
              ("Welcome mail", "Docs", (231, 159, 60)))),
)  # fmt: skip
BARS = (("Mon", 42), ("Tue", 58), ("Wed", 51), ("Thu", 77), ("Fri", 69), ("Sat", 23), ("Sun", 18))
FIGURES = (("Orders today", "338", "+12%"), ("Revenue", "EUR 9,412", "+4%"), ("Open tickets", "17", "-3"))


def render_screenshots(folder: Path) -> None:
    """Write the windows."""
    board().save(folder / "kanban-board.png", optimize=True)
    dashboard().save(folder / "dashboard.png", optimize=True)


def render_comparison(folder: Path) -> None:
    """Write the two photos of one shelf."""
    for name, later in (("shelf-before.jpg", False), ("shelf-after.jpg", True)):
        random = camera.seeded(name)
        photo = camera.blur(shelf(later=later), 1.0)
        camera.noise(camera.shade(photo, random, 0.06), random, 4, grain=2).save(folder / name, quality=82)


def board() -> Image.Image:
    """Draw a project's board with four columns of cards."""
    window, pen = _window((1280, 800), (38, 92, 128), "Project A")
    pen.text((1256, 42), "Share", (255, 255, 255), font(18), anchor="rs")
    for number, (title, cards) in enumerate(BOARD):
        left = 24 + number * 312
        pen.rounded_rectangle((left, 84, left + 292, 176 + 124 * len(cards)), 10, (235, 236, 240))
        pen.text((left + 16, 116), title, (40, 50, 70), font(20), anchor="ls")
        pen.text((left + 276, 116), str(len(cards)), (120, 126, 140), font(18), anchor="rs")
        for place, (text, label, colour) in enumerate(cards):
            _card(pen, (left + 12, 132 + 124 * place), text, (label, colour))
        pen.text((left + 16, 160 + 124 * len(cards)), "+ Add a card", (96, 104, 120), font(17), anchor="ls")
    return window


def _card(pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, label: tuple[str, Colour]) -> None:
    x, y = place
    pen.rounded_rectangle((x, y, x + 268, y + 112), 8, (255, 255, 255), (208, 212, 220))
    pen.rounded_rectangle((x + 12, y + 12, x + 96, y + 34), 5, label[1])
    pen.text((x + 54, y + 28), label[0], (255, 255, 255), font(14), anchor="ms")
    pen.text((x + 12, y + 66), text, (40, 50, 70), font(18), anchor="ls")
    pen.ellipse((x + 230, y + 76, x + 256, y + 102), (200, 206, 216))


def dashboard() -> Image.Image:
    """Draw a shop's dashboard: a sidebar, three figures and a chart of bars."""
    window, pen = _window((1440, 900), (247, 248, 250), "Corner Shop Admin", bar=(30, 34, 46))
    pen.rectangle((0, 60, 220, 900), (40, 46, 62))
    for number, entry in enumerate(("Overview", "Orders", "Products", "Customers", "Settings")):
        if number == 0:
            pen.rectangle((0, 84, 220, 128), (66, 76, 104))
        pen.text((28, 113 + 52 * number), entry, (232, 234, 240), font(19), anchor="ls")
    for number, (name, value, change) in enumerate(FIGURES):
        left = 256 + number * 392
        pen.rounded_rectangle((left, 92, left + 364, 232), 12, (255, 255, 255), (222, 225, 231))
        pen.text((left + 24, 132), name, (110, 116, 130), font(19), anchor="ls")
        pen.text((left + 24, 196), value, (30, 34, 46), font(42), anchor="ls")
        pen.text((left + 340, 196), change, (40, 140, 84), font(20), anchor="rs")
    _chart(pen, (256, 260, 1404, 868))
    return window


def _chart(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    pen.rounded_rectangle(box, 12, (255, 255, 255), (222, 225, 231))
    pen.text((left + 24, top + 44), "Orders per day", (30, 34, 46), font(24), anchor="ls")
    for level in range(0, 100, 20):
        y = bottom - 70 - level * 5
        pen.line((left + 70, y, right - 30, y), (232, 234, 238))
        pen.text((left + 56, y + 6), str(level), (140, 146, 158), font(16), anchor="rs")
    for number, (day, orders) in enumerate(BARS):
        x = left + 120 + number * 146
        pen.rounded_rectangle((x, bottom - 70 - orders * 5, x + 76, bottom - 70), 6, (84, 122, 214))
        pen.text((x + 38, bottom - 78 - orders * 5), str(orders), (60, 66, 80), font(17), anchor="ms")
        pen.text((x + 38, bottom - 36), day, (110, 116, 130), font(18), anchor="ms")


def _window(
    size: tuple[int, int], ground: Colour, title: str, bar: Colour = (24, 66, 96)
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    window = Image.new("RGB", size, ground)
    pen = ImageDraw.Draw(window)
    pen.rectangle((0, 0, size[0], 60), bar)
    pen.text((24, 42), title, (255, 255, 255), font(28), anchor="ls")
    return window, pen


def shelf(*, later: bool) -> Image.Image:
    """Draw a still life; later the cup has moved, the apple is gone and the lamp is on."""
    scene = Image.new("RGB", (960, 720))
    _gradient(scene, (0, 0, 960, 520), ((196, 204, 206), (226, 222, 212)))
    _gradient(scene, (0, 520, 960, 720), ((150, 108, 70), (104, 70, 42)))
    _lamp(scene, lit=later)
    _body(scene, (560, 250, 640, 560), (46, 92, 70))
    _body(scene, (584, 160, 616, 260), (46, 92, 70))
    for number, colour in enumerate(((142, 50, 48), (58, 76, 120), (206, 172, 92))):
        _body(scene, (80 + 46 * number, 330 - 20 * number, 122 + 46 * number, 560), colour)
    cup = 400 if later else 300
    ImageDraw.Draw(scene).ellipse((cup + 84, 478, cup + 134, 532), outline=(214, 214, 216), width=10)
    _body(scene, (cup, 460, cup + 104, 566), (232, 232, 234))
    if not later:
        _ball(scene, (700, 520), 48, (186, 44, 40))
    return scene


def _lamp(scene: Image.Image, *, lit: bool) -> None:
    if lit:
        glow = Image.new("L", scene.size)
        ImageDraw.Draw(glow).ellipse((640, 40, 1040, 520), fill=170)
        scene.paste(Image.new("RGB", scene.size, (255, 236, 170)), mask=glow.filter(ImageFilter.GaussianBlur(70)))
    _body(scene, (834, 260, 846, 556), (70, 70, 74))
    _body(scene, (790, 548, 890, 566), (70, 70, 74))
    shade = (255, 240, 186) if lit else (168, 150, 120)
    ImageDraw.Draw(scene).polygon([(800, 150), (880, 150), (916, 264), (764, 264)], shade)


def _gradient(scene: Image.Image, box: tuple[int, int, int, int], ends: tuple[Colour, Colour]) -> None:
    """Fill a box from one colour above to another below."""
    steps = np.linspace(ends[0], ends[1], box[3] - box[1])[:, None, :]
    pixels = np.broadcast_to(steps, (box[3] - box[1], box[2] - box[0], 3))
    scene.paste(Image.fromarray(np.ascontiguousarray(pixels).astype(np.uint8)), box[:2])


def _body(scene: Image.Image, box: tuple[int, int, int, int], colour: Colour) -> None:
    """Stand something upright and round in the scene, lit from the left, with its shadow."""
    left, top, right, bottom = box
    shadow = Image.new("L", scene.size)
    ImageDraw.Draw(shadow).ellipse((left, bottom - 14, right + (right - left) // 2, bottom + 14), fill=110)
    scene.paste(Image.new("RGB", scene.size, (40, 26, 16)), mask=shadow.filter(ImageFilter.GaussianBlur(8)))
    light = 0.55 + 0.6 * np.cos(np.linspace(-0.7, 1.5, right - left)) ** 2
    pixels = np.clip(light[None, :, None] * np.array(colour)[None, None, :], 0, 255) * np.ones((bottom - top, 1, 1))
    scene.paste(Image.fromarray(pixels.astype(np.uint8)), (left, top))


def _ball(scene: Image.Image, centre: tuple[int, int], radius: int, colour: Colour) -> None:
    """Lay a ball in the scene, lit from the upper left."""
    y, x = np.mgrid[-radius:radius, -radius:radius] / radius
    light = np.clip(1.15 - np.hypot(x + 0.35, y + 0.4) * 0.75, 0.2, 1.2)
    pixels = np.clip(light[..., None] * np.array(colour), 0, 255).astype(np.uint8)
    mask = Image.fromarray(((np.hypot(x, y) < 0.98) * 255).astype(np.uint8))
    scene.paste(Image.fromarray(pixels), (centre[0] - radius, centre[1] - radius), mask)
