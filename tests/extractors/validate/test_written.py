"""validate/written.py: a value that an answer contains and pydantic ignores is never missing from a row."""

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
    """A line without required fields."""

    name: str | None = None
    amount: Decimal | None = None


class Bill(BaseModel):
    """A document without required fields, and with an alias for one of them."""

    name: str | None = None
    total: float | None = None
    due_date: str | None = Field(None, validation_alias=AliasChoices("due_date", "Due Date"))
    lines: list[Line] = []


class Code(BaseModel):
    """A number that is text, and one that the schema's own code rounds."""

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


COMPLETE = {"name": "ACME", "total": 5, "due_date": "2026-01-02", "lines": [{"name": "bolt", "amount": 5}]}
names = st.sampled_from(sorted(COMPLETE))


@given(names, st.sampled_from([str.upper, str.title, lambda name: name.replace("_", " "), lambda name: f"{name} "]))
def test_field_with_a_misspelled_name_is_never_null(name, rewrite):
    """The answer contains the value, so a row without it would be wrong."""
    answer = {rewrite(field) if field == name else field: value for field, value in COMPLETE.items()}
    verdict = judge(answer)
    assert verdict.document == Bill(**COMPLETE) if verdict.document else verdict.outcome == "off_schema"


@given(names, names, st.sampled_from(["input", "receipt", "properties", "result"]), st.booleans())
def test_field_in_a_nested_object_is_never_null(top_level, nested, wrapper, null):
    """A model may answer with another form of tool call, or repeat the schema."""
    answer = {top_level: COMPLETE[top_level], wrapper: {nested: COMPLETE[nested]}}
    answer |= {nested: None} if null and nested not in {top_level, "lines"} else {}
    assert judge(answer).outcome == ("accepted" if nested == top_level else "off_schema")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"name": "ACME", "items": COMPLETE["lines"]}, "items: no such field; what stands there belongs to lines"),
        ({"name": "ACME", "lines": [], "items": COMPLETE["lines"]}, "items"),
        ({"lines": [{"item": "bolt"}]}, "lines.0: no name in the object is a field of Line"),
        ({"lines": [{"name": "bolt", "Amount": 5}]}, "lines.0.Amount"),
        ('{"lines": [{"name": "bolt", "name": "nut"}]}', "name: the name stands twice"),
    ],
)
def test_rows_under_an_unknown_name_are_never_dropped(answer, message):
    """A document without its rows would be wrong; the error names their place for the re-ask."""
    verdict = judge(answer)
    assert (verdict.outcome, verdict.document) == ("off_schema", None)
    assert message in verdict.errors
    content = answer if isinstance(answer, str) else json.dumps(answer)
    assert [error.message for error in list_errors(Reply(200, "", content=content), Bill)] == [verdict.errors]


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
def test_unknown_names_beside_a_complete_document_are_ignored(extra):
    """Models add names of their own, whose values the document does not need."""
    assert judge(extra | COMPLETE).document == Bill(**COMPLETE)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,20})\.[0-9]{1,12}", fullmatch=True))
def test_all_digits_of_a_number_are_kept(text):
    """Text and decimals keep every digit; text also keeps final zeros."""
    document = judge(f'{{"number": {text}, "exact": {text}}}', Code).document
    assert (document.number, document.exact) == (text, Decimal(text))


def test_number_whose_digits_are_lost_is_off_schema():
    """The schema's own code accepts no text here, so the digits cannot be read again."""

    class Strict(Code):
        @field_validator("exact", mode="before")
        @classmethod
        def _only_numbers(cls, value):
            if isinstance(value, str):
                raise ValueError("no text")  # noqa: TRY004 - pydantic expects ValueError
            return value

    verdict = judge('{"number": 2024.10, "exact": 1.5}', Strict)
    assert (verdict.outcome, verdict.errors) == ("off_schema", "number: give the number as text, exactly as printed")
    assert judge('{"number": "2024.10", "exact": 1.5}', Strict).document.number == "2024.10"


def test_rounding_by_the_schema_is_kept():
    """A validator may convert a number to another text."""
    assert judge('{"number": "1", "rounded": 12.340}', Code).document.rounded == "12.3"


def test_invoice_number_given_as_a_number_keeps_its_digits():
    model = load("invoice").model
    assert (
        judge('{"vendor": "ACME", "invoice_number": 2024.10, "total": 1.50}', model).document.invoice_number
        == "2024.10"
    )
    assert judge('{"vendor": "ACME", "invoice_number": 12E45}', model).document.invoice_number == "12E45"
