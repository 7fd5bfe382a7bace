"""logprobs_json.py: the tokens of a reply are loaded as they were dumped."""

from extractors.record.logprobs_json import dump_logprobs, load_logprobs


def test_load_logprobs_returns_the_dumped_tokens(make):
    """Unknown logarithms and NUL, which PostgreSQL refuses in text, are preserved; a call without tokens has nulls."""
    stored = dump_logprobs(make.logprobs())
    assert "\0" not in stored["tokens"]
    assert load_logprobs(stored["tokens"], stored["token_logprobs"]) == make.logprobs()
    assert load_logprobs(**dump_logprobs(None)) is None
