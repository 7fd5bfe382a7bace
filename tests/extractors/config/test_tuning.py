"""tuning.py: which parts of a stored tuning a run uses, and its warnings about the others."""

from datetime import UTC, datetime

import pytest

from extractors.config.tuning import describe_certificate, select_tuning
from extractors.core.tuning import Certificate, Ladder, Tuning, TuningProtocol

PROTOCOL = TuningProtocol(
    endpoint="https://api.example/v1",
    model="vision-1",
    schema_name="receipt",
    schema_hash="a1",
    prompt_hash="b2",
    mode="json_schema",
)
TUNING = Tuning(
    protocol=PROTOCOL,
    ladder=Ladder(rule="formula", budgets=(1601, 6404)),
    climb_below={"total": 0.95},
    climb_below_all=0.6,
    score={"intercept": 1.0},
    measured_at=datetime(2026, 11, 30, tzinfo=UTC),
    run="20261130T100000Z-aaaa",
)


def select(tuning=TUNING, protocol=PROTOCOL, rule="formula", policy=None, climb_below=None):
    """The parts of this tuning that a run uses; a text stands for a stored value that cannot be parsed."""
    body = tuning.model_dump_json() if isinstance(tuning, Tuning) else tuning
    return select_tuning(body, protocol, rule, policy=policy, climb_below=climb_below)


def test_tuning_of_the_same_protocol_is_used_and_described():
    """One line names the ladder, the thresholds, the score, the day and the run."""
    selection = select()
    assert (selection.tuning, selection.ladder, selection.climb_below, selection.climb_below_all) == (
        TUNING,
        TUNING.ladder,
        {"total": 0.95},
        0.6,
    )
    assert selection.has_thresholds
    assert selection.warnings == ()
    assert selection.description == (
        "stored tuning of 2026-11-30 (run 20261130T100000Z-aaaa): ladder 1,601 > 6,404 image tokens,"
        " climbs below 0.6 (total 0.95), its score"
    )


@pytest.mark.parametrize("changes", [{"prompt_hash": "c3"}, {"schema_hash": "c3", "mode": "tools"}])
def test_tuning_of_another_protocol_is_not_used(changes):
    """One warning names the differences; a threshold from the command line still applies."""
    selection = select(protocol=PROTOCOL.model_copy(update=changes), climb_below=0.9)
    assert (selection.tuning, selection.ladder, selection.climb_below, selection.climb_below_all) == (
        None,
        None,
        {},
        0.9,
    )
    [warning] = selection.warnings
    assert all(difference in warning for difference in PROTOCOL.differences(PROTOCOL.model_copy(update=changes)))
    assert selection.description == ""


@pytest.mark.parametrize("body", ["{", "{}", '{"protocol": 5}'])
def test_unreadable_tuning_is_a_warning(body):
    """The run continues."""
    selection = select(body)
    assert selection.tuning is None
    [warning] = selection.warnings
    assert "cannot be read" in warning
    assert "\n" not in warning


def test_unreadable_score_is_a_warning():
    """The rest of the tuning is used."""
    selection = select(TUNING.model_copy(update={"score": {"pooled": 5}}))
    assert (selection.score, selection.ladder) == (None, TUNING.ladder)
    assert "score cannot be read" in selection.warnings[0]
    assert "\n" not in selection.warnings[0]


def test_explicit_flags_replace_their_part_of_a_tuning():
    """A policy replaces the ladder, a threshold replaces all stored thresholds; the score stays."""
    assert select(policy="thrifty").ladder is None
    assert select(policy="thrifty").climb_below_all == 0.6
    selection = select(climb_below=0.8)
    assert (selection.climb_below, selection.climb_below_all, selection.ladder) == ({}, 0.8, TUNING.ladder)


def test_ladder_of_another_bill_rule_is_not_used():
    """Under another rule, the same token budget allows another size; thresholds still apply."""
    selection = select(rule="table")
    assert (selection.ladder, selection.climb_below_all) == (None, 0.6)
    assert "formula" in selection.warnings[0]


def test_threshold_on_a_confidence_that_cannot_rank_is_a_warning():
    """The tuning measured that documents with errors do not have lower confidence."""
    no_ranking = TUNING.model_copy(update={"ranks": False})
    assert "cannot rank" in select(no_ranking, climb_below=0.9).warnings[0]
    assert select(no_ranking).warnings == ()


def test_describe_certificate_names_the_certified_share():
    """It also says when nothing is certified."""
    assert describe_certificate(Certificate(target=0.99, documents=30)) == "nothing certified at 99 % from 30 documents"
    certificate = Certificate(target=0.95, documents=300, threshold=0.9, share=0.724, lower_bound=0.951)
    assert describe_certificate(certificate) == "72 % of documents need no review (95.1 % of them right at least)"
