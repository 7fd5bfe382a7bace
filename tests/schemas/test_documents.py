"""The shipped schemas: their fields, their validators, and documents that are valid again after a round trip."""

import ast
import importlib
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from schemas.caption import Caption
from schemas.comparison import Comparison, Difference
from schemas.invoice import Invoice
from schemas.receipt import LineItem, Receipt
from schemas.screenshot import Screenshot, UiElement
from schemas.table import Table

FOLDER = Path(importlib.import_module("schemas").__file__).parent
MODELS = [Receipt, Invoice, Screenshot, Comparison, Caption, Table]
SCREENSHOT = {"purpose": "Track work", "layout": "Four columns", "text": ["To do"]}
COMPARISON = {"summary": "A cup was moved", "images": ["A cup on the left", "A cup on the right"]}

texts = st.none() | st.text("abcXYZ &.,", min_size=1, max_size=20)
days = st.none() | st.dates(date(1970, 1, 1), date(2026, 1, 1))
amounts = st.none() | st.decimals(-(10**9), 10**9, places=4)
items = st.builds(LineItem, description=st.text(max_size=9), quantity=amounts, unit_price=amounts, amount=amounts)
receipts = st.builds(
    Receipt,
    company=st.just("TEO HENG"),
    date=days,
    address=texts,
    total=amounts,
    currency=st.sampled_from(["MYR", "EUR", None]),
    line_items=st.lists(items, max_size=3),
)


def list_error_types(model, document):
    """List the types of the errors with which a model rejects a document."""
    with pytest.raises(ValidationError) as raised:
        model.model_validate(document)
    return [error["type"] for error in raised.value.errors()]


def test_each_schema_module_defines_the_model_of_its_name():
    names = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
    assert names == sorted(model.__name__.lower() for model in MODELS)
    assert all(
        issubclass(getattr(importlib.import_module(f"schemas.{name}"), name.title()), BaseModel) for name in names
    )


def test_schema_modules_import_only_pydantic_and_the_standard_library():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    allowed = {"pydantic", "schemas", "re", "unicodedata", "datetime", "decimal", "typing"}
    assert {name.split(".")[0] for name in names} <= allowed


@pytest.mark.parametrize("model", [*MODELS, LineItem, UiElement, Difference])
def test_each_model_and_field_has_a_description(model):
    """Descriptions are part of the prompt, nested ones too."""
    wire = model.model_json_schema()
    assert wire["description"]
    assert all(field["description"] for field in wire["properties"].values())


@pytest.mark.parametrize("model", MODELS)
def test_no_field_has_the_name_of_a_table_column(model):
    """`schema` and `run_date` are partitions, and a leading underscore marks the run's own columns."""
    assert not [name for name in model.model_fields if name in {"schema", "run_date"} or name.startswith("_")]


@pytest.mark.parametrize("model", MODELS)
def test_each_schema_has_instructions(model):
    assert importlib.import_module(model.__module__).INSTRUCTIONS.endswith("\n")


def test_receipt_has_these_fields_in_this_order():
    """Tables, truth files and readers rely on these names."""
    assert list(Receipt.model_fields) == ["company", "date", "address", "total", "currency", "line_items"]
    assert list(LineItem.model_fields) == ["description", "quantity", "unit_price", "amount"]


def test_receipt_reads_the_loose_formats_of_a_model():
    """Values are normalized, and an extra key is ignored."""
    answer = {
        "company": "UNIHAKKA INTERNATIONAL SDN BHD",
        "date": "13 MAR 2018",
        "address": "",
        "total": "$8.20",
        "currency": "rm",
        "line_items": [{"description": "Nasi", "quantity": "1x", "amount": "8.20"}],
        "confidence": 0.9,
    }
    receipt = Receipt.model_validate(answer)
    assert (receipt.date, receipt.address, receipt.total, receipt.currency) == (
        date(2018, 3, 13),
        None,
        Decimal("8.20"),
        "MYR",
    )
    assert receipt.line_items == [
        LineItem(description="Nasi", quantity=Decimal(1), unit_price=None, amount=Decimal("8.20"))
    ]


def test_empty_receipt_is_rejected():
    """A receipt without company, date and total is a value error, not a row of nulls."""
    assert list_error_types(Receipt, {"company": " ", "date": None, "total": "", "address": "KL"}) == ["value_error"]


def test_receipt_accepts_a_negative_total():
    assert Receipt.model_validate({"total": "-12.50"}).total == Decimal("-12.50")


@given(receipts)
def test_receipt_survives_a_json_round_trip(receipt):
    """It is equal when read from JSON text and from a dictionary."""
    assert Receipt.model_validate_json(receipt.model_dump_json()) == receipt
    assert Receipt.model_validate(json.loads(receipt.model_dump_json())) == receipt


def test_invoice_rejects_a_due_date_before_its_issue_date():
    """The same day is valid."""
    invoice = {"vendor": "Acme", "issue_date": "2024-03-05"}
    assert list_error_types(Invoice, {**invoice, "due_date": "2024-03-04"}) == ["value_error"]
    assert Invoice.model_validate({**invoice, "due_date": "2024-03-05"}).due_date == date(2024, 3, 5)


def test_empty_invoice_is_rejected():
    """An invoice needs a vendor, a number or a total."""
    assert list_error_types(Invoice, {"customer": "Acme"}) == ["value_error"]


def test_screenshot_needs_a_purpose():
    assert Screenshot.model_validate(SCREENSHOT).text == ["To do"]
    assert list_error_types(Screenshot, {**SCREENSHOT, "purpose": " "}) == ["value_error"]


def test_screenshot_rejects_a_negative_column_count():
    assert list_error_types(Screenshot, {**SCREENSHOT, "column_count": -1}) == ["greater_than_equal"]


def test_screenshot_rejects_an_element_of_unknown_kind():
    """The error is one of shape, which a re-ask can fix."""
    part = {"kind": "thing", "description": "Top left"}
    assert list_error_types(Screenshot, {**SCREENSHOT, "elements": [part]}) == ["literal_error"]


def test_comparison_needs_two_images():
    assert list_error_types(Comparison, {**COMPARISON, "images": ["A cup"]}) == ["too_short"]


def test_comparison_rejects_a_difference_that_omits_an_image():
    differences = [{"aspect": "place", "in_each": ["left", "right"]}]
    assert Comparison.model_validate({**COMPARISON, "differences": differences}).differences[0].in_each == [
        "left",
        "right",
    ]
    assert list_error_types(Comparison, {**COMPARISON, "differences": [{"aspect": "place", "in_each": ["left"]}]}) == [
        "value_error"
    ]


def test_caption_needs_text():
    """Null tags become an empty list."""
    assert Caption.model_validate({"caption": " A cup. ", "tags": None}) == Caption(
        caption="A cup.", alt_text=None, tags=[]
    )
    assert list_error_types(Caption, {"caption": " "}) == ["value_error"]


def test_table_rejects_rows_of_another_width_than_its_header():
    """A row with too few or too many cells is rejected, not padded."""
    assert Table.model_validate({"columns": ["a", "b"], "rows": [[1, None]]}).rows == [["1", ""]]
    assert list_error_types(Table, {"columns": ["a", "b"], "rows": [["1"]]}) == ["value_error"]
    assert list_error_types(Table, {"columns": ["a"], "rows": [["1", "2"]]}) == ["value_error"]


def test_table_needs_columns():
    assert list_error_types(Table, {"columns": [], "rows": []}) == ["too_short"]
