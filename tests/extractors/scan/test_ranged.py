"""scan/ranged.py: a stream that fetches only the ranges that are read, in few requests."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.scan.ranged import BLOCK, RangeReader

DATA = bytes(number % 251 for number in range(5 * BLOCK + 77))


def open_stream(data=DATA):
    """Open a stream over the data; return it with the list of fetched ranges."""
    ranges = []

    def fetch(start, end):
        ranges.append((start, end))
        return data[start:end]

    return RangeReader(data[:BLOCK], len(data), fetch), ranges


def test_reader_does_not_fetch_its_head_again():
    reader, ranges = open_stream()
    assert reader.read(BLOCK) == DATA[:BLOCK]
    reader.seek(10)
    assert reader.read(5) == DATA[10:15]
    assert ranges == []


def test_reader_fetches_growing_ranges():
    """Small sequential reads share few requests."""
    reader, ranges = open_stream()
    assert b"".join(iter(lambda: reader.read(1000), b"")) == DATA
    assert ranges == [(BLOCK, 3 * BLOCK), (3 * BLOCK, len(DATA))]


def test_reader_fetches_the_rest_in_one_request():
    reader, ranges = open_stream()
    assert reader.read() == DATA
    assert ranges == [(BLOCK, len(DATA))]


def test_reader_fetches_only_the_last_block_for_the_end():
    """Some formats have their directory at the end."""
    reader, ranges = open_stream()
    reader.seek(-10, io.SEEK_END)
    assert reader.read() == DATA[-10:]
    assert ranges == [(5 * BLOCK, len(DATA))]


def test_reader_refuses_a_negative_position():
    with pytest.raises(ValueError, match="negative"):
        open_stream()[0].seek(-1)


@given(st.lists(st.tuples(st.integers(0, len(DATA) + 10), st.integers(-1, 2 * BLOCK)), max_size=8))
def test_reader_reads_like_a_file(steps):
    """Any sequence of seeks and reads agrees with a file."""
    reader, file = open_stream()[0], io.BytesIO(DATA)
    for position, size in steps:
        assert reader.seek(position) == file.seek(position)
        assert reader.read(size) == file.read(size)
        assert min(reader.tell(), len(DATA)) == min(file.tell(), len(DATA))
