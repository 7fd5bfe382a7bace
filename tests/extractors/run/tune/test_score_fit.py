"""score_fit.py: how many errors fitting a score needs, and its evaluation on documents outside the fit."""

import math
import random
from dataclasses import replace

import pytest
from support.labelled import FIELDS, reading

from extractors.core.evidence import FieldEvidence, Quality
from extractors.run.tune.choices import LabelledReadings
from extractors.run.tune.ranking import measure_auc
from extractors.run.tune.score_fit import (
    ablate_signals,
    count_verdicts,
    fit_score,
    fit_scores,
    list_examples,
    list_scored,
    measure_quality,
    score_reading,
)
from extractors.validate.score import AGREEMENT_SIGNALS, TOKEN_SIGNALS, Score


def draw_document(number, wrong, dice, *, kinds=("text", "text", "text"), spread=1.5):
    """A document read at two rungs; fields in `wrong` are wrong at both, with lower token probabilities and no agreement."""
    readings = []
    for rung in range(2):
        read = reading(f"{number}.jpg", rung, right=[name for name in FIELDS if name not in wrong])
        evidence = tuple(
            FieldEvidence(name, *_draw_logprobs(dice, -2.0 if name in wrong else -0.5, spread)) for name in FIELDS
        )
        comparisons = tuple(
            replace(comparison, kind=kind) for comparison, kind in zip(read.comparisons, kinds, strict=True)
        )
        quality = Quality(sharpness=dice.uniform(10, 20), contrast=dice.uniform(0.2, 0.8))
        readings.append(replace(read, evidence=evidence, comparisons=comparisons, quality=quality))
    return LabelledReadings(f"{number}.jpg", tuple(readings))


def _draw_logprobs(dice, centre, spread):
    """Log probabilities of a value: least, mean and first have independent noise."""
    least, mean, first = (-math.exp(dice.gauss(math.log(-centre), spread)) for _ in range(3))
    return least, mean, first, least * 2, 5, 0.99


def draw_documents(count, errors, seed=5, **options):
    """`errors` of the documents have a wrong company."""
    dice = random.Random(seed)
    return [draw_document(number, ["company"] if number < errors else [], dice, **options) for number in range(count)]


def test_verdicts_are_counted_once_a_field_of_a_document():
    assert count_verdicts(list_examples(draw_documents(20, 7))) == (7, 53)


@pytest.mark.parametrize(("errors", "is_fitted"), [(9, False), (10, True)])
def test_score_is_fitted_from_ten_errors_on(errors, is_fitted):
    score = fit_scores(draw_documents(40, errors)).score
    assert (score.pooled is not None) is is_fitted
    assert score.errors == errors


def test_score_is_not_fitted_from_fewer_than_ten_right_values():
    documents = draw_documents(12, 12)
    company = [
        replace(document, readings=tuple(replace(read, comparisons=read.comparisons[:1]) for read in document.readings))
        for document in documents
    ]
    assert fit_scores(company).score.pooled is None


@pytest.mark.parametrize(("errors", "kinds"), [(29, set()), (30, {"text"})])
def test_kind_has_a_model_of_its_own_from_thirty_errors_on(errors, kinds):
    score = fit_scores(draw_documents(70, errors, kinds=("text", "date", "number"))).score
    assert set(score.by_kind) == kinds
    assert score.kinds == {"company": "text", "date": "date", "total": "number"}


def test_one_kind_is_not_fitted_twice():
    assert fit_scores(draw_documents(70, 35)).score.by_kind == {}


def test_score_of_more_signals_ranks_above_token_probability_alone():
    documents = draw_documents(80, 40, spread=2.0)
    areas = ablate_signals(documents)
    assert areas["all"] > 0.8 > areas["least"]
    assert areas["all"] > areas["all without agreement"]
    assert set(areas) == {
        "least", "tokens", "agreement", "quality", "all", "all without tokens", "all without agreement", "all without quality",
    }  # fmt: skip


def test_score_that_ranks_no_better_than_token_probability_is_discarded():
    """All signals equal the least token probability, so a model of them adds nothing."""
    documents = [_with_one_signal(document) for document in draw_documents(60, 30)]
    assert fit_scores(documents).score == fit_scores(documents).held_out["0.jpg"]
    assert fit_scores(documents).score.pooled is None


def test_score_leaves_out_uninformative_signals():
    """The quality of the pictures is random."""
    fit = fit_scores(draw_documents(60, 30))
    assert fit.score.pooled.signals == (*TOKEN_SIGNALS, *AGREEMENT_SIGNALS)
    assert {score.pooled.signals for score in fit.held_out.values()} == {fit.score.pooled.signals}


def test_ablation_leaves_out_signals_that_were_not_measured():
    assert set(ablate_signals([_with_one_signal(document) for document in draw_documents(60, 30)])) == {
        "least",
        "tokens",
        "all",
        "all without tokens",
    }


def test_ablation_is_empty_with_29_errors():
    assert ablate_signals(draw_documents(60, 29)) == {}


def test_document_is_scored_by_a_score_fitted_without_it():
    """The labels are random, so only a score that was fitted with them ranks them."""
    dice = random.Random(2)
    documents = [draw_document(number, [], dice) for number in range(30)]
    shuffled = [_relabel(document, dice) for document in documents]
    examples = list_examples(shuffled)
    scored = list_scored(shuffled, lambda *pair: score_reading(fit_score(examples), *pair))
    assert measure_auc(scored) > 0.6
    assert ablate_signals(shuffled)["all"] < 0.55


def test_unaccepted_readings_and_same_pictures_are_no_examples():
    document = draw_documents(1, 0)[0]
    lower, upper = document.readings
    refused = LabelledReadings("0.jpg", (replace(lower, accepted=False), upper))
    same_pictures = LabelledReadings("0.jpg", (lower, replace(upper, call=lower.call)))
    assert len(list_examples([refused])) == len(list_examples([same_pictures])) == len(FIELDS)


def test_examples_of_a_value_weigh_one_together():
    examples = list_examples(draw_documents(1, 0))
    assert sum(example.weight for example in examples if example.field == "total") == 2  # one at each rung
    assert {example.signals["agreed"] for example in examples} == {0, 1}


def test_values_without_token_probabilities_are_no_examples_and_have_no_confidence():
    document = draw_documents(1, 0)[0]
    unknown = replace(document.readings[0], evidence=(FieldEvidence("total"),))
    assert list_examples([LabelledReadings("0.jpg", (unknown,))]) == []
    assert score_reading(Score(), unknown, None) == {"total": None}


def test_range_of_quality_is_that_of_the_labelled_pictures():
    documents = draw_documents(30, 0)
    limits = measure_quality(documents)
    assert 10 <= limits.sharpness[0] < limits.sharpness[1] <= 20
    assert all(limits.contains(read.quality) for document in documents for read in document.readings)
    assert measure_quality([]).contrast is None


def test_signal_that_does_not_vary_changes_nothing():
    examples = [
        example._replace(signals={**example.signals, "length": 3.0})
        for example in list_examples(draw_documents(40, 20))
    ]
    model = fit_score(examples).pooled
    assert model.scales[model.signals.index("length")] == 1
    assert model.weights[model.signals.index("length")] == pytest.approx(0)


def _with_one_signal(document):
    """The document without agreement and quality, and with one token a value."""
    readings = [
        replace(
            read,
            answers={},
            quality=None,
            evidence=tuple(
                FieldEvidence(field.field, field.least, field.least, field.least, field.least, 1)
                for field in read.evidence
            ),
        )
        for read in document.readings
    ]
    return LabelledReadings(document.document, tuple(readings))


def _relabel(document, dice):
    """The document with random verdicts, the same at each rung."""
    verdicts = {name: dice.random() < 0.5 for name in FIELDS}
    return replace(
        document,
        readings=tuple(
            replace(
                read,
                comparisons=tuple(
                    replace(comparison, match=replace(comparison.match, right=verdicts[comparison.field]))
                    for comparison in read.comparisons
                ),
            )
            for read in document.readings
        ),
    )
