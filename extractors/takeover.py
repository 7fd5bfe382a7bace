"""Takeover: what a killed run had done and paid for is published in its own name, before the next run looks what is new."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from extractors.call.reply import reread
from extractors.closing import Account, Counts
from extractors.errors import Abandoned, LeaseLost, LedgerError
from extractors.model import REJECT_REASONS, UNSENT, Accepted
from extractors.money import Costs, total
from extractors.record.root import root_of, writing
from extractors.record.rows import attempt
from extractors.record.tables import Tables
from extractors.record.volume import Volume, volumes
from extractors.tally import Tally
from extractors.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from decimal import Decimal

    from extractors.model import Attempt, Planned, Terms
    from extractors.record.ledger import Ledger
    from extractors.record.root import Root
    from extractors.record.rows import Keep
    from extractors.schema import Schema

SALVAGED = 999_999  # the number of the part that holds what was answered and not staged


def take_over(ledger: Ledger, today: Terms, schema: Schema, keep: Keep, say: Callable[[str], None]) -> None:
    """Publishes every abandoned run of the output and schema of `today`, the run that begins.

    Safe to be killed, and to be done by two at once. What the killed runs had done as `today` would do it is marked as
    done: whatever is to be done again, it is not paid for again.
    """
    root = root_of(today.output)
    for terms in ledger.runs.abandoned(today.output, today.schema):
        if ledger.runs.adopt(terms.run):
            try:
                with writing(root):
                    tally = _Wreck(ledger, root, terms, today, schema, keep).salvage()
            except BaseException:  # also a Ctrl-C: the run is to be free for whoever comes next
                with suppress(LedgerError):  # then it is seen that this process has ended
                    ledger.runs.release(terms.run)
                raise
            kept = f"{tally.accepted} accepted documents were paid for and are published now"
            say(f"run {terms.run} had ended without publishing: {kept}, {tally.remaining} are left to this run")


@dataclass(frozen=True, slots=True)
class _Wreck:
    """A run that was killed, and is ours to bring to its end, wherever it was."""

    ledger: Ledger
    root: Root
    terms: Terms
    today: Terms
    schema: Schema
    keep: Keep

    def salvage(self) -> Tally:
        """Finishes what was being published, else publishes what was staged and what was answered."""
        run = self.terms.run
        volume = Volume(self.root, self.terms, self.ledger.runs.volumes(run) + 1)
        earlier = [Volume(self.root, self.terms, number) for number in range(1, volume.number)]
        for staged in volumes(self.root, self.terms):
            if staged.committed:
                staged.clear()
        whole = volume.sealed or volume.committed
        planned = [] if whole else self.ledger.marks.planned(run)
        if not whole:
            self._stage(volume, planned)
        left = volume.called() - {document for document, _ in volume.ended()}
        tally = _tally(volume, planned)
        # A run that was killed between its last volume and its end has no further one.
        if whole or planned or volume.number == 1 or volume.begun:
            if not whole:
                volume.stage_fields([each.key("results") for each in earlier if each.published("results")])
                error = Abandoned("its process ended before it was done")
                volume.stage("runs", 0, [Account(self.terms, error=error).row(Counts(0, tally), volume.number)])
            if not self.ledger.runs.beat(run):
                raise LeaseLost(f"run {run} was taken over by another process while it was being published")
            if not volume.committed:
                volume.publish()
            self.ledger.runs.published(run, volume.number, left)
        done = {name for each in (*earlier, volume) for name in each.done()} if self._as_today else ()
        self.ledger.marks.keep(self.terms, done)
        self.ledger.runs.end(run)
        return tally

    def _stage(self, volume: Volume, planned: list[Planned]) -> None:
        """What was answered and what was called, beside the parts that the run had staged itself."""
        ended = volume.ended()
        missing = {each.document: each for each in planned if each.name not in ended}
        accepted = list(self._accepted(missing)) if self._same_schema else []
        Tables(self.root, self.terms, self.schema.model, self.keep, volume).stage(SALVAGED, accepted)
        volume.stage_calls(self.ledger.calls.unpublished(self.terms.run), self.keep)

    @property
    def _as_today(self) -> bool:
        """Whether the killed run asked as today's run asks."""
        return self._same_schema and (self.terms.prompt_hash, self.terms.model) == (
            self.today.prompt_hash,
            self.today.model,
        )

    @property
    def _same_schema(self) -> bool:
        """Whether today's schema is the one that the answers were given to."""
        return self.terms.schema_hash == self.schema.hash

    def _accepted(self, missing: Mapping[str, Planned]) -> Iterator[Accepted]:
        """The documents whose answer was accepted and noted, and not staged before the run was killed."""
        attempts: dict[str, list[Attempt]] = defaultdict(list)
        for batch in self.ledger.calls.unpublished(self.terms.run):
            for call in batch:
                if (document := str(call["document"])) in missing:
                    attempts[document].append(attempt(call))
        for document, tried in attempts.items():
            tried.sort(key=lambda each: each.outcome == "accepted")  # the answer that counts comes last
            last = tried[-1]
            if last.outcome != "accepted" or last.reply is None:
                continue
            reply = reread(last.reply.body, last.reply.request_id)
            value = validate(reply, self.schema.model).document
            if value is not None:  # else a validator has changed: the next run asks again
                end = (
                    missing[document],
                    tuple(tried),
                    last.order.key,
                    last.started_at + timedelta(seconds=last.seconds),
                )
                step, order = last.order.steps[0], last.order
                yield Accepted(*end, value, reply, step, order.encoded, order.sha256)


def _tally(volume: Volume, planned: Sequence[Planned]) -> Tally:
    """What the volume's rows add up to; what was planned and did not come to an end remains."""
    ended = volume.ended()
    calls, failures = volume.frame("calls").collect(), volume.frame("failures").collect()
    unsent, reason = pl.col("stage").is_in(list(UNSENT)), pl.col("kind").is_in(list(REJECT_REASONS))
    rejected = len(failures.filter(unsent & reason))
    copied = volume.copied()
    # A failure after a call that was not made is a copy, but for an answer that was bequeathed and not accepted.
    copied_failed = failures.filter(~pl.col("stage").is_in(list(UNSENT)) & (pl.col("attempts") == 0))
    copies = {document for document, _ in copied} | set(copied_failed["document"])
    billed = calls.filter(pl.col("billed") == "yes")
    return Tally(
        rejected=rejected,
        accepted=len(ended) - len(failures) - len(copied),
        failed=len(failures) - rejected - len(copied_failed),
        remaining=sum(each.name not in ended for each in planned),
        copied=len(copied),
        copied_failed=len(copied_failed),
        calls=len(calls),
        prompt_tokens=_sum(calls, "prompt_tokens"),
        cached_tokens=_sum(calls, "cached_tokens"),
        completion_tokens=_sum(calls, "completion_tokens"),
        reasoning_tokens=_sum(calls, "reasoning_tokens"),
        residual_tokens=_sum(calls, "residual_tokens"),
        estimated=_estimated(volume, copies),
        cost_usd=_total(billed["cost_usd"]),
        wasted_usd=_total(billed.filter(pl.col("outcome") != "accepted")["cost_usd"]),
        unknown_usd=_total(calls.filter(pl.col("billed") == "unknown")["reserved_usd"]),
    )


def _estimated(volume: Volume, copies: Collection[str]) -> Costs:
    """The estimate of the documents that were sent and came to an end."""
    sent = (pl.col("action") != "reject") & ~pl.col("document").is_in(list(copies))
    images = volume.frame("images").filter(sent).collect()
    return Costs(*(_total(images[f"cost_{name}_usd"]) for name in ("low", "expected", "high")))


def _sum(frame: pl.DataFrame, column: str) -> int:
    return int(frame[column].sum() or 0)


def _total(amounts: pl.Series) -> Decimal | None:
    """The sum, None when one is unknown."""
    return total(amounts)
