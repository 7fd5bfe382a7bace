"""A till receipt, a restaurant bill or a payment slip."""

from typing import Self

from pydantic import Field, model_validator

from schemas._values import Amount, Currency, Day, Document, LineItem, Many, Text

INSTRUCTIONS = """\
Copy what is printed; never guess and never calculate. What the receipt does not show, or what cannot be read, is null.
A date such as 05/03/2018 has its day first, unless the receipt clearly comes from a place that writes the month first.
The total is the amount that had to be paid, after discounts, tax and rounding; not the cash handed over and not the change.
"""


class Receipt(Document):
    """The key fields of one receipt, and every line that was bought."""

    company: Text = Field(
        default=None, description="The shop's or company's name as printed, usually the largest text on top"
    )
    date: Day = Field(default=None, description="The day of the purchase, as YYYY-MM-DD")
    address: Text = Field(default=None, description="The shop's address on one line, its parts separated by commas")
    total: Amount = Field(default=None, description="The total to pay after tax and rounding, as a plain number")
    currency: Currency = Field(default=None, description="The currency's ISO 4217 code, such as MYR, EUR or USD")
    line_items: Many[LineItem] = Field(
        default_factory=list, description="The lines bought, from top to bottom, without subtotals, taxes and payments"
    )

    @model_validator(mode="after")
    def _require_a_value(self) -> Self:
        if self.company is None and self.date is None and self.total is None:
            raise ValueError("none of company, date and total was read")
        return self
