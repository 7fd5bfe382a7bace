"""A sale in, the rows that a till prints for it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper import BARS, GAP, RULE, SOLID, Cell, Row, centre, pair
from sale import cents

if TYPE_CHECKING:
    from sale import Item, Sale


def receipt(sale: Sale, *, title_scale: float = 1.5, bars: bool = False) -> list[Row]:
    """Give the rows of a whole receipt, from the shop's name to the last thanks."""
    return [
        *_head(sale, title_scale),
        SOLID,
        *_items(sale),
        RULE,
        *_sums(sale),
        *_tax_summary(sale),
        GAP,
        *(centre(line) for line in sale.footer),
        *([BARS] if bars else []),
    ]


def _head(sale: Sale, title_scale: float) -> list[Row]:
    return [
        centre(sale.company, title_scale, bold=True),
        *(centre(line, 0.95) for line in sale.address),
        *(centre(line, 0.9) for line in sale.header),
        GAP,
        centre(sale.words.title, 1.1, bold=True),
        pair(f"{sale.words.date}: {sale.day.strftime(sale.day_format)}", sale.details[0][1] if sale.details else ""),
        *(Row((Cell(f"{name}: {value}"),)) for name, value in sale.details[1:]),
    ]


def _items(sale: Sale) -> list[Row]:
    rows: list[Row] = []
    if sale.layout == "columns":
        rows += [Row(_columns(*sale.words.columns), 0.95, bold=True), RULE]
    for item in sale.items:
        rows += _item(sale, item)
    return rows


def _item(sale: Sale, item: Item) -> list[Row]:
    amount = sale.money(item.amount)
    quantity = f"{item.quantity}".replace(".", "," if sale.comma else ".")
    price = sale.money(item.price) if item.price == cents(item.price) else f"{item.price}"
    if sale.layout == "columns":
        return [Row(_columns(item.name, quantity, price, amount))]
    if sale.layout == "two-lines":
        return [Row((Cell(item.name),)), Row((Cell(f"{quantity} x {price}", 0.08), Cell(amount, 1.0, "r")))]
    return [pair(item.name, amount)]


def _columns(name: str, quantity: str, price: str, amount: str) -> tuple[Cell, ...]:
    return Cell(name), Cell(quantity, 0.6, "r"), Cell(price, 0.79, "r"), Cell(amount, 1.0, "r")


def _sums(sale: Sale) -> list[Row]:
    words, money = sale.words, sale.money
    rows = [pair(words.subtotal, money(sale.subtotal))]
    if sale.service_rate:
        rows.append(pair(f"{words.service} {_percent(sale.service_rate)}", money(sale.service)))
    if sale.tax_name and not sale.tax_included:
        rows.append(pair(f"{sale.tax_name} {_percent(sale.tax_rate)}", money(sale.tax)))
    if sale.total != sale.exact:
        rows.append(pair(words.rounding, money(sale.total - sale.exact)))
    rows.append(pair(words.total, f"{sale.mark} {money(sale.total)}".strip(), 1.35, bold=True))
    if sale.paid is not None:
        rows.append(pair(words.paid, money(sale.paid)))
        if sale.paid != sale.total:
            rows.append(pair(words.change, money(sale.paid - sale.total)))
    return rows


def _tax_summary(sale: Sale) -> list[Row]:
    """Give what the law wants where prices include the tax."""
    if not sale.tax_name or not sale.tax_included:
        return []
    net = sale.exact - sale.tax
    return [
        RULE,
        Row((Cell(f"{sale.tax_name} SUMMARY"), Cell("NET", 0.72, "r"), Cell("TAX", 1.0, "r")), 0.9, bold=True),
        Row(
            (
                Cell(f"{sale.tax_name} {_percent(sale.tax_rate)}"),
                Cell(sale.money(net), 0.72, "r"),
                Cell(sale.money(sale.tax), 1.0, "r"),
            ),
            0.9,
        ),
    ]


def _percent(rate: object) -> str:
    return f"{float(str(rate)) * 100:g}%"
