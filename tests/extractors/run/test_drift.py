"""drift.py: the warnings of a run whose answers differ from those of the runs before it."""

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from extractors.record.output.folder import FolderOutput
from extractors.record.tables.profile import RunProfile
from extractors.record.tables.volume import PartId, Volume
from extractors.run.drift import find_drift, find_unlike_pictures
from extractors.validate.score import QualityRange, Score

USUAL = RunProfile("now", 1000, {"shop": 0.0, "total": 0.01}, 1.0, 0.1, Decimal("0.001"))


def build_runs(*changes):
    """Earlier runs, each with one of these changes to the usual run."""
    return [replace(USUAL, run=str(number), **change) for number, change in enumerate(changes)]


LAST_SEVEN_RUNS = build_runs(
    *[{"nulls": {"shop": 0.0, "total": share}} for share in (0.002, 0.004, 0.011, 0.005, 0.006, 0.003, 0.01)]
)


def test_drift_names_a_field_that_became_null():
    """The sentence has the field, the share of this run, the range and the number of earlier runs."""
    today = replace(USUAL, nulls={"shop": 0.0, "total": 0.41})
    assert find_drift(today, LAST_SEVEN_RUNS) == [
        "total is null in 41.0 % of 1,000 rows; it was in 0.2 % to 1.1 % of them in the last 7 runs"
    ]


def test_drift_names_a_field_that_was_never_null_before():
    """A change from none to 3 % of 1,000 rows is more than chance."""
    today = replace(USUAL, nulls={"shop": 0.03, "total": 0.01})
    assert find_drift(today, LAST_SEVEN_RUNS) == [
        "shop is null in 3.0 % of 1,000 rows; it was in 0.0 % of them in the last 7 runs"
    ]


def test_null_shares_are_of_accepted_documents():
    """A failed document has no fields."""
    earlier_runs = build_runs({"accepted": 0.5})
    today = replace(USUAL, accepted=0.5, nulls={"shop": 0.5, "total": 0.01})
    assert find_drift(today, earlier_runs) == [
        "shop is null in 50.0 % of 500 rows; it was in 0.0 % of them in the last run"
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"accepted": 0.8},
            "80.0 % of 1,000 documents were accepted; it was 97.0 % to 99.0 % of them in the last 2 runs",
        ),
        ({"accepted": 0.98}, None),
        (
            {"climbed": 0.5},
            "50.0 % of 1,000 documents climbed to another rung; it was 10.0 % of them in the last 2 runs",
        ),
        (
            {"climbed": 0.0},
            "0.0 % of 1,000 documents climbed to another rung; it was 10.0 % of them in the last 2 runs",
        ),
        ({"climbed": None}, None),
        ({"cost": Decimal("0.0025")}, "a document cost $0.0025; it was $0.001 to $0.002 in the last 2 runs"),
        ({"cost": Decimal("0.0007")}, "a document cost $0.0007; it was $0.001 to $0.002 in the last 2 runs"),
        ({"cost": Decimal("0.0024")}, None),
        ({"cost": Decimal("0.0008")}, None),
        ({"cost": None}, None),
    ],
)
def test_drift_names_shares_and_cost_above_or_below_their_range(change, sentence):
    """The cost may leave its range by a fifth."""
    earlier_runs = build_runs({"accepted": 0.97}, {"accepted": 0.99, "cost": Decimal("0.002")})
    today = replace(USUAL, accepted=0.98)
    assert find_drift(replace(today, **change), earlier_runs) == ([sentence] if sentence else [])


def test_drift_lists_fields_then_shares_then_cost():
    today = RunProfile("now", 1000, {"total": 0.9, "shop": 0.9}, 0.1, 0.9, Decimal(1))
    beginnings = [sentence.split()[0] for sentence in find_drift(today, LAST_SEVEN_RUNS)]
    assert beginnings == ["total", "shop", "10.0", "90.0", "a"]


def test_values_unknown_in_earlier_runs_are_no_drift():
    """A new field, uncounted climbs and an unknown price have no range."""
    today = replace(USUAL, nulls={"tip": 1.0}, climbed=0.9, cost=Decimal(9))
    assert find_drift(today, build_runs({"climbed": None, "cost": None})) == []


def test_drift_compares_only_with_runs_that_have_the_value():
    """A field that two of three earlier runs have is compared with those two."""
    earlier_runs = build_runs({}, {"nulls": {}}, {"nulls": {"total": 0.0}})
    assert find_drift(replace(USUAL, nulls={"total": 0.5}), earlier_runs) == [
        "total is null in 50.0 % of 1,000 rows; it was in 0.0 % to 1.0 % of them in the last 2 runs"
    ]


def test_drift_names_a_cost_that_became_zero_or_ceased_to_be_zero():
    free = replace(USUAL, cost=Decimal(0))
    assert find_drift(free, [free]) == []
    assert find_drift(USUAL, [free]) == ["a document cost $0.001; it was $0 in the last run"]
    assert find_drift(free, [USUAL]) == ["a document cost $0; it was $0.001 in the last run"]


@pytest.mark.parametrize(("rows", "count"), [(199, 0), (200, 4)])
def test_drift_needs_200_documents(rows, count):
    """In fewer documents a share may be chance."""
    assert len(find_drift(RunProfile("now", rows, {"total": 0.9}, 0.3, 0.9, Decimal(1)), LAST_SEVEN_RUNS)) == count


def test_first_run_has_no_drift():
    assert find_drift(USUAL, []) == []


def test_run_without_accepted_documents_has_no_null_shares():
    """Only the share of accepted documents is named."""
    (sentence,) = find_drift(replace(USUAL, accepted=0.0, nulls={"total": 1.0}), LAST_SEVEN_RUNS)
    assert sentence.startswith("0.0 % of 1,000 documents were accepted")


def draw_run(chance, rows):
    """A random run of a source whose shares never change."""
    accepted = sum(chance.random() < 0.95 for _ in range(rows))
    nulls = {name: sum(chance.random() < share for _ in range(accepted)) / accepted for name, share in SHARES.items()}
    climbed = sum(chance.random() < 0.1 for _ in range(rows)) / rows
    return RunProfile("night", rows, nulls, accepted / rows, climbed, Decimal("0.001"))


SHARES = {"company": 0.0, "date": 0.005, "address": 0.05, "total": 0.3}


@pytest.mark.parametrize(("nulls", "count"), [(13, 0), (14, 1)])
def test_margin_of_drift_is_three_standard_errors_and_two_documents(nulls, count):
    """After a run with no null in 1,000 rows, 13 nulls are within the margin and 14 are not."""
    today = replace(USUAL, nulls={"shop": nulls / 1000})
    assert len(find_drift(today, build_runs({}))) == count


@pytest.mark.parametrize(("nulls", "count"), [(1, 0), (2, 0), (10, 1)])
def test_two_nulls_in_a_small_run_after_a_large_one_are_no_drift(nulls, count):
    """Ten nulls in 200 rows are drift, after 50,000 rows without one."""
    today = replace(USUAL, rows=200, nulls={"shop": nulls / 200})
    assert len(find_drift(today, build_runs({"rows": 50_000}))) == count


@pytest.mark.parametrize("earlier_count", [1, 7])
def test_runs_that_differ_by_chance_have_almost_no_drift(earlier_count):
    """Of 1,000 runs with the same six chances at most 15 drift from one run before, and at most one from seven."""
    chance = random.Random(20261120)
    pool = [draw_run(chance, chance.choice([200, 300, 500])) for _ in range(1000)]
    warnings = sum(bool(find_drift(today, chance.sample(pool, earlier_count))) for today in pool)
    assert warnings <= {1: 15, 7: 1}[earlier_count]


@pytest.mark.parametrize(
    ("sharp", "blurred", "unmeasured", "warns"),
    [(15, 5, 100, False), (14, 6, 0, True), (0, 4, 0, False), (0, 0, 9, False)],
)
def test_unlike_pictures_are_warned_of_from_five_that_exceed_a_quarter(
    tmp_path, terms, sharp, blurred, unmeasured, warns
):
    """The share is of the measured pictures; without a score there is no warning."""
    volume = Volume(FolderOutput(tmp_path), terms, 1)
    measures = [(30.0, 0.5)] * sharp + [(2.0, 0.5)] * blurred + [(None, None)] * unmeasured
    rows = [{"run": terms.run, "sharpness": sharpness, "contrast": contrast} for sharpness, contrast in measures]
    volume.stage("images", PartId(0), rows)
    score = Score(quality=QualityRange(sharpness=(10, 50), contrast=(0.2, 0.9)))
    warnings = find_unlike_pictures(volume, score)
    assert len(warnings) == warns
    assert all("6 of 20" in warning for warning in warnings)
    assert find_unlike_pictures(volume, None) == find_unlike_pictures(volume, Score()) == []
