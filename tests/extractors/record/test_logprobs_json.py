"""logprobs_json.py: the tokens of a reply survive the ledger unchanged."""

from extractors.record.logprobs_json import dump_logprobs, load_logprobs


def test_tokens_are_loaded_as_they_were_dumped(make):
    """Unknown logarithms and NUL, which PostgreSQL refuses in text, too; a call without tokens has none."""
    stored = dump_logprobs(make.logprobs())
    assert "\0" not in stored["tokens"]
    assert load_logprobs(stored["tokens"], stored["token_logprobs"]) == make.logprobs()
    assert load_logprobs(**dump_logprobs(None)) is None
