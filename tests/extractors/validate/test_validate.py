"""validate: the verdict on every kind of answer; no answer raises an exception.

Also covers `extractors.validate.marks` and `extractors.validate.repetition`.
"""

import json
import sys
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, field_validator, model_validator

from extractors.core import Outcome, Reply
from extractors.validate import list_errors, validate

OUTCOMES = frozenset(get_args(Outcome))
LEVELS = 100_000
SECRET = "sk-5ecret-4711"


class Slip(BaseModel):
    """A document with typed fields, two of which have a validator."""

    total: Decimal | None = None
    pieces: int = 0
    words: str = ""

    @field_validator("total")
    @classmethod
    def _positive(cls, value):
        if value is not None and value < 0:
            raise ValueError("a total is never negative")
        return value

    @field_validator("pieces")
    @classmethod
    def _asserted(cls, value):
        assert value < 100, "too many pieces"
        return value


def verdict(content, finish_reason="stop", model=Slip):
    return validate(Reply(200, "", content=content, finish_reason=finish_reason), model)


@pytest.mark.parametrize(
    "content",
    [
        '{"total": "12.50"}',
        ' \n{"total": 12.50}\n ',
        '<think>perhaps {"total": 1}</think>{"total": 12.50}',
        '<think>one</think><think>two</think>\n\n{"total": 12.50}',
        'it began before the answer</think>{"total": 12.50}',
        '```json\n{"total": 12.50}\n```',
        '```JSON\n{"total": 12.50}\n```',
        '```\n{"total": 12.50}\n```',
        '```json\r\n{"total": 12.50}\r\n```',
        'Here it is:\n```json\n{"total": 12.50}\n```\nAnything else?',
        '<think>```json\n{"total": 1}\n```</think>```json\n{"total": 12.50}\n```',
    ],
)
def test_answer_is_found_between_reasoning_fences_and_prose(content):
    assert verdict(content).document == Slip(total=Decimal("12.50"))


def test_accepted_answer_has_a_document_and_no_errors():
    result = verdict('{"total": "8.20", "pieces": 2, "words": "tea"}')
    assert (result.outcome, result.errors) == ("accepted", "")
    assert result.document == Slip(total=Decimal("8.20"), pieces=2, words="tea")


@pytest.mark.parametrize(
    ("content", "finish_reason", "outcome"),
    [
        ("I cannot read this.", "stop", "not_json"),
        ('{"total": 1}}', "stop", "accepted"),
        ('Here is [the answer]: {"total": 1} Use {curly}.', "stop", "accepted"),
        ('{"total": 1} {"total": 2}', "stop", "not_json"),
        ('{"total": 1} {"total": 1}', "stop", "accepted"),
        ('{"total": 1}', "length", "accepted"),
        ('{"total": 1}', "content_filter", "accepted"),
        ('{"total": 1', "content_filter", "empty"),
        ("I cannot", "SAFETY", "empty"),
        (None, "content_filter", "empty"),
        ('<think>Maybe {"total": 9} or not, let me', "stop", "empty"),
        ('<think>Maybe {"total": 9} or not, let me', "length", "truncated"),
        ("I am sorry, I cannot read this.", "stop", "not_json"),
        ("{'total': 1}", "stop", "not_json"),
        ('{"total": 12.', "length", "truncated"),
        ('{"total": 12.', "stop", "truncated"),
        ('{"total": 12.', None, "truncated"),
        ('[{"total": 12.5', "stop", "truncated"),
        ("Let me see, the total", "length", "truncated"),
        ("<think>Let me see, the total", "length", "truncated"),
        ('```json\n{"total": 12.', "length", "truncated"),
        (None, "length", "truncated"),
        (None, "stop", "empty"),
        (None, None, "empty"),
        ("", "stop", "empty"),
        ("  \n ", "stop", "empty"),
        ("<think>done</think>", "stop", "empty"),
        ("```json\n```", "stop", "empty"),
        ('{"pieces": "many"}', "stop", "off_schema"),
        ('{"words": null}', "stop", "off_schema"),
        ('{"total": "-1"}', "stop", "refused"),
        ('{"pieces": 100}', "stop", "refused"),
        ('{"total": "-1", "pieces": 100}', "stop", "refused"),
        ('{"total": "-1", "words": 3}', "stop", "off_schema"),
        ("[]", "stop", "off_schema"),
        ('[{"total": 1}]', "stop", "off_schema"),
        ("3", "stop", "off_schema"),
        ('"total"', "stop", "off_schema"),
        ("null", "stop", "off_schema"),
        ("true", "stop", "off_schema"),
        ("NaN", "stop", "not_json"),
        ('{"total": NaN}', "stop", "not_json"),
        ('{"total": Infinity}', "stop", "not_json"),
        ('{"total": -Infinity}', "stop", "not_json"),
        ('{"words": "\ud800"}', "stop", "not_json"),
        ('{"words": "\\ud800"}', "stop", "not_json"),
    ],
)
def test_outcome_names_the_error_of_an_answer(content, finish_reason, outcome):
    """The outcomes are those that the table of calls documents."""
    assert verdict(content, finish_reason).outcome == outcome


@pytest.mark.parametrize("content", ['{"total": -1}', "[]", "no", None, '{"total": '])
def test_unaccepted_answer_has_errors_and_no_document(content):
    """The errors tell the model what to correct in a re-ask."""
    result = verdict(content)
    assert result.document is None
    assert result.errors


def test_list_refused_by_a_validator_is_off_schema():
    """An answer that is not an object has the wrong type, even if the schema's own validator reports it."""

    class Strict(BaseModel):
        words: str = ""

        @model_validator(mode="before")
        @classmethod
        def _object(cls, data):
            assert isinstance(data, dict), "an object is wanted"
            return data

    assert verdict("[]", model=Strict).outcome == "off_schema"


def test_repeated_name_is_accepted_only_with_equal_values():
    """Of two different values one is wrong, and nothing tells which."""
    assert verdict('{"pieces": 2, "pieces": 2.0}').document == Slip(pieces=2)
    assert verdict('{"pieces": 1, "pieces": 2}').outcome == "off_schema"


@pytest.mark.parametrize(
    "content",
    [
        "[" * LEVELS,
        "[" * LEVELS + "]" * LEVELS,
        '{"words":' * LEVELS + "1" + "}" * LEVELS,
        '{"words":' + "[" * LEVELS + "]" * LEVELS + "}",
        '{"unknown":' + "[" * LEVELS + "]" * LEVELS + "}",
        '{"unknown":' + "[" * 500 + "]" * 500 + "}",
    ],
    ids=["open", "arrays", "objects", "in a field", "in an unknown field", "between two parsers' limits"],
)
def test_excessive_nesting_is_refused_without_an_exception(content):
    assert verdict(content).outcome in OUTCOMES - {"accepted"}


def test_errors_name_the_fields():
    errors = verdict('{"total": "-1", "pieces": "many", "words": 3}').errors
    assert "total: Value error, a total is never negative" in errors
    assert "pieces: " in errors
    assert "words: " in errors


def test_errors_name_a_nested_field_by_its_path():
    class Page(BaseModel):
        slips: list[Slip]

    assert "slips.1.pieces: " in verdict('{"slips": [{}, {"pieces": "x"}]}', model=Page).errors


def test_errors_list_five_and_count_the_rest():
    """A hundred wrong lines must not make a long prompt."""

    class Page(BaseModel):
        slips: list[int]

    errors = verdict('{"slips": [' + ",".join(['"x"'] * 100) + "]}", model=Page).errors
    assert errors.endswith("(and 95 more)")
    assert len(errors) < 1000


@pytest.mark.parametrize(
    "content",
    [
        f'{{"total": "{SECRET}"}}',
        f'{{"pieces": "{SECRET}"}}',
        f'{{"words": ["{SECRET}"]}}',
        f'["{SECRET}"]',
        f'"{SECRET}"',
        f'{{"words": "{SECRET}',
        f"{SECRET} is what it says",
        f"```json\n{SECRET}\n```",
    ],
)
def test_errors_never_quote_the_answer(content):
    """Messages are logged and stored separately from the answers."""
    assert SECRET not in verdict(content).errors


@pytest.mark.parametrize("sign", ["\ufffd", "\\ufffd", "\\uFFFD"])
def test_text_with_a_replacement_character_is_off_schema(sign):
    """Servers write it for part of a character; no document has it printed."""
    result = verdict(f'{{"words": "caf{sign}"}}')
    assert (result.outcome, result.document) == ("off_schema", None)
    assert "U+FFFD" in result.errors


def test_long_value_does_not_lengthen_the_errors():
    assert len(verdict('{"pieces": "' + "x" * 1_000_000 + '"}').errors) < 500


@given(content=st.text(), finish_reason=st.sampled_from(["stop", "length", "", None, "error"]))
def test_any_text_gets_a_known_outcome(content, finish_reason):
    assert verdict(content, finish_reason).outcome in OUTCOMES


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["total", "pieces", "words", "x"]), inner),
)


@given(value=json_values)
def test_any_json_gets_a_known_outcome(value):
    assert verdict(json.dumps(value)).outcome in OUTCOMES


def test_validator_that_raises_refuses_the_document():
    """A schema's own code may raise anything, and the message names it."""

    class Broken(BaseModel):
        total: int

        @field_validator("total")
        @classmethod
        def _look_up(cls, value):
            return {}[value] if value else sys.exit(3)

    verdict = validate(Reply(200, "", content='{"total": 1}'), Broken)
    assert (verdict.outcome, verdict.errors) == ("refused", "a validator raised KeyError: 1")
    verdict = validate(Reply(200, "", content='{"total": 0}'), Broken)
    assert (verdict.outcome, verdict.errors) == ("refused", "a validator raised SystemExit: 3")


@pytest.mark.parametrize(
    ("changes", "outcome", "words"),
    [
        ({"refusal": "I cannot help with this."}, "empty", "the model declined: I cannot help with this."),
        ({"finish_reason": "content_filter"}, "empty", "a content filter ended it"),
        ({"reasoning": '{"total": 1}'}, "accepted", ""),
        ({"reasoning": '```json\n{"total": 1}\n```'}, "accepted", ""),
        ({"reasoning": 'Perhaps {"total": 1}'}, "empty", "no answer"),
        ({"reasoning": '{"total": 1} or not'}, "empty", "no answer"),
        ({"reasoning": '{"total": 1', "finish_reason": "length"}, "truncated", "no answer"),
        ({"content": "I cannot.", "refusal": "I cannot."}, "empty", "the model declined: I cannot."),
        ({"finish_reason": "MAX_TOKENS"}, "truncated", "MAX_TOKENS"),
        (
            {"content": '{"total": 1', "ended": False, "finish_reason": "error"},
            "connection",
            "finish_reason is 'error'",
        ),
        ({"content": '{"total": 1}', "ended": False}, "accepted", ""),
        ({"content": '{"total": 1', "ended": False, "finish_reason": None}, "connection", "broke off"),
        ({"content": None, "ended": False, "finish_reason": None}, "connection", "broke off"),
        ({"content": '{"pieces": "x"}', "ended": False}, "off_schema", "pieces"),
    ],
)
def test_reply_without_an_answer_is_judged_by_its_other_fields(changes, outcome, words):
    """They are the refusal, the finish reason, an answer in the reasoning, and an interrupted stream."""
    result = validate(Reply(**{"status": 200, "body": "", "finish_reason": "stop"} | changes), Slip)
    assert result.outcome == outcome
    assert words in result.errors


@pytest.mark.parametrize(
    ("content", "runaway"),
    [
        ('{"words": "a",' + "\n  " * 3000, True),
        (" " * 500, True),
        ('{"words": "' + "la la " * 300, True),
        ('{"words": "' + "and the total is 12.50, " * 60, True),
        ("<think>" + "But wait, let me look again. " * 40, True),
        ('{"words": "a perfectly ordinary text that was cut', False),
        ('{"lines": [' + ",".join(f'{{"name": "item {n}", "price": {n * 7}}}' for n in range(200)), False),
        ('{"words": "' + "=" * 100, False),
    ],
)
def test_truncated_answer_that_repeats_itself_is_a_runaway(content, runaway):
    """With more tokens the model would only repeat itself longer."""
    truncated = verdict(content, "length")
    assert (truncated.outcome, truncated.runaway) == ("truncated", runaway)


class Exits(BaseModel):
    """A model whose validator raises SystemExit."""

    name: str

    @field_validator("name")
    @classmethod
    def check_name(cls, value):
        """Raises SystemExit."""
        raise SystemExit(value)


def test_list_errors_reports_a_validator_that_exits():
    [error] = list_errors(Reply(200, "", content='{"name": "a"}'), Exits)
    assert (error.field, "SystemExit" in error.message) == ("document", True)


def test_list_errors_names_each_field():
    errors = list_errors(Reply(200, "", content='{"name": 1}'), Exits)
    assert [(error.field, error.value) for error in errors] == [("name", 1)]


def test_list_errors_of_a_tool_call_as_text_are_those_of_its_arguments():
    """The verdict judges the arguments, too."""
    call = '{"name": "emit", "arguments": {"name": 1}}'
    errors = list_errors(Reply(200, "", content=call), Exits)
    assert [(error.field, error.value) for error in errors] == [("name", 1)]
