"""dollars.py: the threshold and the choice of the lowest costs, with reviews and undetected wrong rows."""

import random
from dataclasses import replace

import pytest
from support.labelled import draw_documents, score_by_token

from extractors.core.errors import ConfigurationError
from extractors.report.tuning.review_costs import ReviewPrices
from extractors.run.tune.choices import LabelledReadings
from extractors.run.tune.dollars import (
    PublishedDocument,
    apply_threshold,
    check_prices,
    explain_unpriced,
    find_cheapest,
    iter_thresholds,
)
from extractors.run.tune.recommendation import recommend

PRICES = ReviewPrices(0.5, 20.0)


def publish_documents(*documents):
    """Documents by confidence and whether they are wrong, the surest first, whose calls cost a cent each."""
    return [PublishedDocument(confidence, wrong, 0.01, place) for place, (confidence, wrong) in enumerate(documents)]


def test_least_sure_document_is_reviewed_when_it_is_wrong():
    """The 40 surest documents are published without a review."""
    cost = find_cheapest(publish_documents(*((0.9, False),) * 40, (0.2, True)), PRICES)
    assert (cost.reviewed, cost.slipped, cost.review_below) == (1, 0, 0.9)
    assert cost.total_usd == pytest.approx(41 * 0.01 + 0.5 + 20 * 40 * 0.5 / 41)


def test_every_document_is_reviewed_where_a_wrong_row_costs_more_than_all_reviews():
    cost = find_cheapest(publish_documents((0.9, True), (0.8, False)), PRICES)
    assert (cost.reviewed, cost.review_below, cost.usd_a_document) == (2, None, pytest.approx(0.51))


def test_documents_without_a_confidence_are_always_reviewed():
    """A failed document has none."""
    cost = find_cheapest(publish_documents((0.9, False), (-1.0, False)), ReviewPrices(0.5, 0.01))
    assert (cost.reviewed, cost.review_below) == (1, 0.9)


def test_cheapest_threshold_equals_that_of_a_search_through_all():
    """The documents are random, with ties of confidence; the counts are those of applying the threshold."""
    dice = random.Random(5)
    for _ in range(200):
        documents = [
            (dice.choice((-1.0, 0.2, 0.4, 0.6, 0.8, 0.9)), dice.random() < 0.2) for _ in range(dice.randint(1, 30))
        ]
        published = publish_documents(*sorted(documents, reverse=True))
        cheapest = find_cheapest(published, PRICES)
        assert cheapest.total_usd == pytest.approx(min(cost.total_usd for cost in iter_thresholds(published, PRICES)))
        applied = apply_threshold(published, PRICES, cheapest.review_below)
        assert (applied.reviewed, applied.slipped) == (cheapest.reviewed, cheapest.slipped)


@pytest.mark.parametrize(
    ("prices", "reviewed", "rungs"),
    [
        (ReviewPrices(1000.0, 0.001), 0, {0}),  # expensive reviews: the cheapest rung, with its errors
        (ReviewPrices(0.0001, 1000.0), 60, {0}),  # cheap reviews: the cheapest rung, and all documents are reviewed
        (
            ReviewPrices(30.0, 1000.0),
            0,
            {0, 2},
        ),  # both expensive: unsure documents climb to the whole image, which has no errors
    ],
)
def test_recommended_choice_has_the_lowest_costs_at_these_prices(prices, reviewed, rungs):
    """Calls cost 1, 2 and 3 dollars by rung, and wrong values have a low confidence."""
    recommendation = recommend(draw_documents(60, errors=(0.3, 0.2, 0)), score_by_token, prices=prices)
    dollars = recommendation.dollars
    assert (dollars.chosen.reviewed, set(recommendation.fitted.stopped_at)) == (reviewed, rungs)
    assert dollars.chosen.total_usd == min(cost.total_usd for cost in dollars.by_choice)
    assert (dollars.chosen.documents, dollars.expected.documents) == (60, 60)
    assert dollars.chosen in dollars.curve


def test_recommendation_without_prices_has_no_dollars():
    assert recommend(draw_documents(20, errors=(0, 0)), score_by_token).dollars is None


def test_doubtful_labels_are_left_out_of_the_dollars():
    """They have more errors than the documents of the source."""
    documents = draw_documents(30, errors=(0.3, 0))
    doubtful = [
        LabelledReadings(document.document, tuple(replace(reading, draw="doubtful") for reading in document.readings))
        for document in documents[:10]
    ]
    dollars = recommend([*doubtful, *documents[10:]], score_by_token, prices=PRICES).dollars
    assert (dollars.chosen.documents, dollars.expected.documents) == (20, 20)
    assert "no label was drawn at random" in explain_unpriced(doubtful[0].readings)
    assert "cost of 1 readings is unknown" in explain_unpriced([replace(documents[-1].readings[0], cost_usd=None)])
    assert explain_unpriced(documents[-1].readings) == ""


@pytest.mark.parametrize(
    ("review", "error", "words"),
    [
        (0.5, None, "--error-cost is missing"),
        (None, 20, "--review-cost is missing"),
        (0, 20, "--review-cost 0"),
        (0.5, -1, "--error-cost -1"),
        (0.5, float("inf"), "--error-cost inf"),
        (float("nan"), 1, "--review-cost nan"),
    ],
)
def test_missing_or_invalid_prices_are_refused(review, error, words):
    with pytest.raises(ConfigurationError, match=words):
        check_prices(review, error)
