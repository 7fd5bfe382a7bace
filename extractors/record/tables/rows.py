"""Build the published rows of documents that ended, and of calls in the ledger."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, cast

from extractors.core import (
    Accepted,
    AnswerOrigin,
    Attempt,
    CallRequest,
    Copied,
    Evidence,
    Failed,
    LadderStep,
    PlannedPage,
    Quality,
    Reply,
    RunInfo,
)
from extractors.core.calls import LOST
from extractors.core.evidence import FieldEvidence, Sighting
from extractors.core.money import Usage, from_nano
from extractors.core.tiles import Size
from extractors.record.logprobs_json import load_logprobs
from extractors.record.tables import columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extractors.core.evidence import Sightings
    from extractors.record.tables.fields import Fields

Keep = Literal["all", "failed", "none"]
Row = dict[str, object]
_COMPUTED = {"started_at", "residual_tokens", "reserved_usd", "cost_usd"}
_COPIED = [name for name in columns.CALLS if name not in _COMPUTED and not name.startswith("price_")]


def result_row(end: Accepted, run_info: RunInfo, fields: Fields) -> Row:
    """The row of an accepted document."""
    page, step = end.planned.first, end.step
    found, header = page.billed.found, page.billed.header
    origin = end.origin or AnswerOrigin(run_info.model, run_info.prompt_hash)
    return {
        **(fields.row(end.value) if end.cells is None else end.cells),
        "_image": found.name,
        "_document": end.planned.document,
        "_pages": [each.billed.found.name for each in end.planned.pages],
        "_version": end.planned.name[1],
        "_modified": end.planned.modified,
        "_key": end.key,
        "_sha256": end.sha256,
        "_run": run_info.run,
        "_extracted_at": end.ended_at,
        "_model_requested": origin.model,
        "_model": end.reply.model or origin.model,
        "_schema_hash": run_info.schema_hash,
        "_prompt_hash": origin.prompt_hash,
        "_action": origin.action or _final_action(page, step),
        "_encoded": end.encoded,
        "_rung": step.rung,
        "_width": header.size.width if header else None,
        "_height": header.size.height if header else None,
        "_sent_width": step.size.width or None,
        "_sent_height": step.size.height or None,
        "_attempts": len(end.attempts),
        "_image_tokens_estimated": sum(each.request.image_tokens for each in end.attempts),
        "_prompt_tokens": end.tokens("prompt"),
        "_completion_tokens": end.tokens("completion"),
        "_cost_usd": end.cost_usd,
        "_copied_from": None,
        "_manifest": end.planned.manifest,
        "_confidence": end.evidence.confidence if end.evidence else None,
        "_evidence": _list_evidence(end.evidence, end.sightings),
    }


def _list_evidence(evidence: Evidence | None, sightings: Sightings | None) -> list[Row] | None:
    """The cells of the evidence: the fields, those without a confidence, too, then the values of lists and nested models."""
    if evidence is None and sightings is None:
        return None
    confidences = {each.field: each.confidence for each in (evidence.fields if evidence else ())}
    seen = {each.field: each for each in (sightings.values if sightings else ()) if each.field in confidences}
    cells = [_evidence_cell(seen.get(name, Sighting(name)), known) for name, known in confidences.items()]
    others = (each for each in (sightings.values if sightings else ()) if each.field not in confidences)
    return cells + [_evidence_cell(each, None) for each in others]


def has_places(cells: Sequence[Row] | None) -> bool:
    """Whether a witness has looked at the document of this evidence."""
    return cells is not None and any(cell["page"] is not None for cell in cells)


def add_places(cells: Sequence[Row] | None, sightings: Sightings) -> list[Row]:
    """The evidence of a row with what a witness has seen, and the confidences as they are."""
    known = [(str(cell["field"]), cast("float | None", cell["confidence"])) for cell in cells or ()]
    evidence = Evidence(tuple(FieldEvidence(name, confidence=confidence) for name, confidence in known))
    return _list_evidence(evidence, sightings) or []


def _evidence_cell(sighting: Sighting, confidence: float | None) -> Row:
    box = sighting.box
    return {
        "field": sighting.field,
        "confidence": confidence,
        "page": sighting.page,
        "x": round(box.x) if box else None,
        "y": round(box.y) if box else None,
        "width": max(1, round(box.width)) if box else None,
        "height": max(1, round(box.height)) if box else None,
    }


def failure_row(end: Failed, run_info: RunInfo) -> Row:
    """The row of a rejected or failed document."""
    found = end.planned.first.billed.found
    origin = end.origin or AnswerOrigin(run_info.model, run_info.prompt_hash)
    return {
        "run": run_info.run,
        "document": end.planned.document,
        "image": found.name,
        "schema": run_info.schema,
        "version": end.planned.name[1],
        "schema_hash": run_info.schema_hash,
        "prompt_hash": origin.prompt_hash,
        "model_requested": origin.model,
        "stage": end.problem.stage,
        "kind": end.problem.kind,
        "message": end.problem.message,
        "final": end.problem.final,
        "tries": end.planned.tries + _counts_as_try(end),
        "attempts": len(end.attempts),
        "cost_usd": end.cost_usd,
        "failed_at": end.ended_at,
    }


def _counts_as_try(end: Failed) -> bool:
    """Whether the failure says something about trying again: not a reparsed answer, and not what a setting rejected."""
    return end.origin is None and not end.problem.is_setting


def copy_row(end: Copied, run_info: RunInfo) -> Row:
    """The row of a copy: values, places and hashes of the original, names and times of its own, no cost."""
    planned = end.planned
    name, version, found = planned.document, planned.name[1], planned.first.billed.found
    if end.failed:
        own = {"document": name, "image": found.name, "version": version, "tries": planned.tries + 1}
        return {**end.row, **own, "run": run_info.run, "attempts": 0, "cost_usd": Decimal(0), "failed_at": end.ended_at}
    nothing = ("_attempts", "_image_tokens_estimated", "_prompt_tokens", "_completion_tokens")
    return {
        **end.row,
        **dict.fromkeys(nothing, 0),
        "_cost_usd": Decimal(0),
        "_image": found.name,
        "_document": name,
        "_pages": [each.billed.found.name for each in planned.pages],
        "_version": version,
        "_modified": planned.modified,
        "_run": run_info.run,
        "_extracted_at": end.ended_at,
        "_copied_from": end.row["_document"],
        "_manifest": planned.manifest,
        "_confidence": None,
        "_evidence": _copy_places(cast("Sequence[Row] | None", end.row["_evidence"])),
    }


def _copy_places(cells: Sequence[Row] | None) -> list[Row] | None:
    """Where the values of the original stand, which has the same bytes; None where no witness has looked at it."""
    if cells is None or not has_places(cells):
        return None
    return [cell | {"confidence": None} for cell in cells]


def image_rows(end: Accepted | Copied | Failed, run_info: RunInfo) -> list[Row]:
    """One row per page; all pages of a document rejected in prepare count as rejected."""
    reject_reason = end.problem.kind if isinstance(end, Failed) and end.rejected else None
    rows = [_image_row(page, number, reject_reason, end, run_info) for number, page in enumerate(end.planned.pages, 1)]
    qualities = end.qualities or (None,) * len(rows)
    return [row | _measure_quality(quality) for row, quality in zip(rows, qualities, strict=True)]


def _measure_quality(quality: Quality | None) -> Row:
    return {
        "sharpness": quality.sharpness if quality else None,
        "contrast": quality.contrast if quality else None,
    }


def _image_row(
    page: PlannedPage, number: int, reject_reason: str | None, end: Accepted | Copied | Failed, run_info: RunInfo
) -> Row:
    found, header = page.billed.found, page.billed.header
    first = page.ladder[0] if page.ladder and reject_reason is None else None
    size = header.size if header else None
    return {
        "run": run_info.run,
        "document": end.planned.document,
        "schema": run_info.schema,
        "page": number,
        "image": found.name,
        "size": found.size,
        "version": found.version,
        "modified": found.modified,
        "format": header.format if header else None,
        "width": size.width if size else None,
        "height": size.height if size else None,
        "frames": header.frames if header else None,
        "orientation": header.orientation if header else None,
        "action": page.action if reject_reason is None else "reject",
        "reason": page.reason if reject_reason is None else reject_reason,
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


def call_row(call: Row, run_info: RunInfo) -> Row:
    """The published row of a call in the ledger; without an outcome it was in flight when its process ended."""
    price = run_info.price
    prompt, estimated = call["prompt_tokens"], call["estimated_prompt_tokens"]
    assert isinstance(estimated, int)
    row = {name: call[name] for name in _COPIED}
    if call["outcome"] is None:
        row |= LOST
    return row | {
        "started_at": datetime.fromisoformat(str(call["started_at"])),
        "residual_tokens": prompt - estimated if isinstance(prompt, int) else None,
        "price_input": price.input if price else None,
        "price_cached": price.cached if price else None,
        "price_output": price.output if price else None,
        "price_as_of": price.as_of if price else None,
        "reserved_usd": _to_dollars(call["reserved_nano"]),
        "cost_usd": _to_dollars(call["cost_nano"]),
    }


def restore_attempt(call: Mapping[str, Any]) -> Attempt:
    """The attempt of a call in the ledger, with the values that its document's rows need; Any: values of the database."""
    step = LadderStep(
        call["rung"] or 0, Size(call["sent_width"] or 0, call["sent_height"] or 0), call["estimated_image_tokens"]
    )
    request = CallRequest(
        document=call["document"],
        key=call["key"],
        request=call["request"],
        payload_bytes=call["payload_bytes"],
        steps=(step,),
        text_tokens=call["estimated_prompt_tokens"] - call["estimated_image_tokens"],
        worst_prompt_tokens=0,
        output_tokens=0,
        max_tokens=0,
        sha256=call["sha256"],
        encoded=call["encoded"],
    )
    kinds = ("prompt", "completion", "cached", "reasoning")
    usage = Usage(*(call[f"{kind}_tokens"] or 0 for kind in kinds)) if call["prompt_tokens"] is not None else None
    reply = None
    if call["http_status"] is not None:
        body, model = call["reply"] or "", call["model_returned"]
        logprobs = load_logprobs(call["tokens"], call["token_logprobs"])
        reply = Reply(
            call["http_status"], body, model=model, usage=usage, request_id=call["request_id"], logprobs=logprobs
        )
    return Attempt(
        request,
        datetime.fromisoformat(call["started_at"]),
        call["seconds"] or 0.0,
        call["outcome"] or "aborted",
        call["billed"] or "unknown",
        reply,
        _to_dollars(call["cost_nano"]),
        _to_dollars(call["reserved_nano"]),
        call["error"],
    )


def reply_row(call: Row) -> Row:
    """The raw answer of a call in the ledger, with its tokens."""
    logprobs = load_logprobs(call["tokens"], call["token_logprobs"])
    tokens = {
        "tokens": list(logprobs.tokens) if logprobs else None,
        "token_logprobs": list(logprobs.logprobs) if logprobs else None,
    }
    return {name: call[name] for name in columns.REPLIES} | tokens


def is_kept(call: Row, keep: Keep) -> bool:
    """Whether the raw answer of this call is published: `failed` keeps those that were not accepted."""
    return call["reply"] is not None and (keep == "all" or (keep == "failed" and call["outcome"] != "accepted"))


def _to_dollars(amount: object) -> Decimal | None:
    return from_nano(amount) if isinstance(amount, int) else None


def _final_action(page: PlannedPage, step: LadderStep) -> str:
    """The action for the image that was accepted: on the top rung it is not resized."""
    if page.action == "url":
        return "url"
    if step != page.ladder[-1]:
        return "resize"
    whole = page.billed.header is not None and step.size == page.billed.header.size
    return "send" if whole else "shrink"
