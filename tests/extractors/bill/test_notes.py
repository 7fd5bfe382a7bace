"""bill/notes.py: what is not read of the images that are sent is counted and told."""

from extractors.bill import NoteCounts
from extractors.core import BilledPage, Found, Header, Planned, PlannedPage, Problem
from extractors.core.tiles import Size


def plan(frames=1, form="TIFF", note=None, page=None, problem=None):
    """A document of one page."""
    header = Header(Size(10, 10), form, frames, 1)
    return Planned(
        "a", (PlannedPage(BilledPage(Found("a", page=page), header, note=note, problem=problem), "send", "fits"),)
    )


def warn(*documents):
    """The warnings over these documents."""
    counts = NoteCounts()
    for document in documents:
        counts.add(document)
    return counts.warnings()


def test_unread_frames_are_counted_over_files():
    """Two frames of one file and one of another, and none of a file of one frame."""
    (warning,) = warn(plan(3), plan(2), plan())
    assert warning.startswith("3 frames of 2 TIFF files are not read")
    assert "--document-by frames" in warning


def test_frames_that_are_pages_are_read():
    """Neither these, nor an animation's, nor those of a rejected document."""
    gone = Problem("unreadable", "bill", "x")
    assert warn(plan(3, page=1), plan(3, form="GIF"), plan(3, problem=gone)) == []


def test_pages_with_undrawn_text_are_counted():
    """By their notes."""
    note = (
        "text that is not drawn, in fonts neither embedded nor installed: A; 1 attachments of the PDF are not read: b"
    )
    (warning,) = warn(
        plan(form="PDF", note=note, page=1), plan(form="PDF", note=note, page=2), plan(form="PDF", page=3)
    )
    assert warning.startswith("2 PDF pages have text that is not drawn")
