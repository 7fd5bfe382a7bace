"""tuning.py: which parts of a stored tuning a run uses, and what it says of those that it does not."""

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
    """What a run uses of this tuning, which is text where it cannot be read."""
    body = tuning.model_dump_json() if isinstance(tuning, Tuning) else tuning
    return select_tuning(body, protocol, rule, policy=policy, climb_below=climb_below)


def test_tuning_of_the_same_protocol_is_used_and_named():
    """Ladder, thresholds and score, in one line with day and run."""
    used = select()
    assert (used.tuning, used.ladder, used.climb_below, used.climb_below_all) == (
        TUNING,
        TUNING.ladder,
        {"total": 0.95},
        0.6,
    )
    assert used.has_thresholds
    assert used.warnings == ()
    assert used.description == (
        "stored tuning of 2026-11-30 (run 20261130T100000Z-aaaa): ladder 1,601 > 6,404 image tokens,"
        " climbs below 0.6 (total 0.95), its score"
    )


@pytest.mark.parametrize("changes", [{"prompt_hash": "c3"}, {"schema_hash": "c3", "mode": "tools"}])
def test_tuning_of_another_protocol_is_not_used(changes):
    """One warning names what differs; a threshold of the command line still holds."""
    used = select(protocol=PROTOCOL.model_copy(update=changes), climb_below=0.9)
    assert (used.tuning, used.ladder, used.climb_below, used.climb_below_all) == (None, None, {}, 0.9)
    [warning] = used.warnings
    assert all(each in warning for each in PROTOCOL.differences(PROTOCOL.model_copy(update=changes)))
    assert used.description == ""


@pytest.mark.parametrize("body", ["{", "{}", '{"protocol": 5}'])
def test_tuning_that_cannot_be_read_is_a_warning(body):
    """It stops no run."""
    used = select(body)
    assert used.tuning is None
    [warning] = used.warnings
    assert "cannot be read" in warning
    assert "\n" not in warning


def test_score_that_cannot_be_read_is_a_warning():
    """The rest of the tuning is used."""
    used = select(TUNING.model_copy(update={"score": {"pooled": 5}}))
    assert (used.score, used.ladder) == (None, TUNING.ladder)
    assert "score cannot be read" in used.warnings[0]
    assert "\n" not in used.warnings[0]


def test_explicit_flags_replace_their_part_of_a_tuning():
    """A policy its ladder, a threshold all of its thresholds; the score stays."""
    assert select(policy="thrifty").ladder is None
    assert select(policy="thrifty").climb_below_all == 0.6
    replaced = select(climb_below=0.8)
    assert (replaced.climb_below, replaced.climb_below_all, replaced.ladder) == ({}, 0.8, TUNING.ladder)


def test_ladder_of_another_bill_rule_is_not_used():
    """The same budget would buy other pixels; thresholds still hold."""
    used = select(rule="table")
    assert (used.ladder, used.climb_below_all) == (None, 0.6)
    assert "formula" in used.warnings[0]


def test_threshold_on_a_confidence_that_cannot_rank_is_warned_of():
    """It was measured that documents with errors are not the doubtful ones."""
    useless = TUNING.model_copy(update={"ranks": False})
    assert "cannot rank" in select(useless, climb_below=0.9).warnings[0]
    assert select(useless).warnings == ()


def test_certificate_says_what_is_certain():
    """Or that nothing is."""
    assert describe_certificate(Certificate(target=0.99, documents=30)) == "nothing certified at 99 % from 30 documents"
    certain = Certificate(target=0.95, documents=300, threshold=0.9, share=0.724, lower_bound=0.951)
    assert describe_certificate(certain) == "72 % of documents need no review (95.1 % of them right at least)"
