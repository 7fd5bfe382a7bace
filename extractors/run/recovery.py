"""Recovery of abandoned runs: what a killed run completed and paid for is published under its own run id.

Recovery happens before the next run reads what is done.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from extractors.call.response import parse_stored
from extractors.config.command import describe_resume
from extractors.core import REJECT_REASONS, UNSENT, Accepted
from extractors.core.errors import Abandoned, LeaseLost, LedgerError
from extractors.core.money import Costs, sum_known
from extractors.core.totals import NAMED_FAILURES, FailedDocument, FailureReasons, FirstFailures, RunTotals, reason_of
from extractors.record.output import open_output
from extractors.record.output.base import writing
from extractors.record.tables.cascade import select_superseded, sum_cascade
from extractors.record.tables.evidence import sum_witness
from extractors.record.tables.rows import restore_attempt
from extractors.record.tables.volume import PartId, Volume, list_volumes
from extractors.record.tables.writer import Tables
from extractors.run.audit_recovery import recount_audit
from extractors.run.cascade import NO_CASCADE, choose_surest, compare_answers
from extractors.run.result import RunCounts, RunRecord
from extractors.validate import validate
from extractors.validate.alignment import align

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from extractors.core import Attempt, Planned, RunInfo
    from extractors.core.schema import Schema
    from extractors.core.tiles import Rule
    from extractors.record.ledger import Ledger
    from extractors.record.output.base import Output
    from extractors.record.tables.rows import Keep, Row
    from extractors.run.cascade import Cascade

_CALL_COLUMNS = (
    "outcome",
    "billed",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "residual_tokens",
    "reserved_usd",
    "cost_usd",
)


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """What is done with answers that a killed run had not staged.

    `examine` adds what a witness sees, where their run had one, and returns warnings for the row of that run.
    """

    cascade: Cascade = NO_CASCADE
    examine: Callable[[RunInfo, Sequence[Accepted]], tuple[Sequence[Accepted], list[str]]] = lambda _, same: (same, [])


RESTORE_ONLY = RestoreOptions()


def recover_abandoned(
    ledger: Ledger,
    today: RunInfo,
    schema: Schema,
    keep: Keep,
    notify: Callable[[str], None],
    options: RestoreOptions = RESTORE_ONLY,
) -> None:
    """Publishes every abandoned run of the output and schema of `today`, the run that begins.

    It may be killed at any point, and two processes may do it at once. A document that the abandoned run completed as
    `today` would is claimed as done, so that it is not paid for again. Of a document that was climbing the surest answer is
    published, with its confidence by the score of the cascade where that is for the same prompt, schema and model.
    """
    output = open_output(today.output)
    for run_info in ledger.runs.list_abandoned(today.output, today.schema):
        if ledger.runs.adopt(run_info.run):
            try:
                with writing(output):
                    totals = _AbandonedRun(ledger, output, run_info, today, schema, keep, options).recover()
            except BaseException:  # also a Ctrl-C: the next run must be able to recover it
                with suppress(LedgerError):  # then the next run sees that this process has ended
                    ledger.runs.release(run_info.run)
                raise
            resume = describe_resume(run_info)
            notify(
                f"recovered run {run_info.run}, which ended without publishing: {totals.accepted} accepted documents"
                f" are published now, {totals.remaining} are left to this run"
                + (f"; it was to process documents again: go on with: {resume}" if resume else "")
            )


@dataclass(frozen=True, slots=True)
class _AbandonedRun:
    """An abandoned run that this process has adopted."""

    ledger: Ledger
    output: Output
    run_info: RunInfo
    today: RunInfo
    schema: Schema
    keep: Keep
    options: RestoreOptions

    def recover(self) -> RunTotals:
        """Finishes a volume that was being published; else publishes what was staged and what was answered."""
        run = self.run_info.run
        volume = Volume(self.output, self.run_info, self.ledger.runs.count_volumes(run) + 1)
        earlier = [Volume(self.output, self.run_info, number) for number in range(1, volume.number)]
        for staged in list_volumes(self.output, self.run_info):
            if staged.committed:
                staged.remove_parts()
        complete = volume.sealed or volume.committed
        planned = [] if complete else self.ledger.claims.load_plans(run)
        warnings = [] if complete else self._stage(volume, planned)
        ended = volume.finished_documents()
        unfinished = volume.called_documents() - {document for document, _ in ended}
        totals = totals_from_tables(volume, remaining=sum(each.name not in ended for each in planned))
        # A run that was killed between its last volume and its end has no further volume.
        if complete or planned or volume.number == 1 or volume.exists:
            if not complete:
                self._seal(volume, earlier, totals, warnings)
            self._publish(volume, unfinished)
        done = {name for each in (*earlier, volume) for name in each.done_documents()} if self._matches_today else ()
        self.ledger.claims.keep_only(self.run_info, done)
        self.ledger.runs.finish(run)
        return totals

    def _stage(self, volume: Volume, planned: list[Planned]) -> list[str]:
        """Stages what was answered and what was called, beside the parts that the run staged itself; returns warnings."""
        ended = volume.finished_documents()
        volume.drop_torn_images(ended)
        missing = {each.document: each for each in planned if each.name not in ended}
        calls = self.ledger.calls.iter_unpublished(self.run_info.run)
        restored = restore_answered(calls, missing, self.schema, self._scoring) if self._same_schema else ()
        accepted, warnings = self.options.examine(self.run_info, list(restored))
        Tables(self.output, self.run_info, self.schema.model, self.keep, volume).stage(PartId(0).restored, accepted)
        volume.stage_calls(self.ledger.calls.iter_unpublished(self.run_info.run), self.keep)
        return warnings

    def _seal(self, volume: Volume, earlier: Sequence[Volume], totals: RunTotals, warnings: list[str]) -> None:
        """Stages the fields and the run's row: then the volume is complete."""
        volume.stage_fields([each.published_key("results") for each in earlier if each.is_published("results")])
        error = Abandoned("its process ended before it was done")
        calls = self.ledger.calls.iter_unpublished(self.run_info.run)
        audit = recount_audit(self.run_info, calls, [*earlier, volume], self.schema)
        counts, words = (audit[0], [audit[1]]) if audit else (None, [])
        record = RunRecord(self.run_info, error=error, warnings=(*warnings, *words), audit=counts)
        row = record.row(RunCounts(0, totals), volume.number)
        volume.stage("runs", PartId(0), [row])

    def _publish(self, volume: Volume, unfinished: set[str]) -> None:
        run = self.run_info.run
        if not self.ledger.runs.heartbeat(run):
            raise LeaseLost(f"run {run} was taken over by another process while it was being published")
        if not volume.committed:
            with self.ledger.output_leases.hold(str(self.output)):
                volume.publish()
        self.ledger.runs.mark_volume_published(run, volume.number, unfinished)

    @property
    def _scoring(self) -> Cascade:
        """Today's score for a run of the same protocol, without thresholds, so that every accepted answer is published."""
        same = self.run_info.fingerprint == self.today.fingerprint
        return self.options.cascade.without_thresholds() if same else NO_CASCADE

    @property
    def _matches_today(self) -> bool:
        """Whether the abandoned run used the same schema, prompt and model as today's run."""
        return self._same_schema and (self.run_info.prompt_hash, self.run_info.model) == (
            self.today.prompt_hash,
            self.today.model,
        )

    @property
    def _same_schema(self) -> bool:
        return self.run_info.schema_hash == self.schema.hash


def restore_answered(
    calls: Iterable[Sequence[Row]], missing: Mapping[str, Planned], schema: Schema, cascade: Cascade = NO_CASCADE
) -> Iterator[Accepted]:
    """Yields those of the missing documents that have an accepted answer among these calls of the ledger: the surest one.

    `cascade`: a document that was climbing is left out, so that it is read on; its replies are reused.
    """
    attempts: dict[str, list[Attempt]] = defaultdict(list)
    for batch in calls:
        for call in batch:
            if (document := str(call["document"])) in missing:
                attempts[document].append(restore_attempt(call))
    for document, tried in attempts.items():
        tried.sort(key=lambda each: each.started_at)
        answers = _restore_answers(missing[document], tried, schema, cascade)
        sure = [each for number, each in enumerate(answers) if cascade.is_sure(each, answers[:number])]
        ended = sure or (answers if answers and _is_at_top(answers[-1]) else [])
        if ended:  # else a validator has changed, or the next rung is to be read
            yield replace(choose_surest(ended), attempts=tuple(tried))


def _is_at_top(answer: Accepted) -> bool:
    """Whether doubt cannot climb above this restored answer; the ledger keeps the image tokens of all pages together."""
    planned = answer.planned
    top = sum(step.tokens for step in planned.steps(planned.doubt_rungs - 1))
    return answer.attempts[0].request.image_tokens >= top


def _restore_answers(planned: Planned, attempts: Sequence[Attempt], schema: Schema, cascade: Cascade) -> list[Accepted]:
    """The accepted answers among these attempts, in their order, each scored beside the one before it."""
    answers: list[Accepted] = []
    for attempt in attempts:
        if answer := _restore_answer(planned, attempt, schema):
            agreed = compare_answers(answers[-1].value, answer.value) if answers else None
            answers.append(replace(answer, evidence=cascade.weigh(answer.evidence, agreed), agreed=agreed))
    return answers


def _restore_answer(planned: Planned, attempt: Attempt, schema: Schema) -> Accepted | None:
    """The answer of an accepted attempt; None where it was not accepted, or a validator has changed."""
    if attempt.outcome != "accepted" or attempt.reply is None:
        return None
    reply = parse_stored(attempt.reply.body, attempt.reply.request_id, attempt.reply.logprobs)
    verdict = validate(reply, schema.model, schema.row_sums)
    if verdict.document is None:
        return None
    return Accepted(
        planned=planned,
        attempts=(attempt,),
        key=attempt.request.key,
        ended_at=attempt.started_at + timedelta(seconds=attempt.seconds),
        value=verdict.document,
        reply=reply,
        step=attempt.request.steps[0],
        encoded=attempt.request.encoded,
        sha256=attempt.request.sha256,
        evidence=align(reply, schema.model, verdict.candidate),
    )


def totals_from_tables(volume: Volume, remaining: int, rule: Rule | None = None) -> RunTotals:
    """Adds up the volume's rows, staged or published, beside the documents that remain. Blocks: call it in a thread.

    `rule` bills the whole images, for what was saved; without it nothing counts as saved.
    """
    calls = volume.scan("calls").select(_CALL_COLUMNS).collect()
    failures = volume.scan("failures").select("document", "stage", "kind", "final", "attempts", "message").collect()
    ended = volume.scan_finished().select(pl.len()).collect().item()
    unsent, reason = pl.col("stage").is_in(list(UNSENT)), pl.col("kind").is_in(list(REJECT_REASONS))
    rejected = len(failures.filter(unsent & reason))
    copied = volume.copied_documents()
    copied_failed = _select_copies(
        volume, failures.filter(~pl.col("stage").is_in(list(UNSENT)) & (pl.col("attempts") == 0))
    )
    copies = {document for document, _ in copied} | set(copied_failed["document"])
    billed = calls.filter(pl.col("billed") == "yes")
    results, whole = volume.scan_results(), rule.tokens if rule else None
    superseded = select_superseded(results, volume.scan("calls"))
    wasted = [*billed.filter(pl.col("outcome") != "accepted")["cost_usd"], *superseded["cost_usd"]]
    return RunTotals(
        rejected=rejected,
        accepted=ended - len(failures) - len(copied),
        failed=len(failures) - rejected - len(copied_failed),
        remaining=remaining,
        copied=len(copied),
        copied_failed=len(copied_failed),
        calls=len(calls),
        prompt_tokens=_sum(calls, "prompt_tokens"),
        cached_tokens=_sum(calls, "cached_tokens"),
        completion_tokens=_sum(calls, "completion_tokens"),
        reasoning_tokens=_sum(calls, "reasoning_tokens"),
        residual_tokens=_sum(calls, "residual_tokens"),
        estimated=_sum_estimates(volume, copies),
        cost_usd=sum_known(billed["cost_usd"]),
        wasted_usd=sum_known(wasted),
        cascade=sum_cascade(results, volume.scan("calls"), volume.scan("images"), whole),
        witness=sum_witness(results),
        kinds=_count_kinds(failures),
        reasons=_reasons(failures),
        first_failures=_name_first(failures),
        unknown_usd=sum_known(calls.filter(pl.col("billed") == "unknown")["reserved_usd"]),
    )


def _select_copies(volume: Volume, uncalled: pl.DataFrame) -> pl.DataFrame:
    """Selects the failures that are copies: of a document that the run did not call at all.

    A called document has no attempts where a later attempt at a shard has validated its answer again. A reused reply that
    was not accepted counts as a copy.
    """
    called = volume.scan("calls").select("document")
    return uncalled.lazy().join(called, on="document", how="anti").collect()


def _sum_estimates(volume: Volume, copies: Collection[str]) -> Costs:
    """The estimate of the documents that were sent and ended."""
    sent = (pl.col("action") != "reject") & ~pl.col("document").is_in(list(copies))
    images = volume.scan("images").filter(sent).select(pl.col("^cost_.*_usd$")).collect()
    return Costs(*(sum_known(images[f"cost_{name}_usd"]) for name in ("low", "expected", "high")))


def _count_kinds(failures: pl.DataFrame) -> Counter[tuple[str, str, bool]]:
    kinds = failures.group_by("stage", "kind", "final").len()
    return Counter({(stage, kind, final): count for stage, kind, final, count in kinds.rows()})


def _reasons(failures: pl.DataFrame) -> FailureReasons:
    reasons = failures.group_by("stage", "kind", "final").agg(pl.col("message").first())
    return FailureReasons({(stage, kind, final): reason_of(message) for stage, kind, final, message in reasons.rows()})


def _name_first(failures: pl.DataFrame) -> FirstFailures:
    """The first failures of each kind by name."""
    first = failures.group_by("stage", "kind", maintain_order=True).head(NAMED_FAILURES)
    named = first.select("document", "stage", "kind", pl.col("message").map_elements(reason_of, return_dtype=pl.String))
    return FirstFailures() + tuple(FailedDocument(*row) for row in named.rows())


def _sum(frame: pl.DataFrame, column: str) -> int:
    return int(frame[column].sum() or 0)
