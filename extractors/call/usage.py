"""Reads the token counts of a reply. Servers put the details in different places; an invalid field is ignored, the others are read.

| reasoning | counted |
|---|---|
| inside `completion_tokens` | as it is |
| beside it: the total says so, or there is more reasoning than completion | added to the completion, which is what it costs |
"""

from __future__ import annotations

from extractors.core.money import Usage

_LIMIT = 2**40  # tokens: more is no count
_MOST_BESIDE = 1_000_000  # tokens that only the total tells of; more is an odd total


def read_usage(part: dict[str, object]) -> Usage | None:
    """The usage of a body, an event or a choice; None where it is missing or makes no sense: the bill is unknown."""
    usage = part.get("usage")
    groq = part.get("x_groq")
    if usage is None and isinstance(groq, dict):
        usage = groq.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt = _count(usage.get("prompt_tokens"))
    total = _count(usage.get("total_tokens"))
    completion = _count(usage.get("completion_tokens", None if total is None else total - (prompt or 0)))
    if not prompt or completion is None:  # no request is without a prompt: zeros stand for what was not counted
        return None
    reasoning = _find(usage, ("completion_tokens_details", "output_tokens_details"), ("reasoning_tokens",))
    beside = _count_beside(usage, prompt, completion, reasoning)
    cached = _find(
        usage, ("prompt_tokens_details", "input_tokens_details"), ("cached_tokens", "prompt_cache_hit_tokens")
    )
    return Usage(prompt, completion + beside, cached, max(reasoning, beside))


def _count_beside(usage: dict[str, object], prompt: int, completion: int, reasoning: int) -> int:
    """The output tokens that are not part of `completion_tokens`."""
    if reasoning > completion:
        return reasoning
    more = (_count(usage.get("total_tokens")) or 0) - prompt - completion
    return more if more == reasoning or (reasoning == 0 and 0 < more < _MOST_BESIDE) else 0


def _find(usage: dict[str, object], details: tuple[str, ...], names: tuple[str, ...]) -> int:
    """The first of these counts that makes sense, in the usage or in its details; 0 without one."""
    places = [usage, *(each for name in details if isinstance(each := usage.get(name), dict))]
    counts = [count for place in places for name in names if (count := _count(place.get(name)))]
    return counts[0] if counts else 0


def _count(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():  # as gateways write numbers whose language has no integers
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LIMIT:
        return value
    return None
