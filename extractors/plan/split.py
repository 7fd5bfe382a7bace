"""Split a file into one document per page, for `--document-by page`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from extractors.bill import count_pages
from extractors.core import Document
from extractors.core.errors import DocumentError

if TYPE_CHECKING:
    from extractors.core import Store


def split_pages(store: Store, document: Document) -> list[Document]:
    """Return a document for each page of a PDF or frame of a TIFF, named `file.pdf#page=3`; others unchanged.

    A file that cannot be opened stays one document: planning it names the problem.
    """
    found = document.pages[0]
    if len(document.pages) > 1 or found.page is not None or document.document != found.uri:
        return [document]
    found = store.stat(found)
    try:
        count = count_pages(found, store)
    except DocumentError:
        count = None
    if count is None:
        return [document]
    pages = [replace(found, page=number) for number in range(1, count + 1)]
    return [Document(page.name, (page,), document.manifest) for page in pages]
