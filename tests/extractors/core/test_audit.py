"""audit.py: two rows of results agree where two answers do, also when one row is read from a file."""

import io
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Literal

import polars as pl
import pytest
from pydantic import BaseModel

from extractors.core.audit import have_same_values
from extractors.record.tables.fields import Fields
from extractors.run.cascade import compare_answers


class Kind(Enum):
    """An enumeration."""

    A, B = "a", "b"


class Line(BaseModel):
    """A row of a list."""

    text: str | None
    amount: Decimal


class Paper(BaseModel):
    """A document with a field of every type."""

    name: str = "Green  Garden"
    total: Decimal = Decimal("12.50")
    share: float = 0.1
    day: date = date(2026, 11, 30)
    at: datetime = datetime(2026, 11, 30, 12, tzinfo=UTC)
    hour: time = time(12, 30)
    kind: Kind = Kind.A
    unit: Literal["kg", "g"] | None = "kg"
    lines: list[Line] = [Line(text="Coffee", amount=Decimal("4.5")), Line(text=None, amount=Decimal(8))]
    other: dict[str, object] = {"b": 1, "a": [1.50, None]}
    mixed: int | list[str] = 3
    sure: bool = True


FIELDS = Fields(Paper)


def store(paper):
    """The row of this document after a round trip through a Parquet file."""
    file = io.BytesIO()
    pl.DataFrame([FIELDS.row(paper)], schema=FIELDS.columns, orient="row").write_parquet(file)
    file.seek(0)
    return pl.read_parquet(file).to_dicts()[0]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"name": " green garden"}, True),
        ({"total": Decimal("12.5")}, True),
        ({"total": Decimal("12.51")}, False),
        ({"other": {"a": [1.5, None], "b": 1}}, True),
        ({"other": {"a": [1.5], "b": 1}}, False),
        ({"lines": [Line(text="COFFEE", amount=Decimal("4.50")), Line(text=None, amount=Decimal("8.0"))]}, True),
        ({"lines": [Line(text="Coffee", amount=Decimal("4.5"))]}, False),
        ({"day": date(2026, 12, 1)}, False),
        ({"kind": Kind.B}, False),
        ({"unit": None}, False),
        ({"mixed": ["3"]}, False),
        ({"sure": False}, False),
    ],
)
def test_have_same_values_agrees_with_compare_answers(change, same):
    """The order of the two rows does not matter."""
    paper, other = Paper(), Paper(**change)
    names = Paper.model_fields
    assert have_same_values(names, store(paper), FIELDS.row(other)) is same
    assert have_same_values(names, FIELDS.row(other), store(paper)) is same
    assert all(compare_answers(paper, other).values()) is same
