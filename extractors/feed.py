"""Feed: scan, bill and plan in one stream: the documents of a source that need work, pulled a few at a time."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from extractors.bill import bill, costs
from extractors.errors import ConfigurationError
from extractors.model import Planned
from extractors.plan import Plan
from extractors.scan import EXTENSIONS, scan, store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extractors.bill import Tariff
    from extractors.job import Job
    from extractors.model import Billed, Found
    from extractors.record.past import Past


class Feed:
    """The planned documents of one job. `found` counts every document seen so far, `skipped` those that are done."""

    def __init__(self, job: Job, tariff: Tariff, past: Past | None = None) -> None:
        """Raises ConfigurationError when the source cannot be read; images are not looked at before they are pulled."""
        self._job, self._past, self.tariff = job, past, tariff
        self._found = scan(job.source)
        self._plan = Plan(job.policy, tariff.rule, partial(costs, tariff, first=True))
        self.store = store(job.source)
        self.found = self.skipped = 0
        self._room = sys.maxsize if job.limit is None else job.limit  # documents that may still be taken

    def take(self, count: int) -> list[Planned]:
        """The next documents, fewer than `count` only at the end. Reads headers: meant for a thread.

        Raises ConfigurationError when the source turns out to hold no image at all.
        """
        return self.planned(list(islice(self.listed(), count)))

    def listed(self) -> Iterator[Found]:
        """What needs work and was not taken, by the listing alone; what is pulled is taken."""
        new = self._new()
        while self._room > 0 and (found := next(new, None)) is not None:
            self._room -= 1
            yield found

    def planned(self, taken: Sequence[Found]) -> list[Planned]:
        """The documents as they will be sent. Reads headers: meant for a thread.

        Raises ConfigurationError when the source turned out to hold no image at all.
        """
        if not self.found:
            allowed = ", ".join(EXTENSIONS)
            raise ConfigurationError(f"source {self._job.source!r} holds no images: looked for {allowed}")
        return [self._planned(billed) for billed in self._billed(taken)]

    def skip(self, count: int) -> None:
        """So many of the documents taken turned out to be done: as many others may be taken."""
        self.skipped += count
        self._room += count

    def rest(self) -> int:
        """How many documents need work that were not taken, by the listing alone. Meant for a thread; ends the feed."""
        return sum(1 for _ in self.listed())

    def count(self) -> int:
        """How many documents there are to do, by the listing alone. Walks it once more: meant for a thread."""
        total = sum(not self._skips(found) for found in scan(self._job.source))
        return min(total, self._job.limit) if self._job.limit else total

    def _skips(self, found: Found) -> bool:
        return self._past is not None and self._past.skips(found, self._job.redo)

    def _new(self) -> Iterator[Found]:
        for found in self._found:
            self.found += 1
            if self._skips(found):
                self.skipped += 1
            else:
                yield found

    def _billed(self, taken: Sequence[Found]) -> list[Billed]:
        """Each with its header read, in the same order: many at a time where a read is a wait."""
        read = partial(bill, store=self.store)
        if self.store.readers == 1 or len(taken) < 2:
            return [read(found) for found in taken]
        with ThreadPoolExecutor(min(self.store.readers, len(taken)), thread_name_prefix="bill") as readers:
            return list(readers.map(read, taken))

    def _planned(self, billed: Billed) -> Planned:
        tries = self._past.tries(billed.found) if self._past else 0
        return Planned(billed.found.uri, (self._plan.page(billed),), tries)
