"""bill/tariff.py: low, expected and high of one page, by hand-counted tokens at a dollar a token."""

from decimal import Decimal

import pytest

from extractors.bill import Tariff, estimate_costs, estimate_text_tokens
from extractors.core import UNSEEN, LadderStep
from extractors.core.money import Costs, Price
from extractors.core.tiles import NAMES, Size, get_rule

MILLION = 1_000_000
PRICE = Price(Decimal(MILLION), Decimal(1000 * MILLION))  # a token of input is a dollar, one of output a thousand
PHOTO = Size(4032, 3024)  # formula and table 6404, qwen2 15554: the largest of all rules
SMALL = Size(800, 600)  # formula 1601, table 6404: they disagree


def tariff(name="table", price=PRICE, **more):
    """A tariff of this rule with a prompt of 400 bytes; 300 tokens of answer expected, 2048 at most."""
    return Tariff(get_rule(name), price, 400, 100, 300, 2048, **more)


def step(size, name="table"):
    """A picture of this size, sent as it is."""
    tokens = get_rule(name).tokens(size)
    return LadderStep(tokens, size, tokens)


@pytest.mark.parametrize(("size", "smaller"), [(SMALL, 1601), (Size(1280, 720), 3202), (Size(300, 300), 1601)])
def test_low_is_the_smaller_reading_while_nothing_is_known(size, smaller):
    """Uncalibrated, the formula and the table both may be true: the low estimate takes the smaller, and no answer."""
    assert estimate_costs(tariff(), step(size), first=True).low == smaller + 100


@pytest.mark.parametrize("known", [{"trusted": True}, {"calibrated": True}])
def test_low_is_the_rule_itself_once_it_is_known(known):
    """A rule that was given or measured is believed."""
    assert estimate_costs(tariff(**known), step(SMALL), first=True).low == 6404 + 100


def test_low_is_the_given_rule_even_where_another_is_smaller():
    """Under `--bill qwen2` neither of the documented readings plays a part."""
    assert estimate_costs(tariff("qwen2", trusted=True), step(PHOTO, "qwen2"), first=True).low == 15_554 + 100


def test_expected_is_the_rule_the_text_and_the_mean_answer():
    """The rule in force, the text estimate and the output that is expected."""
    assert estimate_costs(tariff(), step(SMALL), first=True).expected == 6404 + 100 + 300 * 1000


def test_expected_bills_the_picture_that_is_sent():
    """What is planned first counts, not the image as it is."""
    assert (
        estimate_costs(tariff(), LadderStep(3202, Size(500, 400), 1601), first=True).expected == 1601 + 100 + 300 * 1000
    )


@pytest.mark.parametrize("known", [{}, {"trusted": True}])
def test_high_is_the_largest_of_all_rules_until_one_was_measured(known):
    """A rule that was merely named may be wrong: the worst is any shipped rule, a token a byte, the longest answer."""
    assert estimate_costs(tariff(**known), step(PHOTO), first=True).high == 15_554 + 400 + 2048 * 1000


@pytest.mark.parametrize("size", [PHOTO, SMALL, Size(300, 300), Size(560, 2240), Size(1, 1)])
def test_high_is_no_less_than_any_shipped_rule(size):
    """Whatever the server turns out to count, the first call does not cost more."""
    worst = max(get_rule(name).tokens(size) for name in NAMES)
    assert estimate_costs(tariff(), step(size), first=True).high == worst + 400 + 2048 * 1000


def test_high_is_the_rule_itself_once_it_was_measured():
    """A calibrated rule is not multiplied by what other models count."""
    assert estimate_costs(tariff(calibrated=True), step(PHOTO), first=True).high == 6404 + 400 + 2048 * 1000


def test_high_covers_a_flat_rule_above_all_others():
    """A rule in force that counts more than every shipped one is the worst case itself."""
    assert (
        estimate_costs(tariff("flat:50000"), step(SMALL, "flat:50000"), first=True).high == 50_000 + 400 + 2048 * 1000
    )


def test_a_later_page_adds_its_picture_only():
    """A document's text and answer are counted with its first page."""
    later = estimate_costs(tariff(), step(SMALL), first=False)
    assert later == Costs(low=Decimal(1601), expected=Decimal(6404), high=Decimal(6404))


def test_an_unknown_price_makes_unknown_costs():
    """None, never 0."""
    assert estimate_costs(tariff(price=None), step(SMALL), first=True) == Costs(None, None, None)


def test_a_free_model_costs_nothing():
    """0 is known, and is not None."""
    assert estimate_costs(tariff(price=Price(Decimal(0), Decimal(0))), step(SMALL), first=True) == Costs()


def test_costs_add_up():
    """Low adds to low, expected to expected, high to high."""
    one, two = (Costs(Decimal(n), Decimal(10 * n), Decimal(100 * n)) for n in (1, 2))
    assert one + two == Costs(Decimal(3), Decimal(30), Decimal(300))


@pytest.mark.parametrize("order", [1, -1])
def test_a_sum_is_unknown_once_a_part_is(order):
    """One image without a price makes the run's cost unknown, whichever comes first."""
    first, second = [Costs(Decimal(1), Decimal(1), Decimal(1)), Costs(Decimal(1), None, None)][::order]
    assert first + second == Costs(Decimal(2), None, None)


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (400, 100)])
def test_four_bytes_are_a_token(size, tokens):
    """The text estimate rounds up."""
    assert estimate_text_tokens(size) == tokens


@pytest.mark.parametrize(("more", "tokens"), [(0, 100), (1, 101), (40, 110)])
def test_a_longer_text_is_estimated_on_top_of_the_prompt(more, tokens):
    """What a second question adds is counted from the prompt's own estimate."""
    assert tariff().expect_text_tokens(more) == tokens


@pytest.fixture
def video():
    """A video, for which 5,000 tokens were asked for."""
    return LadderStep(0, UNSEEN, 5000)


def test_nobody_knows_what_a_video_costs(video):
    """No rule bills it: where nothing is expected of it, its costs are unknown, never 0."""
    assert estimate_costs(tariff(), video, first=True) == Costs(None, None, None)


def test_a_video_costs_what_is_expected_of_it(video):
    """A person's number stands for low, expected and high alike, beside text and answer."""
    told = estimate_costs(tariff(video_tokens=5000), video, first=True)
    assert told == Costs(*(Decimal(sum(each)) for each in [(5000, 100), (5000, 100, 300_000), (5000, 400, 2_048_000)]))
