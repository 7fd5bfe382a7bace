"""The tokens of a reply and their log probabilities as JSON text, for the ledger."""

from __future__ import annotations

import orjson

from extractors.core.calls import TokenLogprobs


def dump_logprobs(logprobs: TokenLogprobs | None) -> dict[str, str | None]:
    """The two columns of a call."""
    if logprobs is None:
        return {"tokens": None, "token_logprobs": None}
    return {
        "tokens": orjson.dumps(logprobs.tokens).decode(),
        "token_logprobs": orjson.dumps(logprobs.logprobs).decode(),
    }


def load_logprobs(tokens: object, token_logprobs: object) -> TokenLogprobs | None:
    """What the two columns hold; None where a call has no tokens."""
    if not isinstance(tokens, str) or not isinstance(token_logprobs, str):
        return None
    return TokenLogprobs(tuple(orjson.loads(tokens)), tuple(orjson.loads(token_logprobs)))
