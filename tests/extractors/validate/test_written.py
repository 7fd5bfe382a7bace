"""validate/written.py: what stands in an answer and pydantic overlooks is never missing from a row."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, Field, field_validator

from extractors.core import Reply
from extractors.core.schema import load
from extractors.validate import list_errors, validate


class Line(BaseModel):
    """A line in which nothing is required."""

    name: str | None = None
    amount: Decimal | None = None


class Bill(BaseModel):
    """A document in which nothing is required, with a name of its own for one field."""

    name: str | None = None
    total: float | None = None
    due_date: str | None = Field(None, validation_alias=AliasChoices("due_date", "Due Date"))
    lines: list[Line] = []


class Code(BaseModel):
    """A number that is text, and one that is rounded by the schema's own code."""

    number: str
    exact: Decimal | None = None
    rounded: str | None = None

    @field_validator("number", "rounded", mode="before")
    @classmethod
    def _to_text(cls, value):
        return str(value) if isinstance(value, float) else value

    @field_validator("rounded", mode="before")
    @classmethod
    def _round(cls, value):
        return f"{value:.1f}" if isinstance(value, float) else value


def judge(content, model=Bill):
    content = content if isinstance(content, str) else json.dumps(content)
    return validate(Reply(200, "", content=content, finish_reason="stop"), model)


WHOLE = {"name": "ACME", "total": 5, "due_date": "2026-01-02", "lines": [{"name": "bolt", "amount": 5}]}
names = st.sampled_from(sorted(WHOLE))


@given(names, st.sampled_from([str.upper, str.title, lambda name: name.replace("_", " "), lambda name: f"{name} "]))
def test_a_field_under_a_name_that_is_written_otherwise_is_never_null(name, rewrite):
    """The value is in the answer, so a row without it would be wrong."""
    answer = {rewrite(each) if each == name else each: value for each, value in WHOLE.items()}
    verdict = judge(answer)
    assert verdict.document == Bill(**WHOLE) if verdict.document else verdict.outcome == "off_schema"


@given(names, names, st.sampled_from(["input", "receipt", "properties", "result"]), st.booleans())
def test_a_field_in_an_object_of_its_own_is_never_null(outer, inner, wrapper, null):
    """As where a model answers with a call of a tool in another form, or repeats the schema."""
    answer = {outer: WHOLE[outer], wrapper: {inner: WHOLE[inner]}}
    answer |= {inner: None} if null and inner not in {outer, "lines"} else {}
    assert judge(answer).outcome == ("accepted" if inner == outer else "off_schema")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"name": "ACME", "items": WHOLE["lines"]}, "items: no such field; what stands there belongs to lines"),
        ({"name": "ACME", "lines": [], "items": WHOLE["lines"]}, "items"),
        ({"lines": [{"item": "bolt"}]}, "lines.0: no name in the object is a field of Line"),
        ({"lines": [{"name": "bolt", "Amount": 5}]}, "lines.0.Amount"),
        ('{"lines": [{"name": "bolt", "name": "nut"}]}', "name: the name stands twice"),
    ],
)
def test_rows_under_a_foreign_name_are_never_left_out(answer, message):
    """A row without its lines would be wrong; the errors name the place for the next question."""
    verdict = judge(answer)
    assert (verdict.outcome, verdict.document) == ("off_schema", None)
    assert message in verdict.errors
    content = answer if isinstance(answer, str) else json.dumps(answer)
    assert [each.message for each in list_errors(Reply(200, "", content=content), Bill)] == [verdict.errors]


@pytest.mark.parametrize(
    "extra",
    [
        {"notes": "paid"},
        {"tax": {"rate": 5}},
        {"Total": 5},
        {"items": []},
        {"pages": [{"number": 1}]},
        {"Due Date": "x"},
    ],
)
def test_what_is_no_field_beside_a_whole_document_is_ignored(extra):
    """Models add names of their own, which hold nothing that the document lacks."""
    assert judge(extra | WHOLE).document == Bill(**WHOLE)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,20})\.[0-9]{1,12}", fullmatch=True))
def test_no_digit_of_a_number_is_lost(text):
    """Text and decimals keep every digit, also the zeros at the end of a text."""
    document = judge(f'{{"number": {text}, "exact": {text}}}', Code).document
    assert (document.number, document.exact) == (text, Decimal(text))


def test_a_number_whose_text_is_lost_is_no_document():
    """The schema's own code takes no text here, so the digits cannot be read again."""

    class Strict(Code):
        @field_validator("exact", mode="before")
        @classmethod
        def _only_numbers(cls, value):
            if isinstance(value, str):
                raise ValueError("no text")  # noqa: TRY004 - as pydantic wants it
            return value

    verdict = judge('{"number": 2024.10, "exact": 1.5}', Strict)
    assert (verdict.outcome, verdict.errors) == ("off_schema", "number: give the number as text, exactly as printed")
    assert judge('{"number": "2024.10", "exact": 1.5}', Strict).document.number == "2024.10"


def test_the_schemas_own_rounding_stands():
    """A validator may give a number another text than its own."""
    assert judge('{"number": "1", "rounded": 12.340}', Code).document.rounded == "12.3"


def test_the_shipped_invoice_keeps_its_number():
    """A model writes the number of an invoice as a number."""
    model = load("invoice").model
    assert (
        judge('{"vendor": "ACME", "invoice_number": 2024.10, "total": 1.50}', model).document.invoice_number
        == "2024.10"
    )
    assert judge('{"vendor": "ACME", "invoice_number": 12E45}', model).document.invoice_number == "12E45"
