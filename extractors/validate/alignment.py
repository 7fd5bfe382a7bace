"""Aligns the tokens of a reply with the fields of its document: which tokens wrote which value, and how probable they were.

A value's tokens are those that overlap it: the characters between the quotes of a text; a number, a literal; of a list or
an object those that are more than punctuation. A token that joins a quote, a colon or a comma to the value counts. What
cannot be told is None: where the model reasoned first, the probabilities say how sure it was of its reasoning.
"""

from __future__ import annotations

from math import exp, expm1
from typing import TYPE_CHECKING

from extractors.core import Evidence, FieldEvidence
from extractors.validate import validate

if TYPE_CHECKING:
    from pydantic import BaseModel

    from extractors.core import Reply
    from extractors.validate.spans import Span
    from extractors.validate.token_text import Located

    Logprobs = tuple[float | None, ...]

_PUNCTUATION = b'{}[],:" \t\r\n'
_BRACKETS = (b"{", b"[")


def align(reply: Reply, model: type[BaseModel], candidate: str | None = None) -> Evidence | None:
    """The evidence for each field of an accepted reply; None where the tokens cannot be laid over its document.

    `candidate` is the verdict's, where it is known. The confidence is the least probability of a token of the value.
    """
    if reply.logprobs is None or (reply.usage and reply.usage.reasoning) or (reply.reasoning or "").strip():
        return None
    from extractors.validate.marks import has_reasoning  # noqa: PLC0415 - only a run with log probabilities needs it
    from extractors.validate.spans import find_values  # noqa: PLC0415 - as above
    from extractors.validate.token_text import locate  # noqa: PLC0415 - as above

    text = validate(reply, model).candidate if candidate is None else candidate
    located = locate(reply.logprobs.tokens, text, model) if text else None
    if located is None or has_reasoning(located.read_before(reply.logprobs.tokens)):
        return None
    if has_reasoning(_read_before(reply.content or "", text)):
        return None
    logprobs = located.tokens.select(reply.logprobs.logprobs)
    spans = find_values(located.candidate, model)
    return Evidence(tuple(_weigh(name, span, located, logprobs) for name, span in spans.items()))


def _read_before(content: str, candidate: str) -> str:
    """The content before the candidate: servers leave marks in it that are special tokens, and so not among the tokens."""
    start = content.find(candidate)
    return content if start < 0 else content[:start]


def _weigh(name: str, span: Span | None, located: Located, logprobs: Logprobs) -> FieldEvidence:
    """The evidence for the value at this span."""
    if span is None:
        return FieldEvidence(name)
    overlapping, value = _select(span, located, logprobs)
    not_null = _weigh_null(overlapping, is_null=located.candidate[span.start : span.end] == b"null")
    known = [logprob for logprob in value if logprob is not None]
    if not known or len(known) < len(value):
        return FieldEvidence(name, length=len(value), not_null=not_null)
    least, total = min(known), sum(known)
    return FieldEvidence(name, least, total / len(known), known[0], total, len(known), not_null, min(exp(least), 1.0))


def _select(span: Span, located: Located, logprobs: Logprobs) -> tuple[Logprobs, Logprobs]:
    """The log probabilities of all tokens that overlap a value, and of those that wrote it."""
    layout, kind = located.tokens, located.candidate[span.start : span.start + 1]
    start = located.start + layout.measure(located.candidate, span.start)
    end = located.start + layout.measure(located.candidate, span.end)
    first, behind = layout.overlap(start, end)
    overlapping = logprobs[first:behind]
    if kind == b'"':
        first, behind = layout.overlap(start + 1, end - 1)
        return overlapping, logprobs[first:behind] or overlapping
    if kind in _BRACKETS:
        parts = [*layout.pieces[first:behind]]
        parts[-1] = parts[-1][: end - layout.starts[behind - 1]]  # the first and the last token may reach beyond it
        parts[0] = parts[0][max(start - layout.starts[first], 0) :]
        content = zip(overlapping, parts, strict=True)
        return overlapping, tuple([each for each, part in content if part.strip(_PUNCTUATION)]) or overlapping
    return overlapping, overlapping


def _weigh_null(overlapping: Logprobs, *, is_null: bool) -> float | None:
    """The probability of a value other than null: of the token in which it begins, for a null what its tokens leave."""
    chosen = overlapping if is_null else overlapping[:1]
    known = [logprob for logprob in chosen if logprob is not None]
    if not known or len(known) < len(chosen):
        return None
    total = min(sum(known), 0.0)
    return -expm1(total) if is_null else exp(total)
