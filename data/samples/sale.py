"""One sale: what was bought, what it came to, and the truth that stands beside its picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import date

ZERO = Decimal(0)

Layout = Literal["columns", "two-lines", "names"]


@dataclass(frozen=True, slots=True)
class Item:
    """One line that was bought; `places` are the decimals of the currency."""

    name: str
    price: Decimal
    quantity: Decimal = Decimal(1)
    places: int = 2

    @property
    def amount(self) -> Decimal:
        """Price times quantity, rounded as a till rounds."""
        return cents(self.price * self.quantity, self.places)


@dataclass(frozen=True, slots=True)
class Words:
    """What the till calls things."""

    title: str = "RECEIPT"
    date: str = "Date"
    subtotal: str = "Subtotal"
    service: str = "Service Charge"
    rounding: str = "Rounding"
    total: str = "TOTAL"
    paid: str = "Cash"
    change: str = "Change"
    columns: tuple[str, str, str, str] = ("Item", "Qty", "Price", "Amount")


@dataclass(frozen=True, slots=True)
class Sale:
    """Everything that a till prints. `day_format` is a strftime format; `mark` stands before the total."""

    company: str
    address: tuple[str, ...]
    day: date
    day_format: str
    currency: str
    items: tuple[Item, ...]
    mark: str = ""
    header: tuple[str, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    footer: tuple[str, ...] = ("THANK YOU", "PLEASE COME AGAIN")
    layout: Layout = "columns"
    words: Words = field(default_factory=Words)
    tax_name: str = ""
    tax_rate: Decimal = ZERO
    tax_included: bool = False
    service_rate: Decimal = ZERO
    step: Decimal = Decimal("0.01")
    paid: Decimal | None = None
    comma: bool = False

    @property
    def places(self) -> int:
        """Decimals of the currency in use."""
        return 0 if self.currency == "JPY" else 2

    @property
    def subtotal(self) -> Decimal:
        """The sum of all lines."""
        return sum((item.amount for item in self.items), ZERO)

    @property
    def service(self) -> Decimal:
        """The service charge on the subtotal."""
        return cents(self.subtotal * self.service_rate, self.places)

    @property
    def tax(self) -> Decimal:
        """The tax, be it added or already in the prices."""
        base = self.subtotal + self.service
        share = self.tax_rate / (1 + self.tax_rate) if self.tax_included else self.tax_rate
        return cents(base * share, self.places)

    @property
    def exact(self) -> Decimal:
        """What is due before rounding to the smallest coin."""
        return self.subtotal + self.service + (ZERO if self.tax_included else self.tax)

    @property
    def total(self) -> Decimal:
        """What is due."""
        return cents((self.exact / self.step).quantize(Decimal(1), ROUND_HALF_UP) * self.step, self.places)

    def money(self, amount: Decimal) -> str:
        """Write an amount as this till does."""
        written = f"{amount:,.{self.places}f}"
        return written.translate(str.maketrans(",.", ".,")) if self.comma else written

    def truth(self, image: str) -> dict[str, object]:
        """Give the fields that a reader of the picture should find; what is not printed is null."""
        return {
            "image": image,
            "company": self.company,
            "date": self.day.isoformat(),
            "address": ", ".join(line.strip(" ,") for line in self.address),
            "total": str(self.total),
            "currency": self.currency,
            "line_items": [self._line(item) for item in self.items],
        }

    def _line(self, item: Item) -> dict[str, str | None]:
        counted = self.layout != "names"
        return {
            "description": item.name,
            "quantity": str(item.quantity) if counted else None,
            "unit_price": str(item.price) if counted else None,
            "amount": str(item.amount),
        }


def cents(amount: Decimal, places: int = 2) -> Decimal:
    """Round half up to the currency's decimals."""
    return amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
