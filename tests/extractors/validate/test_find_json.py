"""validate/find_json.py: where the JSON of an answer begins and ends; a part of it is never taken for the whole."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, RootModel

from extractors.core import Reply
from extractors.validate import validate
from extractors.validate.find_json import find_json

DRAFT, ANSWER = '{"caption": "DRAFT"}', '{"caption": "A wall"}'


class Open(BaseModel):
    """A document that accepts any object, so that no wrong part is refused for its fields."""

    model_config = ConfigDict(extra="allow")


class Items(RootModel[list[object]]):
    """A document that accepts any list."""


def judge(content, model=Open, finish_reason="stop"):
    return validate(Reply(200, "", content=content, finish_reason=finish_reason), model)


@pytest.mark.parametrize(
    "content",
    [
        ANSWER,
        "Here is the JSON you asked for:\n" + ANSWER,
        "json\n" + ANSWER,
        "The function f() {} is empty. " + ANSWER + " {}",
        "Here it is:\n```json\n" + ANSWER,
        "Page [1]:\n" + ANSWER,
        "As on pages [1], [2] and [3, 4]: " + ANSWER,
        "[the answer] [Note: as printed] {curly} " + ANSWER,
        "The form is {name: text, total: number}. " + ANSWER + " {done: yes}",
        ANSWER + "\nBye.",
        ANSWER + '\n\nNotes:\n- "caption": as on [line 3]',
        "```json\n" + ANSWER + '\n```\n**Note**: "caption" is {short}: [see above]',
        "[2026-01-02] " + ANSWER + " Page [1/2] of [5 EUR].",
        ANSWER + "}",
        ANSWER + "\n" + ANSWER,
        ANSWER + "<think>was that right? " + DRAFT + "</think>",
        ANSWER + "</think>",
        ANSWER + "<|im_end|>",
        "<think>" + DRAFT + "</think>" + ANSWER,
        "<thinking>" + DRAFT + "</thinking>" + ANSWER,
        "<think>{ and [1, then " + DRAFT + "</think>" + ANSWER,
        '<think>the tag "</think>" ends {</think>' + ANSWER,
        "Perhaps " + DRAFT + " but no.</think>" + ANSWER,
        'Perhaps {"caption": </think>' + ANSWER,
        "[THINK]" + DRAFT + "[/THINK]" + ANSWER,
        "◁think▷Maybe " + DRAFT + " but no.◁/think▷" + ANSWER,
        "<seed:think>" + DRAFT + "</seed:think>" + ANSWER,
        "<|START_THINKING|>" + DRAFT + "<|END_THINKING|><|START_RESPONSE|>" + ANSWER + "<|END_RESPONSE|>",
        "<|begin_of_thought|>" + DRAFT + "<|end_of_thought|>" + ANSWER,
        "<unused94>thought\n" + DRAFT + "<unused95>" + ANSWER,
        "<|channel>thought\n" + DRAFT + "<channel|>" + ANSWER,
        "<|channel|>analysis<|message|>" + DRAFT + "<|end|><|start|>assistant<|channel|>final<|message|>" + ANSWER,
        "<|channel|>final <|constrain|>json<|message|>" + ANSWER + "<|return|>",
        "analysisThe user wants " + DRAFT + " maybe.assistantfinal" + ANSWER,
        "<|begin_of_box|>" + ANSWER + "<|end_of_box|>",
        "<answer>" + ANSWER + "</answer>",
        '{"caption": "DRAFT",} is malformed, so: ' + ANSWER,
    ],
)
def test_answer_is_found_between_prose_fences_and_reasoning(content):
    assert judge(content).document == Open(caption="A wall")


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        ('{"a": {"b": 1}, "c', "truncated"),
        ('{"a": {"b": 1}, "c": [{"d": 1}, {"e', "truncated"),
        ("{", "truncated"),
        ("Here it is:\n{", "truncated"),
        ('```json\n{"a": {"b": 1}', "truncated"),
        (ANSWER + " and " + '{"a": {"b": 1}', "truncated"),
        ("{name: 1, inner: " + ANSWER, "truncated"),
        ('{"a": {"b": 1},]}', "not_json"),
        ("{'a': " + ANSWER + "}", "not_json"),
        ("{name: 1, inner: " + ANSWER + "}", "not_json"),
        ("{“a”: " + ANSWER + "}", "not_json"),
        ("{ // a comment\n inner: " + ANSWER + "}", "not_json"),
        (DRAFT + ANSWER, "not_json"),
        ("The form is:\n```json\n" + DRAFT + "\n```\nAnswer:\n```json\n" + ANSWER + "\n```", "not_json"),
        (ANSWER + ' {"a": 1,}', "not_json"),
        ('"a": 1, "inner": ' + ANSWER + "}", "not_json"),
        ('"inner": ' + ANSWER + ', "a": 1}', "not_json"),
        ("[..., " + ANSWER + "]", "not_json"),
        ("[…, " + ANSWER + "]", "not_json"),
        ('{"a": 1}, "inner": ' + ANSWER + "}", "not_json"),
        ('{"a": 1}, "b": 2}', "not_json"),
        ('{}"a": 1, "b": 2}', "not_json"),
        ('{"a": }{"b": ' + ANSWER + "}}", "not_json"),
        ("[the answer]", "not_json"),
        ("{curly}", "not_json"),
        ("<think>" + ANSWER, "empty"),
        ("Hm " + ANSWER + "</think>", "empty"),
        ("[1, 2]", "off_schema"),
        (ANSWER + " as on page [1]", "accepted"),
        ("[" * 100_000, "truncated"),
    ],
)
def test_part_of_an_answer_is_never_accepted(content, outcome):
    """An unclosed bracket is truncated, an unparsable one is no JSON, and nothing inside either is used."""
    assert judge(content).outcome == outcome


@pytest.mark.parametrize("content", ["[]", "Here it is:\n[]", "```json\n[]\n```", '[{"a": 1}]', "[true]", "[-1]"])
def test_list_is_found_for_a_list_schema(content):
    """An empty list is found on a line of its own; within prose `[]` is ignored."""
    assert judge(content, Items).outcome == "accepted"


def test_malformed_json_has_its_position_in_the_answer():
    result = find_json('Here: {"a": 1,}')
    assert result.malformed is not None
    assert result.malformed.at == len('Here: {"a": 1')


texts = st.text(max_size=12) | st.sampled_from(
    ["</think>", "<think>", "```", "[1]", '{"a": 1}', "}", '"', "\\", "◁think▷", "<|channel|>final<|message|>"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, min_size=1, max_size=4)
lists = st.lists(values, min_size=1, max_size=4)
answer_texts = st.builds(
    lambda value, indent, plain: json.dumps(value, indent=indent, ensure_ascii=plain),
    objects | lists,
    st.none() | st.just(2),
    st.booleans(),
)
PROSE = [
    "",
    "Here it is:\n",
    "json\n",
    "Page [1], [the] one, [Note: odd, {curly}:\n",
    "I see “€ 5”. ",
    "1. Read\n2. Write\n",
]
MARKS = [
    "",
    "<think>hm {</think>",
    '<think>perhaps {"a": 2} or [3]</think>\n',
    "◁think▷no◁/think▷",
    "[THINK]x[/THINK]",
    "<|channel|>analysis<|message|>hm {<|end|><|start|>assistant<|channel|>final<|message|>",
]
before = st.builds("".join, st.tuples(st.sampled_from(MARKS), st.sampled_from(PROSE)))
behind = st.builds(
    "".join, st.tuples(st.sampled_from(["", "\n", "\nBye.", " [see above]", "\n{done}"]), st.sampled_from(MARKS[:5]))
)
fences = st.sampled_from([("", ""), ("```json\n", "\n```"), ("```\n", "\n```"), ("```json\n", "")])


@given(answer_texts, st.data(), st.sampled_from(["stop", "length", None]), before)
@example('{"a": "</think>", "d": {"b": 1}, "z": 1}', None, "stop", "")
def test_truncated_answer_is_never_a_document(text, data, finish_reason, prose):
    """It may be cut anywhere before its last closing bracket, and its strings may have any content."""
    places = range(len(text)) if data is None else [data.draw(st.integers(0, len(text) - 1))]
    for place in places:
        assert judge(prose + text[:place], Open, finish_reason).document is None
        prose = prose.replace("[1], ", "")  # it is a list, too
        assert judge(prose + text[:place], Items, finish_reason).document is None


@given(answer_texts, before, behind, fences, st.sampled_from(["stop", "length", None]))
def test_surrounding_text_never_changes_the_document(text, prose, words, fence, finish_reason):
    model = Open if text.startswith("{") else Items
    prose = prose if model is Open else prose.replace("[1], ", "")  # it is a list, too
    whole = prose + fence[0] + text + fence[1] + words
    assert judge(whole, model, finish_reason).document == model.model_validate_json(text)


@given(st.text(alphabet='{}[]",:\\ a1<>/think|\n', max_size=200))
def test_no_text_of_brackets_quotes_and_tags_raises(text):
    assert judge(text).outcome
    assert judge(text, Items).outcome
