"""choices.py: what a ladder with a threshold publishes, and what that costs."""

from dataclasses import replace
from decimal import Decimal

import pytest
from support.labelled import FIELDS, draw_documents, reading, score_by_token

from extractors.run.tune.choices import (
    Choice,
    LabelledReadings,
    find_front,
    group_readings,
    list_choices,
    list_thresholds,
    publish,
    summarize,
)


def follow(choice, *readings, agree_on=()):
    return publish(choice, LabelledReadings("a.jpg", readings), score_by_token, agree_on)


UNSURE, SURER, SURE = (reading(rung=rung, confidence=confidence) for rung, confidence in enumerate((0.4, 0.6, 0.9)))
REFUSED = reading(accepted=False)


def test_single_rung_publishes_its_reading():
    published = follow(Choice((1,)), UNSURE, SURER, SURE)
    assert (published.reading, published.image_tokens, published.confidence) == (SURER, 3200, 0.6)


def test_plain_cascade_climbs_on_a_refusal_only():
    assert follow(Choice((0, 2)), UNSURE, SURER, SURE).reading is UNSURE
    climbed = follow(Choice((0, 2)), REFUSED, SURER, SURE)
    assert (climbed.reading, climbed.image_tokens, climbed.cost_usd) == (SURE, 1600 + 6400, Decimal(4))


def test_confident_cascade_climbs_below_its_threshold_and_not_at_it():
    assert follow(Choice((0, 1, 2), 0.6), UNSURE, SURER, SURE).reading is SURER
    assert follow(Choice((0, 1, 2), 0.61), UNSURE, SURER, SURE).reading is SURE


def test_surest_accepted_answer_is_published_at_the_top():
    top = replace(SURE, evidence=UNSURE.evidence)
    published = follow(Choice((0, 1, 2), 0.95), UNSURE, SURER, top)
    assert (published.reading, published.image_tokens) == (SURER, 1600 + 3200 + 6400)
    unknown = reading(rung=2)
    assert follow(Choice((0, 2), 0.95), UNSURE, SURER, unknown).reading is unknown


def test_unknown_confidence_never_climbs():
    unknown = reading()
    assert follow(Choice((0, 2), 0.99), unknown, SURER, SURE).reading is unknown


def test_refused_answer_above_an_accepted_one_leaves_the_accepted_one():
    refused = reading(rung=2, accepted=False)
    published = follow(Choice((0, 2), 0.99), UNSURE, SURER, refused)
    assert (published.reading, published.image_tokens) == (UNSURE, 8000)


def test_refused_answer_on_a_ladder_below_the_whole_image_is_followed_by_the_whole_image():
    """A run does the same."""
    published = follow(Choice((0,)), REFUSED, SURER, SURE)
    assert (published.reading, published.image_tokens, published.confidence) == (SURE, 1600 + 6400, 0.9)


def test_answer_that_does_not_fit_the_schema_ends_the_document():
    """A run asks again, and climbs only when a value is refused."""
    failed = replace(reading(accepted=False), climbs=False)
    published = follow(Choice((0, 2)), failed, SURER, SURE)
    assert (published.reading, published.confidence, published.image_tokens) == (failed, None, 1600)
    above = replace(reading(rung=1, accepted=False), climbs=False)
    published = follow(Choice((0, 1, 2), 0.99), UNSURE, above, SURE)
    assert (published.reading, published.image_tokens) == (UNSURE, 1600 + 3200)


def test_document_without_an_accepted_answer_has_its_last_reading_and_all_its_tokens():
    refused = reading(rung=2, accepted=False)
    published = follow(Choice((0, 2)), REFUSED, SURER, refused)
    assert (published.reading, published.confidence, published.image_tokens) == (refused, None, 8000)


def test_rung_that_sends_the_same_pictures_is_paid_once():
    same_pictures = replace(UNSURE, rung=1)
    published = follow(Choice((0, 1, 2), 0.5), UNSURE, same_pictures, SURE)
    assert (published.reading, published.image_tokens) == (SURE, 8000)
    assert follow(Choice((0, 1), 0.5), UNSURE, same_pictures, SURE).image_tokens == 1600


def test_answer_that_agrees_with_an_earlier_one_is_sure():
    lower, middle, upper = (reading(rung=rung, right=FIELDS, confidence=0.3) for rung in range(3))
    choice = Choice((0, 1, 2), 0.99, agree=True)
    assert follow(choice, lower, middle, upper, agree_on=["total"]).reading is middle
    assert follow(choice, lower, middle, upper).reading is upper
    other = reading(rung=1, confidence=0.3)
    assert follow(choice, lower, other, upper, agree_on=["total"]).reading is upper
    assert follow(replace(choice, agree=False), lower, middle, upper, agree_on=["total"]).image_tokens == 11200


def test_rung_that_sends_the_same_pictures_agrees_with_nothing():
    same_pictures = replace(UNSURE, rung=1)
    published = follow(Choice((0, 1, 2), 0.5, agree=True), UNSURE, same_pictures, SURE, agree_on=["total"])
    assert published.reading is SURE


def test_score_gets_the_answer_from_which_the_document_climbed():
    rungs = []

    def score(answer, lower):
        rungs.append((answer.rung, lower and lower.rung))
        return {"total": 0.1}

    publish(Choice((0, 1, 2), 0.5), LabelledReadings("a.jpg", (REFUSED, SURER, SURE)), score)
    assert rungs == [(1, None), (2, 1)]


def test_summary_counts_documents_fields_and_tokens_against_faithful():
    right, wrong = reading(right=FIELDS), reading("b.jpg", right=["date"])
    documents = [
        LabelledReadings(lower.document, (lower, reading(lower.document, 1, right=FIELDS))) for lower in (right, wrong)
    ]
    result = summarize(
        Choice((0,)), [publish(Choice((0,)), document, score_by_token) for document in documents], documents
    )
    assert (result.documents, result.documents_right, result.image_tokens_share, result.cost_usd) == (2, 1, 0.5, 2)
    assert {name: (accuracy.right, accuracy.labels) for name, accuracy in result.accuracy.items()} == {
        "company": (1, 2),
        "date": (2, 2),
        "total": (1, 2),
    }
    assert result.accuracy_mean == pytest.approx(2 / 3)
    assert result.mean_interval.low < 2 / 3 < result.mean_interval.high
    assert result.stopped_at == {0: 2}


def test_unknown_price_makes_the_cost_unknown():
    documents = [LabelledReadings("a.jpg", (replace(SURE, rung=0, cost_usd=None),))]
    result = summarize(Choice((0,)), [publish(Choice((0,)), documents[0], score_by_token)], documents)
    assert result.cost_usd is None


def test_list_choices_has_all_ladders_plain_confident_and_with_agreement():
    documents = draw_documents(12, errors=(0.3, 0.1, 0))
    choices = list_choices(documents, score_by_token, ["total"])
    assert {(choice.ladder, choice.kind) for choice in choices} == {
        *[((rung,), "single") for rung in range(3)],
        *[(ladder, kind) for ladder in ((0, 1), (0, 2), (1, 2), (0, 1, 2)) for kind in ("plain", "confident", "agree")],
    }
    assert not any(choice.agree for choice in list_choices(documents, score_by_token))


def test_thresholds_lie_between_neighbouring_confidences():
    documents = draw_documents(100, errors=(0.3, 0))
    thresholds = list_thresholds(documents, score_by_token, most=9)
    below = [
        sum(document.readings[0].evidence[0].confidence < threshold for document in documents)
        for threshold in thresholds
    ]
    assert below == sorted(set(below))
    assert below[0] == 1
    assert len(below) == 9
    assert list_thresholds(draw_documents(1, errors=(0, 0)), score_by_token) == []


def test_front_has_the_choices_that_no_other_beats():
    documents = draw_documents(60, errors=(0.4, 0.2, 0))
    results = [
        summarize(choice, [publish(choice, document, score_by_token) for document in documents], documents)
        for choice in list_choices(documents, score_by_token)
    ]
    front = find_front(results)
    assert [result.image_tokens for result in front] == sorted({result.image_tokens for result in front})
    assert [result.accuracy_mean for result in front] == sorted({result.accuracy_mean for result in front})
    assert all(
        any(
            result.image_tokens <= candidate.image_tokens and result.accuracy_mean >= candidate.accuracy_mean
            for result in front
        )
        for candidate in results
    )
    assert "confident" in {result.choice.kind for result in front}


@pytest.mark.parametrize("rungs", [(1,), (0, 2)])
def test_document_without_a_rung_is_refused(rungs):
    with pytest.raises(ValueError, match="at every rung"):
        group_readings([*[reading("a.jpg", rung) for rung in range(3)], *[reading("b.jpg", rung) for rung in rungs]])


def test_readings_are_grouped_by_document_and_sorted_by_rung():
    grouped = group_readings([reading("b.jpg", 1), reading("a.jpg", 0), reading("b.jpg", 0), reading("a.jpg", 1)])
    assert [(document.document, [answer.rung for answer in document.readings]) for document in grouped] == [
        ("b.jpg", [0, 1]),
        ("a.jpg", [0, 1]),
    ]
