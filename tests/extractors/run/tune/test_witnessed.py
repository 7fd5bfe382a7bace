"""witnessed.py: what the signals of the witness add to a score, and that a run evaluates it as the tuning does."""

import math
import random
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.labelled import FIELDS, reading

from extractors.config.tuning import select_tuning
from extractors.core.evidence import NOWHERE, Evidence, FieldEvidence, Quality, Sighting, Sightings
from extractors.core.tuning import Tuning, TuningProtocol
from extractors.report.tuning.review_costs import ReviewPrices
from extractors.report.tuning.witnessed import WitnessedView
from extractors.run.tune.choices import LabelledReadings, Publication, score_again
from extractors.run.tune.recommendation import recommend
from extractors.run.tune.score_fit import ablate_signals, fit_scores, score_reading
from extractors.run.tune.stored_tuning import build_witnessed
from extractors.run.tune.witnessed import analyze_witnessed, is_looked_at
from extractors.run.witness.witness import weigh_sightings
from extractors.validate.score import WITNESS_SIGNALS

PRICES = ReviewPrices(0.5, 20)


def draw_document(number, wrong, dice, *, sees_errors, looks):
    """A document read at two rungs with uninformative token probabilities; the witness sees right values and some wrong ones."""
    readings = []
    for rung in range(2):
        read = reading(f"{number}.jpg", rung, right=[name for name in FIELDS if name not in wrong])
        evidence = []
        for name in FIELDS:
            least = -math.exp(dice.gauss(0.0 if name in wrong else -0.3, 1))
            chance = 0.15 if name in wrong and sees_errors else 0.95
            seen = float(dice.random() < chance) if looks else None
            evidence.append(FieldEvidence(name, least, least, least, least * 2, 5, 0.99, seen=seen))
        quality = Quality(sharpness=dice.uniform(10, 20), contrast=dice.uniform(0.2, 0.8))
        readings.append(replace(read, evidence=tuple(evidence), quality=quality))
    return LabelledReadings(f"{number}.jpg", tuple(readings))


def draw_documents(count=60, errors=30, *, sees_errors=True, looks=True):
    """`errors` of the documents have a wrong company."""
    dice = random.Random(5)
    wrong = [["company"] if number < errors else [] for number in range(count)]
    return [
        draw_document(number, names, dice, sees_errors=sees_errors, looks=looks) for number, names in enumerate(wrong)
    ]


def analyze(documents, prices=None):
    plain_fit = fit_scores(documents)
    recommendation = recommend(documents, plain_fit.scorer(), prices=prices)
    return analyze_witnessed(documents, plain_fit, recommendation, 0.8, prices)


def test_ablation_has_a_line_for_the_witness():
    """The score with its signals ranks better than the score with all others."""
    areas = ablate_signals(draw_documents())
    assert areas["all"] > areas["all without witness"] + 0.05
    assert areas["witness"] > areas["tokens"]


def test_ablation_has_no_line_for_a_witness_that_did_not_look():
    documents = draw_documents(looks=False)
    assert not is_looked_at(documents)
    assert not [name for name in ablate_signals(documents) if "witness" in name]


def test_score_with_the_witness_is_fitted_where_it_ranks_better(fit):
    """The score that decides which documents climb has no signal of the witness."""
    measured = fit.measured
    assert set(WITNESS_SIGNALS) <= set(measured.fit.score.pooled.signals)
    assert measured.ranking.auc > 0.8
    assert measured.review.prices == PRICES
    plain = fit_scores(draw_documents()).score
    assert plain.pooled is None or not set(WITNESS_SIGNALS) & set(plain.pooled.signals)


@pytest.mark.parametrize("documents", [draw_documents(sees_errors=False), draw_documents(errors=9)])
def test_score_with_the_witness_is_discarded_where_it_adds_nothing(documents):
    """The witness sees wrong values as often as right ones, or there are nine errors."""
    assert analyze(documents) is None
    assert "changes no confidence" in " ".join(WitnessedView().lines())


def test_publication_is_scored_again_beside_the_reading_from_which_it_climbed():
    """It keeps its answer and its tokens; a failed document has no confidence."""
    lower, upper = draw_documents(1)[0].readings
    published = Publication(upper, 100, None, {"company": 0.1}, lower)
    rescored = score_again(published, lambda read, below: {"company": float(below is lower)})
    assert (rescored.reading, rescored.image_tokens, rescored.confidences) == (upper, 100, {"company": 1.0})
    failed = Publication(replace(upper, accepted=False), 100, None)
    assert score_again(failed, lambda *_: {"company": 1.0}) is failed


unit = st.floats(0, 1, allow_nan=False)
logprobs = st.one_of(st.none(), st.floats(-30, 0, allow_nan=False))
evidence = st.tuples(
    *(st.builds(FieldEvidence, st.just(name), logprobs, logprobs, logprobs, logprobs, st.integers(0, 99), unit) for name in FIELDS)
)  # fmt: skip
qualities = st.one_of(st.none(), st.builds(Quality, st.floats(0, 500), st.floats(0, 1)))
sightings = st.lists(
    st.builds(
        Sighting,
        st.sampled_from([*FIELDS, "company[0].name", "company[1].name", "company[?]"]),
        st.sampled_from([None, NOWHERE, 1, 2]),
    ),
    max_size=8,
).map(lambda values: Sightings(tuple(values)))
agreements = st.one_of(st.none(), st.dictionaries(st.sampled_from(FIELDS), st.booleans()))


@pytest.fixture(scope="module")
def fit():
    """A score with signals of the witness, and the stored tuning as a run reads it."""
    measured = analyze(draw_documents(), PRICES)
    protocol = TuningProtocol(
        endpoint="e", model="m", schema_name="s", schema_hash="h", prompt_hash="p", mode="json_schema"
    )
    tuning = Tuning(
        protocol=protocol, witnessed=build_witnessed(measured), measured_at=datetime(2026, 11, 30, tzinfo=UTC), run="r"
    )
    body = tuning.model_dump_json()
    stored = select_tuning(body, protocol, "formula", policy=None, climb_below=None, looks_at_all=True)
    return SimpleNamespace(measured=measured, stored=stored)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(evidence, sightings, agreements, qualities)
def test_run_evaluates_the_stored_score_as_the_tuning_does(fit, make, fields, found_sightings, agreed, quality):
    """Every field has the same confidence, from the sightings to the published evidence."""
    read = replace(
        reading("new.jpg"), evidence=Evidence(fields).with_sightings(found_sightings).fields, quality=quality
    )
    lower = replace(
        reading("new.jpg"), answers={name: read.answers[name] if same else "" for name, same in (agreed or {}).items()}
    )
    expected = score_reading(fit.measured.fit.score, read, lower if agreed is not None else None)
    answer = make.accept(evidence=Evidence(fields), agreed=agreed, qualities=(quality,))
    weighed = weigh_sightings(answer, found_sightings, fit.stored.witnessed)
    assert {field.field: field.confidence for field in weighed.fields} == expected


def test_stored_score_with_the_witness_is_used_only_in_runs_with_witness_all(fit):
    """Another run says that it uses the score without the witness, and has no certificate and no threshold of it."""
    assert "its score with the witness" in fit.stored.description
    plain_tuning = select_tuning(
        fit.stored.tuning.model_dump_json(), fit.stored.tuning.protocol, "formula", policy=None, climb_below=None
    )
    assert plain_tuning.witnessed is None
    assert "--witness all" in plain_tuning.description
    assert (fit.stored.doubtful_below, plain_tuning.doubtful_below) == (
        fit.measured.review.review_below or math.inf,
        None,
    )
