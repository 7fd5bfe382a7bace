"""answer.py and tokens.py: each character of an answer has a log probability, and its tokens join to the answer."""

import math
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.endpoint.answer import Answer, EchoCertainty, OcrCertainty, write_document, write_text
from extractors.endpoint.fill.fill import fill_schema
from extractors.endpoint.ocr.words import OcrDocument, Word, group_lines
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
    """A page of four lines with these OCR scores."""
    words = [Word(text, 0, 40 * row, 10 * len(text), 40 * row + 20, score) for row, (text, score) in enumerate(LINES)]
    return OcrDocument((group_lines(words),))


def list_logprobs(answer, text, length=None):
    """List the log probabilities of this text at its first position."""
    start = answer.text.index(text)
    return list(answer.logprobs)[start : start + (length or len(text))]


def test_answer_combines_probabilities_of_words_and_candidates(document):
    """The first character of a value has the choice among its candidates, too; each character has its word's score."""
    answer = write_document(fill_schema(SCHEMA, document), SCHEMA, OcrCertainty(document))
    assert orjson.loads(answer.text)["company"] == "INN TRADING"
    first, *others = list_logprobs(answer, "INN")
    assert others == [math.log(0.99)] * 2
    assert first < math.log(0.99)
    assert answer.logprobs[answer.text.index(" TRADING")] == 0
    quote, null = list_logprobs(answer, '"INN', 1)[0], list_logprobs(answer, "null")[0]
    assert math.log(0.5) < quote < 0
    mean_line_probability = sum(score ** sum(map(str.isalnum, text)) for text, score in LINES) / 4
    assert math.isclose(null, math.log(5 / 6 * mean_line_probability))
    total = answer.text.index('"total":') + len('"total":')
    assert answer.logprobs[total] < math.log(0.5)
    keys = [number for name in SCHEMA["properties"] for number in list_logprobs(answer, f'"{name}":')]
    assert set(keys) == {0.0}
    better = OcrDocument((group_lines([replace(word, score=0.999) for line in document.lines for word in line.words]),))
    certain = write_document(fill_schema(SCHEMA, better), SCHEMA, OcrCertainty(better))
    assert certain.text == answer.text
    assert sum(certain.logprobs) > sum(answer.logprobs)


def test_certainty_gives_each_letter_the_score_of_its_word():
    """A value is searched whole, then word by word in reading order; text on no page has the mean score."""
    lines = [("JALAN 1O", 0.9), ("8.20", 0.5), ("1O JOHOR", 1.0), ("8.20 CASH", 0.8)]
    words = [Word(text, 0, 40 * row, 10 * len(text), 40 * row + 20, score) for row, (text, score) in enumerate(lines)]
    certainty = OcrCertainty(OcrDocument((group_lines(words),)))
    scores = {
        text: [round(math.exp(logprob), 3) for logprob in certainty.rate_letters(text)]
        for text in ("8.2", "johor, 8.2", "XYZ")
    }
    assert scores == {"8.2": [0.8, 1.0, 0.8], "johor, 8.2": [1.0] * 7 + [0.8, 1.0, 0.8], "XYZ": [0.8] * 3}
    assert [round(math.exp(logprob), 3) for logprob in certainty.rate_letters("JALAN X 1O")] == [0.9] * 5 + [
        1,
        0.8,
        1,
    ] + [0.9] * 2


def test_certainty_gives_a_date_the_score_of_its_printed_form():
    """The page may write the date in another order and form."""
    word = Word("Date: 13 Mar 2018", 0, 0, 170, 20, 0.5)
    certainty = OcrCertainty(OcrDocument((group_lines([word]),)))
    assert math.isclose(sum(certainty.rate_letters("2018-03-13")), 9 * math.log(0.5))
    assert math.isclose(sum(certainty.rate_letters("2018-03-14")), 4 * math.log(0.5) + 4 * math.log(0.5))


def test_echo_certainty_counts_the_alternatives_of_the_schema():
    """A null is one of two, an enum value one of three, a boolean one of two; free text is certain."""
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
    probabilities = {
        text: round(math.exp(sum(list_logprobs(answer, text))), 6) for text in ('"x"', "null", "true", '"echo"')
    }
    assert probabilities == {'"x"': 0.333333, "null": 0.5, "true": 0.5, '"echo"': 1.0}


@given(value=VALUES)
def test_document_has_the_bytes_of_orjson_and_one_logprob_a_character(value):
    answer = write_document(value, SCHEMA, EchoCertainty())
    assert answer.text.encode() == orjson.dumps(value)
    assert len(answer.logprobs) == len(answer.text)


@given(text=TEXTS | VALUES.map(lambda value: orjson.dumps(value).decode()), size=st.integers(1, 40))
def test_tokens_join_to_the_text(text, size):
    """In every form, whole, cut or in groups, the tokens keep all characters and their log probabilities."""
    answer = write_text(text, EchoCertainty())
    answer = replace(answer, logprobs=[-0.5] * len(text), base=-2.0)
    for form in ("entries", "lists"):
        tokens = split_tokens(text, answer, form)
        assert b"".join(token.raw for token in tokens) == text.encode()
        assert math.isclose(sum(token.logprob for token in tokens), -0.5 * len(text), abs_tol=1e-9)
        chunks = [b"".join(token.raw for token in group).decode() for group in group_tokens(tokens, size)]
        assert "".join(chunks) == text
    assert "".join(format_logprobs(tokens, "lists", 0)["tokens"]) == text
    cut = split_tokens(text[:size], answer, "lists")
    assert math.isclose(sum(token.logprob for token in cut), -0.5 * len(text[:size]), abs_tol=1e-9)


def test_spread_gives_characters_around_an_answer_the_base_logprob():
    """The surrounding text is a fence, or other text replaces the answer."""
    answer = Answer("{}", [-0.5, -0.25], -2.0)
    assert answer.spread("x{}y") == [-2.0, -0.5, -0.25, -2.0]
    assert answer.spread("other") == [-2.0] * 5
    assert answer.spread("{") == [-0.5]


def test_tokens_split_words_like_a_model():
    """Some begin with a quote, some end within a character; `null` is one token."""
    words = ["KEDAI", "RESTORAN", "Gerai", "日本", "total", "PASAR", "12345", "1990", "東京"]
    text = orjson.dumps({f"field_{word}": [word, None] for word in words}).decode()
    tokens = split_tokens(text, Answer(text, [0.0] * len(text)), "entries")
    pieces = [token.text for token in tokens]
    assert any(len(piece) > 1 and piece[0] == '"' and piece[1:].isalnum() for piece in pieces)
    assert "null" in pieces
    assert any(piece.startswith("\\x") for piece in pieces)
    assert not {"KEDAI", "RESTORAN", "12345"} & set(pieces)
    assert 2 * len(tokens) < len(text)
