"""scan/group.py: which images make one document, in which order, and how few are kept in memory for it."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.core import Found, Problem
from extractors.scan import scan, scan_documents
from extractors.scan.formats import SUFFIXES
from extractors.scan.group import group_images

WHOLE = st.sampled_from(["folder", "name"])
NAMES = st.sampled_from(["a", "a-1", "a-2", "a-10", "a-1-2", "b", "b-1", "-1", "a.b-1", "z 9", "z 10", "é-1"])
PATHS = st.builds(
    lambda folders, name, suffix: "/".join([*folders, name + suffix]),
    st.lists(NAMES, max_size=3),
    NAMES,
    st.sampled_from([".jpg", ".png", ".tif"]),
)


def fill(root, *paths):
    """Files at these paths."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"bytes")


def group_paths(root, by):
    """Each document with its pages, all relative to the root, in the order in which they come."""
    return [
        (os.path.relpath(each.document, root), [os.path.relpath(page.uri, root) for page in each.pages])
        for each in scan_documents(str(root), by)
    ]


def of_keys(keys, by):
    """Each document of a bucket's listing with its pages."""
    images = (Found(f"s3://bucket/{key}", 1, '"etag"') for key in keys)
    return [(each.document, [page.uri.rpartition("/")[2] for page in each.pages]) for each in group_images(images, by)]


def walk(paths):
    """The paths as a disk's walk gives them: names sorted within a folder, a folder's where its name stands."""
    return sorted(paths, key=lambda path: path.split("/"))


@pytest.mark.parametrize("by", [None, "frames"])
def test_an_image_is_a_document(tmp_path, by):
    """The frames of one are told apart when it is looked at."""
    fill(tmp_path, "a-1.jpg", "a-2.jpg", "b/c.tif")
    assert group_paths(tmp_path, by) == [(name, [name]) for name in ("a-1.jpg", "a-2.jpg", "b/c.tif")]


def test_a_folder_is_a_document(tmp_path):
    """Named by the folder; its images are the pages, whatever else lies there."""
    fill(tmp_path, "one/b.jpg", "one/a.png", "one/notes.txt", "two/c.tif")
    assert group_paths(tmp_path, "folder") == [("one", ["one/a.png", "one/b.jpg"]), ("two", ["two/c.tif"])]


def test_a_folder_in_a_folder_is_another_document(tmp_path):
    """A folder's own images are one document, before and after those of the folders in it."""
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
def test_pages_are_in_the_order_in_which_people_count(tmp_path, pages):
    """10 comes after 9, however names are sorted."""
    fill(tmp_path, *(f"doc/{name}" for name in pages))
    assert group_paths(tmp_path, "folder") == [("doc", [f"doc/{name}" for name in pages])]


def test_a_folder_of_one_image_is_a_document_of_that_folder(tmp_path):
    """It is named like the others, so that a second page does not rename it."""
    fill(tmp_path, "one/a.jpg")
    assert group_paths(tmp_path, "folder") == [("one", ["one/a.jpg"])]


def test_numbered_names_make_a_document(tmp_path):
    """It is named by what stands before the number; one without a number is another."""
    fill(tmp_path, "inv-2.jpg", "inv-10.jpg", "inv-1.png", "inv.jpg", "other-1.jpg")
    assert sorted(group_paths(tmp_path, "name")) == [
        ("inv", ["inv-1.png", "inv-2.jpg", "inv-10.jpg"]),
        ("inv.jpg", ["inv.jpg"]),
        ("other", ["other-1.jpg"]),
    ]


def test_other_files_between_do_not_part_a_document(tmp_path):
    """`a-1x.jpg` is sorted between pages of `a` and is none of them, and so is a folder of a like name."""
    fill(tmp_path, "a-1.jpg", "a-1x.jpg", "a-2/c.jpg", "a-2/c-1.jpg", "a-2.jpg", "a-b-1.jpg", "a-10.jpg")
    assert sorted(group_paths(tmp_path, "name")) == [
        ("a", ["a-1.jpg", "a-2.jpg", "a-10.jpg"]),
        ("a-1x.jpg", ["a-1x.jpg"]),
        ("a-2/c", ["a-2/c-1.jpg"]),
        ("a-2/c.jpg", ["a-2/c.jpg"]),
        ("a-b", ["a-b-1.jpg"]),
    ]


def test_a_name_counts_in_its_folder_only(tmp_path):
    """Two folders may number their images alike."""
    fill(tmp_path, "x/a-1.jpg", "y/a-1.jpg", "y/a-2.jpg")
    assert group_paths(tmp_path, "name") == [("x/a", ["x/a-1.jpg"]), ("y/a", ["y/a-1.jpg", "y/a-2.jpg"])]


@pytest.mark.parametrize("by", ["folder", "name"])
def test_a_pdf_is_grouped_like_an_image(tmp_path, by):
    """Its pages come where it stands."""
    pytest.importorskip("pypdfium2", reason="the extra `pdf` is not installed")
    fill(tmp_path, "d/a-1.jpg", "d/a-2.pdf", "d/a-3.jpg")
    name = {"folder": "d", "name": "d/a"}[by]
    assert group_paths(tmp_path, by) == [(name, ["d/a-1.jpg", "d/a-2.pdf", "d/a-3.jpg"])]


@pytest.mark.parametrize("by", ["folder", "name"])
def test_a_folder_that_cannot_be_listed_is_a_document_of_its_own(by):
    """It says what was not seen, and rejects no document that was."""
    flaw = Problem("forbidden", "scan", "no", final=False)
    images = [Found("/in/a-1.jpg"), Found("/in/a-2", problem=flaw), Found("/in/a-3.jpg")]
    told = {each.document: [page.uri for page in each.pages] for each in group_images(images, by)}
    assert told.pop("/in/a-2") == ["/in/a-2"]
    assert list(told.values()) == [["/in/a-1.jpg", "/in/a-3.jpg"]]


def test_an_image_that_cannot_be_read_is_a_page():
    """Whose document is not whole without it."""
    flaw = Problem("forbidden", "scan", "no", final=False)
    (document,) = group_images([Found("/in/a.jpg"), Found("/in/b.jpg", problem=flaw)], "folder")
    assert [page.problem for page in document.pages] == [None, flaw]


def test_a_bucket_is_grouped_like_a_folder():
    """Its keys come sorted as a whole, where `m/` stands after `m.jpg` and before `m0`."""
    keys = ["a.jpg", "m-1/x.jpg", "m.jpg", "m/10.jpg", "m/9.jpg", "m/n/y.jpg", "m/z.jpg", "m0.jpg"]
    assert sorted(of_keys(keys, "folder")) == [
        ("s3://bucket", ["a.jpg", "m.jpg", "m0.jpg"]),
        ("s3://bucket/m", ["9.jpg", "10.jpg", "z.jpg"]),
        ("s3://bucket/m-1", ["x.jpg"]),
        ("s3://bucket/m/n", ["y.jpg"]),
    ]
    assert of_keys(["m/a-1.jpg", "m/a-2.jpg", "m/b.jpg"], "name") == [
        ("s3://bucket/m/a", ["a-1.jpg", "a-2.jpg"]),
        ("s3://bucket/m/b.jpg", ["b.jpg"]),
    ]


@given(paths=st.sets(PATHS, max_size=25), by=WHOLE, in_bucket=st.booleans())
def test_every_image_is_in_exactly_one_document(paths, by, in_bucket):
    """Whatever the tree, on a disk or in a bucket; and no two documents have one name."""
    listed = sorted(paths) if in_bucket else walk(paths)
    whole = list(group_images((Found(f"/in/{path}") for path in listed), by))
    pages = [page.uri for each in whole for page in each.pages]
    assert sorted(pages) == sorted(f"/in/{path}" for path in paths)
    assert len({each.document for each in whole}) == len(whole)


@given(paths=st.sets(PATHS, max_size=25), in_bucket=st.booleans())
def test_a_folder_has_one_document(paths, in_bucket):
    """All its images and no others."""
    listed = sorted(paths) if in_bucket else walk(paths)
    whole = group_images((Found(f"/in/{path}") for path in listed), "folder")
    assert {each.document: {str(Path(page.uri).parent) for page in each.pages} for each in whole} == {
        str(Path("/in", path).parent): {str(Path("/in", path).parent)} for path in paths
    }


@pytest.mark.parametrize("by", ["folder", "name"])
def test_only_documents_that_may_still_get_a_page_are_kept(by):
    """Of a hundred thousand images no more are pulled than the next document's and one beyond."""
    pulled = 0

    def images():
        nonlocal pulled
        for number in range(100_000):
            pulled += 1
            yield Found(f"/in/{number // 4:06}/a-{number % 4}.jpg")

    stream = group_images(images(), by)
    ahead = []
    for count in range(1, 1001):
        assert len(next(stream).pages) == 4
        ahead.append(pulled - 4 * count)
    assert set(ahead) == {1}


def test_what_has_no_known_suffix_is_no_page_of_anything():
    """Only a folder that cannot be listed comes so."""
    assert all(suffix.startswith(".") for suffix in SUFFIXES)
    assert [each.document for each in group_images([Found("/in/a-1")], "name")] == ["/in/a-1"]


def test_two_walks_give_the_same_documents(tmp_path):
    """A source that did not change is found again as it was, value for value."""
    fill(tmp_path, "d/2.jpg", "d/10.jpg", "e/1.jpg")
    assert list(scan_documents(str(tmp_path), "folder")) == list(scan_documents(str(tmp_path), "folder"))
    assert sum(len(each.pages) for each in scan_documents(str(tmp_path), "folder")) == len(list(scan(str(tmp_path))))
