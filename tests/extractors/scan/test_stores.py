"""scan/stores.py: each image is read from the store that its uri names."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from extractors.core import Found
from extractors.core.errors import DocumentError
from extractors.scan.folder import find_file
from extractors.scan.stores import MixedStore


@pytest.fixture
def store():
    """A store of files, bucket objects and URLs."""
    store = MixedStore()
    yield store
    store.close()


def test_store_reads_a_file_and_notices_its_change(store, tmp_path):
    """`stat` of a found file does nothing, and a file has no link."""
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


def test_store_reads_and_links_a_bucket_object(store, bucket):
    """One HEAD request is enough for `stat`; the link is a signed URL."""
    bucket.put("in/a.jpg", b"picture")
    found = store.stat(Found(f"{bucket.url}/in/a.jpg"))
    assert (found.size, found.problem, store.stat(found)) == (7, None, found)
    assert (store.read(found), store.open(found).read()) == (b"picture", b"picture")
    assert "X-Amz-Signature=" in store.link(found)
    assert [method for method, _, _ in bucket.front.asked] == ["HEAD", "GET", "GET"]


def test_stat_of_a_missing_object_is_a_problem(store, bucket):
    problem = store.stat(Found(f"{bucket.url}/none.jpg")).problem
    assert (problem.kind, problem.stage, problem.final) == ("missing", "scan", False)


def test_store_opens_a_bucket_once(store, bucket, monkeypatch):
    """Threads share it, and its credentials are read once."""
    bucket.fill([f"{number}.jpg" for number in range(16)])
    start = threading.Barrier(16)

    def stat(number):
        start.wait()
        return store.stat(Found(f"{bucket.url}/{number}.jpg"))

    with ThreadPoolExecutor(16) as threads:
        images = list(threads.map(stat, range(16)))
    assert {image.size for image in images} == {7}
    monkeypatch.setenv("AWS_PROFILE", "gone")
    assert store.stat(Found(f"{bucket.url}/1.jpg")).problem is None


def test_bucket_that_cannot_be_opened_is_a_problem_of_its_images(store, bucket, monkeypatch):
    """The problem is not final; documents elsewhere are read."""
    monkeypatch.setenv("AWS_PROFILE", "gone")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    found = Found(f"{bucket.url}/a.jpg")
    problem = store.stat(found).problem
    assert (problem.kind, problem.stage, problem.final) == ("unreadable", "scan", False)
    assert "AWS_PROFILE=gone" in problem.message
    for method in (store.open, store.read, store.link):
        with pytest.raises(DocumentError, match="AWS_PROFILE=gone"):
            method(found)


def test_store_refuses_a_private_address_unless_its_host_is_allowed(store):
    found = Found("http://127.0.0.1:9/a.jpg")
    assert store.stat(found).problem.kind == "blocked_address"
    allowed = MixedStore(("127.0.0.1",))
    assert allowed.stat(found).problem.kind == "unreadable"
    allowed.close()


def test_link_of_a_url_is_the_url(store):
    """No request is sent for it."""
    assert store.link(Found("https://images.example/a.jpg?id=4")) == "https://images.example/a.jpg?id=4"


def test_store_has_64_readers_for_urls_and_one_for_files():
    """A warm disk answers faster than a thread starts."""
    assert (MixedStore(urls=True).readers, MixedStore(urls=False).readers) == (64, 1)
