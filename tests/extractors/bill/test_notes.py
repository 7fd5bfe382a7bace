"""notes.py: the warnings about parts of the sent images that are not read."""

from extractors.bill import NoteCounts
from extractors.core import BilledPage, Found, Header, Planned, PlannedPage, Problem
from extractors.core.tiles import Size


def make_document(frames=1, form="TIFF", note=None, page=None, problem=None):
    """A document of one page."""
    header = Header(Size(10, 10), form, frames, 1)
    return Planned(
        "a", (PlannedPage(BilledPage(Found("a", page=page), header, note=note, problem=problem), "send", "fits"),)
    )


def warn(*documents):
    """The warnings about these documents."""
    counts = NoteCounts()
    for document in documents:
        counts.add(document)
    return counts.warnings()


def test_unread_frames_are_counted_over_files():
    """A file of one frame has none that are not read."""
    (warning,) = warn(make_document(3), make_document(2), make_document())
    assert warning.startswith("3 frames of 2 TIFF files are not read")
    assert "--document-by frames" in warning


def test_frames_of_pages_animations_and_rejected_documents_are_not_counted():
    problem = Problem("unreadable", "bill", "x")
    assert warn(make_document(3, page=1), make_document(3, form="GIF"), make_document(3, problem=problem)) == []


def test_pages_with_undrawn_text_are_counted():
    note = (
        "text that is not drawn, in fonts neither embedded nor installed: A; 1 attachments of the PDF are not read: b"
    )
    (warning,) = warn(
        make_document(form="PDF", note=note, page=1),
        make_document(form="PDF", note=note, page=2),
        make_document(form="PDF", page=3),
    )
    assert warning.startswith("2 PDF pages have text that is not drawn")
