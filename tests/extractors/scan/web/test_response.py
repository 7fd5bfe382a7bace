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
def test_any_headers_are_read(status, headers):
    """What a server writes there raises nothing."""
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
def test_a_date_is_in_utc(text, hour):
    """Wherever this machine stands."""
    assert parse_date(text) == datetime(2026, 11, 21, hour, tzinfo=UTC)


@given(st.text(max_size=60))
def test_any_url_is_a_target_or_refused(text):
    """What a redirect says raises nothing else; what is asked for is ASCII on one line."""
    target = Target.parse("https://images.test/a.png?b=1")
    for url in (text, f"//{text}", f"https://{text}", f"https://host:{text}/", f"https://host/{text}"):
        try:
            led = target.redirect(url)
        except DocumentError as error:
            assert error.kind in {"unreadable", "blocked_address"}  # noqa: PT017 - most texts are some path
        else:
            assert led.host.isascii()
            assert led.path.isascii()
            assert led.path.isprintable()
            assert " " not in led.path


def test_a_signed_path_is_asked_for_letter_by_letter():
    """One letter encoded otherwise, and the signature would not fit."""
    path = "/a%2Fb+c~d!$'()*,;=:@.png?X-Amz-Signature=a%2Bb/c==&x={y}|[z]"
    assert Target.parse(f"https://images.test{path}#part").path == path
