"""validate/wrappers.py: a wrapper around a whole answer is removed; another object is never a document."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel

from extractors.core import Reply
from extractors.validate import validate

ANSWER = {"name": "ACME", "number": 123456789012345678901234567890, "lines": [{"name": "a [1] {b}"}]}
TEXT = json.dumps(ANSWER)


class Line(BaseModel):
    """A line without required fields."""

    name: str | None = None


class Bill(BaseModel):
    """A document without required fields."""

    name: str | None = None
    number: int | None = None
    lines: list[Line] = []


class Lines(RootModel[list[Line]]):
    """A list of lines."""


class Tool(BaseModel):
    """A document about a tool."""

    name: str | None = None
    inputs: dict[str, int] = Field({}, alias="parameters")


def judge(content, model=Bill, finish_reason="stop"):
    return validate(Reply(200, "", content=content, finish_reason=finish_reason), model)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(TEXT),
        json.dumps(json.dumps(TEXT)),
        "```json\n" + json.dumps(TEXT) + "\n```",
        '{"name": "bill", "arguments": ' + TEXT + "}",
        '{"name": "bill", "parameters": ' + TEXT + "}",
        '{"name": "bill", "arguments": ' + json.dumps(TEXT) + "}",
        '{"type": "function", "function": {"name": "bill", "arguments": ' + TEXT + "}}",
        '<tool_call>\n{"name": "bill", "arguments": ' + TEXT + "}\n</tool_call>",
        "<|channel|>commentary to=functions.bill <|constrain|>json<|message|>" + TEXT + "<|call|>",
        'For example {"error": "unreadable"}, but here it is: ' + TEXT,
    ],
)
def test_wrapped_answer_is_unwrapped(content):
    """JSON encoded twice, or a tool call written as text, contains the document with all digits of its numbers."""
    assert judge(content).document == Bill.model_validate(ANSWER)


@pytest.mark.parametrize("content", ['{"error": "unreadable"}', '{"bill": ' + TEXT + "}", '{"arguments": "none"}'])
def test_object_without_a_known_field_is_off_schema(content):
    """If no field is required, an error or a wrapper could otherwise be a document of nulls."""
    assert judge(content).outcome == "off_schema"
    assert judge(f"[{content}]", Lines).outcome == "off_schema"
    assert judge("{}").document == Bill()


def test_field_named_like_tool_arguments_is_not_unwrapped():
    """The schema's own names take precedence over those of a tool call."""
    assert judge('{"name": "saw", "parameters": {"teeth": 5}}', Tool).document == Tool(
        name="saw", parameters={"teeth": 5}
    )


@given(st.data(), st.sampled_from(["stop", "length", None]))
def test_truncated_wrapped_answer_is_never_a_document(data, finish_reason):
    """It is cut anywhere before the last closing bracket of the inner answer."""
    wrap = data.draw(
        st.sampled_from(['{"name": "bill", "arguments": %s}', '{"name": "bill", "arguments": "%s"}', '"%s"'])
    )
    inner = json.dumps(TEXT)[1:-1] if '"%s"' in wrap else TEXT
    whole = wrap % inner
    content = whole[: data.draw(st.integers(0, whole.rindex("}]")))]
    assert (
        judge(content, data.draw(st.sampled_from([Bill, Lines, RootModel[list[float]]])), finish_reason).document
        is None
    )
