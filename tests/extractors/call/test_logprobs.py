"""logprobs.py: log probabilities are parsed whole or dropped, and a server's refusal of them is recognised."""

import json

import httpx
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extractors.call.logprobs import refuses_logprobs
from extractors.call.profiles import PROFILES
from extractors.call.request import RequestOptions, RequestTemplate
from extractors.call.response import MAX_KEPT_CHARS, parse_response, parse_stored
from extractors.core.calls import TokenLogprobs
from extractors.core.schema import load

CONTENT = '{"shop": "Café"}'
TOKENS = ('{"', "shop", '": "', "Caf", "é", '"}')
LOGPROBS = (-0.5, -0.25, 0.0, -1.5, None, -9999.0)


def entry(token, logprob, raw="given"):
    """A token in OpenAI's form."""
    raw = list(token.encode()) if raw == "given" else raw
    return {"token": token, "logprob": logprob, "bytes": raw, "top_logprobs": []}


def openai(*entries):
    return {"content": [*entries], "refusal": None}


def together(tokens=TOKENS, logprobs=LOGPROBS, **changes):
    return {"tokens": [*tokens], "token_logprobs": [*logprobs], "token_ids": [1] * len(tokens), **changes}


LOGPROB_FORMS = {"openai": openai(*map(entry, TOKENS, LOGPROBS)), "together": together()}


def choice(logprobs, content=CONTENT, **changes):
    return {"index": 0, "message": {"content": content}, "finish_reason": "stop", "logprobs": logprobs, **changes}


def parse(body):
    """Returns the reply with this body, after asserting that it has no fault."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply, fault = parse_response(httpx.Response(200), content)
    assert fault is None
    return reply


def stream(*choices):
    events = [{"model": "m", "choices": [event]} for event in choices]
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def chunk(text, logprobs, **changes):
    return {"index": 0, "delta": {"content": text}, "finish_reason": None, "logprobs": logprobs, **changes}


@pytest.mark.parametrize("form", LOGPROB_FORMS)
def test_log_probabilities_are_parsed_from_both_forms(form):
    """Only the first choice's are read. The kept body omits them, and is parsed again with the stored tokens."""
    reply = parse({"choices": [choice(LOGPROB_FORMS[form]), choice(together(["x"], [-1.0]), index=1)]})
    assert reply.logprobs == TokenLogprobs(TOKENS, LOGPROBS)
    assert json.loads(reply.body)["choices"][0]["logprobs"] is None
    again = parse_stored(reply.body, logprobs=reply.logprobs)
    assert (again.content, again.logprobs) == (CONTENT, reply.logprobs)


@pytest.mark.parametrize(
    "form", [openai, lambda *entries: together(*zip(*((e["token"], e["logprob"]) for e in entries), strict=False))]
)
def test_streamed_log_probabilities_are_joined(form):
    """A chunk has the tokens of its own text; some chunks and the last one have none."""
    pieces = [("", None), ('{"', None), ("shop", None), ('": "', None), ('Café"}', None)]
    parts = [TOKENS[:0], TOKENS[:1], TOKENS[1:2], TOKENS[2:3], TOKENS[3:]]
    values = [LOGPROBS[:0], LOGPROBS[:1], LOGPROBS[1:2], LOGPROBS[2:3], LOGPROBS[3:]]
    chunks = [
        chunk(text, form(*map(entry, tokens, numbers)) if tokens else None)
        for (text, _), tokens, numbers in zip(pieces, parts, values, strict=True)
    ]
    reply = parse(stream(*chunks, chunk("", None, finish_reason="stop"), chunk("x", openai(entry("x", -1.0)), index=1)))
    assert (reply.content, reply.logprobs) == (CONTENT, TokenLogprobs(TOKENS, LOGPROBS))
    assert "top_logprobs" not in reply.body
    assert "token_ids" not in reply.body


def test_bare_number_belongs_to_the_streamed_text():
    """Chunks of Together may have this form."""
    reply = parse(stream(chunk("{", -0.5), chunk("}", -0.25), chunk("", 0.0, finish_reason="stop")))
    assert reply.logprobs == TokenLogprobs(("{", "}"), (-0.5, -0.25))


@pytest.mark.parametrize(
    ("item", "token"),
    [
        (entry("\\xe2\\x82", -1.0, [0xE2, 0x82]), "<0xE2><0x82>"),
        (entry("�", -1.0, [0x22, 0xE2]), "<0x22><0xE2>"),
        (entry("<0xE2>", -1.0, [0xE2]), "<0xE2>"),
        (entry("▁the", -1.0, list(b" the")), " the"),
        (entry("<|im_end|>", -1.0, None), "<|im_end|>"),
        (entry("a", -1.0, []), "a"),
        (entry("é", -1.0, [300, "x"]), "é"),
        ({"token": None, "bytes": [97], "logprob": -1.0}, "a"),
    ],
)
def test_token_text_is_taken_from_its_bytes(item, token):
    """Each byte of an incomplete character is written as `<0x..>`."""
    assert parse({"choices": [choice(openai(item))]}).logprobs == TokenLogprobs((token,), (-1.0,))


@pytest.mark.parametrize("number", [None, "-0.5", True, 0.5, 10**400, -1e300, [], {}])
def test_invalid_logarithm_is_unknown(number):
    """The other tokens keep their logarithms."""
    for logprobs in (openai(entry("a", number), entry("b", 3e-7)), together(["a", "b"], [number, 3e-7])):
        assert parse({"choices": [choice(logprobs)]}).logprobs == TokenLogprobs(("a", "b"), (None, 0.0))


def test_nan_in_log_probabilities_keeps_the_answer():
    """Python servers write NaN although it is invalid JSON."""
    for form in (openai(entry("a", float("nan")), entry("NaN", -1.0)), together(["a", "NaN"], [-float("inf"), -1.0])):
        reply = parse({"choices": [choice(form)]})
        assert (reply.content, reply.logprobs) == (CONTENT, TokenLogprobs(("a", "NaN"), (None, -1.0)))


@pytest.mark.parametrize(
    "logprobs",
    [
        together(logprobs=LOGPROBS[:-1]),
        together(token_logprobs=None),
        together(["a", None], [-1.0, -1.0]),
        openai(entry("a", -1.0), None),
        openai({"logprob": -1.0}),
        {"content": "a"},
        {"tokens": "ab", "token_logprobs": [-1.0, -1.0]},
        {"content": None, "refusal": []},
        together(["x" * 2**20, "y"], [-1.0, -1.0]),
        {"content": []},
        [-1.0],
        "none",
        -1.0,
        {},
    ],
)
def test_unreadable_log_probabilities_are_dropped_whole(logprobs):
    """A part of them would be aligned with the wrong text."""
    reply = parse({"choices": [choice(logprobs)]})
    assert (reply.content, reply.logprobs) == (CONTENT, None)
    assert parse(stream(chunk("{}", openai(entry("{}", -1.0))), chunk("", {"tokens": 1}))).logprobs is None


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["content", "tokens", "token_logprobs", "token", "bytes", "logprob"]), inner
            )
        ),
        max_leaves=12,
    )
)
@example(value=float("inf"))
@example(value=float("nan"))
def test_any_value_is_parsed_or_dropped(value):
    """It never raises; a parsed value has one logarithm of at most 0 per token; the answer is unchanged."""
    for reply in (parse({"choices": [choice(value)]}), parse(json.dumps({"choices": [choice(value)]}).encode())):
        assert reply.content == CONTENT
        if reply.logprobs is not None:
            tokens, logprobs = reply.logprobs.tokens, reply.logprobs.logprobs
            assert len(tokens) == len(logprobs) > 0
            assert all(logprob is None or logprob <= 0 for logprob in logprobs)


def test_answer_given_as_an_object_is_kept_unchanged():
    """A field of the document may be named `logprobs`: nothing is removed from such a body."""
    answer = '{"logprobs":{"a":0.10},"total":12345678901234567890.10}'
    logprobs = json.dumps(openai(entry("a", -1.0)))
    body = f'{{"choices":[{{"message":{{"content":{answer}}},"finish_reason":"stop","logprobs":{logprobs}}}]}}'
    reply = parse(body.encode())
    assert (reply.content, reply.logprobs) == (answer, TokenLogprobs(("a",), (-1.0,)))
    assert parse_stored(reply.body).content == answer


def test_log_probabilities_do_not_truncate_the_kept_body():
    """They are longer than the answer: with them the body would exceed the limit, and recovery could not parse it."""
    entries = [entry("x" * 20, -1.0) | {"top_logprobs": [{"token": "y" * 900}]}] * 2000
    body = json.dumps({"choices": [choice(openai(*entries))]})
    assert len(body) > MAX_KEPT_CHARS
    assert parse_stored(parse(body.encode()).body).content == CONTENT


@pytest.mark.parametrize(
    ("profile", "tail"), [*((name, b"true") for name in PROFILES if name != "together"), ("together", b"1")]
)
def test_request_body_ends_with_the_logprobs_option(profile, tail):
    """The option's value follows the server's profile; without the option the body is the same byte by byte."""
    schema = load("receipt")
    template = RequestTemplate(schema, ask="?", model="m", profile=PROFILES[profile], style=RequestOptions())
    plain, with_logprobs = (template.body([b"{}"], 2048, logprobs=logprobs) for logprobs in (False, True))
    assert b"".join(with_logprobs.parts) == b"".join(plain.parts)[:-1] + b',"logprobs":' + tail + b"}"
    assert (with_logprobs.asks_logprobs, plain.asks_logprobs) == (True, False)
    assert with_logprobs.without_logprobs().parts == plain.without_logprobs().parts == plain.parts


REFUSALS = [
    (400, {"error": {"message": "logprobs is not supported", "type": "invalid_request_error"}}),
    (400, {"error": {"message": "Unrecognized request argument supplied: logprobs", "param": None}}),
    (400, {"error": {"message": "reasoning models do not support logprobs"}}),
    (400, {"error": {"message": "Unsupported value", "param": "top_logprobs", "code": "unsupported_parameter"}}),
    (403, {"error": {"message": "You are not allowed to request logprobs from this model"}}),
    (422, {"detail": [{"loc": ["body", "logprobs"], "msg": "value is not a valid boolean", "type": "bool_type"}]}),
    (422, {"detail": "Log probabilities are not available for this model."}),
    (400, "logprobs: Extra inputs are not permitted"),
    (404, {"error": {"message": "No endpoints found that can handle the requested parameters.", "code": 404}}),
    (404, {"error": {"message": "No endpoints found that support the requested parameters", "code": 404}}),
    (500, {"error": {"message": "logprobs is not supported with tools + stream", "type": "server_error"}}),
    (200, {"error": {"message": "logprobs is not enabled for this model", "code": 400}}),
]
OTHER_ERRORS = [
    (400, {"error": {"message": "Invalid image"}}),
    (404, {"error": {"message": "The model does not exist"}}),
    (404, {"error": {"message": "No endpoints found that support image input"}}),
    (429, {"error": {"message": "rate limit of logprobs requests"}}),
    (401, "logprobs"),
    (422, {"detail": [{"loc": ["body", "messages"], "msg": "too many", "input": {"logprobs": "logprobs"}}]}),
    (200, {"choices": [{"error": {"code": 500}, "logprobs": None, "message": {"content": "logprobs"}}]}),
    (200, 'data: {"choices":[{"delta":{"content":"logprobs"}}]}'),
]


@pytest.mark.parametrize(("status", "body"), REFUSALS)
def test_refusal_of_log_probabilities_is_recognised(status, body):
    assert refuses_logprobs(status, body if isinstance(body, str) else json.dumps(body))


@pytest.mark.parametrize(("status", "body"), OTHER_ERRORS)
def test_other_errors_are_no_refusal_of_log_probabilities(status, body):
    """Neither is an error that quotes the request, nor an interrupted answer."""
    assert not refuses_logprobs(status, body if isinstance(body, str) else json.dumps(body))
