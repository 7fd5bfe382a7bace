"""scan/stores.py: each image is read from the store of its uri."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from extractors.core import Found
from extractors.core.errors import DocumentError
from extractors.scan.folder import find_file
from extractors.scan.stores import MixedStore


@pytest.fixture
def store():
    """A store of whatever there is."""
    mixed = MixedStore()
    yield mixed
    mixed.close()


def test_a_file_is_read_from_disk(store, tmp_path):
    """It is known already, and its change is noticed."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"picture")
    found = find_file(str(path))
    assert (store.stat(found), store.read(found)) == (found, b"picture")
    path.write_bytes(b"another")
    with pytest.raises(DocumentError) as raised:
        store.open(found)
    assert raised.value.kind == "changed"
    with pytest.raises(DocumentError, match="only what has a URL"):
        store.link(found)


def test_an_object_is_read_from_its_bucket(store, bucket):
    """It is looked at once, and what is known is not asked for again; a server may fetch it by a signed URL."""
    bucket.put("in/a.jpg", b"picture")
    found = store.stat(Found(f"{bucket.url}/in/a.jpg"))
    assert (found.size, found.problem, store.stat(found)) == (7, None, found)
    assert (store.read(found), store.open(found).read()) == (b"picture", b"picture")
    assert "X-Amz-Signature=" in store.link(found)
    assert [method for method, _, _ in bucket.front.asked] == ["HEAD", "GET", "GET"]


def test_what_is_not_there_is_a_flaw(store, bucket):
    """Of that image alone."""
    flaw = store.stat(Found(f"{bucket.url}/none.jpg")).problem
    assert (flaw.kind, flaw.stage, flaw.final) == ("missing", "scan", False)


def test_a_bucket_is_opened_once(store, bucket, monkeypatch):
    """However many threads ask at the same moment; its credentials are read then."""
    bucket.fill([f"{number}.jpg" for number in range(16)])
    start = threading.Barrier(16)

    def look(number):
        start.wait()
        return store.stat(Found(f"{bucket.url}/{number}.jpg"))

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(look, range(16)))
    assert {each.size for each in found} == {7}
    monkeypatch.setenv("AWS_PROFILE", "gone")
    assert store.stat(Found(f"{bucket.url}/1.jpg")).problem is None


def test_a_bucket_that_cannot_be_opened_is_the_flaw_of_its_images(store, bucket, monkeypatch):
    """Nothing crashes: documents elsewhere are read, and another run may try again."""
    monkeypatch.setenv("AWS_PROFILE", "gone")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    found = Found(f"{bucket.url}/a.jpg")
    flaw = store.stat(found).problem
    assert (flaw.kind, flaw.stage, flaw.final) == ("unreadable", "scan", False)
    assert "AWS_PROFILE=gone" in flaw.message
    for method in (store.open, store.read, store.link):
        with pytest.raises(DocumentError, match="AWS_PROFILE=gone"):
            method(found)


def test_an_address_that_is_not_public_is_not_connected_to(store):
    """Unless its host is named."""
    found = Found("http://127.0.0.1:9/a.jpg")
    assert store.stat(found).problem.kind == "blocked_address"
    opened = MixedStore(("127.0.0.1",))
    assert opened.stat(found).problem.kind == "unreadable"
    opened.close()


def test_a_url_is_passed_on_as_it_was_given(store):
    """Nothing is asked of its server for that."""
    assert store.link(Found("https://images.example/a.jpg?id=4")) == "https://images.example/a.jpg?id=4"


def test_only_what_lies_elsewhere_is_read_many_at_a_time():
    """A warm disk answers sooner than a thread."""
    assert (MixedStore(urls=True).readers, MixedStore(urls=False).readers) == (64, 1)
