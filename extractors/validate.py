"""validate: a reply in, the document or the reason why there is none out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from pydantic import BaseModel, ValidationError

from extractors.model import Outcome, Reply, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

# What pydantic reports when a validator of the schema raised, rather than when the shape was wrong.
_VALUE_ERRORS = frozenset({"value_error", "assertion_error"})
_CUT_SHORT = "unexpected end of data"  # orjson's words for JSON that is sound as far as it goes
_MOST_ERRORS, _MOST_CHARS, _MOST_NAME_CHARS = 5, 200, 60


def validate(reply: Reply, model: type[BaseModel]) -> Verdict:
    """The verdict on this reply: `accepted` with the document, else what is wrong with it, in words."""
    content = (reply.content or "").strip("\ufeff \t\r\n")
    if not content:
        why = f"finish_reason is {reply.finish_reason!r}" if reply.finish_reason else "the answer has no content"
        return Verdict("truncated" if reply.finish_reason == "length" else "empty", errors=f"no answer: {why}")
    answer, error = _answer(content)
    if not answer and not _bare(content):
        return Verdict("empty", errors="no answer: nothing but thinking, or an empty fence")
    if error is not None:
        # Servers cut answers with `finish_reason: stop`, too.
        cut = reply.finish_reason == "length" or error.msg.startswith(_CUT_SHORT)
        outcome: Outcome = "truncated" if cut else "not_json"
        return Verdict(outcome, errors=f"not JSON: {error.msg} at character {error.pos}")
    try:
        return Verdict("accepted", model.model_validate_json(answer))
    except ValidationError as invalid:
        details = invalid.errors(include_input=False, include_url=False)
        return Verdict(_outcome(answer, details), errors=_sentence(details))


def _answer(content: str) -> tuple[str, orjson.JSONDecodeError | None]:
    """The part of the content that is JSON, or what is wrong with the part that begins like it."""
    wrong: orjson.JSONDecodeError | None = None
    for candidate in _candidates(content):
        try:
            orjson.loads(candidate)
        except orjson.JSONDecodeError as error:
            wrong = error
        else:
            return candidate, None
    return "", wrong


def _candidates(content: str) -> Iterator[str]:
    """Where an answer may stand, the likeliest last: its error tells whether it was cut short.

    All of it; behind the thinking; in a code fence; from the first bracket to the last; from the first bracket on.
    """
    yield content
    text = content.rpartition("</think>")[2].strip()
    yield text
    fenced = text.partition("```")[2]
    yield fenced.removeprefix("json").rpartition("```")[0]
    start = min((position for bracket in "{[" if (position := text.find(bracket)) >= 0), default=len(text))
    yield text[start : max(text.rfind("}"), text.rfind("]")) + 1]
    yield text[start:]


def _bare(content: str) -> str:
    """The content without its thinking and its fences."""
    return content.rpartition("</think>")[2].strip("` \n").removeprefix("json").strip()


def _outcome(answer: str, details: list[ErrorDetails]) -> Outcome:
    kinds = {each["type"] for each in details}
    if kinds == {"json_invalid"}:  # nested deeper than pydantic follows
        return "not_json"
    # A document that is no object at all has one error and no field to name.
    return "refused" if kinds <= _VALUE_ERRORS and answer.startswith("{") else "off_schema"


def _sentence(details: list[ErrorDetails]) -> str:
    lines = [f"{_name(each)}: {each['msg']}"[:_MOST_CHARS] for each in details[:_MOST_ERRORS]]
    more = f" (and {len(details) - _MOST_ERRORS} more)" if len(details) > _MOST_ERRORS else ""
    return "; ".join(lines) + more


def _name(detail: ErrorDetails) -> str:
    return ".".join(str(part)[:_MOST_NAME_CHARS] for part in detail["loc"][:_MOST_ERRORS]) or "document"
