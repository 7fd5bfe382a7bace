"""scan/web/response.py: headers as values."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.core.errors import DocumentError
from extractors.scan.web.response import FetchResponse, if_match, parse_date
from extractors.scan.web.target import Target

WORDS = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=40),
    st.from_regex(r"bytes \d*-?\d*/[\d*]*", fullmatch=True),
    st.from_regex(r"(Sat, )?\d{1,3} Nov \d{1,5} \d\d:\d\d(:\d\d)? ?([+-]\d{4,9}|GMT|)", fullmatch=True),
    st.just("9" * 5000),
)
NAMES = ["content-length", "content-range", "content-type", "content-encoding", "etag", "last-modified", "location"]


@given(st.sampled_from([200, 206, 304, 416, 999]), st.dictionaries(st.sampled_from(NAMES), WORDS))
def test_response_accepts_any_headers(status, headers):
    """Header values never raise."""
    answer = FetchResponse(status, headers)
    assert answer.length is None or 0 <= answer.length < 10**18
    assert answer.matches(answer.version, answer.length)
    assert answer.status_text.startswith("the server returned")
    assert if_match(answer.version).keys() <= {"If-Match"}
    assert isinstance(answer.may_hold("image"), bool)
    assert answer.byte_range is None or status == 206


@pytest.mark.parametrize(
    ("text", "hour"),
    [("Sat, 21 Nov 2026 10:00:00 GMT", 10), ("Sat, 21 Nov 2026 10:00:00 +0200", 8), ("21 Nov 2026 10:00:00 -0000", 10)],
)
def test_parse_date_returns_utc(text, hour):
    """The time zone of the machine does not matter."""
    assert parse_date(text) == datetime(2026, 11, 21, hour, tzinfo=UTC)


@given(st.text(max_size=60))
def test_redirect_accepts_or_refuses_any_url(text):
    """The location of a redirect raises nothing else, and the request target is printable ASCII."""
    target = Target.parse("https://images.test/a.png?b=1")
    for url in (text, f"//{text}", f"https://{text}", f"https://host:{text}/", f"https://host/{text}"):
        try:
            redirected = target.redirect(url)
        except DocumentError as error:
            assert error.kind in {"unreadable", "blocked_address"}  # noqa: PT017 - most texts are some path
        else:
            assert redirected.host.isascii()
            assert redirected.path.isascii()
            assert redirected.path.isprintable()
            assert " " not in redirected.path


def test_target_keeps_a_signed_path_unchanged():
    """The signature is invalid for any other encoding."""
    path = "/a%2Fb+c~d!$'()*,;=:@.png?X-Amz-Signature=a%2Bb/c==&x={y}|[z]"
    assert Target.parse(f"https://images.test{path}#part").path == path
