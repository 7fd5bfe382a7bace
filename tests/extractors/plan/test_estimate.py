"""estimate.py: the sums over a source, and the object that `--json` prints."""

import os
from dataclasses import replace
from decimal import Decimal

import polars as pl
import pytest
from PIL import ExifTags, Image

from extractors.config.job import Job
from extractors.config.prices import find_price
from extractors.config.run_config import resolve
from extractors.config.settings import Settings
from extractors.core.errors import ConfigurationError
from extractors.core.money import FREE, Costs, Price
from extractors.plan.estimate import Estimate, EstimateInputs, estimate
from extractors.plan.sampling import Sample
from extractors.record.tables.history import FAILURE_COLUMNS, OUTCOME_COLUMNS, REASON_COLUMN, RunHistory, document_key
from extractors.scan import scan

KEYS = [
    "images",
    "documents",
    "rejected",
    "skipped",
    "skipped_failed",
    "actions",
    "tokens",
    "bill_rule",
    "cost_usd",
    "sampled",
    "seconds",
    "eta_seconds",
    "incomplete",
    "passed_over",
    "warnings",
]
KIMI = "moonshotai/Kimi-K3"


@pytest.fixture(autouse=True)
def pictures(tmp_path, monkeypatch):
    """A folder with a small picture, a large one, a huge one and an empty file; no settings around."""
    for name in [name for name in os.environ if name.upper().startswith(("TILEWISE_", "TOGETHER_API_KEY"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("L", (500, 400)).save(folder / "a.png")  # one tile by both readings
    Image.new("L", (1280, 720)).save(folder / "b.png")  # 3202 by the formula, 6404 by the table
    Image.new("L", (3000, 2400)).save(folder / "c.png")  # 6404 by both, larger than what is seen
    (folder / "d.png").touch()
    return folder


def build_inputs(folder, **fields):
    """The brief of an estimate; no schema, so that no text is billed."""
    return resolve(Job(source=str(folder), **fields), Settings(), sends=False)


def estimate_folder(folder, past=None, keep=None, **fields):
    """The estimate of this source."""
    asked = build_inputs(folder, **fields)
    return estimate(EstimateInputs(asked, find_price(asked, {}, free=asked.offline), past), keep=keep)


def test_the_json_has_the_documented_keys(pictures):
    """Exactly these, in this order."""
    assert list(estimate_folder(pictures).as_json()) == KEYS


def test_an_estimate_counts_documents_and_their_fates(pictures):
    """Rejected images are counted among the documents, with an action of their own."""
    found = estimate_folder(pictures).as_json()
    assert (found["images"], found["documents"], found["rejected"], found["skipped"]) == (4, 4, 1, 0)
    assert found["actions"] == {"send": 2, "shrink": 1, "reject": 1}


def test_tokens_bill_the_images_as_they_are_and_as_they_are_sent(pictures):
    """Both documented readings of all images, and the rule in force of what is sent first."""
    assert estimate_folder(pictures, bill="formula").as_json()["tokens"] == {
        "formula": 1601 + 3202 + 6404,
        "table": 1601 + 6404 + 6404,
        "planned": 3 * 1601,
    }


@pytest.mark.parametrize(
    ("fields", "rule", "planned"),
    [
        ({}, "table", 1601 + 6404 + 6404),
        ({"offline": True}, "formula", 3 * 1601),
        ({"bill": "flat:280"}, "flat:280", 3 * 280),
        ({"policy": "faithful", "bill": "formula"}, "formula", 1601 + 3202 + 6404),
    ],
)
def test_the_rule_in_force_is_named(pictures, fields, rule, planned):
    """The resolved rule, never `auto`, and the tokens planned by it."""
    found = estimate_folder(pictures, **fields).as_json()
    assert (found["bill_rule"], found["tokens"]["planned"]) == (rule, planned)


def test_an_unknown_price_is_null(pictures):
    """All three figures are unknown, never 0."""
    cost = estimate_folder(pictures, model="unknown/model").as_json()["cost_usd"]
    assert cost == {"low": None, "expected": None, "high": None}


def test_an_unknown_model_is_an_unknown_price(pictures):
    """Where no model is named there is no price."""
    assert estimate_folder(pictures).costs == Costs(None, None, None)


def test_an_offline_estimate_is_free(pictures):
    """Local reading costs nothing, and that is known."""
    assert estimate_folder(pictures, offline=True).as_json()["cost_usd"] == {"low": 0.0, "expected": 0.0, "high": 0.0}


def test_dollars_are_numbers(pictures):
    """Low, expected and high of what is sent, by the shipped price of 3 in and 15 out a million."""
    cost = estimate_folder(pictures, model=KIMI).as_json()["cost_usd"]
    # Not one of the three is cheaper by the formula once it is shrunk, but 1280x720.
    assert cost["low"] == pytest.approx(3e-6 * (1601 + 3202 + 6404), rel=0.01)
    assert cost["expected"] == pytest.approx(3e-6 * (1601 + 6404 + 6404) + 3 * 15e-6 * 512, rel=0.01)
    assert cost["low"] < cost["expected"] < cost["high"]


def test_a_rejected_image_costs_nothing(pictures):
    """It is not sent, so it does not make the price unknown nor the cost larger."""
    before = estimate_folder(pictures, model=KIMI).costs
    (pictures / "d.png").unlink()
    assert estimate_folder(pictures, model=KIMI).costs == before


def test_the_pages_beside_a_rejected_one_are_not_sent(pictures):
    """As they are they would be billed, but nothing of their document is planned to be."""
    tokens = estimate_folder(pictures, document_by="folder", bill="formula").as_json()["tokens"]
    assert (tokens["formula"], tokens["planned"]) == (1601 + 3202 + 6404, 0)


def test_saving_is_the_difference_to_the_estimate_of_faithful(pictures):
    """In image tokens and in dollars, by the same rule and price."""
    Image.new("L", (2000, 1000)).save(pictures / "e.png")
    thrifty, faithful = (
        estimate_folder(pictures, model=KIMI, bill="formula", policy=name) for name in ("thrifty", "faithful")
    )
    assert thrifty.faithful_tokens == faithful.tokens["planned"] > thrifty.tokens["planned"]
    assert thrifty.saving_usd == faithful.costs.expected - thrifty.costs.expected
    assert faithful.saving_usd == 0


def test_first_rejected_documents_are_named_with_their_kind(pictures):
    """At most five, each by the page that rejects it; they are not counted as sent."""
    for number in range(6):
        (pictures / f"e{number}.png").touch()
    found = estimate_folder(pictures)
    assert found.rejects == [("empty", str(pictures / f"{name}.png")) for name in ("d", "e0", "e1", "e2", "e3")]
    assert (found.rejected, found.sent) == (7, 3)


@pytest.mark.parametrize("fields", [{}, {"document_by": "frames"}, {"audit": 3, "model": KIMI}], ids=str)
def test_pictures_that_are_planned_alike_are_summed_as_if_each_were_planned(pictures, pdf, fields):
    """Sums, rejected documents and warnings, each in the same order, of pictures of all kinds, whole and broken."""
    for number in range(4):
        Image.new("RGB", (900, 1400)).save(pictures / f"e{number}.jpg", exif=make_exif(1 + 5 * (number % 2)))
        (pictures / f"f{number}.jpg").write_bytes((pictures / "e0.jpg").read_bytes()[: 100 * number])
        Image.new("L", (300, 200)).save(pictures / f"g{number}.webp")
    Image.new("L", (500, 400)).save(pictures / "h.tif", save_all=True, append_images=[Image.new("L", (1280, 720))])
    (pictures / "i.pdf").write_bytes(pdf("one", "two"))
    alike, every = (estimate_folder(pictures, **fields, keep=keep) for keep in (None, lambda _: None))
    assert replace(alike, seconds=0) == replace(every, seconds=0)
    assert (list(alike.reasons), alike.rejected) == (list(every.reasons), 5)


def make_exif(orientation):
    """EXIF of this orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def test_what_is_done_is_left_out(pictures):
    """It is skipped: neither planned nor billed."""
    done = [
        document_key(each.uri, each.version) for each in scan(str(pictures)) if each.uri.endswith(("b.png", "c.png"))
    ]
    past = RunHistory(
        pl.DataFrame([{"key": each} for each in done], schema=OUTCOME_COLUMNS), pl.DataFrame(schema=FAILURE_COLUMNS)
    )
    found = estimate_folder(pictures, past, bill="formula").as_json()
    assert (found["documents"], found["skipped"], found["tokens"]["formula"]) == (2, 2, 1601)


def test_an_estimate_says_how_long_it_took(pictures):
    """The elapsed seconds; how long the run will take is unknown until replies were timed."""
    found = estimate_folder(pictures).as_json()
    assert found["seconds"] >= 0
    assert (found["eta_seconds"], found["sampled"]) == (None, False)


def test_an_empty_source_is_refused(tmp_path):
    """An estimate of nothing is a mistyped source."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="holds no images"):
        estimate_folder(tmp_path / "empty")


def test_nothing_is_written(pictures, tmp_path):
    """An estimate leaves no trace, neither in the source nor in the output."""
    before = sorted(tmp_path.rglob("*"))
    estimate_folder(pictures)
    assert sorted(tmp_path.rglob("*")) == before


def test_reasons_are_counted_with_their_actions(pictures):
    """Why each choice was made is part of the sums."""
    assert estimate_folder(pictures).reasons == {
        ("send", "fits"): 1,
        ("send", "floor"): 1,
        ("shrink", "native"): 1,
        ("reject", "empty"): 1,
    }


def test_a_fresh_estimate_is_all_zeros():
    """The object has its shape before anything is counted."""
    found = Estimate("table").as_json()
    assert found["tokens"] == {"formula": 0, "table": 0, "planned": 0}
    assert found["cost_usd"] == {"low": 0.0, "expected": 0.0, "high": 0.0}


def test_a_served_price_wins_over_the_shipped_one(pictures):
    """The server's own list is of today."""
    served = Price(Decimal(1), Decimal(1))
    assert find_price(build_inputs(pictures, model=KIMI), {KIMI: served}, free=False) == served


def test_local_reading_is_free_whatever_is_served(pictures):
    """No list makes local work cost something, but the user's own file."""
    assert find_price(build_inputs(pictures, model=KIMI), {KIMI: Price(Decimal(1), Decimal(1))}, free=True) == FREE


def test_a_price_of_one_s_own_holds_offline_too(pictures, tmp_path):
    """A rehearsal with a price file costs what it says."""
    (tmp_path / "prices.toml").write_text('[models."offline/rapidocr"]\ninput = 2\noutput = 3\n')
    made = resolve(Job(source=str(pictures), offline=True), Settings(prices="prices.toml"), sends=False)
    assert find_price(made, {}, free=True) == Price(Decimal(2), Decimal(3))


def test_a_sample_speaks_for_all(tmp_path):
    """Documents are counted, sums are scaled and add up, and the cost has an interval around it."""
    folder = tmp_path / "stack"
    folder.mkdir()
    for number in range(40):
        Image.new("L", (500, 400) if number % 2 else (1280, 720)).save(folder / f"{number:02}.png")
    asked = build_inputs("stack", model=KIMI, bill="formula", policy="faithful")  # its name decides what is drawn
    price = find_price(asked, {}, free=False)
    found = estimate(EstimateInputs(asked, price), Sample(10, 10))
    said = found.as_json()
    assert list(said) == [*KEYS, "interval_usd"]
    assert (said["documents"], said["images"], said["sampled"]) == (40, 40, True)
    assert sum(said["actions"].values()) == 40
    assert 40 * 1601 < said["tokens"]["formula"] < 40 * 3202
    whole = estimate(EstimateInputs(asked, price)).as_json()["cost_usd"]
    assert all(
        said["interval_usd"][name][0] <= said["cost_usd"][name] <= said["interval_usd"][name][1] for name in whole
    )
    assert said["interval_usd"]["expected"][0] < whole["expected"] < said["interval_usd"]["expected"][1]


def test_a_sample_larger_than_the_source_is_all_of_it(pictures):
    """Then nothing is guessed."""
    asked = build_inputs(pictures)
    found = estimate(EstimateInputs(asked, find_price(asked, {}, free=False)), Sample(10, 10)).as_json()
    assert (found["documents"], found["rejected"], found["sampled"]) == (4, 1, False)
    assert list(found) == KEYS


def test_a_sample_speaks_for_causes(tmp_path):
    """Where something is done again, the documents by cause add up to all of them."""
    folder = tmp_path / "stack"
    folder.mkdir()
    for number in range(40):
        Image.new("L", (500, 400)).save(folder / f"{number:02}.png")
    done = [{"key": document_key(each.uri, each.version)} for each in scan("stack")][:30]
    past = RunHistory(pl.DataFrame(done, schema=OUTCOME_COLUMNS), pl.DataFrame(schema=FAILURE_COLUMNS | REASON_COLUMN))
    asked = build_inputs("stack", redo="all")  # its name decides what is drawn
    found = estimate(EstimateInputs(asked, find_price(asked, {}, free=False), past), Sample(10, 10)).causes
    assert found.sampled
    assert sum(share.documents for share in found.groups.values()) == 40
    assert found.groups["done"].documents > found.groups["new"].documents


def test_a_sample_of_an_empty_source_is_refused(tmp_path):
    """As an estimate of it is."""
    (tmp_path / "empty").mkdir()
    asked = build_inputs(tmp_path / "empty")
    with pytest.raises(ConfigurationError, match="holds no images"):
        estimate(EstimateInputs(asked, None), Sample(10, 10))
