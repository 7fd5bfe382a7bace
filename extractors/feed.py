"""Feed: scan, bill and plan in one stream: the documents of a source that need work, pulled a few at a time."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

from extractors.bill import costs, pages, too_many
from extractors.errors import ConfigurationError
from extractors.model import Billed, Planned
from extractors.plan import Plan
from extractors.scan import EXTENSIONS, documents, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from extractors.bill import Tariff
    from extractors.brief import Brief
    from extractors.model import Grouped, Store
    from extractors.record.past import Past

Item = TypeVar("Item")
Result = TypeVar("Result")
LOOKS = 1000  # documents that are looked at together where the listing does not say what they are


class Feed:
    """The planned documents of one job. `found` counts every document seen so far, `skipped` those that are done."""

    def __init__(self, asked: Brief, tariff: Tariff, past: Past | None = None) -> None:
        """Raises ConfigurationError when the source cannot be read; images are not looked at before they are pulled."""
        job = asked.job
        self._job, self._past, self.tariff, self._most = job, past, tariff, asked.settings.max_images
        self._documents = documents(job.source, job.document_by)
        self._plan = Plan(job.policy, tariff.rule, partial(costs, tariff), job.send_urls, tariff.video_tokens)
        self.store: Store = store(job.source)
        self.found = self.skipped = 0
        self._room = sys.maxsize if job.limit is None else job.limit  # documents that may still be taken

    def take(self, count: int) -> list[Planned]:
        """The next documents, fewer than `count` only at the end. Reads headers: meant for a thread.

        Raises ConfigurationError when the source turns out to hold no image at all.
        """
        return self.planned(list(islice(self.listed(), count)))

    def listed(self) -> Iterator[Grouped]:
        """What needs work and was not taken, by the listing alone; what is pulled is taken."""
        new = self._new()
        while self._room > 0 and (each := next(new, None)) is not None:
            self._room -= 1
            yield each

    def planned(self, taken: Sequence[Grouped]) -> list[Planned]:
        """The documents as they will be sent. Reads headers: meant for a thread.

        Raises ConfigurationError when the source turned out to hold no image at all.
        """
        if not self.found:
            allowed = ", ".join(EXTENSIONS)
            raise ConfigurationError(f"source {self._job.source!r} holds no images: looked for {allowed}")
        return _each(self._planned, taken, self.store.readers)

    def skip(self, count: int) -> None:
        """So many of the documents taken turned out to be done: as many others may be taken."""
        self.skipped += count
        self._room += count

    def rest(self) -> int:
        """How many documents need work that were not taken, by the listing alone. Meant for a thread; ends the feed."""
        return sum(1 for _ in self.listed())

    def count(self) -> int:
        """How many documents there are to do, by the listing alone. Walks it once more: meant for a thread."""
        total = sum(not self._skips(each) for each in documents(self._job.source, self._job.document_by))
        return min(total, self._job.limit) if self._job.limit else total

    def _skips(self, document: Grouped) -> bool:
        return self._past is not None and self._past.skips(document.name, self._job.redo)

    def _new(self) -> Iterator[Grouped]:
        for each in self._documents:
            self.found += 1
            if self._skips(each):
                self.skipped += 1
            else:
                yield each

    def _planned(self, document: Grouped) -> Planned:
        """The document with its headers read: none of one that has too many pages anyway."""
        most = self._most
        looked = document if len(document.pages) > most else self._looked(document)
        tries = self._past.tries(looked.name) if self._past else 0
        billed = self._billed(looked)
        if len(billed) > most:
            billed = [Billed(each.found, flaw=too_many(len(billed), most)) for each in billed]
        elif len(billed) > 1:
            billed = [_named(each) for each in billed]
        return Planned(looked.document, self._plan.document(billed), tries, looked.manifest)

    def _looked(self, document: Grouped) -> Grouped:
        """The document with what the store has to say of its pages."""
        looked = tuple(self.store.look(found) for found in document.pages)
        return document if looked == document.pages else replace(document, pages=looked)

    def _billed(self, document: Grouped) -> list[Billed]:
        if len(document.pages) > self._most:
            return [Billed(found) for found in document.pages]
        frames = self._job.document_by == "frames"
        files = (pages(found, self.store, frames=frames, most=self._most) for found in document.pages)
        return list(chain.from_iterable(files))


def _named(billed: Billed) -> Billed:
    """The page with a flaw that says whose it is."""
    flaw = billed.flaw
    return billed if flaw is None else replace(billed, flaw=replace(flaw, message=billed.found.blamed(flaw.message)))


def _each(function: Callable[[Item], Result], items: Sequence[Item], readers: int) -> list[Result]:
    """The results in the same order: many at a time where a read is a wait."""
    if readers == 1 or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(readers, len(items)), thread_name_prefix="bill") as threads:
        return list(threads.map(function, items))
