"""answer.py and tokens.py: an answer has the log probability of each character, and its tokens are the answer."""

import math
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.endpoint.answer import Answer, EchoCertainty, OcrCertainty, write_document, write_text
from extractors.endpoint.fill.fill import fill_schema
from extractors.endpoint.ocr.words import Document, Word, group_lines
from extractors.endpoint.tokens import format_logprobs, group_tokens, split_tokens

SCHEMA = {
    "type": "object",
    "properties": {
        "company": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "date": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "total": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["company", "date", "total", "tags"],
}
LINES = [("INN TRADING", 0.99), ("BAR", 0.8), ("TOTAL 8.25", 0.9), ("TOTAL AMOUNT 8.75", 0.7)]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def document():
    """A page of four lines, read with these scores."""
    words = [Word(text, 0, 40 * row, 10 * len(text), 40 * row + 20, score) for row, (text, score) in enumerate(LINES)]
    return Document((group_lines(words),))


def logprob_of(answer, text, length=None):
    """The log probabilities of the characters of this text, where it stands first."""
    start = answer.text.index(text)
    return list(answer.logprobs)[start : start + (length or len(text))]


def test_probabilities_are_those_of_words_and_of_the_finding(document):
    """A value begins with the choice among its candidates; each character has the score of its word."""
    answer = write_document(fill_schema(SCHEMA, document), SCHEMA, OcrCertainty(document))
    assert orjson.loads(answer.text)["company"] == "INN TRADING"
    first, *others = logprob_of(answer, "INN")
    assert others == [math.log(0.99)] * 2
    assert first < math.log(0.99)
    assert answer.logprobs[answer.text.index(" TRADING")] == 0
    quote, null = logprob_of(answer, '"INN', 1)[0], logprob_of(answer, "null")[0]
    assert math.log(0.5) < quote < 0
    read_right = sum(score ** sum(map(str.isalnum, text)) for text, score in LINES) / 4
    assert math.isclose(null, math.log(5 / 6 * read_right))
    total = answer.text.index('"total":') + len('"total":')
    assert answer.logprobs[total] < math.log(0.5)
    keys = [number for name in SCHEMA["properties"] for number in logprob_of(answer, f'"{name}":')]
    assert set(keys) == {0.0}
    better = Document((group_lines([replace(word, score=0.999) for line in document.lines for word in line.words]),))
    sure = write_document(fill_schema(SCHEMA, better), SCHEMA, OcrCertainty(better))
    assert sure.text == answer.text
    assert sum(sure.logprobs) > sum(answer.logprobs)


def test_characters_have_the_score_of_the_word_in_which_they_were_read():
    """A value is looked for whole, then word by word in reading order; what is on no page has the mean."""
    lines = [("JALAN 1O", 0.9), ("8.20", 0.5), ("1O JOHOR", 1.0), ("8.20 CASH", 0.8)]
    words = [Word(text, 0, 40 * row, 10 * len(text), 40 * row + 20, score) for row, (text, score) in enumerate(lines)]
    certainty = OcrCertainty(Document((group_lines(words),)))
    read = {
        text: [round(math.exp(each), 3) for each in certainty.rate_letters(text)]
        for text in ("8.2", "johor, 8.2", "XYZ")
    }
    assert read == {"8.2": [0.8, 1.0, 0.8], "johor, 8.2": [1.0] * 7 + [0.8, 1.0, 0.8], "XYZ": [0.8] * 3}
    assert [round(math.exp(each), 3) for each in certainty.rate_letters("JALAN X 1O")] == [0.9] * 5 + [1, 0.8, 1] + [
        0.9
    ] * 2


def test_date_has_the_score_of_what_is_written():
    """In whatever order and form the page has it."""
    word = Word("Date: 13 Mar 2018", 0, 0, 170, 20, 0.5)
    certainty = OcrCertainty(Document((group_lines([word]),)))
    assert math.isclose(sum(certainty.rate_letters("2018-03-13")), 9 * math.log(0.5))
    assert math.isclose(sum(certainty.rate_letters("2018-03-14")), 4 * math.log(0.5) + 4 * math.log(0.5))


def test_echo_knows_the_ways_of_the_schema():
    """A null is one of two, a choice one of three, a flag one of two; free text is in no doubt."""
    schema = {
        "type": "object",
        "properties": {
            "a": {"enum": ["x", "y", "z"]},
            "b": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "c": {"type": "boolean"},
            "d": {"type": "string"},
        },
    }
    answer = write_document({"a": "x", "b": None, "c": True, "d": "echo"}, schema, EchoCertainty())
    parts = {text: round(math.exp(sum(logprob_of(answer, text))), 6) for text in ('"x"', "null", "true", '"echo"')}
    assert parts == {'"x"': 0.333333, "null": 0.5, "true": 0.5, '"echo"': 1.0}


@given(value=VALUES)
def test_document_is_written_as_without_log_probabilities(value):
    """To the byte, with a number for each character."""
    answer = write_document(value, SCHEMA, EchoCertainty())
    assert answer.text.encode() == orjson.dumps(value)
    assert len(answer.logprobs) == len(answer.text)


@given(text=TEXTS | VALUES.map(lambda value: orjson.dumps(value).decode()), size=st.integers(1, 40))
def test_tokens_are_the_text(text, size):
    """Joined, in every form; split, cut and in chunks, none is lost, and each has what its characters have."""
    answer = write_text(text, EchoCertainty())
    answer = replace(answer, logprobs=[-0.5] * len(text), base=-2.0)
    for form in ("entries", "lists"):
        tokens = split_tokens(text, answer, form)
        assert b"".join(token.raw for token in tokens) == text.encode()
        assert math.isclose(sum(token.logprob for token in tokens), -0.5 * len(text), abs_tol=1e-9)
        chunks = [b"".join(each.raw for each in group).decode() for group in group_tokens(tokens, size)]
        assert "".join(chunks) == text
    assert "".join(format_logprobs(tokens, "lists", 0)["tokens"]) == text
    cut = split_tokens(text[:size], answer, "lists")
    assert math.isclose(sum(token.logprob for token in cut), -0.5 * len(text[:size]), abs_tol=1e-9)


def test_characters_around_an_answer_have_its_base():
    """Of a fence, of other words in its place."""
    answer = Answer("{}", [-0.5, -0.25], -2.0)
    assert answer.spread("x{}y") == [-2.0, -0.5, -0.25, -2.0]
    assert answer.spread("other") == [-2.0] * 5
    assert answer.spread("{") == [-0.5]


def test_tokens_are_pieces_of_words():
    """Some hold a quote and the begin of a value; a character may end in the next token; `null` is whole."""
    words = ["KEDAI", "RESTORAN", "Gerai", "日本", "total", "PASAR", "12345", "1990", "東京"]
    text = orjson.dumps({f"field_{word}": [word, None] for word in words}).decode()
    tokens = split_tokens(text, Answer(text, [0.0] * len(text)), "entries")
    shown = [token.text for token in tokens]
    assert any(len(each) > 1 and each[0] == '"' and each[1:].isalnum() for each in shown)
    assert "null" in shown
    assert any(each.startswith("\\x") for each in shown)
    assert not {"KEDAI", "RESTORAN", "12345"} & set(shown)
    assert 2 * len(tokens) < len(text)
