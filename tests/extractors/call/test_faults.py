"""call/faults.py, waits.py, error_body.py, circuit_breaker.py: how a failure is classified, and when it stops a run."""

import json
import time

import httpx
import pytest
from aiohttp import ServerDisconnectedError, ServerTimeoutError

from extractors.call.circuit_breaker import CircuitBreaker
from extractors.call.error_body import extract_message
from extractors.call.faults import Fault, classify_exception, classify_status
from extractors.call.waits import MAX_WAIT, parse_wait
from extractors.core import Refusal

NOW = 1_795_000_000.0
FAILED = Fault("server_error", "retry", "500 no")
RATE_LIMITED = Fault("rate_limited", "wait", "429 slower", 1.0)
NO_CAPACITY = Fault("capacity", "retry", "503 full", 1.0)
FORBIDDEN = Fault("context_exceeded", "fail", "403 no", status=403)
TOO_LONG = Fault("context_exceeded", "fail", "400 too long", status=400)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "remedy"),
    [
        (400, "bad image", "client_error", "fail"),
        (400, '{"error":{"message":"exceeds the maximum context length of 8192"}}', "context_exceeded", "fail"),
        (415, "", "client_error", "fail"),
        (422, "", "client_error", "fail"),
        (401, "", "client_error", "stop"),
        (402, "", "client_error", "stop"),
        (404, "", "client_error", "stop"),
        (403, "", "context_exceeded", "fail"),
        (413, "too large", "context_exceeded", "fail"),
        (408, "", "server_error", "retry"),
        (499, "", "server_error", "retry"),
        (429, "", "rate_limited", "wait"),
        (500, "<html>oops</html>", "server_error", "retry"),
        (502, "", "server_error", "retry"),
        (503, "", "capacity", "retry"),
        (504, "", "server_error", "retry"),
        (520, "", "server_error", "retry"),
        (529, "", "server_error", "retry"),
        (301, "", "client_error", "stop"),
        (405, "", "client_error", "stop"),
        (407, "", "client_error", "stop"),
        (410, "", "client_error", "stop"),
        (418, "", "client_error", "fail"),
    ],
)
def test_status_decides_outcome_and_remedy(status, body, outcome, remedy):
    """An HTTP error is never billed."""
    fault = classify_status(status, "reason", {}, body)
    assert (fault.outcome, fault.remedy, fault.billed) == (outcome, remedy, "no")


QUOTA_EXCEEDED = "You exceeded your current quota, please check your plan and billing details."


def error(message="no", **fields):
    """The JSON body of an error."""
    return json.dumps({"error": {"message": message} | fields})


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, error(QUOTA_EXCEEDED, type="insufficient_quota", code="insufficient_quota")),
        (429, error(QUOTA_EXCEEDED)),
        (403, error("no", code="insufficient_quota")),
        (
            400,
            error("Budget has been exceeded! Current cost: 20.1, Max budget: 20.0", type="budget_exceeded", code="400"),
        ),
        (429, error("ExceededBudget: over budget", type="budget_exceeded", code="429")),
        (400, error("Your credit balance is too low to access the API.", type="invalid_request_error")),
        (403, error("This request requires more credits, or fewer max_tokens.")),
        (500, error("no", code="billing_hard_limit_reached")),
        (402, error("Insufficient Balance")),
        (400, error("no", code="Arrearage")),
        (403, error("no", code="AccountOverdueError", type="Forbidden")),
        (429, error("Your account ab-1 is suspended, please check your plan.", type="exceeded_current_quota_error")),
        (403, error("Your newly created team doesn't have any credits yet.")),
        (403, '{"code": 30001, "message": "Sorry, your account balance is insufficient"}'),
        (412, '{"status": "failure", "message": "Usage limit exceeded for this virtual key"}'),
        (400, error("You have reached your specified API usage limits.", type="invalid_request_error")),
        (429, error("your organization has reached its spend limit", code="blocked_api_access")),
    ],
)
def test_exhausted_account_stops_the_run_at_any_status(status, body):
    """An error code or the server's message identifies it; a wait does not help."""
    fault = classify_status(status, "", {}, body)
    assert (fault.outcome, fault.remedy, fault.status, fault.refusal) == ("client_error", "stop", 402, None)


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        ({}, error(QUOTA_EXCEEDED, status="RESOURCE_EXHAUSTED"), None),
        ({"retry-after": "7"}, error(QUOTA_EXCEEDED), 7),
        ({}, error(QUOTA_EXCEEDED, details=[{"@type": "RetryInfo", "retryDelay": "34s"}]), 34),
        ({}, error("Rate limit reached. Please try again in 1.5s. Visit the page."), 1.5),
        ({}, error("Rate limit reached. Please retry after 20ms."), 0.02),
        ({}, error("You have exceeded the call rate limit. Please retry after 26 seconds."), 26),
        ({}, error("Rate limit reached. Please try again in 1 minute."), 60),
        ({}, '{"__type": "ThrottlingException", "message": "Too many requests"}', None),
    ],
)
def test_rate_limit_worded_like_an_exhausted_account_is_a_rate_limit(headers, body, wait):
    """Gemini uses one sentence for both, and adds a wait for a rate limit."""
    fault = classify_status(429, "", headers, body)
    assert (fault.outcome, fault.remedy, fault.wait) == ("rate_limited", "wait", wait)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("The decoder prompt (length 16476) is longer than the maximum model length of 16384.")),
        (400, error("The prompt (total length 9000) is too long to fit into the model (context length 8192).")),
        (400, error("Multimodal prompt is too long after expanding multimodal tokens. After expanding 5192 => 6153")),
        (400, error("The input (9000 tokens) is longer than the model's context length (8192 tokens).")),
        (400, error("no", type="exceed_context_size_error", code=400)),
        (400, error("request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it")),
        (500, error("Context size has been exceeded.", type="server_error", code=500)),
        (
            400,
            error(
                "Your input exceeds the limit of this model. Please adjust your input.", code="context_length_exceeded"
            ),
        ),
        (400, error("Your input exceeds the context window of this model.")),
        (400, error("Please reduce the length of the messages or completion.")),
        (400, error("The input token count (1200000) exceeds the maximum number of tokens allowed (1048575).")),
        (400, error("prompt is too long: 213456 tokens > 200000 maximum", type="invalid_request_error")),
        (400, error("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens")),
        (422, error("Input validation error: `inputs` must have less than 4095 tokens. Given: 5000")),
        (400, error("The sum of prompt length (9000.0) should not exceed max_num_tokens (8192)")),
        (400, error("Range of input length should be [1, 30720]", code="invalid_parameter_error")),
        (400, error("This model's maximum prompt length is 131072 but the request contains 140000 tokens.")),
        (400, json.dumps({"errors": [{"message": "the number of input tokens 9000 cannot exceed the context limit"}]})),
        (
            413,
            error("Request too large for model `m` on tokens per minute (TPM): Limit 6000", code="rate_limit_exceeded"),
        ),
        (413, error("Prompt contains 40000 tokens, too large for model with 32768 maximum context length")),
        (400, json.dumps({"object": "error", "message": "the input length exceeds the context length", "code": 400})),
        (
            400,
            json.dumps(
                [{"error": {"code": 400, "message": "The input token count exceeds the maximum number of tokens"}}]
            ),
        ),
    ],
)
def test_context_error_of_each_server_is_recognised(status, body):
    """It says nothing about other documents, because a smaller image may fit."""
    fault = classify_status(status, "", {}, body)
    assert (fault.outcome, fault.remedy, fault.refusal) == ("context_exceeded", "fail", None)


@pytest.mark.parametrize(
    "message",
    [
        "Invalid schema for response_format 'caption': In context=(), 'oneOf' is not permitted.",
        "Invalid schema for response_format: In context=('properties', 'x'), 'maxLength' is not permitted",
        "max_tokens is too large: 8192. This model supports at most 4096 completion tokens.",
        "Unsupported parameter: 'max_tokens' is not supported with this model.",
        "image exceeds 5 MB maximum: 5316852 bytes > 5242880 bytes",
        "Invalid model name passed in model=m. Call `/v1/models` to view available models for your key.",
    ],
)
def test_invalid_request_is_not_a_context_error(message):
    fault = classify_status(400, "", {}, error(message, type="invalid_request_error"))
    assert (fault.outcome, fault.refusal) == ("client_error", (400, "invalid_request_error"))


@pytest.mark.parametrize(
    ("status", "body", "refusal"),
    [
        (400, error("no"), (400, "")),
        (400, error("no", type="None", code="400"), (400, "")),
        (400, error("no", code="unsupported_parameter", type="invalid_request_error"), (400, "unsupported_parameter")),
        (422, json.dumps({"detail": "no"}), (422, "")),
        (
            400,
            json.dumps([{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}]),
            (400, "INVALID_ARGUMENT"),
        ),
        (400, error("no", code="invalid_image_format"), None),
        (400, error("no", code="image_parse_error"), None),
        (400, error("no", code="content_policy_violation"), None),
        (400, error("The response was filtered", code="content_filter", innererror={}), None),
        (403, error("Your chosen model requires moderation and your input was flagged."), None),
        (415, "", None),
    ],
)
def test_refusal_has_status_and_code(status, body, refusal):
    """An error about one image has no refusal, because it says nothing about other images."""
    fault = classify_status(status, "", {}, body)
    assert (fault.outcome, fault.remedy, fault.refusal) == ("client_error", "fail", refusal)


def test_error_without_a_message_has_the_reason_phrase():
    assert classify_status(500, "Internal Server Error", {}, "").message == "500 Internal Server Error"


def test_reset_header_is_read_for_rate_limits_only():
    """On another error `x-ratelimit-reset` belongs to a rate that was not exceeded."""
    assert classify_status(503, "", {"x-ratelimit-reset": "9"}, "").wait is None


def test_200_is_no_fault():
    assert classify_status(200, "OK", {}, "") is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "86400"}, MAX_WAIT),
        ({"retry-after": "Wed, 18 Nov 2026 11:06:50 GMT"}, 10),
        ({"retry-after": "Wed, 18 Nov 2020 11:06:50 GMT"}, 0),
        ({"x-ratelimit-reset": "3"}, 3),
        ({"x-ratelimit-reset": "1795000012.5"}, 12.5),
        ({"x-ratelimit-reset": "1794999999"}, 0),
        ({"retry-after": "soon", "x-ratelimit-reset": "4"}, 4),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "2026-11-18T11:06:50Z"}, 10),
        ({"retry-after": "6m0s"}, MAX_WAIT),
        ({"retry-after": "30 seconds"}, 30),
        ({"retry-after": "PT1M30S"}, 90),
        ({"retry-after": "7, 7"}, 7),
        ({"retry-after": "1795000010000000"}, 10),
        ({"retry-after-ms": "250ms"}, 0.25),
        ({"x-ratelimit-reset-after": "10"}, 10),
        ({"retry-after": "1m26.4s"}, 86.4),
        ({"retry-after": "1h"}, MAX_WAIT),
        ({"retry-after": "1795000012500"}, 12.5),
        ({"x-ratelimit-reset": "1795000012500"}, 12.5),
        ({"x-ratelimit-reset-requests": "20ms"}, 0.02),
        ({"x-ratelimit-reset-requests": "8.64s", "x-ratelimit-reset-tokens": "1m0s"}, 60),
        (
            {
                "x-ratelimit-reset-requests": "8.64s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "149984",
            },
            8.64,
        ),
        ({"anthropic-ratelimit-requests-reset": "2026-11-18T11:06:50Z"}, 10),
        ({"ratelimit-reset": "5"}, 5),
        ({"x-ratelimit-reset-requests": "6 minutes"}, MAX_WAIT),
        ({"x-ratelimit-reset-requests": "6 moons"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "9" * 400}, None),
        ({}, None),
    ],
)
def test_wait_is_parsed_from_headers(headers, seconds):
    """Seconds, a date, a duration or a time; capped, never negative; an unreadable value is no wait."""
    assert parse_wait(headers, limited=True, now=NOW) == (None if seconds is None else pytest.approx(seconds, abs=1))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error":{"message":"Invalid  key"}}', "Invalid key"),
        ('{"error":"plain"}', "plain"),
        ('{"message":"bare"}', "bare"),
        ("<html><b>Bad gateway</b></html>", "Bad gateway"),
        ('{"error":{"message":"bad image data:image/png;base64,iVBORw0KGgo="}}', "bad image [image]"),
        ("x" + "QUJD" * 100, "[image]"),
    ],
)
def test_server_message_is_one_line_without_images(body, message):
    assert extract_message(body) == message


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, '{"error":{"message":"Invalid\\nkey\\u0000"}}', "401 Invalid key"),
        (404, '{"error":"no such model"}', "404 no such model"),
        (400, """{"error":{"message":"{'error': 'no such model: m'}","type":"None"}}""", "400 no such model: m"),
        (400, '{"error":{"message":"bad field: [{\'input\': \'Acme, 12.50\'}]"}}', "400 bad field:"),
        (422, '{"error":{"message":"cannot parse \\"Acme, 12.50\\"","code":"bad_json"}}', "422 cannot parse"),
        (401, "<b>Acme, 12.50</b>", "401 Unauthorized"),
        (301, '{"error":{"message":"Acme, 12.50"}}', "301 Moved Permanently"),
        (
            500,
            '{"error":{"message":"cannot parse Acme, 12.50","type":"server_error"}}',
            "500 Internal Server Error, server_error",
        ),
        (
            503,
            '{"error":{"message":"Acme","type":"Acme, 12.50","code":"engine.full"}}',
            "503 Service Unavailable, engine.full",
        ),
        (500, '{"error":{"message":"Acme","type":"Acme, 12.50"}}', "500 Internal Server Error"),
        (599, '{"error":{"type":"' + "a" * 61 + '"}}', "599"),
    ],
)
def test_message_quotes_no_answer(status, body, message):
    """It quotes errors raised before an answer; for later errors it has only their type or code."""
    assert classify_status(status, "Acme", {}, body).message == message


def test_full_message_has_the_servers_whole_text():
    assert (
        classify_status(500, "", {}, '{"error":{"message":"cannot parse [Acme]"}}').full_message
        == "500 cannot parse [Acme]"
    )


def test_long_server_message_is_truncated():
    body = '{"error":{"message":"' + "no " * 1000 + '"}}'
    assert len(classify_status(401, "", {}, body).message) < 220


def chain_errors(error, cause):
    """Returns the transport's error with the error that caused it."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ReadTimeout("slow"), "timeout"),
        (TimeoutError(), "timeout"),
        (chain_errors(httpx.ReadTimeout("slow"), ServerTimeoutError()), "timeout"),
        (chain_errors(httpx.ConnectTimeout("gone"), ServerDisconnectedError()), "connection"),
        (httpx.ConnectError("refused"), "connection"),
        (httpx.RemoteProtocolError("cut"), "connection"),
        (ServerDisconnectedError(), "connection"),
    ],
)
def test_billing_of_a_lost_call_is_unknown(error, outcome):
    """The type of the transport's error tells a timeout from a lost connection."""
    fault = classify_exception(error)
    assert (fault.outcome, fault.remedy, fault.billed) == (outcome, "retry", "unknown")


def test_message_quotes_no_unreadable_bytes():
    """A parser's error quotes them, and they may be part of an answer."""
    fault = classify_exception(chain_errors(httpx.RemoteProtocolError("bad line: b'Acme'"), ServerDisconnectedError()))
    assert (fault.message, fault.full_message) == (
        "ServerDisconnectedError",
        "ServerDisconnectedError: bad line: b'Acme'",
    )


def test_message_quotes_the_operating_system():
    refused = ConnectionRefusedError(111, "Connection refused")
    assert classify_exception(refused).message == "ConnectionRefusedError: [Errno 111] Connection refused"


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    """A circuit breaker that reads this clock."""
    return CircuitBreaker(clock)


def test_breaker_stops_the_run_after_a_minute_without_an_answer(breaker, clock):
    breaker.record_failure(FAILED)
    clock.now = 60.0
    assert breaker.record_failure(FAILED).status == "failing"


def test_answer_closes_the_breaker(breaker, clock):
    """The minute starts again after each answer."""
    breaker.record_failure(FAILED)
    clock.now = 50.0
    breaker.record_answer()
    clock.now = 100.0
    assert breaker.record_failure(FAILED) is None


@pytest.mark.parametrize("fault", [RATE_LIMITED, NO_CAPACITY])
def test_breaker_tolerates_faults_with_a_wait_for_ten_minutes(breaker, clock, fault):
    breaker.record_failure(fault)
    clock.now = 600.0
    assert breaker.record_failure(fault) is None


@pytest.mark.parametrize("fault", [RATE_LIMITED, NO_CAPACITY])
def test_breaker_stops_the_run_after_half_an_hour_of_faults_with_a_wait(breaker, clock, fault):
    breaker.record_failure(fault)
    clock.now = 1800.0
    assert breaker.record_failure(fault).status == "refused"


def test_breaker_stops_the_run_after_a_minute_of_503_without_a_wait(breaker, clock):
    breaker.record_failure(Fault("capacity", "retry", "503 full"))
    clock.now = 60.0
    assert breaker.record_failure(Fault("capacity", "retry", "503 full")).status == "failing"


def test_breaker_stops_the_run_after_ten_403_and_no_answer(breaker):
    """When every call since the start is forbidden, the key is wrong."""
    stops = [breaker.record_failure(FORBIDDEN) for _ in range(10)]
    assert stops[:9] == [None] * 9
    assert stops[9].status == "refused"


def test_403_after_an_answer_does_not_stop_the_run(breaker):
    breaker.record_answer()
    assert [breaker.record_failure(FORBIDDEN) for _ in range(20)] == [None] * 20


@pytest.mark.parametrize(
    "body",
    [
        "<html><head><title>403 Forbidden</title></head><body>nginx</body></html>",
        "error code: 1020",
        json.dumps({"message": "User is not authorized to access this resource"}),
        json.dumps({"message": "The security token included in the request is expired"}),
        error("Project `p` does not have access to model `m`"),
        error("Country, region, or territory not supported"),
    ],
)
def test_breaker_stops_the_run_after_ten_consecutive_denials(breaker, body):
    """A key revoked during a run is not a context error; the next run reads the documents again."""
    denied = classify_status(403, "", {}, body)
    breaker.record_answer()
    assert [breaker.record_failure(denied) for _ in range(9)] == [None] * 9
    breaker.record_answer()
    stops = [breaker.record_failure(denied) for _ in range(10)]
    assert (denied.outcome, denied.doubtful, stops[:9]) == ("context_exceeded", True, [None] * 9)
    assert stops[9].status == "refused"


def test_provider_error_in_a_gateways_metadata_decides():
    """OpenRouter's own message is generic; the provider's error is in the metadata: JSON, text or an object."""
    too_long = error("maximum context length is 8192", type="invalid_request_error")
    schema = error("Invalid schema for response_format 'x'", code="invalid_json_schema")
    faults = [
        classify_status(400, "", {}, error("Provider returned error", code=400, metadata={"raw": raw}))
        for raw in (too_long, {"data": too_long}, "the prompt is too long", schema)
    ]
    assert [fault.outcome for fault in faults] == ["context_exceeded"] * 3 + ["client_error"]
    assert faults[3].refusal == Refusal(400, "invalid_json_schema")
    assert "Invalid schema for response_format" in faults[3].message


def test_headers_repeated_in_the_body_are_read():
    """OpenRouter puts the reset time of a rate limit there; a header of the reply itself takes precedence."""
    reset = str(int((time.time() + 20) * 1000))
    body = error(
        "Rate limit exceeded",
        code=429,
        metadata={"headers": {"X-RateLimit-Reset": reset, "X-RateLimit-Remaining": "0"}},
    )
    assert 18 < classify_status(429, "", {}, body).wait <= 20
    assert classify_status(429, "", {"retry-after": "3"}, body).wait == 3


@pytest.mark.parametrize("status", [403, 429, 400])
def test_spent_key_limit_stops_the_run(status):
    """OpenRouter reports it with status 403, which otherwise is a context error."""
    for message in (
        "Key limit exceeded (monthly limit). Manage it using https://openrouter.ai/settings/keys",
        "Credit limit exceeded",
    ):
        fault = classify_status(status, "", {}, error(message, code=status))
        assert (fault.outcome, fault.remedy, fault.status) == ("client_error", "stop", 402)


def test_context_errors_do_not_stop_the_run(breaker):
    """The server has named the reason, and it is not the key."""
    assert [breaker.record_failure(TOO_LONG) for _ in range(20)] == [None] * 20
    assert breaker.check_forbidden() is None


def test_short_run_of_only_403_is_refused(breaker):
    """`check_forbidden` decides at the end of a run of fewer than ten calls."""
    breaker.record_failure(FORBIDDEN)
    assert breaker.check_forbidden().status == "refused"
