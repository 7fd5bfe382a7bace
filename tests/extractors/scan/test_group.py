"""scan/group.py: which images form one document, in which order, and how many are held in memory."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.core import Found, Problem
from extractors.scan import scan, scan_documents
from extractors.scan.formats import SUFFIXES
from extractors.scan.group import group_images

GROUPINGS = st.sampled_from(["folder", "name"])
NAMES = st.sampled_from(["a", "a-1", "a-2", "a-10", "a-1-2", "b", "b-1", "-1", "a.b-1", "z 9", "z 10", "é-1"])
PATHS = st.builds(
    lambda folders, name, suffix: "/".join([*folders, name + suffix]),
    st.lists(NAMES, max_size=3),
    NAMES,
    st.sampled_from([".jpg", ".png", ".tif"]),
)


def fill(root, *paths):
    """Write files at these paths."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"bytes")


def group_paths(root, by):
    """List each document with its pages, relative to the root, in order of arrival."""
    return [
        (os.path.relpath(document.document, root), [os.path.relpath(page.uri, root) for page in document.pages])
        for document in scan_documents(str(root), by)
    ]


def group_keys(keys, by):
    """List each document of a bucket's keys with its pages."""
    images = (Found(f"s3://bucket/{key}", 1, '"etag"') for key in keys)
    return [
        (document.document, [page.uri.rpartition("/")[2] for page in document.pages])
        for document in group_images(images, by)
    ]


def sort_like_a_disk(paths):
    """Sort paths as a walk does: by name within a folder, with a folder at the place of its name."""
    return sorted(paths, key=lambda path: path.split("/"))


@pytest.mark.parametrize("by", [None, "frames"])
def test_each_image_is_a_document_without_grouping_and_by_frames(tmp_path, by):
    """Frames are separated when the image is read."""
    fill(tmp_path, "a-1.jpg", "a-2.jpg", "b/c.tif")
    assert group_paths(tmp_path, by) == [(name, [name]) for name in ("a-1.jpg", "a-2.jpg", "b/c.tif")]


def test_group_by_folder_makes_a_document_of_each_folder(tmp_path):
    """The document has the folder's name; other files are ignored."""
    fill(tmp_path, "one/b.jpg", "one/a.png", "one/notes.txt", "two/c.tif")
    assert group_paths(tmp_path, "folder") == [("one", ["one/a.png", "one/b.jpg"]), ("two", ["two/c.tif"])]


def test_group_by_folder_separates_nested_folders(tmp_path):
    """Images of a folder are one document, before and after those of a nested folder."""
    fill(tmp_path, "a.jpg", "m/x.jpg", "m/n/y.jpg", "m/z.jpg", "z.jpg")
    assert sorted(group_paths(tmp_path, "folder")) == [
        (".", ["a.jpg", "z.jpg"]),
        ("m", ["m/x.jpg", "m/z.jpg"]),
        ("m/n", ["m/n/y.jpg"]),
    ]


@pytest.mark.parametrize(
    "pages",
    [
        ["1.jpg", "2.jpg", "9.jpg", "10.jpg", "100.jpg"],
        ["page 2.jpg", "page 10.jpg"],
        ["p01.jpg", "p2.jpg", "p10.jpg"],
        ["a1b2.jpg", "a1b10.jpg", "a2b1.jpg"],
        ["scan.jpg", "scan 2.jpg", "scan 10.jpg"],
        ["scan.jpg", "scan (2).jpg", "scan (10).jpg"],
        ["x1\N{SUPERSCRIPT TWO}2.jpg", "x9\N{ARABIC-INDIC DIGIT FOUR}.jpg"],
    ],
)
def test_pages_are_in_natural_order(tmp_path, pages):
    """10 comes after 9."""
    fill(tmp_path, *(f"doc/{name}" for name in pages))
    assert group_paths(tmp_path, "folder") == [("doc", [f"doc/{name}" for name in pages])]


def test_group_by_folder_names_a_single_image_by_its_folder(tmp_path):
    """A second page does not rename the document."""
    fill(tmp_path, "one/a.jpg")
    assert group_paths(tmp_path, "folder") == [("one", ["one/a.jpg"])]


def test_group_by_name_joins_numbered_images(tmp_path):
    """The document has the name before the number; an image without a number is a document of its own."""
    fill(tmp_path, "inv-2.jpg", "inv-10.jpg", "inv-1.png", "inv.jpg", "other-1.jpg")
    assert sorted(group_paths(tmp_path, "name")) == [
        ("inv", ["inv-1.png", "inv-2.jpg", "inv-10.jpg"]),
        ("inv.jpg", ["inv.jpg"]),
        ("other", ["other-1.jpg"]),
    ]


def test_group_by_name_joins_pages_with_other_files_between(tmp_path):
    """`a-1x.jpg` and the folder `a-2` are sorted between pages of `a`."""
    fill(tmp_path, "a-1.jpg", "a-1x.jpg", "a-2/c.jpg", "a-2/c-1.jpg", "a-2.jpg", "a-b-1.jpg", "a-10.jpg")
    assert sorted(group_paths(tmp_path, "name")) == [
        ("a", ["a-1.jpg", "a-2.jpg", "a-10.jpg"]),
        ("a-1x.jpg", ["a-1x.jpg"]),
        ("a-2/c", ["a-2/c-1.jpg"]),
        ("a-2/c.jpg", ["a-2/c.jpg"]),
        ("a-b", ["a-b-1.jpg"]),
    ]


def test_group_by_name_joins_within_one_folder_only(tmp_path):
    fill(tmp_path, "x/a-1.jpg", "y/a-1.jpg", "y/a-2.jpg")
    assert group_paths(tmp_path, "name") == [("x/a", ["x/a-1.jpg"]), ("y/a", ["y/a-1.jpg", "y/a-2.jpg"])]


@pytest.mark.parametrize("by", ["folder", "name"])
def test_pdf_is_grouped_like_an_image(tmp_path, by):
    pytest.importorskip("pypdfium2", reason="the extra `pdf` is not installed")
    fill(tmp_path, "d/a-1.jpg", "d/a-2.pdf", "d/a-3.jpg")
    name = {"folder": "d", "name": "d/a"}[by]
    assert group_paths(tmp_path, by) == [(name, ["d/a-1.jpg", "d/a-2.pdf", "d/a-3.jpg"])]


@pytest.mark.parametrize("by", ["folder", "name"])
def test_unlisted_folder_is_a_document_of_its_own(by):
    """It does not reject the documents that were found."""
    problem = Problem("forbidden", "scan", "no", final=False)
    images = [Found("/in/a-1.jpg"), Found("/in/a-2", problem=problem), Found("/in/a-3.jpg")]
    pages_by_document = {
        document.document: [page.uri for page in document.pages] for document in group_images(images, by)
    }
    assert pages_by_document.pop("/in/a-2") == ["/in/a-2"]
    assert list(pages_by_document.values()) == [["/in/a-1.jpg", "/in/a-3.jpg"]]


def test_unreadable_image_is_a_page_of_its_document():
    """The document would be incomplete without it."""
    problem = Problem("forbidden", "scan", "no", final=False)
    (document,) = group_images([Found("/in/a.jpg"), Found("/in/b.jpg", problem=problem)], "folder")
    assert [page.problem for page in document.pages] == [None, problem]


def test_bucket_keys_are_grouped_like_files():
    """Keys are sorted as a whole: `m/` comes after `m.jpg` and before `m0`."""
    keys = ["a.jpg", "m-1/x.jpg", "m.jpg", "m/10.jpg", "m/9.jpg", "m/n/y.jpg", "m/z.jpg", "m0.jpg"]
    assert sorted(group_keys(keys, "folder")) == [
        ("s3://bucket", ["a.jpg", "m.jpg", "m0.jpg"]),
        ("s3://bucket/m", ["9.jpg", "10.jpg", "z.jpg"]),
        ("s3://bucket/m-1", ["x.jpg"]),
        ("s3://bucket/m/n", ["y.jpg"]),
    ]
    assert group_keys(["m/a-1.jpg", "m/a-2.jpg", "m/b.jpg"], "name") == [
        ("s3://bucket/m/a", ["a-1.jpg", "a-2.jpg"]),
        ("s3://bucket/m/b.jpg", ["b.jpg"]),
    ]


@given(paths=st.sets(PATHS, max_size=25), by=GROUPINGS, in_bucket=st.booleans())
def test_each_image_is_in_exactly_one_document(paths, by, in_bucket):
    """This holds for any tree on a disk or in a bucket, and document names are unique."""
    ordered_paths = sorted(paths) if in_bucket else sort_like_a_disk(paths)
    documents = list(group_images((Found(f"/in/{path}") for path in ordered_paths), by))
    pages = [page.uri for document in documents for page in document.pages]
    assert sorted(pages) == sorted(f"/in/{path}" for path in paths)
    assert len({document.document for document in documents}) == len(documents)


@given(paths=st.sets(PATHS, max_size=25), in_bucket=st.booleans())
def test_group_by_folder_makes_one_document_of_all_images_of_a_folder(paths, in_bucket):
    ordered_paths = sorted(paths) if in_bucket else sort_like_a_disk(paths)
    documents = group_images((Found(f"/in/{path}") for path in ordered_paths), "folder")
    assert {document.document: {str(Path(page.uri).parent) for page in document.pages} for document in documents} == {
        str(Path("/in", path).parent): {str(Path("/in", path).parent)} for path in paths
    }


@pytest.mark.parametrize("by", ["folder", "name"])
def test_group_reads_one_image_ahead(by):
    """Of a hundred thousand images only the next document's and one more are read."""
    count_read = 0

    def images():
        nonlocal count_read
        for number in range(100_000):
            count_read += 1
            yield Found(f"/in/{number // 4:06}/a-{number % 4}.jpg")

    stream = group_images(images(), by)
    counts_ahead = []
    for count in range(1, 1001):
        assert len(next(stream).pages) == 4
        counts_ahead.append(count_read - 4 * count)
    assert set(counts_ahead) == {1}


def test_group_by_name_keeps_an_entry_without_a_suffix_apart():
    """Such an entry is a folder that could not be listed."""
    assert all(suffix.startswith(".") for suffix in SUFFIXES)
    assert [document.document for document in group_images([Found("/in/a-1")], "name")] == ["/in/a-1"]


def test_group_of_an_unchanged_folder_gives_equal_documents(tmp_path):
    fill(tmp_path, "d/2.jpg", "d/10.jpg", "e/1.jpg")
    assert list(scan_documents(str(tmp_path), "folder")) == list(scan_documents(str(tmp_path), "folder"))
    assert sum(len(document.pages) for document in scan_documents(str(tmp_path), "folder")) == len(
        list(scan(str(tmp_path)))
    )
