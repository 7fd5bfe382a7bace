"""core/buckets/listing.py: which keys obstore can read, and failed pages of a listing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from extractors.core.buckets import parse_location
from extractors.core.buckets.listing import ATTEMPTS, ListedObject, list_objects

KEYS = st.text("ab./\t\x01\x7f{}%\\ é?#*~", min_size=1, max_size=8)


def is_accepted(key):
    """Whether obstore accepts this key and keeps it unchanged."""
    store = MemoryStore()
    try:
        store.put(key, b"x")
    except ValueError:
        return False
    return [meta["path"] for page in store.list() for meta in page] == [key]


@given(key=KEYS)
@example("in//b.jpg")
@example("in/../x.jpg")
@example("/a.jpg")
def test_key_is_addressable_if_obstore_accepts_it(key):
    """No object is read under another name: an object with another key becomes a problem."""
    assert ListedObject(key, 1, None, None).is_addressable == is_accepted(key)


def test_failed_page_is_retried(bucket):
    """The waits grow while the server is busy."""
    bucket.put("a.jpg")
    waits, busy = [], [1] * (ATTEMPTS - 1)
    bucket.front.answer = lambda path: (503, b"busy") if busy and busy.pop() else None
    assert [listed.key for listed in list_objects(parse_location(bucket.url), sleep=waits.append)] == ["a.jpg"]
    assert len(waits) == ATTEMPTS - 1
    assert waits == sorted(waits)


@pytest.mark.parametrize(("status", "requests"), [(503, ATTEMPTS), (403, 1)])
def test_unreadable_page_raises(bucket, status, requests):
    """A 503 is retried first; a 403 is not."""
    paths = []
    bucket.front.answer = lambda path: paths.append(path) or (status, b"<Error><Code>Denied</Code></Error>")
    with pytest.raises(OSError, match=f"{status}.*Denied"):
        list(list_objects(parse_location(bucket.url), sleep=lambda seconds: None))
    assert len(paths) == requests


def test_public_bucket_is_listed_without_a_signature(bucket, monkeypatch):
    """A public bucket is listed without a key."""
    bucket.put("a.jpg")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    paths = []
    bucket.front.answer = paths.append
    assert [listed.key for listed in list_objects(parse_location(bucket.url))] == ["a.jpg"]
    assert not any("X-Amz-Signature" in path for path in paths)
