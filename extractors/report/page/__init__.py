"""page: the report of a published run, `reports/<run>.html`: one file that loads nothing, read from the run's tables."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from extractors.core.errors import ConfigurationError
from extractors.record.output.base import OUTPUT_ERRORS, reading
from extractors.report.page.charts import draw_charts
from extractors.report.page.documents import load_cards
from extractors.report.page.pictures import PictureReader
from extractors.report.page.render import FLAGS, Gallery, Page
from extractors.report.page.runs import RunTables, count_ended, load_run, open_run
from extractors.report.page.selection import LOW_CONFIDENCE, select_documents
from extractors.report.page.tables import load_summary

if TYPE_CHECKING:
    from extractors.record.output.base import Output


def write_report(output: Output, run: str | None = None, reader: PictureReader | None = None) -> str:
    """Writes the page of a published run, by default of the last one that read documents; returns its full path.

    `reader` makes its pictures. Raises ConfigurationError if the run does not exist or did nothing, its tables cannot be
    read, or the page cannot be written.
    """
    with reading(output), closing(reader or PictureReader()) as pictures:
        tables = open_run(output, run)
        text = load_page(tables, pictures).html()
    key = f"reports/{tables.run}.html"
    try:
        output.write_page(key, text)
    except OUTPUT_ERRORS as error:
        raise ConfigurationError(f"output {str(output)!r} {output.describe_error(error, 'written')}") from error
    return output.full_name(key)


def load_page(tables: RunTables, reader: PictureReader) -> Page:
    """The data of a run's page. Raises ConfigurationError for a run without documents and calls."""
    run = load_run(tables)
    if not count_ended(run) and not run["calls"]:
        raise ConfigurationError(
            f"run {tables.run} read no document ({run['skipped']:,} of {run['found']:,} skipped), so it has no page:"
            " leave out the run for the last one that did"
        )
    below = run["review_below"]
    gallery = _load_gallery(tables, reader, below if isinstance(below, float) else LOW_CONFIDENCE)
    return Page(run, load_summary(tables), tables.paths, draw_charts(tables, run), gallery)


def _load_gallery(tables: RunTables, reader: PictureReader, doubtful_below: float) -> Gallery | None:
    selection = select_documents(tables, doubtful_below=doubtful_below)
    if not selection.documents.height:
        return None
    cards = list(load_cards(tables, selection))
    pictures = reader.pictures([card.picture for card in cards])
    counts = {flag: sum(flag in card.flags for card in cards) for flag in FLAGS}
    return Gallery(selection, zip(cards, pictures, strict=True), counts)
