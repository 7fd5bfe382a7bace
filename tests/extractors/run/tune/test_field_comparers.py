"""field_comparers.py, field_matchers.py and row_matching.py: which values are right, by the type of the field."""

import enum
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PastDate, SecretStr, computed_field

from extractors.core.errors import ConfigurationError
from extractors.run.tune.field_comparers import build_comparers, compare_document
from extractors.run.tune.field_matchers import NUMBER, TEXT
from extractors.run.tune.row_matching import pair_rows
from schemas.receipt import Receipt
from schemas.table import Table

Code = NewType("Code", str)


class Colour(enum.Enum):
    """One of several values."""

    RED = "red"


class Handle:
    """A type without a schema of pydantic."""


class Row(BaseModel):
    """A row of a list."""

    name: str | None = None
    amount: Decimal | None = None
    parts: list["Row"] = Field(default_factory=list)


class Everything(BaseModel):
    """A field of each type."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    text: str | None = None
    code: Code = Code("")
    uuid: UUID | None = None
    number: int | None = None
    amount: Annotated[Decimal | None, Field(ge=0)] = None
    share: float | None = None
    day: date | None = None
    past: PastDate | None = None
    moment: AwareDatetime | None = None
    clock: time | None = None
    flag: bool | None = None
    colour: Colour | None = None
    word: Literal["a", "b"] | None = None
    mixed: str | int = ""
    anything: Any = None
    pairs: dict[str, int] | None = None
    row: Row | None = None
    rows: list[Row] = Field(default_factory=list)
    names: tuple[str, ...] = ()
    point: tuple[int, int] | None = None
    grid: list[list[str]] = Field(default_factory=list)
    secret: SecretStr | None = None
    handle: Handle | None = None

    @computed_field
    @property
    def doubled(self) -> int:
        return 2


def compare_values(field, read, true):
    return build_comparers(Everything, [field])[field].compare(read, true)


KINDS = {
    "text": "text", "code": "text", "uuid": "text", "number": "number", "amount": "number", "share": "number", "day": "date",
    "past": "date", "moment": "date", "clock": "time", "flag": "flag", "colour": "choice", "word": "choice", "mixed": "text",
    "anything": "json", "pairs": "json", "row": "object", "rows": "list", "names": "list", "point": "list", "doubled": "number",
}  # fmt: skip

RIGHT = [
    ("text", "Old Town", "OLD  TOWN."),
    ("text", None, ""),
    ("uuid", UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ("number", 12, "12"),
    ("amount", Decimal("21.10"), 21.1),
    ("share", 0.1 + 0.2, "0.3"),
    ("day", date(2018, 3, 22), "2018-03-22"),
    ("day", date(2018, 3, 22), datetime(2018, 3, 22, 9)),  # noqa: DTZ001 - naive is UTC
    ("flag", True, "true"),
    ("colour", Colour.RED, "red"),
    ("word", "a", "a"),
    ("mixed", 12, "12"),
    ("pairs", {"a": 1, "b": 2}, '{"b": 2, "a": 1.0}'),
    ("row", Row(name="x", amount=1), {"name": "X", "amount": "1.00"}),
    ("row", Row(name="x", amount=1), {"name": "X"}),  # the label has no amount
    ("rows", [Row(name="x"), Row(name="y")], [{"name": "Y"}, {"name": "X"}]),
    ("rows", [], None),
    ("names", ("b", "a"), ["a", "b"]),
    ("point", (1, 2), [1, 2]),
    ("grid", [["a", "b"], ["c", ""]], [["c", ""], ["a", "b"]]),
]
WRONG = [
    ("text", "Old Town", None),
    ("text", None, "Old Town"),
    ("number", 12, 13),
    ("day", date(2018, 3, 22), date(2018, 3, 23)),
    ("flag", False, True),
    ("flag", None, False),
    ("word", "a", "A"),
    ("mixed", 12, "x"),
    ("pairs", {"a": 1}, {"a": 2}),
    ("row", Row(name="x"), {"name": "x", "amount": 1}),
    ("names", ("a",), ["a", "a"]),
    ("point", (1, 2), [2, 1]),
    ("grid", [["b", "a"]], [["a", "b"]]),
    ("grid", [["", "a"]], [["a", ""]]),
]


@pytest.mark.parametrize(("field", "kind"), KINDS.items())
def test_kind_of_a_field_is_that_of_its_annotation(field, kind):
    assert build_comparers(Everything, [field])[field].kind == kind


@pytest.mark.parametrize(("field", "read", "true"), RIGHT)
def test_equal_values_in_other_notations_are_right(field, read, true):
    match = compare_values(field, read, true)
    assert (match.right, match.similarity) == (True, 1)


@pytest.mark.parametrize(("field", "read", "true"), WRONG)
def test_different_values_are_wrong(field, read, true):
    match = compare_values(field, read, true)
    assert not match.right
    assert match.similarity < 1


def test_optional_and_annotated_types_have_the_matcher_of_their_type():
    comparers = build_comparers(Everything, ["code", "amount"])
    assert (comparers["code"].matcher, comparers["amount"].matcher) == (TEXT, NUMBER)


def test_match_tells_which_side_is_null():
    assert [
        (match.read_null, match.true_null)
        for match in (compare_values("text", "x", None), compare_values("text", None, "x"))
    ] == [
        (False, True),
        (True, False),
    ]


def test_missing_and_invented_rows_are_counted_separately():
    true = [{"name": "coffee", "amount": 3}, {"name": "tea", "amount": 2}, {"name": "cake", "amount": 5}]
    read = [Row(name="cake", amount=5), Row(name="coffee", amount=4), Row(name="service", amount=1)]
    match = compare_values("rows", read, true)
    assert (match.right, match.rows, match.missing_rows, match.invented_rows) == (False, 3, 1, 1)
    assert match.similarity == pytest.approx((1 + 0.5 + 0) / 3)


def test_row_with_one_wrong_value_is_neither_missing_nor_invented():
    match = compare_values("rows", [Row(name="coffee", amount=4)], [{"name": "coffee", "amount": 3}])
    assert (match.right, match.missing_rows, match.invented_rows) == (False, 0, 0)


def test_fields_null_in_both_rows_do_not_raise_their_similarity():
    assert compare_values("row", Row(name="abcd"), {"name": "wxyz", "amount": None}).similarity == 0


def test_recursive_model_is_compared_as_json():
    assert compare_values(
        "row", Row(name="x", parts=[Row(name="y")]), {"name": "x", "parts": [{"parts": [], "name": "y"}]}
    ).right


@pytest.mark.parametrize("field", ["secret", "handle"])
def test_type_that_cannot_be_compared_is_refused_with_the_fields_name(field):
    with pytest.raises(ConfigurationError, match=f"field '{field}'.*cannot be compared"):
        build_comparers(Everything, [field])


def test_unknown_field_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigurationError, match="has no field 'totl', did you mean total"):
        build_comparers(Receipt, ["totl"])


@pytest.mark.parametrize(
    ("field", "true"), [("number", "many"), ("day", "soon"), ("rows", "x"), ("flag", 3), ("clock", "noon")]
)
def test_true_value_of_another_type_is_refused(field, true):
    with pytest.raises(ConfigurationError, match=f"field '{field}': the true value"):
        compare_values(
            field,
            None if field == "rows" else {"number": 1, "day": date(2018, 3, 22), "flag": True, "clock": time(1)}[field],
            true,
        )


def test_fields_without_a_label_are_not_scored():
    comparers = build_comparers(Receipt, ["company", "total", "line_items"])
    read = {"company": "X", "total": Decimal(3), "line_items": []}
    comparisons = compare_document(comparers, read, {"total": Decimal("3.0")}, "a.jpg", 1)
    assert [(comparison.field, comparison.right, comparison.rung) for comparison in comparisons] == [("total", True, 1)]


def test_answer_that_was_not_accepted_is_wrong_in_every_labelled_field():
    comparers = build_comparers(Receipt, ["company", "total", "line_items"])
    label = {"company": "X", "total": None, "line_items": [{"description": "coffee"}]}
    comparisons = compare_document(comparers, None, label, "a.jpg", 0)
    assert [(comparison.field, comparison.right, comparison.match.missing_rows) for comparison in comparisons] == [
        ("company", False, 0),
        ("total", False, 0),
        ("line_items", False, 1),
    ]


def test_tables_are_compared_cell_by_cell():
    comparer = build_comparers(Table, ["rows"])["rows"]
    assert comparer.compare([["1", "2"], ["3", "4"]], [["3", "4"], ["1", "2"]]).right
    assert comparer.compare([["1", "2"], ["3", "5"]], [["3", "4"], ["1", "2"]]).missing_rows == 0


@given(st.lists(st.integers(0, 5), max_size=6), st.lists(st.integers(0, 5), max_size=6))
def test_pairs_are_of_the_largest_similarity_and_use_each_row_once(read, true):
    pairs = pair_rows(read, true, str, lambda a, b: 1 - abs(a - b) / 2)
    assert len({pair.read for pair in pairs}) == len({pair.true for pair in pairs}) == len(pairs)
    assert all(abs(read[pair.read] - true[pair.true]) <= 1 for pair in pairs)
    equal = sum(min(read.count(value), true.count(value)) for value in set(read))
    assert sum(read[pair.read] == true[pair.true] for pair in pairs) >= equal
