"""Witness: gives accepted documents the place of each value on the original, beside the calls of the run.

It takes the originals at full size, within what the reader takes; a document that it does not look at keeps its answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from extractors.core import Accepted, Copied
from extractors.core.errors import DocumentError
from extractors.core.tiles import Size
from extractors.images.open import translate_errors
from extractors.images.pdf import open_pdf
from extractors.images.pixels import load_pixels
from extractors.run.witness.reader import PageReader, ReaderFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from concurrent.futures import Executor
    from contextlib import AsyncExitStack

    from PIL import Image

    from extractors.config.job import WitnessMode
    from extractors.config.run_config import RunConfig
    from extractors.core import DocumentResult, PlannedPage, Store
    from extractors.core.errors import RunError
    from extractors.core.evidence import Evidence, Sightings
    from extractors.run.context import RunContext
    from extractors.run.shutdown import Shutdown
    from extractors.validate.score import Score
    from extractors.validate.witness.words import PageLine

MOST_PAGES = 50  # of one document; a longer one is not looked at
DOUBTFUL_BELOW = 0.9  # where no tuning has chosen or certified a threshold
_LONGEST, _PIXELS = 4096, 2240 * 2240  # px of a picture that is read: the limits of the OCR engine
_STOPPED, _UNREADABLE, _NOT_SENT, _TOO_LONG = (
    "the run was stopped",
    "their pages could not be read",
    "their pages are passed on by URL",
    f"they have over {MOST_PAGES} pages",
)


class StopState(Protocol):
    """Whether a run is to stop; a `Shutdown` is one."""

    error: RunError | None
    cancelling: bool


@dataclass(slots=True)
class Witness:
    """The witness of one run: which documents it looks at, and what it reads them with.

    `score` gives the confidence of a document that was looked at; None: that of its answer stays. `kept` holds what was
    read of each document, for a tuning, which looks at a document once a rung; None: nothing is kept.
    """

    mode: WitnessMode
    threshold: float
    store: Store
    threads: Executor
    shutdown: StopState
    reader: PageReader = field(default_factory=PageReader)
    left_out: Counter[str] = field(default_factory=Counter)
    score: Score | None = None
    kept: dict[str, list[tuple[PageLine, ...]]] | None = None

    async def examine(self, result: DocumentResult, *, audited: bool = False) -> DocumentResult:
        """The result with the places of its values, where the witness looks at it; else the result as it is."""
        if not isinstance(result, Accepted) or not (audited or self._is_chosen(result)):
            return result
        reason = self._find_obstacle(result)
        try:
            sightings = None if reason else await self._look(result)
        except DocumentError:
            sightings, reason = None, _UNREADABLE
        except ReaderFailed:
            sightings, reason = None, _UNREADABLE
        except asyncio.CancelledError:
            if not self.shutdown.cancelling:
                raise
            sightings = None
        if sightings is None:
            self.left_out[reason or _STOPPED] += 1
            return result
        return replace(result, sightings=sightings, evidence=weigh_sightings(result, sightings, self.score))

    def warning(self) -> str | None:
        """How many documents it should have looked at and did not, and why."""
        if not self.left_out:
            return None
        reasons = ", ".join(f"{count:,} as {reason}" for reason, count in self.left_out.most_common())
        return f"the witness did not look at {self.left_out.total():,} documents: {reasons}"

    def _is_chosen(self, result: Accepted) -> bool:
        """Whether it looks at this document; one of unknown confidence is doubtful."""
        confidence = result.evidence.confidence if result.evidence else None
        return self.mode == "all" or confidence is None or confidence < self.threshold

    def _find_obstacle(self, result: Accepted) -> str | None:
        if any(page.action == "url" or page.billed.header is None for page in result.planned.pages):
            return _NOT_SENT
        return _TOO_LONG if len(result.planned.pages) > MOST_PAGES else None

    async def _look(self, result: Accepted) -> Sightings | None:
        """Reads all pages; None where the run was stopped before. Raises DocumentError or ReaderFailed."""
        from extractors.validate.witness.document import find_sightings  # noqa: PLC0415 - only runs with a witness need it

        kept = self.kept if self.kept is not None else {}
        pages = kept.get(result.planned.document) or [lines async for lines in self._iter_pages(result)]
        if len(pages) < len(result.planned.pages):
            return None
        kept[result.planned.document] = pages
        return await asyncio.get_running_loop().run_in_executor(
            self.threads, partial(find_sightings, result.value, pages)
        )

    async def _iter_pages(self, result: Accepted) -> AsyncIterator[tuple[PageLine, ...]]:
        loop = asyncio.get_running_loop()
        for page in result.planned.pages:
            async with self.reader.slot():
                if self.shutdown.error is not None:  # the drain is for calls in flight
                    return
                picture = await loop.run_in_executor(self.threads, load_original, self.store, page)
                scale = picture.width / _size_of(page).width
                lines = await self.reader.read(picture, scale)
            yield lines


def weigh_sightings(result: Accepted, sightings: Sightings, score: Score | None) -> Evidence | None:
    """The evidence with what was seen, and the confidence by the score; without one that of the answer stays."""
    if result.evidence is None:
        return None
    evidence = result.evidence.with_sightings(sightings)
    if score is None:
        return evidence
    return score.apply(evidence, result.agreed, result.qualities[0] if result.qualities else None)


async def find_values(result: DocumentResult, context: RunContext) -> DocumentResult:
    """Has the witness, if there is one, look for the values of a document, after its admission: it holds up no call."""
    if context.services.witness is None:
        return result
    deduplicator, witness = context.reuse.deduplicator, context.services.witness
    if isinstance(result, Copied):
        return await _complete_copy(result, context)
    if not isinstance(result, Accepted):
        return result
    auditor = context.answers.auditor
    audited = auditor is not None and auditor.holds(result)
    return await deduplicator.hold_examined(result, witness.examine(result, audited=audited))


async def _complete_copy(copy: Copied, context: RunContext) -> Copied:
    """The copy with the places of its original's values; without them where the run is stopped meanwhile."""
    try:
        return await context.reuse.deduplicator.complete_copy(copy)
    except asyncio.CancelledError:
        if not context.shutdown.cancelling:
            raise
        return copy


def build_witness(
    config: RunConfig, store: Store, threads: Executor, shutdown: Shutdown, stack: AsyncExitStack
) -> Witness | None:
    """The witness of a run, which the stack closes; None where the job wants none."""
    if config.job.witness is None:
        return None
    below = config.tuning.doubtful_below
    threshold = DOUBTFUL_BELOW if below is None else below
    witness = Witness(config.job.witness, threshold, store, threads, shutdown, score=config.tuning.witnessed)
    stack.push_async_callback(witness.reader.close)
    return witness


def load_original(store: Store, page: PlannedPage) -> Image.Image:
    """The original of a page, upright, within the limits of the engine. Raises DocumentError. Blocks."""
    header, found = page.billed.header, page.billed.found
    assert header is not None, "checked before"
    data, size = store.read(found), _limit(header.size)
    if header.format == "PDF":
        with open_pdf(data, "validate", found.passwords) as pdf:
            return pdf.render(found.page or 1, size)
    picture = load_pixels(data, "validate", found.page, header.orientation, size)
    with translate_errors("unreadable", "validate"):
        return picture if picture.mode in {"L", "RGB"} else picture.convert("RGB")


def _size_of(page: PlannedPage) -> Size:
    assert page.billed.header is not None, "checked before"
    return page.billed.header.size


def _limit(size: Size) -> Size:
    scale = min(1.0, _LONGEST / size.longest, (_PIXELS / (size.width * size.height)) ** 0.5)
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))
