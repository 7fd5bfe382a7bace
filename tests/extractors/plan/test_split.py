"""split.py: one document per page."""

import io

import pytest
from PIL import Image

from extractors.core import Document
from extractors.plan.split import split_pages
from extractors.scan import create_store, scan_documents


def make_tiff(count):
    """A TIFF of this many frames."""
    frames = [Image.new("L", (8, 8), number) for number in range(count)]
    data = io.BytesIO()
    frames[0].save(data, "TIFF", save_all=True, append_images=frames[1:])
    return data.getvalue()


@pytest.fixture
def split_file(tmp_path):
    """Splits a file of these bytes into documents, and returns their names."""

    def split_file(name, data):
        path = tmp_path / name
        path.write_bytes(data)
        (document,) = scan_documents(str(path), "page")
        return [page.document.removeprefix(f"{tmp_path}/") for page in split_pages(create_store(str(path)), document)]

    return split_file


def test_each_frame_of_a_tiff_is_a_document(split_file):
    """Names count from 1, also for a single frame."""
    assert split_file("a.tif", make_tiff(3)) == ["a.tif#page=1", "a.tif#page=2", "a.tif#page=3"]
    assert split_file("b.tif", make_tiff(1)) == ["b.tif#page=1"]


def test_each_page_of_a_pdf_is_a_document(split_file, pdf):
    """Its name is that of the page in every table."""
    assert split_file("a.pdf", pdf("one", "two")) == ["a.pdf#page=1", "a.pdf#page=2"]


def test_other_images_and_broken_files_stay_one_document(split_file):
    """A broken file is rejected when it is planned."""
    png = io.BytesIO()
    Image.new("L", (8, 8)).save(png, "PNG")
    assert split_file("a.png", png.getvalue()) == ["a.png"]
    assert split_file("b.tif", b"broken") == ["b.tif"]
    assert split_file("c.pdf", b"%PDF-broken") == ["c.pdf"]


def test_page_document_keeps_the_version_of_its_file(tmp_path):
    """A page is read again when its file changes."""
    path = tmp_path / "a.tif"
    path.write_bytes(make_tiff(2))
    (document,) = scan_documents(str(path))
    first, second = split_pages(create_store(str(path)), document)
    assert first.name == (f"{path}#page=1", document.name[1])
    assert isinstance(second, Document)
    assert second.pages[0].name == second.document
