"""memory.py: what was seen of an endpoint is read back exactly, and only by who asks the same of it."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from support.runs import vary

from extractors.core.money import Means, Price
from extractors.record.ledger.memory import REFUSAL_DAYS, Calibration

OTHERS = [{"model": "maker/other"}, {"endpoint": "offline"}]
FOUND = Calibration(
    "table",
    explains=True,
    text_bytes=3000,
    text_tokens=700,
    model_returned="maker/model-2",
    measured_at=datetime(2026, 11, 1, tzinfo=UTC),
)


@pytest.fixture
def publish(ledger, ledger_writer, make, terms):
    """Publishes a run with answers of so many tokens in so many seconds."""

    def publish(*answers, run=terms.run, left=()):
        ledger.runs.begin(vary(terms, run=run))
        noting = ledger_writer(run)
        for tokens, seconds, changes in answers:
            usage = replace(make.reply().usage, completion=tokens)
            noting.settle(noting.reserve(), reply=make.reply(usage=usage), seconds=seconds, **changes)
        ledger.runs.mark_volume_published(run, 1, left)
        ledger.runs.finish(run)

    return publish


def test_there_are_no_means_before_the_first_answer(ledger, terms):
    assert ledger.memory.means(terms) == Means(None, None)


def test_the_means_are_those_of_accepted_answers(ledger, publish, terms):
    """Output tokens and seconds are averaged over answers that were accepted, of all published runs."""
    publish((40, 1.0, {}), (9000, 90.0, {"outcome": "refused"}))
    publish((61, 2.0, {}), run="later")
    assert ledger.memory.means(terms) == Means(50, 1.5)


def test_an_answer_is_counted_once(ledger, publish, terms):
    """An answer that waits for the next run counts with the run that paid for it, and never again."""
    publish((40, 1.0, {}), left={"/in/a.jpg"})
    publish(run="later")
    assert ledger.memory.means(terms) == Means(40, 1.0)


def test_an_answer_without_a_count_says_nothing(ledger, ledger_writer, make, terms):
    ledger.runs.begin(terms)
    noting = ledger_writer()
    noting.settle(noting.reserve(), reply=make.reply(usage=None), cost_usd=None)
    ledger.runs.mark_volume_published(terms.run, 1, ())
    assert ledger.memory.means(terms) == Means(None, None)


@pytest.mark.parametrize("other", [*OTHERS, {"schema": "caption"}])
def test_means_of_something_else_are_unknown(ledger, publish, terms, other):
    """Another schema, model or endpoint says nothing about this one."""
    publish((40, 1.0, {}))
    assert ledger.memory.means(vary(terms, **other)) == Means(None, None)


def test_a_rate_is_the_one_seen_last(ledger, terms):
    assert ledger.memory.rate(terms) is None
    ledger.memory.keep_rate(terms, 20.0)
    ledger.memory.keep_rate(terms, 17.25)
    assert ledger.memory.rate(terms) == 17.25
    assert [ledger.memory.rate(vary(terms, **other)) for other in OTHERS] == [None, None]


def test_a_text_is_counted_as_it_was_last(ledger, terms):
    """By the hash of the prompt: another prompt has a count of its own."""
    assert ledger.memory.text_tokens(terms) is None
    ledger.memory.keep_text_tokens(terms, 90)
    ledger.memory.keep_text_tokens(terms, 97)
    assert ledger.memory.text_tokens(terms) == 97
    assert ledger.memory.text_tokens(vary(terms, prompt_hash="other")) is None


def test_a_calibration_is_the_last_one(ledger, terms):
    """With all that the probes have shown."""
    assert ledger.memory.calibration(terms.endpoint, terms.model) is None
    ledger.memory.keep_calibration(terms.fingerprint, terms.run, replace(FOUND, rule="formula"))
    ledger.memory.keep_calibration(terms.fingerprint, terms.run, FOUND)
    assert ledger.memory.calibration(terms.endpoint, terms.model) == FOUND
    assert ledger.memory.calibration(terms.endpoint, "maker/other") is None


def test_a_calibration_knows_what_text_is_counted():
    assert FOUND.estimate_text_tokens(300) == 70


def test_the_names_that_a_model_answered_by_are_the_last_runs(ledger, terms):
    assert ledger.memory.returned_models(terms) == frozenset()
    ledger.memory.keep_returned_models(terms, {"old", "new"})
    ledger.memory.keep_returned_models(terms, ["new"])
    assert ledger.memory.returned_models(terms) == {"new"}
    assert ledger.memory.returned_models(vary(terms, **OTHERS[0])) == frozenset()


def test_a_model_may_answer_without_a_name(ledger, terms):
    """A server that names none leaves none behind."""
    ledger.memory.keep_returned_models(terms, ["old"])
    ledger.memory.keep_returned_models(terms, [])
    assert ledger.memory.returned_models(terms) == frozenset()


def test_tuning_is_the_last_one_of_its_schema(ledger, terms):
    """Of this endpoint and model; as the text that was stored."""
    assert ledger.memory.tuning(terms.fingerprint) is None
    for body in ('{"ladder": [1601]}', '{"ladder": [6404]}'):
        ledger.memory.keep_tuning(terms.fingerprint, terms.run, body)
    assert ledger.memory.tuning(terms.fingerprint) == '{"ladder": [6404]}'
    others = [vary(terms, **other).fingerprint for other in (*OTHERS, {"schema": "caption"})]
    assert [ledger.memory.tuning(other) for other in others] == [None, None, None]


def test_refusal_of_log_probabilities_is_remembered_for_a_while(ledger, sql, terms):
    """By endpoint and model, for every schema; then the server may have learned it."""
    ledger.memory.keep_logprob_refusal(terms.fingerprint, "logprobs is not supported")
    assert ledger.memory.logprob_refusal(vary(terms, schema="caption").fingerprint) == "logprobs is not supported"
    assert [ledger.memory.logprob_refusal(vary(terms, **other).fingerprint) for other in OTHERS] == [None, None]
    seen = datetime.now(UTC) - timedelta(days=REFUSAL_DAYS, minutes=1)
    sql("update logprob_refusals set seen_at = :at", at=seen.isoformat())
    assert ledger.memory.logprob_refusal(terms.fingerprint) is None


def test_prices_are_kept_with_the_day(ledger):
    """The server's prices are read back to the digit, with the day on which they were seen."""
    price = Price(Decimal("0.17"), Decimal("0.25"), Decimal("0.0600"))
    before = datetime.now(UTC).date()
    ledger.memory.keep_prices("https://api.example/v1", {"maker/model": price})
    kept = ledger.memory.prices("https://api.example/v1")["maker/model"]
    assert replace(kept, as_of=None) == price
    assert before <= kept.as_of <= datetime.now(UTC).date()
    assert isinstance(kept.as_of, date)


def test_a_price_without_a_cached_one_stays_without(ledger):
    """A cached price that the server does not name is not made up."""
    ledger.memory.keep_prices("here", {"maker/model": Price(Decimal(1), Decimal(2))})
    assert ledger.memory.prices("here")["maker/model"].cached is None


def test_prices_are_those_seen_last(ledger):
    """A model that the server lists no more has no price, and another endpoint's list is untouched."""
    ledger.memory.keep_prices("here", {"old": Price(Decimal(1), Decimal(2))})
    ledger.memory.keep_prices("there", {"other": Price(Decimal(3), Decimal(4))})
    ledger.memory.keep_prices("here", {"new": Price(Decimal(5), Decimal(6))})
    assert set(ledger.memory.prices("here")) == {"new"}
    assert set(ledger.memory.prices("there")) == {"other"}


def test_an_endpoint_that_lists_nothing_has_no_prices(ledger):
    """A server that stopped listing prices leaves none behind."""
    ledger.memory.keep_prices("here", {"old": Price(Decimal(1), Decimal(2))})
    ledger.memory.keep_prices("here", {})
    assert ledger.memory.prices("here") == {}
