"""Invoices on A4 at 150 dpi, and a document of two pages as an office scanner keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import camera
from paper import font
from PIL import Image, ImageDraw
from sale import ZERO, Item, cents

if TYPE_CHECKING:
    from pathlib import Path

A4 = (1240, 1754)
INK, SOFT = (34, 34, 38), (110, 112, 120)
LEFT, RIGHT = 110, 1130
COLUMNS = (("Qty", 760), ("Unit price", 945), ("Amount", RIGHT - 14))


@dataclass(frozen=True, slots=True)
class Bill:
    """What one invoice says. `day` is the strftime format of its dates."""

    vendor: str
    vendor_address: tuple[str, ...]
    customer: str
    customer_address: tuple[str, ...]
    number: str
    issued: date
    due: date
    day: str
    currency: str
    items: tuple[Item, ...]
    tax_name: str
    tax_rate: Decimal
    accent: tuple[int, int, int]
    note: str

    @property
    def subtotal(self) -> Decimal:
        """The sum of all lines before tax."""
        return sum((item.amount for item in self.items), ZERO)

    @property
    def tax(self) -> Decimal:
        """The tax on the sum."""
        return cents(self.subtotal * self.tax_rate)

    @property
    def total(self) -> Decimal:
        """What is due."""
        return self.subtotal + self.tax

    def truth(self, image: str) -> dict[str, object]:
        """Give the fields that a reader of the page should find."""
        return {
            "image": image,
            "vendor": self.vendor,
            "customer": self.customer,
            "invoice_number": self.number,
            "issue_date": self.issued.isoformat(),
            "due_date": self.due.isoformat(),
            "currency": self.currency,
            "subtotal": str(self.subtotal),
            "tax": str(self.tax),
            "total": str(self.total),
            "line_items": [
                {
                    "description": item.name,
                    "quantity": str(item.quantity),
                    "unit_price": str(item.price),
                    "amount": str(item.amount),
                }
                for item in self.items
            ],
        }


def _lines(*lines: tuple[str, str, int]) -> tuple[Item, ...]:
    return tuple(Item(name, Decimal(price), Decimal(quantity)) for name, price, quantity in lines)


STUDIO = Bill(
    vendor="Atelier Nordwind GmbH",
    vendor_address=("Hafenstrasse 18", "20457 Hamburg"),
    customer="Kiosk & Company KG",
    customer_address=("Marktplatz 3", "28195 Bremen"),
    number="2024-0117",
    issued=date(2024, 3, 5),
    due=date(2024, 4, 4),
    day="%d.%m.%Y",
    currency="EUR",
    items=_lines(
        ("Brand workshop, one day", "1450.00", 1),
        ("Logo design, three drafts", "890.00", 3),
        ("Print templates", "240.00", 4),
    ),
    tax_name="VAT",
    tax_rate=Decimal("0.19"),
    accent=(28, 78, 112),
    note="Payable without deduction. IBAN DE02 1203 0000 0000 2020 51",
)
_PARTS = (
    "Hex bolt M8 x 40", "Hex nut M8", "Washer M8", "Spring washer M8", "Cable tie 200 mm", "Terminal block 12 way",
    "Heat shrink set", "Fuse 10 A", "Relay 24 V", "DIN rail 1 m", "Cable gland M20", "Ferrule kit", "Switch, two pole",
    "LED indicator green", "LED indicator red", "Push button", "Emergency stop", "Enclosure 300 x 200", "Cable 3G1.5, 50 m",
    "Cable 5G2.5, 25 m", "Junction box", "Label tape 12 mm", "Insulation tape", "Contact cleaner", "Drill bit 6 mm",
    "Drill bit 8 mm", "Hole saw 32 mm", "Safety gloves",
)  # fmt: skip
PARTS = Bill(
    vendor="Pennine Electrical Supplies Ltd",
    vendor_address=("Unit 6, Canal Works", "Leeds LS10 1RT"),
    customer="Moorside Pumps Ltd",
    customer_address=("41 Station Road", "Skipton BD23 1QL"),
    number="INV-88241",
    issued=date(2023, 11, 14),
    due=date(2023, 12, 14),
    day="%d %b %Y",
    currency="GBP",
    items=tuple(
        Item(name, cents(Decimal(35 + (number * 733) % 2900) / 100), Decimal(1 + (number * 7) % 24))
        for number, name in enumerate(_PARTS)
    ),
    tax_name="VAT",
    tax_rate=Decimal("0.20"),
    accent=(60, 60, 60),
    note="Goods remain our property until paid in full.",
)
GARDEN = Bill(
    vendor="Maple & Stone Landscaping",
    vendor_address=("775 Quarry Lane", "Burlington, VT 05401"),
    customer="Lakeside Inn",
    customer_address=("12 Shore Drive", "Shelburne, VT 05482"),
    number="MS-3046",
    issued=date(2024, 6, 18),
    due=date(2024, 7, 18),
    day="%B %d, %Y",
    currency="USD",
    items=_lines(
        ("Spring cleanup, crew of three", "95.00", 14), ("Bluestone pavers", "18.75", 120), ("Gravel, cubic yard", "62.00", 6),
        ("Japanese maple, 6 ft", "340.00", 2), ("Delivery", "85.00", 1),
    ),
    tax_name="Sales tax",
    tax_rate=Decimal("0.06"),
    accent=(62, 104, 58),
    note="Thank you for your business.",
)  # fmt: skip
LETTER = Bill(
    vendor="Tideway Office Cleaning",
    vendor_address=("30 Wharf Road", "Bristol BS1 6XN"),
    customer="Redcliffe Dental Practice",
    customer_address=("5 Guinea Street", "Bristol BS1 6SX"),
    number="TW-0932",
    issued=date(2024, 2, 1),
    due=date(2024, 2, 15),
    day="%d/%m/%Y",
    currency="GBP",
    items=_lines(
        ("Evening cleaning, January", "24.50", 22), ("Window cleaning", "110.00", 1), ("Supplies", "37.80", 1)
    ),
    tax_name="VAT",
    tax_rate=Decimal("0.20"),
    accent=(0, 0, 0),
    note="Page 1 of 2",
)
TERMS = (
    "Terms of service", "", "1. Work is done between 18:00 and 22:00 on working days.",
    "2. The customer gives access to water and electricity.", "3. Damage is to be reported within two working days.",
    "4. Prices hold for the calendar year.", "5. Either side may end this contract", "    with a notice of one month.", "",
    "Page 2 of 2",
)  # fmt: skip

BILLS = {"studio.png": STUDIO, "parts-28-lines.jpg": PARTS, "garden-skewed.jpg": GARDEN}


def page(bill: Bill) -> Image.Image:
    """Draw the page of one invoice."""
    sheet = Image.new("RGB", A4, (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    _head(pen, bill)
    top = _table(pen, bill, 560)
    _sums(pen, bill, top + 24)
    pen.text((LEFT, A4[1] - 100), bill.note, SOFT, font(22), anchor="ls")
    return sheet


def _head(pen: ImageDraw.ImageDraw, bill: Bill) -> None:
    pen.text((LEFT, 140), bill.vendor, bill.accent, font(42), anchor="ls", stroke_width=1)
    for number, line in enumerate(bill.vendor_address):
        pen.text((LEFT, 182 + 32 * number), line, SOFT, font(24), anchor="ls")
    pen.text((RIGHT, 140), "INVOICE", INK, font(52), anchor="rs")
    pen.line((LEFT, 262, RIGHT, 262), bill.accent, 4)
    pen.text((LEFT, 330), "Bill to", SOFT, font(24), anchor="ls")
    for number, line in enumerate((bill.customer, *bill.customer_address)):
        pen.text((LEFT, 368 + 36 * number), line, INK, font(28), anchor="ls")
    facts = (
        ("Invoice No.", bill.number),
        ("Invoice date", bill.issued.strftime(bill.day)),
        ("Due date", bill.due.strftime(bill.day)),
    )
    for number, (name, value) in enumerate(facts):
        pen.text((700, 330 + 46 * number), name, SOFT, font(26), anchor="ls")
        pen.text((RIGHT, 330 + 46 * number), value, INK, font(28), anchor="rs")


def _table(pen: ImageDraw.ImageDraw, bill: Bill, top: int) -> int:
    """Draw the lines, and give where they end."""
    step, size = (56, 27) if len(bill.items) < 12 else (31, 22)
    pen.rectangle((LEFT, top - 44, RIGHT, top), bill.accent)
    pen.text((LEFT + 14, top - 12), "Description", (255, 255, 255), font(24), anchor="ls")
    for name, x in COLUMNS:
        pen.text((x, top - 12), name, (255, 255, 255), font(24), anchor="rs")
    for item in bill.items:
        top += step
        values = (f"{item.quantity}", f"{item.price:,.2f}", f"{item.amount:,.2f}")
        pen.text((LEFT + 14, top - 9), item.name, INK, font(size), anchor="ls")
        for value, (_, x) in zip(values, COLUMNS, strict=True):
            pen.text((x, top - 9), value, INK, font(size), anchor="rs")
        pen.line((LEFT, top, RIGHT, top), (216, 218, 222), 1)
    return top


def _sums(pen: ImageDraw.ImageDraw, bill: Bill, top: int) -> None:
    rate = f"{float(bill.tax_rate) * 100:g}%"
    for name, amount in (("Subtotal", bill.subtotal), (f"{bill.tax_name} {rate}", bill.tax)):
        top += 40
        pen.text((700, top), name, SOFT, font(26), anchor="ls")
        pen.text((RIGHT - 14, top), f"{amount:,.2f}", INK, font(26), anchor="rs")
    top += 58
    pen.text((700, top), "Total due", INK, font(34), anchor="ls", stroke_width=1)
    pen.text((RIGHT - 14, top), f"{bill.currency} {bill.total:,.2f}", INK, font(34), anchor="rs", stroke_width=1)


def render(folder: Path) -> list[dict[str, object]]:
    """Write every invoice into the folder, and give the truth about each."""
    page(STUDIO).quantize(64, dither=Image.Dither.NONE).save(folder / "studio.png", optimize=True)
    random = camera.seeded("parts-28-lines.jpg")
    grey = camera.noise(camera.blur(page(PARTS).convert("L"), 0.6), random, 3)
    grey.save(folder / "parts-28-lines.jpg", quality=60)
    random = camera.seeded("garden-skewed.jpg")
    turned = page(GARDEN).rotate(-1.1, Image.Resampling.BICUBIC, fillcolor=(250, 250, 250))
    camera.shade(camera.blur(turned, 0.7), random, 0.1).save(folder / "garden-skewed.jpg", quality=70)
    return [bill.truth(name) for name, bill in BILLS.items()]


def render_documents(folder: Path) -> None:
    """Write the document of two pages: an invoice and its terms, black on white as a fax has them."""
    terms = Image.new("RGB", A4, (255, 255, 255))
    pen = ImageDraw.Draw(terms)
    for number, line in enumerate(TERMS):
        pen.text((LEFT, 200 + 64 * number), line, INK, font(44 if number == 0 else 32), anchor="ls")
    first, second = (
        sheet.convert("L").point(lambda level: 255 * (level > 170)).convert("1") for sheet in (page(LETTER), terms)
    )
    first.save(
        folder / "scan-two-pages.tiff", save_all=True, append_images=[second], compression="group4", dpi=(150, 150)
    )
