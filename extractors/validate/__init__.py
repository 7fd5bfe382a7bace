"""validate: turns a reply into a document, or into the reason why it is not one."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ValidationError

from extractors.core import Outcome, Reply, Verdict
from extractors.core.errors import first_line
from extractors.validate.find_json import find_json, unwrap
from extractors.validate.repetition import is_runaway
from extractors.validate.row_sums import find_sum_errors
from extractors.validate.wrappers import unwrap_call, unwrap_text
from extractors.validate.written import read_exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic_core import ErrorDetails

    from extractors.core.row_sums import RowSum
    from extractors.validate.find_json import FoundJson

    Judge = Callable[[str], Verdict]  # of one JSON value

# What pydantic reports when a validator of the schema raised, rather than when the shape was wrong.
_VALUE_ERRORS = frozenset({"value_error", "assertion_error"})
# Finish reasons of a filter: OpenAI's, Azure's and Gemini's gateways name it so.
_FILTERED = frozenset(
    {"content_filter", "safety", "prohibited_content", "blocklist", "recitation", "spii", "image_safety", "sensitive"}
    | {"refusal"}
)
_LENGTH = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})  # of the token limit
_BLANK = "\ufeff \t\r\n"
_MAX_ERRORS, _MAX_CHARS, _MAX_NAME_CHARS = 5, 200, 60


def validate(reply: Reply, model: type[BaseModel], row_sums: Iterable[RowSum] = ()) -> Verdict:
    """The verdict on this reply: `accepted` with the document, else what is wrong with it, in words."""
    content, judge = _read_content(reply), partial(_judge_candidate, model=model, row_sums=row_sums)
    verdict = _judge_text(content, reply, judge) if content else _judge_nothing(reply, judge)
    if verdict.document is not None:
        return verdict
    if not reply.ended and verdict.outcome in {"truncated", "not_json", "empty"}:
        why = f" (finish_reason is {reply.finish_reason!r})" if reply.finish_reason else ""
        return Verdict("connection", errors=f"the server broke off before the answer was complete{why}")
    if verdict.outcome == "truncated" and _is_filtered(reply):
        return Verdict("empty", errors=_describe_filter(reply))
    return verdict


class FieldError(NamedTuple):
    """What is wrong with one field of an answer: its path, the words of pydantic, and the value there."""

    field: str
    message: str
    value: object


def list_errors(reply: Reply, model: type[BaseModel], row_sums: Iterable[RowSum] = ()) -> list[FieldError]:
    """All errors of the last document in an answer, field by field; none where there is no document, or it fits."""
    candidates = find_json(_read_content(reply)).candidates
    if not candidates:
        return []
    try:
        candidate = unwrap_call(candidates[-1], model)
        document, difference = read_exactly(model.model_validate_json(candidate), candidate, model)
    except ValidationError as invalid:
        details = invalid.errors(include_url=False, include_context=False)
        return [FieldError(_format_location(each), each["msg"], each["input"]) for each in details]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a schema's own code may raise anything
        return [FieldError("document", f"a validator raised {type(error).__name__}: {first_line(error)}", None)]
    if difference:
        return [FieldError("document", difference, None)]
    return [FieldError(*error) for error in find_sum_errors(document, row_sums)]


def read_values(reply: Reply, model: type[BaseModel]) -> dict[str, object]:
    """The values of the last document in an answer as JSON, whether or not it fits; empty where there is no object."""
    candidates = find_json(_read_content(reply)).candidates
    if not candidates:
        return {}
    try:
        values = json.loads(unwrap_call(candidates[-1], model))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _read_content(reply: Reply) -> str:
    """The text in which a document is looked for."""
    return unwrap_text((reply.content or "").lstrip(_BLANK))


def _judge_nothing(reply: Reply, judge: Judge) -> Verdict:
    """The verdict on a reply without content: servers that misplace the answer leave it whole beside the reasoning."""
    if reply.refusal:
        return _describe_refusal(reply.refusal)
    if _is_filtered(reply):
        return Verdict("empty", errors=_describe_filter(reply))
    misplaced = unwrap(reply.reasoning or "")
    if misplaced is not None and (verdict := judge(misplaced)).document is not None:
        return verdict
    if _is_at_limit(reply):
        runaway = is_runaway(reply.content or reply.reasoning or "")
        return Verdict("truncated", errors=f"no answer: finish_reason is {reply.finish_reason!r}", runaway=runaway)
    why = f"finish_reason is {reply.finish_reason!r}" if reply.finish_reason else "the answer has no content"
    return Verdict("empty", errors=f"no answer: {why}")


def _judge_text(content: str, reply: Reply, judge: Judge) -> Verdict:
    """The verdict on a text: one candidate that fits is the document, two that differ are none."""
    found = find_json(content)
    if found.unfinished:
        errors = "not JSON: the answer ends before its last closing bracket"
        return Verdict("truncated", errors=errors, runaway=is_runaway(content))
    fitting, last = _fit(found, judge)
    if fitting.clash:
        return Verdict("not_json", errors="not JSON: the answer holds two documents that differ")
    if fitting.verdict is not None and (not found.malformed or fitting.behind):
        return fitting.verdict
    if last is not None and (not found.malformed or found.behind):
        return last
    return _describe_absence(found, content, reply)


class _Fit(NamedTuple):
    """The verdict with the document; whether one that differs fits too; whether it stands behind what is malformed."""

    verdict: Verdict | None = None
    clash: bool = False
    behind: bool = False


def _fit(found: FoundJson, judge: Judge) -> tuple[_Fit, Verdict | None]:
    """The candidate that fits the schema, and the verdict on the last candidate that does not."""
    fitting, last, seen = _Fit(), None, set[str]()
    first_behind = len(found.candidates) - found.behind
    holds_names = any(map(_holds_names, found.candidates))
    for number, candidate in enumerate(found.candidates):
        behind = number >= first_behind
        if (candidate in seen and not behind) or (holds_names and candidate.startswith("{") and ":" not in candidate):
            continue  # an empty object beside another one is a sign of prose
        seen.add(candidate)
        verdict = judge(candidate)
        if verdict.document is None:
            last = verdict
        elif fitting.verdict is None or fitting.verdict.document == verdict.document:
            fitting = _Fit(verdict, behind=behind or fitting.behind)
        else:
            return _Fit(clash=True), None
    return fitting, last


def _holds_names(candidate: str) -> bool:
    return candidate.startswith("{") and ":" in candidate


def _judge_candidate(candidate: str, model: type[BaseModel], row_sums: Iterable[RowSum]) -> Verdict:
    """The verdict on one JSON value."""
    candidate = unwrap_call(candidate, model)
    try:
        document = model.model_validate_json(candidate)
    except ValidationError as invalid:
        details = invalid.errors(include_input=False, include_url=False)
        return Verdict(_classify_errors(candidate, details), errors=_format_errors(details))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a schema's own code may raise anything; the answer is paid for all the same
        return Verdict("refused", errors=f"a validator raised {type(error).__name__}: {first_line(error)}")
    document, difference = read_exactly(document, candidate, model)
    if difference:
        return Verdict("off_schema", errors=difference)
    if errors := find_sum_errors(document, row_sums):
        words = "; ".join(f"{error.field}: {error.message}"[:_MAX_CHARS] for error in errors[:_MAX_ERRORS])
        return Verdict("refused", errors=words, sum_differs=True)
    return Verdict("accepted", document, candidate=candidate)


def _describe_absence(found: FoundJson, content: str, reply: Reply) -> Verdict:
    """The verdict on a text without a candidate."""
    if found.malformed:
        return Verdict("not_json", errors=f"not JSON: {found.malformed.message} at character {found.malformed.at}")
    if reply.refusal:
        return _describe_refusal(reply.refusal)
    if _is_at_limit(reply):
        return Verdict("truncated", errors="not JSON: there is no object in the answer", runaway=is_runaway(content))
    if _is_filtered(reply):
        return Verdict("empty", errors=_describe_filter(reply))
    if found.blank:
        return Verdict("empty", errors="no answer: nothing but thinking, or an empty fence")
    return Verdict("not_json", errors="not JSON: there is no object in the answer")


def _is_at_limit(reply: Reply) -> bool:
    return (reply.finish_reason or "").lower() in _LENGTH


def _describe_refusal(refusal: str) -> Verdict:
    return Verdict("empty", errors=f"the model declined: {refusal}"[:_MAX_CHARS])


def _is_filtered(reply: Reply) -> bool:
    return (reply.finish_reason or "").lower() in _FILTERED


def _describe_filter(reply: Reply) -> str:
    return f"no answer: a content filter ended it (finish_reason is {reply.finish_reason!r})"


def _classify_errors(candidate: str, details: list[ErrorDetails]) -> Outcome:
    kinds = {each["type"] for each in details}
    if kinds == {"json_invalid"}:  # nested deeper than pydantic follows
        return "not_json"
    # A document that is no object at all has one error and no field to name.
    return "refused" if kinds <= _VALUE_ERRORS and candidate.startswith("{") else "off_schema"


def _format_errors(details: list[ErrorDetails]) -> str:
    lines = [f"{_format_location(each)}: {each['msg']}"[:_MAX_CHARS] for each in details[:_MAX_ERRORS]]
    more = f" (and {len(details) - _MAX_ERRORS} more)" if len(details) > _MAX_ERRORS else ""
    return "; ".join(lines) + more


def _format_location(detail: ErrorDetails) -> str:
    return ".".join(str(part)[:_MAX_NAME_CHARS] for part in detail["loc"][:_MAX_ERRORS]) or "document"
