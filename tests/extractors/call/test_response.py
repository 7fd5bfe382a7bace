"""call/response.py: every server reply is parsed as far as possible, and none raises.

Also covers `extractors.call.usage`.
"""

import json

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.call.response import MAX_KEPT_CHARS, parse_response
from extractors.core.money import Usage

USAGE = {"prompt_tokens": 1700, "completion_tokens": 50, "total_tokens": 1750}


def completion(message=None, **changes):
    """The body of a chat completion."""
    choice = {"index": 0, "message": message or {"role": "assistant", "content": "{}"}, "finish_reason": "stop"}
    body = {"id": "chat-1", "model": "maker/model", "choices": [choice], "usage": USAGE} | changes
    return json.dumps(body).encode()


def build_stream(*chunks):
    """The body of a streamed completion."""
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def delta(finish_reason=None, **fields):
    """One streamed chunk."""
    return {"id": "c", "model": "maker/model", "choices": [{"delta": fields, "finish_reason": finish_reason}]}


def parse_body(content, status=200, **headers):
    """The reply and the fault parsed from this body."""
    return parse_response(httpx.Response(status, headers=headers), content)


def test_plain_answer_is_parsed():
    reply, fault = parse_body(completion())
    assert fault is None
    assert (reply.content, reply.finish_reason, reply.model, reply.request_id) == (
        "{}",
        "stop",
        "maker/model",
        "chat-1",
    )
    assert reply.usage == Usage(1700, 50)


def test_tool_call_arguments_are_the_answer():
    """Content is null."""
    call = {"id": "x", "type": "function", "function": {"name": "receipt", "arguments": '{"a":1}'}}
    reply, _ = parse_body(completion({"content": None, "tool_calls": [call]}))
    assert reply.content == '{"a":1}'


def test_content_parts_are_joined():
    """Some servers send content as a list of text parts."""
    reply, _ = parse_body(completion({"content": [{"type": "text", "text": '{"a"'}, {"type": "text", "text": ":1}"}]}))
    assert reply.content == '{"a":1}'


def test_reasoning_is_not_the_answer():
    reply, _ = parse_body(completion({"content": None, "reasoning": "{}", "reasoning_content": "{}"}))
    assert (reply.content, reply.reasoning) == (None, "{}")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (USAGE | {"prompt_tokens_details": []}, Usage(1700, 50)),
        (USAGE | {"completion_tokens_details": {"reasoning_tokens": -1}}, Usage(1700, 50)),
        (USAGE | {"cached_tokens": "many"}, Usage(1700, 50)),
        (USAGE | {"prompt_cache_hit_tokens": 64}, Usage(1700, 50, cached=64)),
        (USAGE | {"total_tokens": "x"}, Usage(1700, 50)),
        (USAGE | {"total_tokens": 2**39}, Usage(1700, 50)),
        (USAGE | {"total_tokens": 2050}, Usage(1700, 350, reasoning=300)),
        (
            USAGE | {"total_tokens": 2050, "completion_tokens_details": {"reasoning_tokens": 300}},
            Usage(1700, 350, reasoning=300),
        ),
        (USAGE | {"completion_tokens_details": {"reasoning_tokens": 300}}, Usage(1700, 350, reasoning=300)),
        (USAGE | {"cached_tokens": 64}, Usage(1700, 50, cached=64)),
        (USAGE | {"prompt_tokens_details": {"cached_tokens": 64}}, Usage(1700, 50, cached=64)),
        (USAGE | {"completion_tokens_details": {"reasoning_tokens": 7}}, Usage(1700, 50, reasoning=7)),
        (None, None),
        ("1700", None),
        ({"prompt_tokens": "1700", "completion_tokens": 50}, None),
        ({"prompt_tokens": -1, "completion_tokens": 50}, None),
        ({"prompt_tokens": 10**30, "completion_tokens": 50}, None),
        ({"prompt_tokens": 1.5, "completion_tokens": 50}, None),
        ({"prompt_tokens": 1700.0, "completion_tokens": 50.0}, Usage(1700, 50)),
        ({"prompt_tokens": 1700, "total_tokens": 1750}, Usage(1700, 50)),
        ({"prompt_tokens": 1700}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
        ({"prompt_tokens": 0, "completion_tokens": 50}, None),
        (USAGE | {"cost": float("nan")}, Usage(1700, 50)),
        ([], None),
    ],
)
def test_usage_is_parsed_or_unknown(usage, expected):
    """Servers put counts in different places; a count that is missing, negative or no number is unknown, never 0."""
    reply, fault = parse_body(completion(usage=usage))
    assert (reply.usage, fault) == (expected, None)


@pytest.mark.parametrize(
    "part", ['"content": {"total": NaN}', '"tool_calls": [{"function": {"arguments": {"total": NaN}}}]']
)
def test_nan_in_an_answer_is_kept(part):
    """Outside the answer NaN is ignored; in the answer it is no number, and null would be a wrong row."""
    reply, fault = parse_body(f'{{"choices": [{{"message": {{{part}}}, "score": NaN}}]}}'.encode())
    assert (reply.content, fault) == ('{"total":NaN}', None)


@pytest.mark.parametrize("finish_reason", ["eos", "function_call", "error", "", "something new"])
def test_unknown_finish_reason_is_kept(finish_reason):
    choice = {"message": {"content": "{}"}, "finish_reason": finish_reason}
    assert parse_body(completion(choices=[choice]))[0].finish_reason == finish_reason


def test_streamed_usage_is_read_from_the_last_chunk():
    """Together sends it so."""
    body = build_stream(
        delta(role="assistant"),
        delta(content='{"a"'),
        delta(content=":1}"),
        delta("stop", content="") | {"usage": USAGE},
    )
    reply, fault = parse_body(body)
    assert (reply.content, reply.finish_reason, reply.usage, fault) == ('{"a":1}', "stop", Usage(1700, 50), None)


def test_streamed_usage_is_read_from_a_trailing_chunk():
    """Other servers send it in an additional chunk without choices."""
    body = build_stream(delta(content="{}"), delta("stop"), {"model": "maker/model", "choices": [], "usage": USAGE})
    reply, fault = parse_body(body)
    assert (reply.content, reply.usage, fault) == ("{}", Usage(1700, 50), None)


def test_streamed_reasoning_is_not_part_of_the_answer():
    body = build_stream(delta(reasoning="hm {"), delta(reasoning_content="hm"), delta(content="{}"), delta("stop"))
    assert parse_body(body)[0].content == "{}"


def test_streamed_tool_call_is_joined():
    body = build_stream(
        delta(tool_calls=[{"index": 0, "function": {"name": "receipt", "arguments": '{"a"'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
        delta("tool_calls"),
    )
    assert parse_body(body)[0].content == '{"a":1}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Just a moment</body></html>",
        b'{"error":{"message":"overloaded"}}',
        b"[]",
        b"null",
        b'{"choices":[]}',
        b'{"choices":"no"}',
        b'{"choices":[{"message":5}]}',
        b"\xff\xfe\xfa",
        b"[" * 5000,
        b"NaN",
    ],
)
def test_200_without_an_answer_is_a_server_error(body):
    """A proxy's page or an error with status 200 is retried, and its billing is unknown."""
    reply, fault = parse_body(body)
    assert (reply.content, fault.outcome, fault.remedy, fault.billed) == (None, "server_error", "retry", "unknown")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"choices":[{"message":{"content":"Acme, 12.50', "200 without an answer"),
        (b"<html>Acme, 12.50</html>", "200 without an answer"),
        (b'{"error":{"message":"Acme, 12.50","type":"overloaded"}}', "200 without an answer: overloaded"),
    ],
)
def test_message_quotes_no_part_of_an_answer(body, message):
    """The short message says only that there was no answer; the full message for the tables quotes it."""
    fault = parse_body(body)[1]
    assert fault.message == message
    assert "Acme, 12.50" in fault.full_message


def test_reply_cut_at_the_size_limit_is_a_server_error():
    _, fault = parse_response(httpx.Response(200), completion(), whole=False)
    assert fault.outcome == "server_error"


def test_huge_body_is_kept_up_to_the_limit():
    assert len(parse_body(b"x" * 3 * MAX_KEPT_CHARS)[0].body) == MAX_KEPT_CHARS


def test_invalid_utf8_is_replaced():
    reply, fault = parse_body(completion().replace(b"maker", b"mak\xffr"))
    assert fault is not None
    assert "�" in reply.body


@pytest.mark.parametrize("seed", [2**63, 2**64, 2**70])
def test_seed_of_more_than_64_bits_is_ignored(seed):
    body = completion()[:-1] + b',"seed":%d}' % seed
    assert parse_body(body)[0].content == "{}"


def test_usage_of_an_error_is_ignored():
    """The body of an error may contain any count."""
    assert parse_body(completion(), status=500)[0].usage is None


@given(st.binary(max_size=300), st.sampled_from([200, 400, 429, 500]))
def test_no_bytes_raise(body, status):
    reply, fault = parse_body(body, status)
    assert reply.status == status
    assert fault is not None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["id", "model", "choices", "usage", "error", "object"]), JSON_VALUES))
def test_no_json_with_the_expected_fields_raises(body):
    """Each field may have any type."""
    reply, _ = parse_body(json.dumps(body).encode())
    assert reply.status == 200


def test_image_echoed_by_the_server_is_not_kept():
    """A server that repeats the request does not bring its images into the tables."""
    body = b'{"error":{"message":"bad"},"request":{"url":"data:image/jpeg;base64,/9j/4AAQSkZJRg=="}}'
    assert "/9j/" not in parse_body(body, status=400)[0].body


def test_stream_of_another_encoding_is_a_server_error():
    """As for a whole body, a replacement character would be wrong text in a row."""
    chunk = json.dumps(delta("stop", content='{"a":"café"}'), ensure_ascii=False)
    body = f"data: {chunk}\n\ndata: [DONE]\n\n"
    assert parse_body(body.encode())[1] is None
    assert parse_body(body.encode("latin-1"))[1].outcome == "server_error"


def test_line_separator_in_a_streamed_answer_is_text():
    """JSON may contain U+2028 unescaped; it does not end an event."""
    text = '{"a":"x\u2028y"}'
    chunk = json.dumps(delta("stop", content=text), ensure_ascii=False).encode()
    assert parse_body(b"data: " + chunk + b"\n\ndata: [DONE]\n\n")[0].content == text


def test_error_in_the_middle_of_a_stream_is_a_fault():
    """A part of an answer precedes it."""
    body = build_stream(delta(content='{"a"')).replace(b"data: [DONE]", b'data: {"error":{"message":"overloaded"}}')
    fault = parse_body(body)[1]
    assert (fault.outcome, fault.billed, fault.full_message) == (
        "server_error",
        "unknown",
        "200 without an answer: overloaded",
    )


@pytest.mark.parametrize("end", [b"", b'data: {"choices":[{"del'])
def test_stream_without_an_end_is_marked(end):
    """The verdict decides whether its answer is complete."""
    reply, fault = parse_body(build_stream(delta(content='{"a"')).replace(b"data: [DONE]", end))
    assert (reply.content, reply.ended, fault) == ('{"a"', False, None)


def test_stream_without_an_answer_is_a_connection_fault():
    fault = parse_body(b'data: {"id":"c","choices":[]}\n\n')[1]
    assert (fault.outcome, fault.remedy, fault.billed) == ("connection", "retry", "unknown")


@pytest.mark.parametrize("last", [delta("stop"), delta("length")])
def test_finish_reason_ends_a_stream(last):
    """Some servers do not send `[DONE]`."""
    assert parse_body(build_stream(delta(content="{}"), last).replace(b"data: [DONE]\n\n", b""))[0].ended


@pytest.mark.parametrize(
    ("body", "outcome", "remedy", "status", "billed"),
    [
        (
            {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-min"}},
            "rate_limited",
            "wait",
            429,
            "no",
        ),
        ({"error": {"message": "Rate limit exceeded"}}, "rate_limited", "wait", 429, "no"),
        ({"error": {"code": "rate_limit_exceeded", "message": "slow"}}, "rate_limited", "wait", 500, "no"),
        ({"error": {"code": 402, "message": "Insufficient credits"}}, "client_error", "stop", 402, "no"),
        ({"error": {"code": "insufficient_quota", "message": "x"}}, "client_error", "stop", 402, "no"),
        ({"error": {"code": "invalid_api_key", "message": "x"}}, "client_error", "stop", 401, "no"),
        ({"error": {"code": 400, "message": "Invalid schema"}}, "client_error", "fail", 400, "no"),
        ({"error": {"code": 403, "message": "Your input was flagged"}}, "client_error", "fail", 403, "no"),
        ({"error": {"code": "context_length_exceeded", "message": "x"}}, "context_exceeded", "fail", 500, "no"),
        ({"object": "error", "message": "x", "code": 400}, "client_error", "fail", 400, "no"),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "client_error", "stop", 402, "no"),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, "client_error", "stop", 401, "no"),
        ({"success": False, "errors": [{"code": 1, "message": "rate limit"}]}, "rate_limited", "wait", 429, "no"),
        ({"code": 30001, "message": "account balance is insufficient"}, "client_error", "stop", 402, "no"),
        ({"code": 429, "msg": "too fast"}, "rate_limited", "wait", 429, "no"),
        (
            [{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED"}}],
            "rate_limited",
            "wait",
            429,
            "no",
        ),
        ({"error": {"code": 502, "message": "upstream"}}, "server_error", "retry", 502, "unknown"),
        ({"error": "overloaded"}, "server_error", "retry", 500, "unknown"),
    ],
)
def test_error_inside_a_200_is_classified_by_its_code(body, outcome, remedy, status, billed):
    """The code in the body replaces the status."""
    fault = parse_body(json.dumps(body).encode())[1]
    assert (fault.outcome, fault.remedy, fault.status, fault.billed) == (outcome, remedy, status, billed)


def test_error_inside_a_choice_is_a_fault():
    """Gateways send it when a provider fails in the middle of an answer."""
    choice = {"message": {"content": ""}, "finish_reason": "error", "error": {"code": 429, "message": "slow down"}}
    fault = parse_body(completion(choices=[choice]))[1]
    assert (fault.outcome, fault.billed, fault.full_message) == (
        "rate_limited",
        "yes",
        "200 without an answer: slow down",
    )


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": None, "tool_calls": [{"function": {"arguments": {"a": 1}}}]}, '{"a":1}'),
        ({"content": "{}", "tool_calls": [{"function": {"arguments": None}}]}, "{}"),
        ({"content": "{}", "tool_calls": []}, "{}"),
        ({"content": "{}", "tool_calls": "odd"}, "{}"),
        ({"content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}}, '{"a":1}'),
        ({"content": {"a": 1}}, '{"a":1}'),
        ({"content": {"a": 123456789012345678901, "b": [0.10, True]}}, '{"a":123456789012345678901,"b":[0.1,true]}'),
        ({"content": "{}", "tool_calls": [{"function": {"arguments": "{}"}}]}, "{}"),
        ({"content": '{"a": 1}', "tool_calls": [{"function": {"arguments": "{}"}}]}, '{"a": 1}'),
        ({"content": None, "tool_calls": [{"function": {"arguments": [{"a": 1}]}}]}, '[{"a":1}]'),
        ({"content": ["a", {"text": "b"}]}, "ab"),
        ({"content": [{"type": "thinking", "text": "hm"}, {"type": "text", "text": "{}"}]}, "{}"),
        ({"content": 5}, None),
    ],
)
def test_answer_is_parsed_from_every_form(message, content):
    """Tool arguments may be text or an object; content may be text, parts or an object."""
    reply, fault = parse_body(completion(message))
    assert (reply.content, fault) == (content, None)


def test_two_tool_calls_are_two_answers():
    """Validation decides which of two different answers is the document, streamed or not."""
    body = build_stream(
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a":1}'}}]),
        delta(tool_calls=[{"index": 1, "function": {"arguments": '{"b":1}'}}]),
        delta("tool_calls"),
    )
    assert parse_body(body)[0].content == '{"a":1}\n{"b":1}'
    calls = [{"function": {"arguments": text}} for text in ('{"a":1}', '{"b":1}')]
    assert parse_body(completion({"content": None, "tool_calls": calls}))[0].content == '{"a":1}\n{"b":1}'


@pytest.mark.parametrize("head", ["", "\ufeff", ": waiting\n\n"])
def test_stream_is_recognised_by_its_first_line(head):
    """A byte order mark does not hide an event, and a comment before the first event is ignored."""
    body = head.encode() + build_stream(delta(content='{"a":'), delta("stop", content="1}"))
    assert parse_body(body)[0].content == '{"a":1}'


def test_only_the_first_choice_is_read():
    """Deltas of another choice are not part of the answer."""
    body = build_stream(
        delta(content="{"), {"choices": [{"index": 1, "delta": {"content": "x"}}]}, delta("stop", content="}")
    )
    assert parse_body(body)[0].content == "{}"


@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
def test_answer_with_an_error_finish_reason_has_not_ended(reason):
    """The finish reason decides, streamed or not."""
    choice = {"message": {"content": '{"a"'}, "finish_reason": reason}
    assert not parse_body(completion(choices=[choice]))[0].ended


def test_answer_is_found_beside_a_byte_order_mark_and_a_huge_number():
    """Neither is part of the answer."""
    body = b'\xef\xbb\xbf{"choices": [{"message": {"content": "{}"}}], "created": 1' + b"0" * 400 + b"}"
    assert parse_body(body)[0].content == "{}"


def test_filtered_choice_without_a_message_has_no_content():
    """It has only a finish reason."""
    reply, fault = parse_body(completion(choices=[{"index": 0, "finish_reason": "content_filter"}]))
    assert (reply.finish_reason, reply.content, fault) == ("content_filter", None, None)


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "refusal": "I cannot help."},
        {"content": [{"type": "refusal", "refusal": "I cannot help."}]},
    ],
)
def test_refusal_of_the_model_is_kept(message):
    reply, _ = parse_body(completion(message))
    assert (reply.content, reply.refusal) == (None, "I cannot help.")


def test_200_without_choices_is_billed_if_it_has_usage():
    reply, fault = parse_body(completion(choices=[]))
    assert (reply.usage, fault.outcome, fault.billed) == (Usage(1700, 50), "server_error", "yes")
