"""An invoice: who bills whom for what, and until when it is to be paid."""

from typing import Self

from pydantic import Field, model_validator

from schemas._values import Amount, Currency, Day, Document, LineItem, Many, Text

INSTRUCTIONS = """\
Copy what is printed; never guess and never calculate. What the invoice does not show, or what cannot be read, is null.
The vendor sends the invoice, the customer pays it. A date such as 05/03/2018 has its day first where both would do.
"""

ROWS_SUM_TO = {"line_items.amount": "subtotal"}


class Invoice(Document):
    """The key fields of one invoice, and every line that it bills."""

    vendor: Text = Field(default=None, description="The name of the company that sends the invoice")
    customer: Text = Field(default=None, description="The name of the company or person that is billed")
    invoice_number: Text = Field(default=None, description="The invoice's number, exactly as printed")
    issue_date: Day = Field(default=None, description="The day on which the invoice was issued, as YYYY-MM-DD")
    due_date: Day = Field(default=None, description="The last day of payment, as YYYY-MM-DD; null if no day is printed")
    currency: Currency = Field(default=None, description="The currency's ISO 4217 code, such as EUR or USD")
    subtotal: Amount = Field(default=None, description="The sum before tax, as a plain number")
    tax: Amount = Field(default=None, description="The sum of all taxes, as a plain number")
    total: Amount = Field(default=None, description="The amount due with tax, as a plain number")
    line_items: Many[LineItem] = Field(
        default_factory=list, description="The lines billed, from top to bottom, without subtotals and taxes"
    )

    @model_validator(mode="after")
    def _require_a_value(self) -> Self:
        if self.vendor is None and self.invoice_number is None and self.total is None:
            raise ValueError("none of vendor, invoice_number and total was read")
        return self

    @model_validator(mode="after")
    def _due_after_issue(self) -> Self:
        if self.issue_date and self.due_date and self.due_date < self.issue_date:
            raise ValueError(f"due_date {self.due_date} is before issue_date {self.issue_date}")
        return self
