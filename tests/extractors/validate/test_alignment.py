"""Alignment: which tokens wrote which value, and what is unknown.

Covers `extractors.validate.spans` and `extractors.validate.token_text`, too.
"""

from math import exp, log
from timeit import repeat

import pytest
from pydantic import AliasPath, BaseModel, Field, RootModel, computed_field

from extractors.core import Reply
from extractors.core.calls import TokenLogprobs
from extractors.core.money import Usage
from extractors.validate import validate
from extractors.validate.alignment import align

SURE, UNSURE = log(0.99), log(0.5)


class Slip(BaseModel):
    """A document with a value that no token writes."""

    company: str | None = None
    total: float | None = None
    city: str | None = Field(default=None, validation_alias=AliasPath("seller", "city"))

    @computed_field
    @property
    def doubled(self) -> float | None:
        return self.total and self.total * 2


def reply(tokens, content=None, **parts):
    """A reply of these tokens; one that begins with `~` is less probable."""
    texts = tuple(token.removeprefix("~") for token in tokens)
    logprobs = tuple(UNSURE if token.startswith("~") else SURE for token in tokens)
    return Reply(
        200,
        "",
        content="".join(texts) if content is None else content,
        logprobs=TokenLogprobs(texts, logprobs),
        **parts,
    )


def fields(answer, model=Slip):
    """The evidence by field."""
    return {each.field: each for each in align(answer, model).fields}


def test_evidence_of_a_value_is_that_of_its_own_tokens():
    """Quotes, colons and commas of their own do not count; a token that joins them to the value does."""
    evidence = fields(reply(['{"', "company", '":', '~ "', "TAN", "~ WOON", '",', '"total":', "~9", ".0", "}"]))
    company, total = evidence["company"], evidence["total"]
    assert (company.least, company.first, company.length) == (UNSURE, SURE, 2)
    assert (company.mean, company.total) == pytest.approx(((SURE + UNSURE) / 2, SURE + UNSURE))
    assert (company.not_null, company.confidence) == pytest.approx((0.5, 0.5))  # the quote opened the value
    assert (total.length, total.not_null, total.confidence) == pytest.approx((2, 0.5, 0.5))


def test_evidence_of_a_null_is_what_its_tokens_leave():
    """How likely another value was is 1 minus the probability of all tokens of the null."""
    total = fields(reply(['{"total": ', "~n", "ull", "}"]))["total"]
    assert total.not_null == pytest.approx(1 - 0.5 * 0.99)
    assert total.confidence == pytest.approx(0.5)


def test_values_that_no_token_wrote_are_unknown():
    """A default, a computed value, and one that an alias reads from inside another value have no confidence."""
    evidence = fields(reply(['{"total": 4, ', '"seller": {"city": "Setapak"}}']))
    assert list(evidence) == ["company", "total", "city", "doubled"]
    assert [each.confidence is None for each in evidence.values()] == [True, False, True, True]


@pytest.mark.parametrize(
    ("tokens", "parts"),
    [
        (['{"total": 4}'], {"reasoning": "It says four."}),
        (['{"total": 4}'], {"usage": Usage(10, 20, 0, 12)}),
        (["<think>It says four.</think>", '{"total": 4}'], {}),
        (["<think>It says four.</think>", '{"total": 4}'], {"content": '{"total": 4}'}),
        (['{"total": 4}'], {"content": '<think>It says four.</think>{"total": 4}'}),
        (["It says four.</think>", '{"total": 4}'], {}),
        (["<|channel|>analysis<|message|>Four.<|end|>", "<|channel|>final<|message|>", '{"total": 4}'], {}),
        (["analysisIt says four.assistantfinal", '{"total": 4}'], {}),
        (['{"total": 5}'], {"content": '{"total": 4}'}),
        (['{"total": 4}', ' {"total": 4}'], {}),
        (['{"receipt": ', '{"total": 4}}'], {}),
        (['"{\\"total\\": 4}"'], {}),
        ([], {"content": '{"total": 4}'}),
    ],
)
def test_an_answer_that_tokens_do_not_tell_has_no_confidence(tokens, parts):
    """After reasoning, and where the tokens are not those of the document or write it twice, nothing is guessed."""
    evidence = align(reply(tokens, **parts), Slip)
    assert evidence is None or evidence.confidence is None


def test_a_reply_without_tokens_has_no_evidence():
    """Neither has one that is no document."""
    assert align(Reply(200, "", content='{"total": 4}'), Slip) is None
    assert align(reply(["Sorry"]), Slip) is None


def test_an_unknown_logarithm_makes_its_own_values_unknown():
    """The others keep theirs, and the length is known."""
    known = reply(['{"company": "', "A", '", "total": ', "4", "}"])
    tokens = TokenLogprobs(known.logprobs.tokens, (SURE, None, SURE, UNSURE, SURE))
    evidence = fields(Reply(200, "", content=known.content, logprobs=tokens))
    company, total = evidence["company"], evidence["total"]
    assert (company.least, company.confidence, company.length) == (None, None, 1)
    assert company.not_null == pytest.approx(0.99)
    assert total.confidence == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("tokens", "content"),
    [
        (["<think>\n\n</think>\n\n", '{"company":"', "~€5", '"}'], None),
        (["<|channel|>final<|message|>", '{"company":"', "~€5", '"}', "<|return|>"], None),
        (['{"company":"', "<0xE2>", "~<0x82>", "<0xAC>", '5"}'], '{"company":"€5"}'),
        (['{"company":"', "\ufffd", "~\ufffd", '5"}', "</s>"], '{"company":"€5"}'),
        (['{"', "<|im_sep|>", "", 'company":"', "~€5", "<|im_sep|>", '"}'], '{"company":"€5"}'),
        (['{"company":Ġ"', "~âĤ¬", "5", '"}'], '{"company": "€5"}'),
        (["▁{", '"company":', '▁"', "~€", "5", '"}', "</s>"], '{"company": "€5"}'),
        (
            ['<tool_call>\n{"name": "slip", "arguments": ', '{"company":"', "~€5", '"}', "}</tool_call>"],
            '{"company": "€5"}',
        ),
        (['{"company":', '"\\u20ac', "~5", '"', "}"], None),
    ],
)
def test_tokens_are_read_as_servers_write_them(tokens, content):
    """Special tokens, bytes of split characters, alphabets for bytes, and arguments that the server wrote anew."""
    company = fields(reply(tokens, content))["company"]
    assert company.least == UNSURE
    assert company.confidence == pytest.approx(0.5)


def test_a_root_model_has_one_value():
    """The whole answer is the value of the field `root`."""
    rows = RootModel[list[int]]
    assert fields(reply(["[1", ", ", "~2", "]"]), rows)["root"].confidence == pytest.approx(0.5)


def test_alignment_takes_less_than_a_millisecond():
    """An answer of 150 tokens costs 0.1 ms on a quiet machine (docs/benchmarks.md); here one slow machine has room."""
    value = reply(['{"company":"', *["word "] * 150, '","total":', "4", "}"])
    candidate = validate(value, Slip).candidate
    assert min(repeat(lambda: align(value, Slip, candidate), number=10, repeat=5)) / 10 < 0.001


def test_confidence_is_at_most_one():
    """A logarithm that rounding made positive is a probability of 1."""
    value = reply(['{"total":', "4", "}"])
    logprobs = TokenLogprobs(value.logprobs.tokens, (0.0, 1e-9, 0.0))
    (total,) = (
        each for each in align(Reply(200, "", content=value.content, logprobs=logprobs), Slip).fields if each.length
    )
    assert (total.confidence, total.not_null) == (1.0, 1.0)
    assert exp(total.least) >= 1.0
