"""validate: a reply in, the document or the reason why there is none out."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

import orjson
from pydantic import BaseModel, ValidationError

from extractors.core import Outcome, Reply, Verdict
from extractors.core.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

# What pydantic reports when a validator of the schema raised, rather than when the shape was wrong.
_VALUE_ERRORS = frozenset({"value_error", "assertion_error"})
_MORE_FOLLOWS = "unexpected content after document"  # and for JSON with something behind it
_MOST_STARTS = 8  # brackets from which an answer is looked for
_CUT_SHORT = "unexpected end of data"  # orjson's words for JSON that is sound as far as it goes
_MOST_ERRORS, _MOST_CHARS, _MOST_NAME_CHARS = 5, 200, 60


def validate(reply: Reply, model: type[BaseModel]) -> Verdict:
    """The verdict on this reply: `accepted` with the document, else what is wrong with it, in words."""
    outcome: Outcome
    content = (reply.content or "").strip("\ufeff \t\r\n")
    if not content:
        why = f"finish_reason is {reply.finish_reason!r}" if reply.finish_reason else "the answer has no content"
        return Verdict("truncated" if reply.finish_reason == "length" else "empty", errors=f"no answer: {why}")
    content = _remove_thinking(content)
    answer, error = _find_answer(content)
    if not answer and not content.strip("` \n").removeprefix("json").strip():
        outcome = "truncated" if reply.finish_reason == "length" else "empty"
        return Verdict(outcome, errors="no answer: nothing but thinking, or an empty fence")
    if error is not None:
        # Servers cut answers with `finish_reason: stop`, too.
        cut = reply.finish_reason == "length" or error.msg.startswith(_CUT_SHORT)
        outcome = "truncated" if cut else "not_json"
        where = f"{error.msg} at character {error.pos}" if "{" in content else "there is no object in the answer"
        return Verdict(outcome, errors=f"not JSON: {where}")
    try:
        return Verdict("accepted", model.model_validate_json(answer))
    except ValidationError as invalid:
        details = invalid.errors(include_input=False, include_url=False)
        return Verdict(_classify_errors(answer, details), errors=_format_errors(details))
    except Exception as broken:  # noqa: BLE001 - a schema's own code may raise anything; the answer is paid for all the same
        return Verdict("refused", errors=f"a validator raised {type(broken).__name__}: {first_line(broken)}")


def _find_answer(content: str) -> tuple[str, orjson.JSONDecodeError | None]:
    """The part of the content that is JSON, or what is wrong with the part that begins like it."""
    wrong: orjson.JSONDecodeError | None = None
    for candidate in _find_candidates(content):
        try:
            orjson.loads(candidate)
        except orjson.JSONDecodeError as error:
            wrong = error
        else:
            return candidate, None
    return "", wrong


def _find_candidates(content: str) -> Iterator[str]:
    """Where an answer may stand, the likeliest last: its error tells whether it was cut short.

    All of it; in a code fence; from one of the first brackets to the end of what it opens; from the first bracket on.
    """
    yield content
    fenced = content.partition("```")[2]
    yield fenced.removeprefix("json").rpartition("```")[0]
    starts = [match.start() for match in islice(re.finditer(r"[{\[]", content), _MOST_STARTS)]
    for start in starts:
        try:
            orjson.loads(content[start:])
        except orjson.JSONDecodeError as error:
            if error.msg.startswith(_MORE_FOLLOWS):
                yield content[start : start + error.pos]
    yield content[starts[0] :] if starts else content


def _remove_thinking(content: str) -> str:
    """The content behind its thinking; a thought without an end has nothing behind it.

    JSON may hold the words `</think>` itself, so what is JSON as it stands is left as it is.
    """
    if content[:1] in "{[":
        return content
    before, end, after = content.rpartition("</think>")
    return (after if end else before + after.partition("<think>")[0]).strip()


def _classify_errors(answer: str, details: list[ErrorDetails]) -> Outcome:
    kinds = {each["type"] for each in details}
    if kinds == {"json_invalid"}:  # nested deeper than pydantic follows
        return "not_json"
    # A document that is no object at all has one error and no field to name.
    return "refused" if kinds <= _VALUE_ERRORS and answer.startswith("{") else "off_schema"


def _format_errors(details: list[ErrorDetails]) -> str:
    lines = [f"{_format_location(each)}: {each['msg']}"[:_MOST_CHARS] for each in details[:_MOST_ERRORS]]
    more = f" (and {len(details) - _MOST_ERRORS} more)" if len(details) > _MOST_ERRORS else ""
    return "; ".join(lines) + more


def _format_location(detail: ErrorDetails) -> str:
    return ".".join(str(part)[:_MOST_NAME_CHARS] for part in detail["loc"][:_MOST_ERRORS]) or "document"
