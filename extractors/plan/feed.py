"""Feed: scan, bill and plan in one stream: the documents of a source that are to be processed, a batch at a time."""

from __future__ import annotations

import sys
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from extractors.bill import estimate_costs, read_pages, reject_page_count
from extractors.bill.header import bill_page
from extractors.bill.plain_header import parse_plain_header
from extractors.core import BilledPage, Document, Header, Planned, Problem
from extractors.core.errors import DocumentError
from extractors.plan.choose import Plan
from extractors.plan.split import split_pages
from extractors.scan import Listing, no_images, open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydantic import SecretStr

    from extractors.bill import Tariff
    from extractors.config.run_config import RunConfig
    from extractors.core import Found, Store
    from extractors.record.tables.history import RunHistory

Item = TypeVar("Item")
Result = TypeVar("Result")
LISTED = 50  # documents that are listed together
LOOKS = 1000  # documents that are looked at together where the listing does not say what they are


class DocumentFeed(Protocol):
    """Planned documents for a run.

    `skipped` counts those that need nothing, `skipped_failed` by kind those of them that failed for good, and `waiting`
    those that this run does not take.
    """

    tariff: Tariff
    store: Store
    skipped: int
    skipped_failed: Counter[str]
    waiting: int
    listing: Listing

    @property
    def videos(self) -> bool:
        """Whether the source may hold videos."""

    def take(self, count: int) -> list[Planned]:
        """Takes the next documents, about `count` of them; empty only at the end. Blocks: call it in a thread."""

    def skip(self, count: int) -> None:
        """Counts documents that were taken and turned out to be done."""

    def rest(self) -> int:
        """Counts the documents that were not taken, and ends the feed. Blocks: call it in a thread."""

    def count(self) -> int:
        """Counts the documents that are to be processed. Blocks: call it in a thread."""

    def close(self) -> None:
        """Closes the source."""


class Feed:
    """The planned documents of one job, a `DocumentFeed`. `found` counts all documents that were listed so far."""

    def __init__(self, config: RunConfig, tariff: Tariff, history: RunHistory | None = None) -> None:
        """Raises ConfigurationError when the source cannot be read; no image is read yet."""
        job = config.job
        self._job, self._history, self.tariff, self._most = job, history, tariff, config.settings.max_images
        self._source = open_source(job.source, job.document_by, config.settings.allow_hosts, job.selection)
        self.listing, self._passwords = Listing(), config.settings.pdf_passwords
        self._takes_videos = config.takes_videos
        self.videos = self._source.videos and self._takes_videos
        self._documents = self._source.documents(self.listing)
        self._ahead = deque[Document]()  # listed, and looked at together
        self._plan = Plan(
            config.policy,
            tariff.rule,
            lru_cache(maxsize=4096)(partial(estimate_costs, tariff)),  # as ladders, of few sizes
            config.passes_urls,
            tariff.video_tokens,
            config.tuning.ladder,
        )
        self.store: Store = self._source.store
        self.found = self.skipped = 0
        self.skipped_failed = Counter[str]()
        self.waiting = 0  # documents that are not done and that this run does not take
        self._empty, self._window = True, job.window
        self._room = sys.maxsize if job.limit is None else job.limit  # documents that may still be taken

    def take(self, count: int) -> list[Planned]:
        """Takes the next documents, fewer than `count` only at the end. Reads headers: call it in a thread.

        Raises ConfigurationError when the source holds no image at all.
        """
        return self.plan(list(islice(self.iter_pending(), count)))

    def take_alike(self, count: int) -> list[tuple[Planned, int]]:
        """Takes the next documents as `take` does; those that are planned alike as the first of them, with their number.

        Alike are ordinary local pictures with equal headers, each a document: no value of its own is made of them.
        """
        taken = list(islice(self.iter_pending(), count))
        if self._empty or self.store.readers > 1:
            return [(planned, 1) for planned in self.plan(taken)]
        counts = Counter[Header | int]()
        firsts = dict[Header | int, Planned]()
        for number, document in enumerate(taken):
            header = self._read_plain(document)
            key = number if header is None else header
            counts[key] += 1
            if header is None:
                firsts[key] = self._plan_document(document)
            elif header not in firsts:
                firsts[key] = self._plan_billed(document, [bill_page(document.pages[0], header)])
        return [(planned, counts[key]) for key, planned in firsts.items()]

    def iter_pending(self, *, looks: bool = True) -> Iterator[Document]:
        """Yields the documents to process, which are taken then.

        Where the listing does not show whether documents are done, as in a manifest of URLs, they are looked at first, many
        at a time; without `looks` they count as not done.
        """
        new = self._new(looks=looks)
        while self._room > 0 and (each := next(new, None)) is not None:
            self._room -= 1
            yield each

    def plan(self, taken: Sequence[Document]) -> list[Planned]:
        """Plans these documents. Reads headers: call it in a thread.

        Raises ConfigurationError when the source holds no image at all.
        """
        if self._empty:
            raise no_images(self._job.source, self.listing)
        return map_items(self._plan_document, taken, self.store.readers)

    def keep_pending(self, taken: Sequence[Document]) -> list[Document]:
        """Looks at these documents, and returns those that are to be processed. Blocks: call it in a thread."""
        if self._history is None:
            return list(taken)
        looked = taken if all(map(_has_version, taken)) else map_items(self._look_up, taken, self.store.readers)
        return [each for each in looked if self._fate(each) == "taken"]

    def skip(self, count: int) -> None:
        """Counts documents that were taken and turned out to be done: the limit does not count them."""
        self.skipped += count
        self._room += count

    def rest(self) -> int:
        """Counts the documents to process that were not taken, by the listing alone, and ends the feed. Blocks."""
        return sum(1 for _ in self.iter_pending(looks=False))

    def count(self) -> int:
        """Counts the documents to process, by the listing alone, which is read again. Blocks: call it in a thread."""
        files = (self._check_allowed(each) for each in self._source.documents(Listing()))
        listed = chain.from_iterable(self._split([each], looks=False) for each in files)
        total = sum(self._window.contains(each.modified) and self._fate(each) == "taken" for each in listed)
        return min(total, self._job.limit) if self._job.limit else total

    def close(self) -> None:
        """Closes the source."""
        self._source.close()

    def _count_failed(self, document: Document) -> None:
        if self._history is not None and (kind := self._history.failed_kind(document.name)):
            self.skipped_failed[kind] += 1

    def _fate(self, document: Document) -> Literal["taken", "skipped", "waiting"]:
        if self._history is None:
            return "taken"
        if self._history.skips(document.name, self._job.redo):
            return "skipped"
        return "waiting" if self._history.lacks_reply(document.name, self._job.redo) else "taken"

    def _new(self, *, looks: bool) -> Iterator[Document]:
        while self._ahead or self._list_next(looks=looks):
            each = self._ahead.popleft()
            if self._window.is_bounded and not self._window.contains(each.modified):
                continue
            self.found += 1
            fate = self._fate(each)
            if fate == "skipped":
                self.skipped += 1
                self._count_failed(each)
            self.waiting += fate == "waiting"
            if fate == "taken":
                yield each

    def _list_next(self, *, looks: bool) -> int:
        """Lists the next documents, and looks at them where the listing does not suffice; returns their number."""
        needs_looks = self._history is not None or self._window.is_bounded
        many = looks and needs_looks and self.store.readers > 1
        ahead = 1 if self._job.document_by == "page" else LISTED  # a file may have many pages
        most = min(LOOKS, max(self._room, self.store.readers)) if many else min(ahead, self._room)
        batch = [self._check_allowed(each) for each in islice(self._documents, most)]
        self._empty = self._empty and not batch
        if many and not all(map(_has_version, batch)):
            batch = map_items(self._look_up, batch, self.store.readers)
        self._ahead.extend(self._split(batch, looks=looks))
        return len(batch)

    def _split(self, documents: Sequence[Document], *, looks: bool) -> list[Document]:
        """Split files into their pages with `--document-by page`; remote files only with `looks`, which downloads them."""
        if self._job.document_by != "page" or not (looks or self.store.readers == 1):
            return list(documents)
        return list(chain.from_iterable(map_items(partial(split_pages, self.store), documents, self.store.readers)))

    def _check_allowed(self, document: Document) -> Document:
        """The document, with a problem in each video unless the endpoint reads videos."""
        document = add_passwords(document, self._passwords)
        if self._takes_videos or not any(page.video for page in document.pages):
            return document
        return replace(document, pages=tuple(_refuse_video(page) if page.video else page for page in document.pages))

    def _plan_document(self, document: Document) -> Planned:
        """Reads the headers of a document, except when it has too many pages."""
        looked = self._look_up(document)
        return self._plan_billed(looked, self._bill(looked))

    def _read_plain(self, document: Document) -> Header | None:
        """Reads the header of an ordinary picture that the listing describes; None for all other documents."""
        found = document.pages[0]
        if len(document.pages) > 1 or found.version is None or not found.size or found.video or found.problem:
            return None
        try:
            return self.store.read_header(found, parse_plain_header) if found.page is None else None
        except DocumentError:  # planning it names the problem
            return None

    def _plan_billed(self, looked: Document, billed: list[BilledPage]) -> Planned:
        most = self._most
        tries = self._history.tries(looked.name) if self._history else 0
        if len(billed) > most:
            billed = [BilledPage(each.found, problem=reject_page_count(len(billed), most)) for each in billed]
        elif len(billed) > 1:
            billed = [_name_page(each) for each in billed]
        return Planned(looked.document, self._plan.document(billed), tries, looked.manifest)

    def _look_up(self, document: Document) -> Document:
        """Looks up its pages in the store, except when there are too many."""
        if len(document.pages) > self._most:
            return document
        looked = tuple(self.store.stat(found) for found in document.pages)
        return document if looked == document.pages else replace(document, pages=looked)

    def _bill(self, document: Document) -> list[BilledPage]:
        if len(document.pages) > self._most:
            return [BilledPage(found) for found in document.pages]
        frames = self._job.document_by == "frames"
        files = (read_pages(found, self.store, frames=frames, most=self._most) for found in document.pages)
        return list(chain.from_iterable(files))


def may_hold_videos(config: RunConfig) -> bool:
    """Whether the source may hold videos that the endpoint reads."""
    if not config.takes_videos:
        return False
    source = open_source(config.job.source, config.job.document_by, config.settings.allow_hosts, config.job.selection)
    source.close()
    return source.videos


def _name_page(billed: BilledPage) -> BilledPage:
    """The page, with the page's name in its problem."""
    flaw = billed.problem
    return (
        billed
        if flaw is None
        else replace(billed, problem=replace(flaw, message=billed.found.prefix_message(flaw.message)))
    )


def _has_version(document: Document) -> bool:
    """Whether the listing has its version, or its problem."""
    return all(page.version is not None or page.problem is not None for page in document.pages)


def _refuse_video(video: Found) -> Found:
    message = f"{video.uri} is a video: endpoints that read them are dedicated ones, which TILEWISE_DEDICATED=1 tells"
    return replace(video, problem=video.problem or Problem("video_not_allowed", "scan", message, final=False))


def add_passwords(document: Document, passwords: tuple[SecretStr, ...]) -> Document:
    """Return the document whose files carry the passwords that may open them."""
    if not passwords:
        return document
    return replace(document, pages=tuple(replace(page, passwords=passwords) for page in document.pages))


def map_items(function: Callable[[Item], Result], items: Sequence[Item], readers: int) -> list[Result]:
    """Maps in order, many at a time where reading waits."""
    if readers == 1 or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(readers, len(items)), thread_name_prefix="bill") as threads:
        return list(threads.map(function, items))
