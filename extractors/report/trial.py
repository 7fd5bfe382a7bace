"""The view of a tried document: the plan and why, the prompt, each answer with its errors field by field, tokens and cost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from extractors.core import Accepted, Failed
from extractors.core.document_totals import totals_of, usage_of
from extractors.core.money import dollars
from extractors.record.tables.fields import Fields
from extractors.report.plan_words import explain_choice
from extractors.report.row_formats import make_printable
from extractors.report.witness import list_witness
from extractors.validate import list_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from extractors.core import Attempt, PlannedPage, RunInfo, Unfinished
    from extractors.core.schema import Schema

MAX_VALUE = 60  # characters of a wrong value


@dataclass(frozen=True, slots=True)
class TrialView:
    """A tried document; `row` is its row of `runs`, `error` why it was stopped."""

    run_info: RunInfo
    schema: Schema
    document: Accepted | Failed | Unfinished
    row: Mapping[str, object]
    error: str | None = None

    def lines(self) -> Iterator[str]:
        """What a person reads, top to bottom; text of images and models without control characters."""
        info, planned = self.run_info, self.document.planned
        yield f"{planned.document}: schema {info.schema}, {info.model} at {info.endpoint}"
        for page in planned.pages:
            yield f"plan: {_describe_plan(page, info.bill_rule)}"
        if planned.problem is None:
            yield f"cost, predicted: {dollars(planned.costs.expected)}, at most {dollars(planned.costs.high)}"
            yield f"\nprompt:\n{self.schema.instructions}"
            yield f"(and the JSON schema: tilewise schemas show {info.schema})"
        for number, attempt in enumerate(self.document.attempts, 1):
            yield from self._describe_attempt(number, attempt)
        yield from self._describe_end()

    def _describe_attempt(self, number: int, attempt: Attempt) -> Iterator[str]:
        step, usage = attempt.request.steps[0], attempt.usage
        size = f"{step.size.width}x{step.size.height}" if step.size.width else "as a URL"
        tokens = f"{usage.prompt:,} prompt and {usage.completion:,} completion tokens" if usage else "tokens unknown"
        cost = "not billed" if attempt.billed == "no" else dollars(attempt.cost_usd)
        yield f"\ncall {number}: {size}, {attempt.outcome} after {attempt.seconds:.1f} s, {tokens}, {cost}"
        if attempt.reply is not None and attempt.reply.content:
            yield make_printable(_indent_json(attempt.reply.content), keep="\n")
        errors = list_errors(attempt.reply, self.schema.model, self.schema.row_sums) if attempt.reply else []
        for field, message, value in errors:
            yield make_printable(f"  {field}: {message} (answered {_shorten(value)})")
        if attempt.error and not errors:
            yield make_printable(f"  {attempt.error}")

    def _describe_end(self) -> Iterator[str]:
        document = self.document
        total = usage_of(document.attempts)
        if isinstance(document, Accepted):
            yield "\nfields:"
            confidence = _list_confidence(document)
            for name, value in self._values(document).items():
                known = confidence.get(name)
                shown = "" if known is None else f" (confidence {known:.2f})"
                yield f"  {name}: {make_printable(_dump(value))}{shown}{_describe_place(document, name)}"
            yield from (f"{name}: {value}" for name, value in list_witness(totals_of(document).witness))
            yield f"accepted after {total.calls} calls" if total.calls > 1 else "accepted"
        elif isinstance(document, Failed):
            problem = document.problem
            yield (
                f"\n{'rejected' if document.rejected else 'failed'} ({problem.stage}, {problem.kind}):"
                + make_printable(f" {problem.message}")
            )
        if self.error:
            yield f"stopped: {self.error}"
        yield (
            f"tokens: {total.prompt_tokens:,} prompt, {total.completion_tokens:,} completion;"
            f" cost: {dollars(total.cost_usd)}"
        )
        yield f"recorded as run {self.run_info.run}, without a row in results"

    def as_json(self) -> dict[str, object]:
        """The object that `--json` prints."""
        document, planned, info = self.document, self.document.planned, self.run_info
        problem = document.problem if isinstance(document, Failed) else None
        total = usage_of(document.attempts)
        return {
            "run": info.run,
            "document": planned.document,
            "schema": info.schema,
            "model": info.model,
            "endpoint": info.endpoint,
            "status": self.row["status"],
            "outcome": _name_outcome(document),
            "bill_rule": info.bill_rule,
            "pages": [_page_json(page) for page in planned.pages],
            "predicted_usd": dict(zip(("low", "expected", "high"), planned.costs.values(), strict=True)),
            "prompt": self.schema.prompt,
            "attempts": [self._attempt_json(number, each) for number, each in enumerate(document.attempts, 1)],
            "fields": json.loads(_dump(self._values(document))) if isinstance(document, Accepted) else None,
            "confidence": _list_confidence(document) if isinstance(document, Accepted) else None,
            "seen_on_page": _list_pages(document) if isinstance(document, Accepted) else None,
            "failure": problem and {"stage": problem.stage, "kind": problem.kind, "message": problem.message},
            "prompt_tokens": total.prompt_tokens,
            "completion_tokens": total.completion_tokens,
            "cost_usd": total.cost_usd,
            "warnings": self.row["warnings"],
            "error": self.error,
        }

    def _attempt_json(self, number: int, attempt: Attempt) -> dict[str, object]:
        step, usage, reply = attempt.request.steps[0], attempt.usage, attempt.reply
        errors = list_errors(reply, self.schema.model, self.schema.row_sums) if reply else []
        return {
            "attempt": number,
            "outcome": attempt.outcome,
            "billed": attempt.billed,
            "seconds": round(attempt.seconds, 3),
            "rung": step.rung or None,
            "sent_width": step.size.width or None,
            "sent_height": step.size.height or None,
            "prompt_tokens": usage.prompt if usage else None,
            "completion_tokens": usage.completion if usage else None,
            "cost_usd": attempt.cost_usd,
            "answer": reply.content if reply else None,
            "error": attempt.error,
            "errors": [{"field": each.field, "message": each.message, "value": _dump(each.value)} for each in errors],
        }

    def _values(self, document: Accepted) -> dict[str, object]:
        """The fields of the row that a run would publish."""
        return Fields(self.schema.model).row(document.value)


def _describe_plan(page: PlannedPage, rule: str) -> str:
    header = page.billed.header
    if page.action == "reject":
        return f"reject ({page.reason}): {page.billed.problem.message if page.billed.problem else 'a page is rejected'}"
    why = explain_choice(page.action, page.reason)
    size = f" {header.size.width}x{header.size.height}" if header else ""
    if not page.ladder or not page.ladder[0].size.width:
        return f"{page.action}{size}: {why}"
    first, *others = page.ladder
    target = f" to {first.size.width}x{first.size.height}" if page.action in {"shrink", "resize"} else ""
    further = "".join(f", then {step.size.width}x{step.size.height} for {step.tokens:,}" for step in others)
    return f"{page.action}{size}{target}: {why}; {first.tokens:,} image tokens by {rule}{further}"


def _page_json(page: PlannedPage) -> dict[str, object]:
    header = page.billed.header
    return {
        "image": page.billed.found.name,
        "action": page.action,
        "reason": page.reason,
        "width": header.size.width if header else None,
        "height": header.size.height if header else None,
        "ladder": [
            {"rung": step.rung, "width": step.size.width, "height": step.size.height, "tokens": step.tokens}
            for step in page.ladder
        ],
    }


def _list_confidence(document: Accepted) -> dict[str, float | None]:
    """The confidence of each field, None where it is unknown; empty where none was asked for."""
    return {each.field: each.confidence for each in document.evidence.fields} if document.evidence else {}


def _describe_place(document: Accepted, field: str) -> str:
    """Where the witness saw the value of a field; empty where it did not look for it."""
    place = (
        next((each for each in document.sightings.values if each.field == field), None) if document.sightings else None
    )
    if place is None or place.page is None:
        return ""
    box = place.box
    if box is None:
        return " (on no page)"
    return f" (page {place.page}, {box.width:.0f} x {box.height:.0f} px at {box.x:.0f}, {box.y:.0f})"


def _list_pages(document: Accepted) -> dict[str, int | None] | None:
    """The page of each value, 0 for one that stands on none; None where the witness did not look."""
    return {each.field: each.page for each in document.sightings.values} if document.sightings else None


def _name_outcome(document: Accepted | Failed | Unfinished) -> str:
    if isinstance(document, Accepted):
        return "accepted"
    if isinstance(document, Failed):
        return "rejected" if document.rejected else "failed"
    return "remaining"


def _indent_json(text: str) -> str:
    """The answer with one value a line where it is JSON, else as it is."""
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return text


def _shorten(value: object) -> str:
    text = _dump(value)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _dump(value: object) -> str:
    """JSON; what has no form there is text, as amounts are."""
    return json.dumps(value, ensure_ascii=False, default=str)
