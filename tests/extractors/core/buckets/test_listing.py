"""core/buckets/listing.py: which keys obstore can read, and pages of a listing that fail."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from extractors.core.buckets import parse_location
from extractors.core.buckets.listing import ATTEMPTS, ListedObject, list_objects

KEYS = st.text("ab./\t\x01\x7f{}%\\ é?#*~", min_size=1, max_size=8)


def accepts(key):
    """Whether obstore takes this key, and as it is."""
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
def test_key_is_addressable_where_obstore_accepts_it(key):
    """An object is read, or is a problem of its own: none is read under another name."""
    assert ListedObject(key, 1, None, None).is_addressable == accepts(key)


def test_page_that_fails_for_a_while_is_read(bucket):
    """A busy server is waited for."""
    bucket.put("a.jpg")
    waits, busy = [], [1] * (ATTEMPTS - 1)
    bucket.front.answer = lambda path: (503, b"busy") if busy and busy.pop() else None
    assert [each.key for each in list_objects(parse_location(bucket.url), sleep=waits.append)] == ["a.jpg"]
    assert len(waits) == ATTEMPTS - 1
    assert waits == sorted(waits)


@pytest.mark.parametrize(("status", "requests"), [(503, ATTEMPTS), (403, 1)])
def test_page_that_cannot_be_read_raises(bucket, status, requests):
    """After retries where they help, at once where they do not."""
    seen = []
    bucket.front.answer = lambda path: seen.append(path) or (status, b"<Error><Code>Denied</Code></Error>")
    with pytest.raises(OSError, match=f"{status}.*Denied"):
        list(list_objects(parse_location(bucket.url), sleep=lambda seconds: None))
    assert len(seen) == requests


def test_public_bucket_is_listed_without_a_signature(bucket, monkeypatch):
    """Nobody needs a key to list what everybody may list."""
    bucket.put("a.jpg")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    seen = []
    bucket.front.answer = seen.append
    assert [each.key for each in list_objects(parse_location(bucket.url))] == ["a.jpg"]
    assert not any("X-Amz-Signature" in path for path in seen)
