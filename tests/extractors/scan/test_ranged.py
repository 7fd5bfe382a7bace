"""scan/ranged.py: a stream that fetches what is read, and no more often than it must."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.scan.ranged import BLOCK, RangeReader

DATA = bytes(number % 251 for number in range(5 * BLOCK + 77))


def stream(data=DATA):
    """A stream over the data, and the list of what it fetched."""
    fetched = []

    def fetch(start, end):
        fetched.append((start, end))
        return data[start:end]

    return RangeReader(data[:BLOCK], len(data), fetch), fetched


def test_what_is_there_is_not_fetched():
    """The head is read as often as anyone likes."""
    ranged, fetched = stream()
    assert ranged.read(BLOCK) == DATA[:BLOCK]
    ranged.seek(10)
    assert ranged.read(5) == DATA[10:15]
    assert fetched == []


def test_what_lies_behind_is_fetched_with_more_each_time():
    """Whoever reads on in small steps does not ask for each."""
    ranged, fetched = stream()
    assert b"".join(iter(lambda: ranged.read(1000), b"")) == DATA
    assert fetched == [(BLOCK, 3 * BLOCK), (3 * BLOCK, len(DATA))]


def test_all_the_rest_is_one_request():
    """Reading without a number fetches what is missing at once."""
    ranged, fetched = stream()
    assert ranged.read() == DATA
    assert fetched == [(BLOCK, len(DATA))]


def test_the_end_can_be_read_alone():
    """A file whose directory stands at its end is not fetched whole."""
    ranged, fetched = stream()
    ranged.seek(-10, io.SEEK_END)
    assert ranged.read() == DATA[-10:]
    assert fetched == [(5 * BLOCK, len(DATA))]


def test_before_the_start_is_no_place():
    """As a file says."""
    with pytest.raises(ValueError, match="negative"):
        stream()[0].seek(-1)


@given(st.lists(st.tuples(st.integers(0, len(DATA) + 10), st.integers(-1, 2 * BLOCK)), max_size=8))
def test_it_reads_like_a_file(steps):
    """Wherever one goes and however much is read."""
    ranged, file = stream()[0], io.BytesIO(DATA)
    for place, size in steps:
        assert ranged.seek(place) == file.seek(place)
        assert ranged.read(size) == file.read(size)
        assert min(ranged.tell(), len(DATA)) == min(file.tell(), len(DATA))
