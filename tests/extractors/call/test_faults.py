"""call/faults.py and call/breaker.py: what a failed call stands for, and when a run stops for it."""

import httpx
import pytest
from aiohttp import ServerDisconnectedError, ServerTimeoutError

from extractors.call.circuit_breaker import CircuitBreaker
from extractors.call.error_body import extract_message
from extractors.call.faults import Fault, classify_exception, classify_status
from extractors.call.waits import MAX_WAIT, parse_wait

NOW = 1_795_000_000.0
FAILED = Fault("server_error", "retry", "500 no")
REFUSED = Fault("rate_limited", "wait", "429 slower", 1.0)
CROWDED = Fault("capacity", "retry", "503 full", 1.0)
FORBIDDEN = Fault("context_exceeded", "fail", "403 no")


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
        (408, "", "server_error", "retry"),
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
def test_every_row_of_the_taxonomy(status, body, outcome, remedy):
    """The HTTP status decides first; no refusal is billed."""
    fault = classify_status(status, "reason", {}, body)
    assert (fault.outcome, fault.remedy, fault.billed) == (outcome, remedy, "no")


def test_an_error_without_words_has_its_reason():
    assert classify_status(500, "Internal Server Error", {}, "").message == "500 Internal Server Error"


def test_only_a_refusal_for_rate_has_a_reset():
    """On another error `x-ratelimit-reset` speaks of a rate that was not passed."""
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
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "9" * 400}, None),
        ({}, None),
    ],
)
def test_the_wait_that_a_server_asks_for(headers, seconds):
    """Seconds, a date, or an epoch; capped, never negative; nonsense is no wait."""
    assert parse_wait(headers, limited=True, now=NOW) == (None if seconds is None else pytest.approx(seconds, abs=1))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"error":{"message":"Invalid  key"}}', "Invalid key"),
        ('{"error":"plain"}', "plain"),
        ('{"message":"bare"}', "bare"),
        ("<html><b>Bad gateway</b></html>", "Bad gateway"),
        ('{"error":{"message":"bad image data:image/png;base64,iVBORw0KGgo="}}', "bad image [image]"),
        ("x" + "QUJD" * 100, "[image]"),
    ],
)
def test_a_servers_words_are_one_line_without_images(body, text):
    assert extract_message(body) == text


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, '{"error":{"message":"Invalid\\nkey\\u0000"}}', "401 Invalid key"),
        (404, '{"error":"no such model"}', "404 no such model"),
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
def test_what_a_server_says_of_an_answer_is_for_the_tables_alone(status, body, message):
    """A message quotes what the API says before it answers, and names the error that came after."""
    assert classify_status(status, "Acme", {}, body).message == message


def test_the_tables_have_the_servers_words_whole():
    assert (
        classify_status(500, "", {}, '{"error":{"message":"cannot parse [Acme]"}}').full_message
        == "500 cannot parse [Acme]"
    )


def test_a_long_sentence_of_a_server_is_cut():
    body = '{"error":{"message":"' + "no " * 1000 + '"}}'
    assert len(classify_status(401, "", {}, body).message) < 220


def caused(error, cause):
    """An error of the transport with the error that it was made from."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ReadTimeout("slow"), "timeout"),
        (TimeoutError(), "timeout"),
        (caused(httpx.ReadTimeout("slow"), ServerTimeoutError()), "timeout"),
        (caused(httpx.ConnectTimeout("gone"), ServerDisconnectedError()), "connection"),
        (httpx.ConnectError("refused"), "connection"),
        (httpx.RemoteProtocolError("cut"), "connection"),
        (ServerDisconnectedError(), "connection"),
    ],
)
def test_a_lost_call_may_have_been_billed(error, outcome):
    """What the connection did is told from how the transport names it."""
    fault = classify_exception(error)
    assert (fault.outcome, fault.remedy, fault.billed) == (outcome, "retry", "unknown")


def test_bytes_that_cannot_be_read_are_for_the_tables_alone():
    """A parser quotes them, and they may be of an answer."""
    fault = classify_exception(caused(httpx.RemoteProtocolError("bad line: b'Acme'"), ServerDisconnectedError()))
    assert (fault.message, fault.full_message) == (
        "ServerDisconnectedError",
        "ServerDisconnectedError: bad line: b'Acme'",
    )


def test_what_the_system_says_of_a_connection_may_be_shown():
    refused = ConnectionRefusedError(111, "Connection refused")
    assert classify_exception(refused).message == "ConnectionRefusedError: [Errno 111] Connection refused"


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """A clock that a test sets."""
    return Clock()


@pytest.fixture
def breaker(clock):
    """A breaker that reads it."""
    return CircuitBreaker(clock)


def test_a_minute_without_an_answer_stops_the_run(breaker, clock):
    breaker.record_failure(FAILED)
    clock.now = 60.0
    assert breaker.record_failure(FAILED).status == "failing"


def test_an_answer_closes_the_breaker(breaker, clock):
    """One answer in between, and the minute begins again."""
    breaker.record_failure(FAILED)
    clock.now = 50.0
    breaker.record_answer()
    clock.now = 100.0
    assert breaker.record_failure(FAILED) is None


@pytest.mark.parametrize("fault", [REFUSED, CROWDED])
def test_a_server_that_says_when_to_come_back_is_not_failing(breaker, clock, fault):
    breaker.record_failure(fault)
    clock.now = 600.0
    assert breaker.record_failure(fault) is None


@pytest.mark.parametrize("fault", [REFUSED, CROWDED])
def test_half_an_hour_of_refusals_stops_the_run(breaker, clock, fault):
    breaker.record_failure(fault)
    clock.now = 1800.0
    assert breaker.record_failure(fault).status == "refused"


def test_a_full_server_that_names_no_time_is_failing(breaker, clock):
    breaker.record_failure(Fault("capacity", "retry", "503 full"))
    clock.now = 60.0
    assert breaker.record_failure(Fault("capacity", "retry", "503 full")).status == "failing"


def test_a_wall_of_403_stops_the_run(breaker):
    """When every call from the first is forbidden, it is the key."""
    stops = [breaker.record_failure(FORBIDDEN) for _ in range(10)]
    assert stops[:9] == [None] * 9
    assert stops[9].status == "refused"


def test_a_403_among_answers_is_a_length(breaker):
    breaker.record_answer()
    assert [breaker.record_failure(FORBIDDEN) for _ in range(20)] == [None] * 20


def test_a_short_run_of_nothing_but_403_is_a_wall(breaker):
    """A run that ends before ten calls is asked once more."""
    breaker.record_failure(FORBIDDEN)
    assert breaker.check_forbidden().status == "refused"
