"""The shipped documents: their fields, their gates, and that what they accept they accept again."""

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

ROOM = Path(importlib.import_module("schemas").__file__).parent
MODELS = [Receipt, Invoice, Screenshot, Comparison, Caption, Table]
SEEN = {"purpose": "Track work", "layout": "Four columns", "text": ["To do"]}
COMPARED = {"summary": "A cup was moved", "images": ["A cup on the left", "A cup on the right"]}

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


def refusal(model, document):
    """The types of the errors with which a model refuses a document."""
    with pytest.raises(ValidationError) as refused:
        model.model_validate(document)
    return [error["type"] for error in refused.value.errors()]


def test_the_room_holds_one_model_a_file():
    """Every public module defines the model of its own name."""
    names = sorted(path.stem for path in ROOM.glob("[!_]*.py"))
    assert names == sorted(model.__name__.lower() for model in MODELS)
    assert all(
        issubclass(getattr(importlib.import_module(f"schemas.{name}"), name.title()), BaseModel) for name in names
    )


def test_a_schema_imports_pydantic_and_the_standard_library_only():
    """Nothing else is needed to say what a document is."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in ROOM.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    allowed = {"pydantic", "schemas", "re", "unicodedata", "datetime", "decimal", "typing"}
    assert {name.split(".")[0] for name in names} <= allowed


@pytest.mark.parametrize("model", [*MODELS, LineItem, UiElement, Difference])
def test_every_field_is_told_to_the_model(model):
    """The docstring and each field, nested ones too, are words of the prompt."""
    wire = model.model_json_schema()
    assert wire["description"]
    assert all(field["description"] for field in wire["properties"].values())


@pytest.mark.parametrize("model", MODELS)
def test_no_field_hides_a_column_of_the_tables(model):
    """`schema` and `run_date` are partitions, names with an underscore in front are the run's own columns."""
    assert not [name for name in model.model_fields if name in {"schema", "run_date"} or name.startswith("_")]


@pytest.mark.parametrize("model", MODELS)
def test_instructions_are_text(model):
    """Each shipped document has words of its own for the prompt."""
    assert importlib.import_module(model.__module__).INSTRUCTIONS.endswith("\n")


def test_a_receipts_fields_and_their_order():
    """These names are what tables, truth files and readers rely on."""
    assert list(Receipt.model_fields) == ["company", "date", "address", "total", "currency", "line_items"]
    assert list(LineItem.model_fields) == ["description", "quantity", "unit_price", "amount"]


def test_a_receipt_as_a_model_writes_it():
    """Loose writings become values, a key too many is ignored."""
    written = {
        "company": "UNIHAKKA INTERNATIONAL SDN BHD",
        "date": "13 MAR 2018",
        "address": "",
        "total": "$8.20",
        "currency": "rm",
        "line_items": [{"description": "Nasi", "quantity": "1x", "amount": "8.20"}],
        "confidence": 0.9,
    }
    receipt = Receipt.model_validate(written)
    assert (receipt.date, receipt.address, receipt.total, receipt.currency) == (
        date(2018, 3, 13),
        None,
        Decimal("8.20"),
        "MYR",
    )
    assert receipt.line_items == [
        LineItem(description="Nasi", quantity=Decimal(1), unit_price=None, amount=Decimal("8.20"))
    ]


def test_an_empty_receipt_is_refused():
    """A receipt of which nothing was read is a value refused, not a row of nulls."""
    assert refusal(Receipt, {"company": " ", "date": None, "total": "", "address": "KL"}) == ["value_error"]


def test_a_refund_is_a_receipt():
    """A negative total is read."""
    assert Receipt.model_validate({"total": "-12.50"}).total == Decimal("-12.50")


@given(receipts)
def test_an_accepted_receipt_is_accepted_again(receipt):
    """What was read, written as JSON, is read as the same: from text and from a dictionary."""
    assert Receipt.model_validate_json(receipt.model_dump_json()) == receipt
    assert Receipt.model_validate(json.loads(receipt.model_dump_json())) == receipt


def test_an_invoice_is_due_after_its_issue():
    """A due date before the issue date is a misreading; the same day is not."""
    invoice = {"vendor": "Acme", "issue_date": "2024-03-05"}
    assert refusal(Invoice, {**invoice, "due_date": "2024-03-04"}) == ["value_error"]
    assert Invoice.model_validate({**invoice, "due_date": "2024-03-05"}).due_date == date(2024, 3, 5)


def test_an_empty_invoice_is_refused():
    """Without vendor, number and total there is nothing to book."""
    assert refusal(Invoice, {"customer": "Acme"}) == ["value_error"]


def test_a_screenshot_is_for_something():
    """A description without a purpose is refused."""
    assert Screenshot.model_validate(SEEN).text == ["To do"]
    assert refusal(Screenshot, {**SEEN, "purpose": " "}) == ["value_error"]


def test_a_screenshot_has_no_negative_columns():
    """A count below zero is refused."""
    assert refusal(Screenshot, {**SEEN, "column_count": -1}) == ["greater_than_equal"]


def test_a_ui_element_is_of_a_known_kind():
    """An unknown kind is the wrong shape, which a second answer can cure."""
    part = {"kind": "thing", "description": "Top left"}
    assert refusal(Screenshot, {**SEEN, "elements": [part]}) == ["literal_error"]


def test_a_comparison_takes_two_images():
    """One image is compared with nothing."""
    assert refusal(Comparison, {**COMPARED, "images": ["A cup"]}) == ["too_short"]


def test_a_difference_tells_of_every_image():
    """A difference that leaves an image out is refused."""
    told = [{"aspect": "place", "in_each": ["left", "right"]}]
    assert Comparison.model_validate({**COMPARED, "differences": told}).differences[0].in_each == ["left", "right"]
    assert refusal(Comparison, {**COMPARED, "differences": [{"aspect": "place", "in_each": ["left"]}]}) == [
        "value_error"
    ]


def test_a_caption_says_something():
    """An empty caption is refused, missing tags are none."""
    assert Caption.model_validate({"caption": " A cup. ", "tags": None}) == Caption(
        caption="A cup.", alt_text=None, tags=[]
    )
    assert refusal(Caption, {"caption": " "}) == ["value_error"]


def test_a_tables_rows_are_as_wide_as_its_header():
    """A row with a cell too few or too many is refused, never padded."""
    assert Table.model_validate({"columns": ["a", "b"], "rows": [[1, None]]}).rows == [["1", ""]]
    assert refusal(Table, {"columns": ["a", "b"], "rows": [["1"]]}) == ["value_error"]
    assert refusal(Table, {"columns": ["a"], "rows": [["1", "2"]]}) == ["value_error"]


def test_a_table_has_columns():
    """A table without a column is refused."""
    assert refusal(Table, {"columns": [], "rows": []}) == ["too_short"]
