"""memory.py: measurements of an endpoint are read back exactly, for the same endpoint, model, schema or prompt only."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from support.runs import vary

from extractors.core.money import Means, Price
from extractors.record.ledger.memory import REFUSAL_DAYS, Calibration

OTHERS = [{"model": "maker/other"}, {"endpoint": "offline"}]
CALIBRATION = Calibration(
    "table",
    explains=True,
    text_bytes=3000,
    text_tokens=700,
    model_returned="maker/model-2",
    measured_at=datetime(2026, 11, 1, tzinfo=UTC),
)


@pytest.fixture
def publish_run(ledger, ledger_writer, make, terms):
    """Returns a function that publishes a run with answers of given token counts and durations."""

    def publish(*answers, run=terms.run, unpublished=()):
        ledger.runs.begin(vary(terms, run=run))
        calls = ledger_writer(run)
        for tokens, seconds, changes in answers:
            usage = replace(make.reply().usage, completion=tokens)
            calls.settle(calls.reserve(), reply=make.reply(usage=usage), seconds=seconds, **changes)
        ledger.runs.mark_volume_published(run, 1, unpublished)
        ledger.runs.finish(run)

    return publish


def test_means_are_unknown_before_the_first_answer(ledger, terms):
    assert ledger.memory.means(terms) == Means(None, None)


def test_means_are_averages_over_accepted_answers(ledger, publish_run, terms):
    """Output tokens and seconds are averaged over all published runs."""
    publish_run((40, 1.0, {}), (9000, 90.0, {"outcome": "refused"}))
    publish_run((61, 2.0, {}), run="later")
    assert ledger.memory.means(terms) == Means(50, 1.5)


def test_means_count_an_orphaned_answer_once(ledger, publish_run, terms):
    """An answer whose document was not published counts for the run that paid for it, not for the next one."""
    publish_run((40, 1.0, {}), unpublished={"/in/a.jpg"})
    publish_run(run="later")
    assert ledger.memory.means(terms) == Means(40, 1.0)


def test_means_ignore_answers_without_usage(ledger, ledger_writer, make, terms):
    ledger.runs.begin(terms)
    calls = ledger_writer()
    calls.settle(calls.reserve(), reply=make.reply(usage=None), cost_usd=None)
    ledger.runs.mark_volume_published(terms.run, 1, ())
    assert ledger.memory.means(terms) == Means(None, None)


@pytest.mark.parametrize("other", [*OTHERS, {"schema": "caption"}])
def test_means_are_separate_per_schema_model_and_endpoint(ledger, publish_run, terms, other):
    publish_run((40, 1.0, {}))
    assert ledger.memory.means(vary(terms, **other)) == Means(None, None)


def test_rate_returns_the_last_one_stored(ledger, terms):
    assert ledger.memory.rate(terms) is None
    ledger.memory.keep_rate(terms, 20.0)
    ledger.memory.keep_rate(terms, 17.25)
    assert ledger.memory.rate(terms) == 17.25
    assert [ledger.memory.rate(vary(terms, **other)) for other in OTHERS] == [None, None]


def test_text_tokens_returns_the_last_count_of_a_prompt(ledger, terms):
    assert ledger.memory.text_tokens(terms) is None
    ledger.memory.keep_text_tokens(terms, 90)
    ledger.memory.keep_text_tokens(terms, 97)
    assert ledger.memory.text_tokens(terms) == 97
    assert ledger.memory.text_tokens(vary(terms, prompt_hash="other")) is None


def test_calibration_returns_the_last_one_of_the_model(ledger, terms):
    assert ledger.memory.calibration(terms.endpoint, terms.model) is None
    ledger.memory.keep_calibration(terms.fingerprint, terms.run, replace(CALIBRATION, rule="formula"))
    ledger.memory.keep_calibration(terms.fingerprint, terms.run, CALIBRATION)
    assert ledger.memory.calibration(terms.endpoint, terms.model) == CALIBRATION
    assert ledger.memory.calibration(terms.endpoint, "maker/other") is None


def test_calibration_estimates_text_tokens_from_bytes():
    assert CALIBRATION.estimate_text_tokens(300) == 70


def test_returned_models_are_those_stored_last(ledger, terms):
    assert ledger.memory.returned_models(terms) == frozenset()
    ledger.memory.keep_returned_models(terms, {"old", "new"})
    ledger.memory.keep_returned_models(terms, ["new"])
    assert ledger.memory.returned_models(terms) == {"new"}
    assert ledger.memory.returned_models(vary(terms, **OTHERS[0])) == frozenset()


def test_returned_models_may_be_none(ledger, terms):
    """Storing no names removes the earlier ones."""
    ledger.memory.keep_returned_models(terms, ["old"])
    ledger.memory.keep_returned_models(terms, [])
    assert ledger.memory.returned_models(terms) == frozenset()


def test_tuning_returns_the_last_text_of_endpoint_model_and_schema(ledger, terms):
    assert ledger.memory.tuning(terms.fingerprint) is None
    for body in ('{"ladder": [1601]}', '{"ladder": [6404]}'):
        ledger.memory.keep_tuning(terms.fingerprint, terms.run, body)
    assert ledger.memory.tuning(terms.fingerprint) == '{"ladder": [6404]}'
    others = [vary(terms, **other).fingerprint for other in (*OTHERS, {"schema": "caption"})]
    assert [ledger.memory.tuning(other) for other in others] == [None, None, None]


def test_logprob_refusal_expires_after_refusal_days(ledger, sql, terms):
    """Until then it applies to all schemas of the same endpoint and model."""
    ledger.memory.keep_logprob_refusal(terms.fingerprint, "logprobs is not supported")
    assert ledger.memory.logprob_refusal(vary(terms, schema="caption").fingerprint) == "logprobs is not supported"
    assert [ledger.memory.logprob_refusal(vary(terms, **other).fingerprint) for other in OTHERS] == [None, None]
    seen_at = datetime.now(UTC) - timedelta(days=REFUSAL_DAYS, minutes=1)
    sql("update logprob_refusals set seen_at = :at", at=seen_at.isoformat())
    assert ledger.memory.logprob_refusal(terms.fingerprint) is None


def test_prices_are_stored_exactly_and_with_the_day(ledger):
    price = Price(Decimal("0.17"), Decimal("0.25"), Decimal("0.0600"))
    before = datetime.now(UTC).date()
    ledger.memory.keep_prices("https://api.example/v1", {"maker/model": price})
    stored = ledger.memory.prices("https://api.example/v1")["maker/model"]
    assert replace(stored, as_of=None) == price
    assert before <= stored.as_of <= datetime.now(UTC).date()
    assert isinstance(stored.as_of, date)


def test_price_without_a_cached_price_stays_without_one(ledger):
    ledger.memory.keep_prices("here", {"maker/model": Price(Decimal(1), Decimal(2))})
    assert ledger.memory.prices("here")["maker/model"].cached is None


def test_prices_returns_the_last_list_of_the_endpoint(ledger):
    """A model that is no longer listed has no price; the lists of other endpoints do not change."""
    ledger.memory.keep_prices("here", {"old": Price(Decimal(1), Decimal(2))})
    ledger.memory.keep_prices("there", {"other": Price(Decimal(3), Decimal(4))})
    ledger.memory.keep_prices("here", {"new": Price(Decimal(5), Decimal(6))})
    assert set(ledger.memory.prices("here")) == {"new"}
    assert set(ledger.memory.prices("there")) == {"other"}


def test_empty_price_list_removes_earlier_prices(ledger):
    ledger.memory.keep_prices("here", {"old": Price(Decimal(1), Decimal(2))})
    ledger.memory.keep_prices("here", {})
    assert ledger.memory.prices("here") == {}
