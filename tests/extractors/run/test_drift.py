"""drift.py: the run says by itself when its answers leave the range of the nights before."""

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


def nights(*changes):
    """Earlier runs, each like the usual one but for this."""
    return [replace(USUAL, run=str(number), **change) for number, change in enumerate(changes)]


WEEK = nights(*[{"nulls": {"shop": 0.0, "total": share}} for share in (0.002, 0.004, 0.011, 0.005, 0.006, 0.003, 0.01)])


def test_answers_that_go_empty_are_said():
    """The sentence names the field, today's share, the range and the number of runs."""
    today = replace(USUAL, nulls={"shop": 0.0, "total": 0.41})
    assert find_drift(today, WEEK) == [
        "total is null in 41.0 % of 1,000 rows; it was in 0.2 % to 1.1 % of them in the last 7 runs"
    ]


def test_a_field_that_was_never_null_may_not_begin_to_be():
    """From none to 3 % of 1,000 rows is more than chance, whatever the other fields do."""
    today = replace(USUAL, nulls={"shop": 0.03, "total": 0.01})
    assert find_drift(today, WEEK) == [
        "shop is null in 3.0 % of 1,000 rows; it was in 0.0 % of them in the last 7 runs"
    ]


def test_null_shares_are_of_the_accepted():
    """A failed document has no fields, so it has none that are null."""
    before = nights({"accepted": 0.5})
    today = replace(USUAL, accepted=0.5, nulls={"shop": 0.5, "total": 0.01})
    assert find_drift(today, before) == ["shop is null in 50.0 % of 500 rows; it was in 0.0 % of them in the last run"]


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
def test_every_share_and_the_cost_are_watched_both_ways(change, sentence):
    """What leaves the range upwards or downwards is said; a cost may leave it by a fifth."""
    before = nights({"accepted": 0.97}, {"accepted": 0.99, "cost": Decimal("0.002")})
    today = replace(USUAL, accepted=0.98)
    assert find_drift(replace(today, **change), before) == ([sentence] if sentence else [])


def test_several_are_said_together():
    """Fields in their order, then the shares, then the cost."""
    today = RunProfile("now", 1000, {"total": 0.9, "shop": 0.9}, 0.1, 0.9, Decimal(1))
    beginnings = [sentence.split()[0] for sentence in find_drift(today, WEEK)]
    assert beginnings == ["total", "shop", "10.0", "90.0", "a"]


def test_what_nobody_knew_before_is_no_drift():
    """A new field, climbs never counted and a price never known have no range to leave."""
    today = replace(USUAL, nulls={"tip": 1.0}, climbed=0.9, cost=Decimal(9))
    assert find_drift(today, nights({"climbed": None, "cost": None})) == []


def test_only_runs_that_knew_are_counted():
    """A field added three nights ago is compared with three nights."""
    before = nights({}, {"nulls": {}}, {"nulls": {"total": 0.0}})
    assert find_drift(replace(USUAL, nulls={"total": 0.5}), before) == [
        "total is null in 50.0 % of 1,000 rows; it was in 0.0 % to 1.0 % of them in the last 2 runs"
    ]


def test_what_becomes_free_or_ceases_to_be_is_said():
    """Local OCR costs nothing: the first dollar is a difference, and so is the last."""
    free = replace(USUAL, cost=Decimal(0))
    assert find_drift(free, [free]) == []
    assert find_drift(USUAL, [free]) == ["a document cost $0.001; it was $0 in the last run"]
    assert find_drift(free, [USUAL]) == ["a document cost $0; it was $0.001 in the last run"]


@pytest.mark.parametrize(("rows", "count"), [(199, 0), (200, 4)])
def test_few_rows_say_nothing(rows, count):
    """Under 200 documents a share is an accident."""
    assert len(find_drift(RunProfile("now", rows, {"total": 0.9}, 0.3, 0.9, Decimal(1)), WEEK)) == count


def test_a_first_run_has_nothing_to_differ_from():
    """Without a past nothing is said."""
    assert find_drift(USUAL, []) == []


def test_nothing_accepted_has_no_null_shares():
    """Where nothing was accepted that is what is said, and no field is spoken of."""
    (sentence,) = find_drift(replace(USUAL, accepted=0.0, nulls={"total": 1.0}), WEEK)
    assert sentence.startswith("0.0 % of 1,000 documents were accepted")


def night(chance, rows):
    """A night of a source whose shares never change."""
    accepted = sum(chance.random() < 0.95 for _ in range(rows))
    nulls = {name: sum(chance.random() < share for _ in range(accepted)) / accepted for name, share in SHARES.items()}
    climbed = sum(chance.random() < 0.1 for _ in range(rows)) / rows
    return RunProfile("night", rows, nulls, accepted / rows, climbed, Decimal("0.001"))


SHARES = {"company": 0.0, "date": 0.005, "address": 0.05, "total": 0.3}


@pytest.mark.parametrize(("nulls", "said"), [(13, 0), (14, 1)])
def test_the_margin_is_three_standard_errors_and_two_documents(nulls, said):
    """After a night of none in 1,000, 13 nulls are put down to chance and 14 are not."""
    today = replace(USUAL, nulls={"shop": nulls / 1000})
    assert len(find_drift(today, nights({}))) == said


@pytest.mark.parametrize(("nulls", "said"), [(1, 0), (2, 0), (10, 1)])
def test_an_accident_beside_large_nights_is_none(nulls, said):
    """One null in a small night is not said, though 50,000 rows before it had none."""
    today = replace(USUAL, rows=200, nulls={"shop": nulls / 200})
    assert len(find_drift(today, nights({"rows": 50_000}))) == said


@pytest.mark.parametrize("before", [1, 7])
def test_equal_nights_are_not_warned_of(before):
    """Of 1,000 nights that differ by chance alone, six shares each, next to none is said to differ."""
    chance = random.Random(20261120)
    pool = [night(chance, chance.choice([200, 300, 500])) for _ in range(1000)]
    warned = sum(bool(find_drift(today, chance.sample(pool, before))) for today in pool)
    assert warned <= {1: 15, 7: 1}[before]


@pytest.mark.parametrize(
    ("sharp", "blurred", "unmeasured", "warns"),
    [(15, 5, 100, False), (14, 6, 0, True), (0, 4, 0, False), (0, 0, 9, False)],
)
def test_pictures_unlike_those_of_the_labels_are_warned_of(tmp_path, terms, sharp, blurred, unmeasured, warns):
    """From five on, where they are more than a quarter of those that were measured; never without a score."""
    volume = Volume(FolderOutput(tmp_path), terms, 1)
    measures = [(30.0, 0.5)] * sharp + [(2.0, 0.5)] * blurred + [(None, None)] * unmeasured
    rows = [{"run": terms.run, "sharpness": sharpness, "contrast": contrast} for sharpness, contrast in measures]
    volume.stage("images", PartId(0), rows)
    score = Score(quality=QualityRange(sharpness=(10, 50), contrast=(0.2, 0.9)))
    warnings = find_unlike_pictures(volume, score)
    assert len(warnings) == warns
    assert all("6 of 20" in warning for warning in warnings)
    assert find_unlike_pictures(volume, None) == find_unlike_pictures(volume, Score()) == []
