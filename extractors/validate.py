"""validate: a reply in, the document or the reason why there is none out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson
from pydantic import BaseModel, ValidationError

from extractors.model import Outcome, Reply, Verdict

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# What pydantic reports when a validator of the schema raised, rather than when the shape was wrong.
_VALUE_ERRORS = frozenset({"value_error", "assertion_error"})
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_MOST_ERRORS = 5


def validate(reply: Reply, model: type[BaseModel]) -> Verdict:
    """The verdict on this reply: `accepted` with the document, else what is wrong with it, in words."""
    content = _answer(reply.content or "")
    if not content:
        why = f"finish_reason is {reply.finish_reason!r}" if reply.finish_reason else "the answer has no content"
        return Verdict("truncated" if reply.finish_reason == "length" else "empty", errors=f"no answer: {why}")
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        outcome: Outcome = "truncated" if reply.finish_reason == "length" or _cut_short(content) else "not_json"
        return Verdict(outcome, errors=f"not JSON: {error.msg} at character {error.pos}")
    try:
        return Verdict("accepted", model.model_validate_json(content))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        # A document that is no object at all has one error and no field to name.
        values = isinstance(parsed, dict) and all(each["type"] in _VALUE_ERRORS for each in details)
        return Verdict("refused" if values else "off_schema", errors=_sentence(details))


def _answer(content: str) -> str:
    """The part of the content that is meant as the answer: after any thinking, inside a fence if there is one."""
    text = content.rpartition("</think>")[2].strip()
    fenced = _FENCE.search(text)
    return fenced.group(1).strip() if fenced else text


def _cut_short(content: str) -> bool:
    """Whether this begins as JSON and never closes: servers cut answers with `finish_reason: stop`, too."""
    return content[:1] in "{[" and content.rstrip()[-1:] not in "}]"


def _sentence(details: list[ErrorDetails]) -> str:
    lines = [f"{'.'.join(str(part) for part in each['loc']) or 'document'}: {each['msg']}" for each in details]
    more = f" (and {len(lines) - _MOST_ERRORS} more)" if len(lines) > _MOST_ERRORS else ""
    return "; ".join(lines[:_MOST_ERRORS]) + more
