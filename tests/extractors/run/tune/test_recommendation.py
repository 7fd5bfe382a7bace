"""recommendation.py: the cheapest choice at a small loss, and estimates of its accuracy without optimism."""

from dataclasses import replace

import pytest
from support.labelled import FIELDS, draw_documents, score_by_token

from extractors.run.tune.choices import publish, summarize
from extractors.run.tune.recommendation import Margins, recommend


def test_informative_confidence_saves_tokens_at_a_small_loss():
    recommendation = recommend(draw_documents(60, errors=(0.2, 0.1, 0)), score_by_token)
    assert recommendation.choice.kind == "confident"
    assert recommendation.expected.image_tokens_share < 0.5
    assert recommendation.mean_loss <= 0.03
    assert recommendation.fitted.accuracy_mean >= recommendation.expected.accuracy_mean - 0.02


def test_whole_image_is_recommended_for_an_uninformative_confidence():
    recommendation = recommend(draw_documents(60, errors=(0.5, 0.4, 0), informative=False), score_by_token)
    assert recommendation.fitted.image_tokens_share == 1
    assert recommendation.choice.ladder == (2,)
    assert (set(recommendation.worse.values()), recommendation.mean_loss) == ({0}, 0)


def test_cheapest_rung_is_recommended_where_it_reads_as_well():
    recommendation = recommend(draw_documents(40, errors=(0, 0, 0)), score_by_token)
    assert recommendation.choice.ladder[0] == 0
    assert recommendation.expected.image_tokens_share <= 0.25 * 1.09
    assert recommendation.mean_loss == 0


def test_field_may_be_worse_in_one_document_of_forty_and_not_in_more():
    documents = draw_documents(40, errors=(0, 0))
    worse = [_spoil(document, "company") if place < 2 else document for place, document in enumerate(documents)]
    few = [_spoil(document, "company") if place < 1 else document for place, document in enumerate(documents)]
    lenient = Margins(resamples=0)
    assert recommend(few, _score_nothing, margins=lenient).choice.ladder[0] == 0
    assert recommend(worse, _score_nothing, margins=lenient).choice.ladder == (1,)


def test_mean_may_be_worse_by_two_points_and_not_by_more():
    """One wrong document in each of three fields is 2.5 points in forty documents."""
    documents = draw_documents(40, errors=(0, 0))
    documents_with_errors = [
        _spoil(document, FIELDS[place]) if place < 3 else document for place, document in enumerate(documents)
    ]
    assert recommend(documents_with_errors, _score_nothing, margins=Margins(resamples=0)).choice.ladder == (1,)
    assert (
        recommend(documents_with_errors, _score_nothing, margins=Margins(resamples=0, mean=0.025)).choice.ladder[0] == 0
    )


def test_choice_at_its_margin_is_not_recommended_after_resampling():
    """Many resamples of the documents are beyond the margin."""
    documents = draw_documents(50, errors=(0, 0))
    documents_with_errors = [
        _spoil(document, FIELDS[place]) if place < 3 else document for place, document in enumerate(documents)
    ]
    assert recommend(documents_with_errors, _score_nothing, margins=Margins(resamples=0)).choice.ladder[0] == 0
    assert recommend(documents_with_errors, _score_nothing, margins=Margins(resamples=0.8)).choice.ladder == (1,)


def test_cheapest_of_equally_good_choices_is_recommended():
    fitted = recommend(draw_documents(60, errors=(0, 0, 0)), score_by_token).fitted
    assert fitted.stopped_at == {0: 60}


def test_cross_validated_accuracy_is_at_most_that_of_unseen_documents():
    """The mean difference over three draws is at most one point."""
    gaps = []
    for seed in range(3):
        documents = draw_documents(140, errors=(0.3, 0.1, 0.05), seed=seed)
        documents_fitted, unseen = documents[:40], documents[40:]
        recommendation = recommend(documents_fitted, score_by_token)
        publications = [publish(recommendation.choice, document, score_by_token) for document in unseen]
        actual = summarize(recommendation.choice, publications, unseen)
        gaps.append(recommendation.expected.accuracy_mean - actual.accuracy_mean)
    assert sum(gaps) / len(gaps) <= 0.01


def test_recommendation_is_the_same_for_the_same_documents_in_any_order():
    documents = draw_documents(40, errors=(0.2, 0.1, 0))
    first, second = (recommend(ordering, score_by_token) for ordering in (documents, documents[::-1]))
    assert (first.choice, first.expected.image_tokens) == (second.choice, second.expected.image_tokens)


def test_one_document_is_too_few():
    with pytest.raises(ValueError, match="two documents"):
        recommend(draw_documents(1, errors=(0, 0)), score_by_token)


def _score_nothing(read, lower):
    return {}


def _spoil(document, field):
    """The document with this field wrong at the cheapest rung."""
    lowest = document.readings[0]
    comparisons = tuple(
        replace(comparison, match=replace(comparison.match, right=False)) if comparison.field == field else comparison
        for comparison in lowest.comparisons
    )
    return replace(document, readings=(replace(lowest, comparisons=comparisons), *document.readings[1:]))
