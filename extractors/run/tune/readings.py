"""Readings: every labelled document is read at every rung of the whole ladder, each rung by itself.

A document's rungs are read one after the other, documents side by side, through the calls of a run: the same requests,
retries, rate limit, budget and ledger. A reply that an earlier run paid for is taken instead of a call.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from extractors.core import Accepted, Failed, PlannedPage, Unfinished
from extractors.core.document_totals import usage_of
from extractors.core.errors import DocumentError
from extractors.core.money import Costs, sum_known
from extractors.plan.choose import full_ladder
from extractors.record.tables.row_index import RowIndex
from extractors.run.chunk import run_document
from extractors.run.context import Reuse
from extractors.run.keys import content_key, request_key
from extractors.run.reuse import Deduplicator
from extractors.run.tune.paid_replies import ReusedReplies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from extractors.core import Attempt, LadderStep, Planned, Reply, RunInfo, Store
    from extractors.core.tiles import Rule
    from extractors.core.totals import RunTotals
    from extractors.run.context import RunContext
    from extractors.run.tune.labels import Label

    PriceStep = Callable[..., Costs]  # as plan.choose.Priced


@dataclass(frozen=True, slots=True)
class LabelledDocument:
    """A labelled document with the plan of all its rungs; `key` names its content, '' where its bytes are unknown."""

    label: Label
    planned: Planned
    key: str = ""

    def rungs(self) -> list[int]:
        """The rungs that send other pictures than the rung below, the cheapest first; none for a rejected document."""
        if self.planned.problem is not None:
            return []
        steps = [self.planned.steps(rung) for rung in range(self.planned.rungs)]
        return [0, *(rung for rung, (lower, upper) in enumerate(pairwise(map(_sizes, steps)), 1) if lower != upper)]

    def request(self, rung: int, max_tokens: int) -> str:
        """The key of its first request at this rung."""
        return request_key(self.key, self.planned.steps(rung), max_tokens)


@dataclass(frozen=True, slots=True)
class RungReading:
    """What became of a document at one rung; `taken` are the paid replies that it used, in place of calls."""

    rung: int
    steps: tuple[LadderStep, ...]
    end: Accepted | Failed
    taken: tuple[Reply, ...] = ()

    @property
    def image_tokens(self) -> int:
        """The image tokens of its requests, repetitions included, by the bill rule."""
        once = sum(step.tokens for step in self.steps)
        billed = [attempt for attempt in self.end.attempts if attempt.billed == "yes"]
        return sum(attempt.request.image_tokens for attempt in billed) + once * len(self.taken)

    def cost_usd(self, run_info: RunInfo) -> Decimal | None:
        """What its requests cost, or would cost today where their replies were paid for by an earlier run."""
        price = run_info.price
        paid = [price.cost(reply.usage) if price and reply.usage else None for reply in self.taken]
        return sum_known([self.end.cost_usd, *paid])


@dataclass(frozen=True, slots=True)
class DocumentReadings:
    """A labelled document with its readings, the cheapest rung first; `stopped`: the run ended before the last one."""

    document: LabelledDocument
    readings: tuple[RungReading, ...]
    attempts: tuple[Attempt, ...]
    stopped: bool = False

    @property
    def end(self) -> Accepted | Failed | Unfinished:
        """How the document counts in the row of its run: accepted where one of its rungs was."""
        planned = self.document.planned
        if self.stopped:
            return Unfinished(planned, self.attempts)
        if planned.problem is not None:
            return Failed(planned, (), None, datetime.now(UTC), planned.problem)
        ends = sorted((reading.end for reading in self.readings), key=lambda end: isinstance(end, Accepted))
        return replace(ends[-1], planned=planned, attempts=self.attempts)

    @property
    def totals(self) -> RunTotals:
        """The document and its calls in the counts of the run."""
        end = self.end
        rejected = isinstance(end, Failed) and end.rejected
        return replace(
            usage_of(self.attempts),
            rejected=int(rejected),
            accepted=int(isinstance(end, Accepted)),
            failed=int(isinstance(end, Failed) and not rejected),
            remaining=int(isinstance(end, Unfinished)),
            estimated=Costs() if rejected or isinstance(end, Unfinished) else end.planned.costs,
        )


def plan_rungs(planned: Planned, rule: Rule, price: PriceStep) -> Planned:
    """The document with a step for every rung of the rule, and the estimate of reading it at each of them."""
    pages = [_plan_page(page, rule, price, first=not number) for number, page in enumerate(planned.pages)]
    return replace(planned, pages=tuple(pages))


def _plan_page(page: PlannedPage, rule: Rule, price: PriceStep, *, first: bool) -> PlannedPage:
    header = page.billed.header
    if not page.ladder or page.action == "url" or header is None:
        return page
    ladder = full_ladder(rule, header.size)
    costs = sum((price(step, first=first) for step in {step.size: step for step in ladder}.values()), Costs())
    if ladder[0].tokens < rule.tokens(header.size):
        return PlannedPage(page.billed, "resize", "cheaper", ladder, costs)
    return replace(page, ladder=ladder, costs=costs)


def name_content(document: LabelledDocument, store: Store, run_info: RunInfo) -> LabelledDocument:
    """The document with the key of its content. Reads its bytes: call it in a thread."""
    if document.planned.problem is not None or any(page.action == "url" for page in document.planned.pages):
        return document
    try:
        hashes = [hashlib.sha256(store.read(page.billed.found)).hexdigest() for page in document.planned.pages]
    except DocumentError:  # its readings will fail for this reason
        return document
    return replace(document, key=content_key(document.planned, hashes, run_info))


@dataclass(frozen=True, slots=True)
class DocumentReader:
    """Reads labelled documents with the context of a run that publishes no results."""

    context: RunContext
    paid: Mapping[str, Reply]
    ended: list[DocumentReadings] = field(default_factory=list)

    async def read_all(self, documents: Sequence[LabelledDocument]) -> list[DocumentReadings]:
        """The readings of these documents, in order."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._read(document)) for document in documents]
            for task in tasks:
                self.context.shutdown.track(task)
        return [task.result() for task in tasks]

    async def _read(self, document: LabelledDocument) -> DocumentReadings:
        readings: list[RungReading] = []
        attempts: list[Attempt] = []
        for rung in document.rungs():
            replies = ReusedReplies(self.paid)
            end = await run_document(_at_rung(document.planned, rung), self._reuse(replies), len(attempts))
            assert isinstance(end, Accepted | Failed | Unfinished), "no row of results is copied"
            attempts += end.attempts
            if isinstance(end, Unfinished):
                return DocumentReadings(document, tuple(readings), tuple(attempts), stopped=True)
            readings.append(RungReading(rung, document.planned.steps(rung), end, tuple(replies.taken)))
        return DocumentReadings(document, tuple(readings), tuple(attempts))

    def _reuse(self, replies: ReusedReplies) -> RunContext:
        """The context of one reading: no row of results stands for it, and no reading of the same content at a rung below."""
        tables = self.context.services.tables
        index = RowIndex(tables, earlier=False, offline=False)
        return replace(self.context, reuse=Reuse(Deduplicator(tables, index), replies))


def _at_rung(planned: Planned, rung: int) -> Planned:
    """The document with this rung alone: an answer that is refused there ends its reading."""
    steps = planned.steps(rung)
    pages = (replace(page, ladder=(step,)) for page, step in zip(planned.pages, steps, strict=True))
    return replace(planned, pages=tuple(pages))


def _sizes(steps: Sequence[LadderStep]) -> list[tuple[int, int]]:
    return [step.size for step in steps]
