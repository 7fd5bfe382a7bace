"""alignment.py: which tokens wrote which value, and which confidences are unknown.

Also covers `extractors.validate.spans` and `extractors.validate.token_text`.
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
    """A document with fields that no token writes."""

    company: str | None = None
    total: float | None = None
    city: str | None = Field(default=None, validation_alias=AliasPath("seller", "city"))

    @computed_field
    @property
    def doubled(self) -> float | None:
        return self.total and self.total * 2


def reply(tokens, content=None, **parts):
    """A reply with these tokens; a token that begins with `~` is less probable."""
    texts = tuple(token.removeprefix("~") for token in tokens)
    logprobs = tuple(UNSURE if token.startswith("~") else SURE for token in tokens)
    return Reply(
        200,
        "",
        content="".join(texts) if content is None else content,
        logprobs=TokenLogprobs(texts, logprobs),
        **parts,
    )


def align_fields(answer, model=Slip):
    """The evidence by field."""
    return {evidence.field: evidence for evidence in align(answer, model).fields}


def test_evidence_of_a_value_is_that_of_its_tokens():
    """A token of quotes, colons or commas alone does not count; a token that joins them to the value does."""
    evidence = align_fields(reply(['{"', "company", '":', '~ "', "TAN", "~ WOON", '",', '"total":', "~9", ".0", "}"]))
    company, total = evidence["company"], evidence["total"]
    assert (company.least, company.first, company.length) == (UNSURE, SURE, 2)
    assert (company.mean, company.total) == pytest.approx(((SURE + UNSURE) / 2, SURE + UNSURE))
    assert (company.not_null, company.confidence) == pytest.approx((0.5, 0.5))  # the opening quote decides against null
    assert (total.length, total.not_null, total.confidence) == pytest.approx((2, 0.5, 0.5))


def test_not_null_of_a_null_is_one_minus_its_probability():
    """The probability of a null is the product of all its tokens'."""
    total = align_fields(reply(['{"total": ', "~n", "ull", "}"]))["total"]
    assert total.not_null == pytest.approx(1 - 0.5 * 0.99)
    assert total.confidence == pytest.approx(0.5)


def test_values_without_tokens_have_no_confidence():
    """They are a default, a computed value, and a value that an alias reads from inside another value."""
    evidence = align_fields(reply(['{"total": 4, ', '"seller": {"city": "Setapak"}}']))
    assert list(evidence) == ["company", "total", "city", "doubled"]
    assert [field.confidence is None for field in evidence.values()] == [True, False, True, True]


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
def test_answer_that_tokens_do_not_match_has_no_confidence(tokens, parts):
    """There is no confidence after reasoning, and where the tokens are not the document's or write it twice."""
    evidence = align(reply(tokens, **parts), Slip)
    assert evidence is None or evidence.confidence is None


def test_reply_without_tokens_or_document_has_no_evidence():
    assert align(Reply(200, "", content='{"total": 4}'), Slip) is None
    assert align(reply(["Sorry"]), Slip) is None


def test_unknown_logarithm_makes_only_its_value_unknown():
    """Other values keep their confidence, and all lengths are known."""
    answer = reply(['{"company": "', "A", '", "total": ', "4", "}"])
    tokens = TokenLogprobs(answer.logprobs.tokens, (SURE, None, SURE, UNSURE, SURE))
    evidence = align_fields(Reply(200, "", content=answer.content, logprobs=tokens))
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
def test_align_reads_the_token_formats_of_servers(tokens, content):
    """They include special tokens, split characters, byte alphabets, and arguments that the server reformatted."""
    company = align_fields(reply(tokens, content))["company"]
    assert company.least == UNSURE
    assert company.confidence == pytest.approx(0.5)


def test_root_model_has_one_value():
    """The whole answer is the value of the field `root`."""
    rows = RootModel[list[int]]
    assert align_fields(reply(["[1", ", ", "~2", "]"]), rows)["root"].confidence == pytest.approx(0.5)


def test_align_takes_less_than_a_millisecond():
    """An answer of 150 tokens takes 0.1 ms on an idle machine (docs/benchmarks.md); the limit allows for a slow one."""
    value = reply(['{"company":"', *["word "] * 150, '","total":', "4", "}"])
    candidate = validate(value, Slip).candidate
    assert min(repeat(lambda: align(value, Slip, candidate), number=10, repeat=5)) / 10 < 0.001


def test_confidence_is_at_most_one():
    """A logarithm that is positive because of rounding counts as a probability of 1."""
    value = reply(['{"total":', "4", "}"])
    logprobs = TokenLogprobs(value.logprobs.tokens, (0.0, 1e-9, 0.0))
    (total,) = (
        field for field in align(Reply(200, "", content=value.content, logprobs=logprobs), Slip).fields if field.length
    )
    assert (total.confidence, total.not_null) == (1.0, 1.0)
    assert exp(total.least) >= 1.0
