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
    """A folder with a small, a large and a huge picture and an empty file; the environment has no settings."""
    for name in [name for name in os.environ if name.upper().startswith(("TILEWISE_", "TOGETHER_API_KEY"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("L", (500, 400)).save(folder / "a.png")  # one tile by both rules
    Image.new("L", (1280, 720)).save(folder / "b.png")  # 3202 by `formula`, 6404 by `table`
    Image.new("L", (3000, 2400)).save(folder / "c.png")  # 6404 by both, larger than what the model sees
    (folder / "d.png").touch()
    return folder


def build_config(folder, **fields):
    """The configuration of an estimate without a schema, so that no text is billed."""
    return resolve(Job(source=str(folder), **fields), Settings(), sends=False)


def estimate_folder(folder, past=None, keep=None, **fields):
    """The estimate of this source."""
    config = build_config(folder, **fields)
    return estimate(EstimateInputs(config, find_price(config, {}, free=config.offline), past), keep=keep)


def test_json_has_the_documented_keys_in_order(pictures):
    assert list(estimate_folder(pictures).as_json()) == KEYS


def test_estimate_counts_documents_by_action(pictures):
    """Rejected images are documents, too."""
    result = estimate_folder(pictures).as_json()
    assert (result["images"], result["documents"], result["rejected"], result["skipped"]) == (4, 4, 1, 0)
    assert result["actions"] == {"send": 2, "shrink": 1, "reject": 1}


def test_tokens_are_those_of_both_rules_and_of_the_planned_images(pictures):
    """The rules bill all images as they are; the planned tokens are those of the images that are sent first."""
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
def test_bill_rule_is_the_resolved_one(pictures, fields, rule, planned):
    """It is never `auto`, and the planned tokens are counted with it."""
    result = estimate_folder(pictures, **fields).as_json()
    assert (result["bill_rule"], result["tokens"]["planned"]) == (rule, planned)


def test_costs_of_a_model_without_a_price_are_null(pictures):
    """They are never 0."""
    cost = estimate_folder(pictures, model="unknown/model").as_json()["cost_usd"]
    assert cost == {"low": None, "expected": None, "high": None}


def test_costs_without_a_model_are_unknown(pictures):
    assert estimate_folder(pictures).costs == Costs(None, None, None)


def test_offline_estimate_costs_zero(pictures):
    assert estimate_folder(pictures, offline=True).as_json()["cost_usd"] == {"low": 0.0, "expected": 0.0, "high": 0.0}


def test_costs_are_computed_from_the_shipped_price(pictures):
    """It is $3 a million input tokens and $15 a million output tokens."""
    cost = estimate_folder(pictures, model=KIMI).as_json()["cost_usd"]
    # Only 1280x720 has fewer tokens by `formula` than by `table`.
    assert cost["low"] == pytest.approx(3e-6 * (1601 + 3202 + 6404), rel=0.01)
    assert cost["expected"] == pytest.approx(3e-6 * (1601 + 6404 + 6404) + 3 * 15e-6 * 512, rel=0.01)
    assert cost["low"] < cost["expected"] < cost["high"]


def test_rejected_image_costs_nothing(pictures):
    """It does not make the price unknown either."""
    before = estimate_folder(pictures, model=KIMI).costs
    (pictures / "d.png").unlink()
    assert estimate_folder(pictures, model=KIMI).costs == before


def test_other_pages_of_a_rejected_document_have_no_planned_tokens(pictures):
    """They are in the tokens of the images as they are."""
    tokens = estimate_folder(pictures, document_by="folder", bill="formula").as_json()["tokens"]
    assert (tokens["formula"], tokens["planned"]) == (1601 + 3202 + 6404, 0)


def test_saving_is_the_difference_to_the_estimate_of_faithful(pictures):
    """It is in image tokens and in dollars, with the same rule and price."""
    Image.new("L", (2000, 1000)).save(pictures / "e.png")
    thrifty, faithful = (
        estimate_folder(pictures, model=KIMI, bill="formula", policy=name) for name in ("thrifty", "faithful")
    )
    assert thrifty.faithful_tokens == faithful.tokens["planned"] > thrifty.tokens["planned"]
    assert thrifty.saving_usd == faithful.costs.expected - thrifty.costs.expected
    assert faithful.saving_usd == 0


def test_first_five_rejected_documents_are_named_with_their_kind(pictures):
    """They are not counted as sent."""
    for number in range(6):
        (pictures / f"e{number}.png").touch()
    result = estimate_folder(pictures)
    assert result.rejects == [("empty", str(pictures / f"{name}.png")) for name in ("d", "e0", "e1", "e2", "e3")]
    assert (result.rejected, result.sent) == (7, 3)


@pytest.mark.parametrize("fields", [{}, {"document_by": "frames"}, {"audit": 3, "model": KIMI}], ids=str)
def test_estimate_of_grouped_pictures_equals_that_of_single_pictures(pictures, pdf, fields):
    """Sums, rejected documents and warnings are equal and in the same order, for whole and broken pictures of all kinds."""
    for number in range(4):
        Image.new("RGB", (900, 1400)).save(pictures / f"e{number}.jpg", exif=make_exif(1 + 5 * (number % 2)))
        (pictures / f"f{number}.jpg").write_bytes((pictures / "e0.jpg").read_bytes()[: 100 * number])
        Image.new("L", (300, 200)).save(pictures / f"g{number}.webp")
    Image.new("L", (500, 400)).save(pictures / "h.tif", save_all=True, append_images=[Image.new("L", (1280, 720))])
    (pictures / "i.pdf").write_bytes(pdf("one", "two"))
    grouped, single = (estimate_folder(pictures, **fields, keep=keep) for keep in (None, lambda _: None))
    assert replace(grouped, seconds=0) == replace(single, seconds=0)
    assert (list(grouped.reasons), grouped.rejected) == (list(single.reasons), 5)


def make_exif(orientation):
    """EXIF metadata with this orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def test_done_documents_are_skipped_and_not_billed(pictures):
    keys = [
        document_key(found.uri, found.version)
        for found in scan(str(pictures))
        if found.uri.endswith(("b.png", "c.png"))
    ]
    past = RunHistory(
        pl.DataFrame([{"key": key} for key in keys], schema=OUTCOME_COLUMNS), pl.DataFrame(schema=FAILURE_COLUMNS)
    )
    result = estimate_folder(pictures, past, bill="formula").as_json()
    assert (result["documents"], result["skipped"], result["tokens"]["formula"]) == (2, 2, 1601)


def test_estimate_has_its_own_seconds_and_no_eta_without_timed_replies(pictures):
    result = estimate_folder(pictures).as_json()
    assert result["seconds"] >= 0
    assert (result["eta_seconds"], result["sampled"]) == (None, False)


def test_empty_source_is_refused(tmp_path):
    """It is most likely a mistyped source."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="holds no images"):
        estimate_folder(tmp_path / "empty")


def test_estimate_writes_no_file(pictures, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    estimate_folder(pictures)
    assert sorted(tmp_path.rglob("*")) == before


def test_reasons_are_counted_with_their_actions(pictures):
    assert estimate_folder(pictures).reasons == {
        ("send", "fits"): 1,
        ("send", "floor"): 1,
        ("shrink", "native"): 1,
        ("reject", "empty"): 1,
    }


def test_new_estimate_has_zeros_in_all_fields():
    result = Estimate("table").as_json()
    assert result["tokens"] == {"formula": 0, "table": 0, "planned": 0}
    assert result["cost_usd"] == {"low": 0.0, "expected": 0.0, "high": 0.0}


def test_price_of_the_server_replaces_the_shipped_one(pictures):
    """The server's list is current."""
    server_price = Price(Decimal(1), Decimal(1))
    assert find_price(build_config(pictures, model=KIMI), {KIMI: server_price}, free=False) == server_price


def test_local_ocr_is_free_with_any_price_of_the_server(pictures):
    """Only the user's own price file can give it a price."""
    assert find_price(build_config(pictures, model=KIMI), {KIMI: Price(Decimal(1), Decimal(1))}, free=True) == FREE


def test_price_file_of_the_user_applies_to_local_ocr(pictures, tmp_path):
    """So a rehearsal can have costs."""
    (tmp_path / "prices.toml").write_text('[models."offline/rapidocr"]\ninput = 2\noutput = 3\n')
    config = resolve(Job(source=str(pictures), offline=True), Settings(prices="prices.toml"), sends=False)
    assert find_price(config, {}, free=True) == Price(Decimal(2), Decimal(3))


def test_sampled_estimate_counts_all_documents_and_has_intervals_around_its_costs(tmp_path):
    """The scaled counts add up to all documents."""
    folder = tmp_path / "stack"
    folder.mkdir()
    for number in range(40):
        Image.new("L", (500, 400) if number % 2 else (1280, 720)).save(folder / f"{number:02}.png")
    config = build_config(
        "stack", model=KIMI, bill="formula", policy="faithful"
    )  # the name of the source is the seed of the sample
    price = find_price(config, {}, free=False)
    result = estimate(EstimateInputs(config, price), Sample(10, 10))
    fields = result.as_json()
    assert list(fields) == [*KEYS, "interval_usd"]
    assert (fields["documents"], fields["images"], fields["sampled"]) == (40, 40, True)
    assert sum(fields["actions"].values()) == 40
    assert 40 * 1601 < fields["tokens"]["formula"] < 40 * 3202
    full_costs = estimate(EstimateInputs(config, price)).as_json()["cost_usd"]
    assert all(
        fields["interval_usd"][name][0] <= fields["cost_usd"][name] <= fields["interval_usd"][name][1]
        for name in full_costs
    )
    assert fields["interval_usd"]["expected"][0] < full_costs["expected"] < fields["interval_usd"]["expected"][1]


def test_sample_larger_than_the_source_is_no_sample(pictures):
    """It has no intervals."""
    config = build_config(pictures)
    result = estimate(EstimateInputs(config, find_price(config, {}, free=False)), Sample(10, 10)).as_json()
    assert (result["documents"], result["rejected"], result["sampled"]) == (4, 1, False)
    assert list(result) == KEYS


def test_sampled_causes_of_a_redo_add_up_to_all_documents(tmp_path):
    folder = tmp_path / "stack"
    folder.mkdir()
    for number in range(40):
        Image.new("L", (500, 400)).save(folder / f"{number:02}.png")
    rows = [{"key": document_key(found.uri, found.version)} for found in scan("stack")][:30]
    past = RunHistory(pl.DataFrame(rows, schema=OUTCOME_COLUMNS), pl.DataFrame(schema=FAILURE_COLUMNS | REASON_COLUMN))
    config = build_config("stack", redo="all")  # the name of the source is the seed of the sample
    causes = estimate(EstimateInputs(config, find_price(config, {}, free=False), past), Sample(10, 10)).causes
    assert causes.sampled
    assert sum(share.documents for share in causes.groups.values()) == 40
    assert causes.groups["done"].documents > causes.groups["new"].documents


def test_sample_of_an_empty_source_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    config = build_config(tmp_path / "empty")
    with pytest.raises(ConfigurationError, match="holds no images"):
        estimate(EstimateInputs(config, None), Sample(10, 10))
