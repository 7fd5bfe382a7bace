"""A document's end in, its rows for every table out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from extractors.model import Accepted, Attempt, Done, Failed, PlannedPage, Step, Terms
from extractors.tiles import Size

if TYPE_CHECKING:
    from extractors.record.columns import Fields

Keep = Literal["all", "failed", "none"]
Row = dict[str, object]


def result_row(end: Accepted, terms: Terms, fields: Fields) -> Row:
    """The row of an accepted document."""
    page, step = end.planned.first, end.step
    found, header = page.billed.found, page.billed.header
    return fields.row(end.value) | {
        "_image": found.uri,
        "_document": end.planned.document,
        "_pages": [each.billed.found.uri for each in end.planned.pages],
        "_version": found.version,
        "_modified": found.modified,
        "_key": end.key,
        "_sha256": end.sha256,
        "_run": terms.run,
        "_extracted_at": end.ended_at,
        "_model_requested": terms.model,
        "_model": _model(end.published, terms),
        "_schema_hash": terms.schema_hash,
        "_prompt_hash": terms.prompt_hash,
        "_action": _action(page, step),
        "_encoded": end.encoded,
        "_rung": step.rung,
        "_width": header.size.width if header else None,
        "_height": header.size.height if header else None,
        "_sent_width": step.size.width,
        "_sent_height": step.size.height,
        "_attempts": len(end.attempts),
        "_image_tokens_estimated": sum(each.order.image_tokens for each in end.attempts),
        "_prompt_tokens": end.tokens("prompt"),
        "_completion_tokens": end.tokens("completion"),
        "_cost_usd": end.cost_usd,
        "_copied_from": None,
        "_manifest": None,
    }


def failure_row(end: Failed, terms: Terms) -> Row:
    """The row of a rejected or failed document."""
    found = end.planned.first.billed.found
    return {
        "run": terms.run,
        "document": end.planned.document,
        "image": found.uri,
        "schema": terms.schema,
        "version": found.version,
        "schema_hash": terms.schema_hash,
        "prompt_hash": terms.prompt_hash,
        "model_requested": terms.model,
        "stage": end.flaw.stage,
        "kind": end.flaw.kind,
        "message": end.flaw.message,
        "final": end.flaw.final,
        "tries": end.planned.tries + 1,
        "attempts": len(end.attempts),
        "cost_usd": end.cost_usd,
        "failed_at": end.ended_at,
    }


def image_rows(end: Accepted | Failed, terms: Terms) -> list[Row]:
    """One row per page; a page whose pixels turned out to be broken is a rejected one, whatever its header promised."""
    flaw = end.flaw.kind if isinstance(end, Failed) and end.rejected else None
    return [_image_row(page, number, flaw, end, terms) for number, page in enumerate(end.planned.pages, 1)]


def _image_row(page: PlannedPage, number: int, flaw: str | None, end: Accepted | Failed, terms: Terms) -> Row:
    found, header = page.billed.found, page.billed.header
    first = page.ladder[0] if page.ladder and flaw is None else None
    size = header.size if header else None
    return {
        "run": terms.run,
        "document": end.planned.document,
        "schema": terms.schema,
        "page": number,
        "image": found.uri,
        "size": found.size,
        "version": found.version,
        "modified": found.modified,
        "format": header.format if header else None,
        "width": size.width if size else None,
        "height": size.height if size else None,
        "frames": header.frames if header else None,
        "orientation": header.orientation if header else None,
        "action": page.action if flaw is None else "reject",
        "reason": page.reason if flaw is None else flaw,
        "note": page.billed.note,
        "rung": first.rung if first else None,
        "scale": page.scale if first else None,
        "tokens_formula": page.billed.tokens_formula,
        "tokens_table": page.billed.tokens_table,
        "tokens_planned": first.tokens if first else None,
        "cost_low_usd": page.costs.low if first else None,
        "cost_expected_usd": page.costs.expected if first else None,
        "cost_high_usd": page.costs.high if first else None,
    }


def call_rows(end: Done, terms: Terms) -> list[Row]:
    """One row per HTTP attempt."""
    return [call_row(attempt, number, terms) for number, attempt in enumerate(end.attempts, 1)]


def call_row(attempt: Attempt, number: int, terms: Terms) -> Row:
    """One attempt's row: what was expected, what came back, what it cost."""
    order, reply, usage, price = attempt.order, attempt.reply, attempt.usage, terms.price
    sent = order.steps[0].size if order.steps else Size(0, 0)
    return {
        "run": terms.run,
        "document": order.document,
        "key": order.key,
        "schema": terms.schema,
        "endpoint": terms.endpoint,
        "attempt": number,
        "rung": order.steps[0].rung if order.steps else None,
        "pages": len(order.steps),
        "started_at": attempt.started_at,
        "seconds": attempt.seconds,
        "http_status": reply.status if reply else None,
        "outcome": attempt.outcome,
        "billed": attempt.billed,
        "model_requested": terms.model,
        "model_returned": reply.model if reply else None,
        "bill_rule": terms.bill_rule,
        "payload_bytes": order.payload_bytes,
        "sent_width": sent.width if order.steps else None,
        "sent_height": sent.height if order.steps else None,
        "estimated_image_tokens": order.image_tokens,
        "estimated_prompt_tokens": order.image_tokens + order.text_tokens,
        "prompt_tokens": usage.prompt if usage else None,
        "cached_tokens": usage.cached if usage else None,
        "completion_tokens": usage.completion if usage else None,
        "reasoning_tokens": usage.reasoning if usage else None,
        "residual_tokens": attempt.residual,
        "price_input": price.input if price else None,
        "price_cached": price.cached if price else None,
        "price_output": price.output if price else None,
        "price_as_of": price.as_of if price else None,
        "reserved_usd": attempt.reserved_usd,
        "cost_usd": attempt.cost_usd,
        "finish_reason": reply.finish_reason if reply else None,
        "request_id": reply.request_id if reply else None,
        "error": attempt.error,
    }


def reply_rows(end: Done, terms: Terms, keep: Keep) -> list[Row]:
    """The raw answers, as many as are to be kept: `failed` keeps those that were not accepted."""
    return [
        {
            "run": terms.run,
            "document": end.planned.document,
            "key": attempt.order.key,
            "attempt": number,
            "outcome": attempt.outcome,
            "reply": attempt.reply.body,
        }
        for number, attempt in enumerate(end.attempts, 1)
        if attempt.reply and (keep == "all" or (keep == "failed" and attempt.outcome != "accepted"))
    ]


def _action(page: PlannedPage, step: Step) -> str:
    """What was done to the picture that was read: a document that climbed is no longer resized at the top."""
    if step != page.ladder[-1]:
        return "resize"
    whole = page.billed.header is not None and step.size == page.billed.header.size
    return "send" if whole else "shrink"


def _model(attempt: Attempt, terms: Terms) -> str:
    """The model that answered: the one asked for, where the server does not say."""
    return (attempt.reply.model if attempt.reply else None) or terms.model
