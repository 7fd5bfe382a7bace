"""tariff.py: the low, expected and high costs of one page, at a dollar an input token."""

from decimal import Decimal

import pytest

from extractors.bill import Tariff, estimate_costs, estimate_text_tokens
from extractors.core import UNSEEN, LadderStep
from extractors.core.money import Costs, Price
from extractors.core.tiles import NAMES, Size, get_rule

MILLION = 1_000_000
PRICE = Price(Decimal(MILLION), Decimal(1000 * MILLION))  # a token of input is a dollar, one of output a thousand
PHOTO = Size(4032, 3024)  # formula and table 6404, qwen2 15554: the largest of all rules
SMALL = Size(800, 600)  # formula 1601, table 6404


def make_tariff(name="table", price=PRICE, **fields):
    """A tariff of this rule with a prompt of 400 bytes; 300 output tokens are expected, 2048 the maximum."""
    return Tariff(get_rule(name), price, 400, 100, 300, 2048, **fields)


def make_step(size, name="table"):
    """A step that sends an image of this size as it is."""
    tokens = get_rule(name).tokens(size)
    return LadderStep(tokens, size, tokens)


@pytest.mark.parametrize(("size", "smaller"), [(SMALL, 1601), (Size(1280, 720), 3202), (Size(300, 300), 1601)])
def test_low_is_the_smaller_of_formula_and_table_without_calibration(size, smaller):
    """It has no answer."""
    assert estimate_costs(make_tariff(), make_step(size), first=True).low == smaller + 100


@pytest.mark.parametrize("flags", [{"trusted": True}, {"calibrated": True}])
def test_low_is_the_rule_in_force_once_it_is_trusted_or_calibrated(flags):
    assert estimate_costs(make_tariff(**flags), make_step(SMALL), first=True).low == 6404 + 100


def test_low_is_the_trusted_rule_though_formula_and_table_are_smaller():
    assert estimate_costs(make_tariff("qwen2", trusted=True), make_step(PHOTO, "qwen2"), first=True).low == 15_554 + 100


def test_expected_is_the_rule_in_force_the_text_and_the_expected_answer():
    assert estimate_costs(make_tariff(), make_step(SMALL), first=True).expected == 6404 + 100 + 300 * 1000


def test_expected_has_the_tokens_of_the_image_that_is_sent():
    assert (
        estimate_costs(make_tariff(), LadderStep(3202, Size(500, 400), 1601), first=True).expected
        == 1601 + 100 + 300 * 1000
    )


@pytest.mark.parametrize("flags", [{}, {"trusted": True}])
def test_high_is_the_largest_of_all_rules_without_calibration(flags):
    """It has a token for each byte of text and the longest answer; a trusted rule may be wrong."""
    assert estimate_costs(make_tariff(**flags), make_step(PHOTO), first=True).high == 15_554 + 400 + 2048 * 1000


@pytest.mark.parametrize("size", [PHOTO, SMALL, Size(300, 300), Size(560, 2240), Size(1, 1)])
def test_high_is_no_less_than_any_shipped_rule(size):
    worst = max(get_rule(name).tokens(size) for name in NAMES)
    assert estimate_costs(make_tariff(), make_step(size), first=True).high == worst + 400 + 2048 * 1000


def test_high_is_the_rule_in_force_once_it_is_calibrated():
    assert estimate_costs(make_tariff(calibrated=True), make_step(PHOTO), first=True).high == 6404 + 400 + 2048 * 1000


def test_high_covers_a_flat_rule_above_all_others():
    assert (
        estimate_costs(make_tariff("flat:50000"), make_step(SMALL, "flat:50000"), first=True).high
        == 50_000 + 400 + 2048 * 1000
    )


def test_later_page_costs_only_its_image_tokens():
    """Text and answer are in the costs of the first page."""
    later = estimate_costs(make_tariff(), make_step(SMALL), first=False)
    assert later == Costs(low=Decimal(1601), expected=Decimal(6404), high=Decimal(6404))


def test_unknown_price_gives_unknown_costs():
    """They are None and never 0."""
    assert estimate_costs(make_tariff(price=None), make_step(SMALL), first=True) == Costs(None, None, None)


def test_price_of_zero_gives_costs_of_zero():
    """They are known."""
    assert estimate_costs(make_tariff(price=Price(Decimal(0), Decimal(0))), make_step(SMALL), first=True) == Costs()


def test_costs_are_added_by_kind():
    one, two = (Costs(Decimal(n), Decimal(10 * n), Decimal(100 * n)) for n in (1, 2))
    assert one + two == Costs(Decimal(3), Decimal(30), Decimal(300))


@pytest.mark.parametrize("order", [1, -1])
def test_sum_of_costs_is_unknown_if_a_part_is_unknown(order):
    first, second = [Costs(Decimal(1), Decimal(1), Decimal(1)), Costs(Decimal(1), None, None)][::order]
    assert first + second == Costs(Decimal(2), None, None)


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (400, 100)])
def test_text_tokens_are_a_quarter_of_the_bytes_rounded_up(size, tokens):
    assert estimate_text_tokens(size) == tokens


@pytest.mark.parametrize(("more", "tokens"), [(0, 100), (1, 101), (40, 110)])
def test_longer_text_adds_a_quarter_of_its_bytes_to_the_tokens_of_the_prompt(more, tokens):
    assert make_tariff().expect_text_tokens(more) == tokens


@pytest.fixture
def video():
    """A step for a video with 5,000 configured tokens."""
    return LadderStep(0, UNSEEN, 5000)


def test_video_without_configured_tokens_has_unknown_costs(video):
    """No rule bills it."""
    assert estimate_costs(make_tariff(), video, first=True) == Costs(None, None, None)


def test_video_costs_its_configured_tokens_text_and_answer(video):
    """The configured tokens are in low, expected and high alike."""
    costs = estimate_costs(make_tariff(video_tokens=5000), video, first=True)
    assert costs == Costs(
        *(Decimal(sum(tokens)) for tokens in [(5000, 100), (5000, 100, 300_000), (5000, 400, 2_048_000)])
    )
