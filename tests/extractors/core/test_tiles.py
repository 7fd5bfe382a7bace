"""tiles.py: each bill rule against the documented tables, and the properties of native sizes and fitted sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.core.tiles import GEOMETRIES, NAMES, Size, fit_rule, fit_size, get_rule, parse_rule, worst_tokens

# width, height, formula, table, mllama, kimi, qwen3: the documented token counts.
BILLS = [
    (300, 300, 1601, 1601, 1601, 121, 83),
    (560, 560, 1601, 1601, 1601, 400, 326),
    (561, 561, 1601, 6404, 6404, 441, 326),
    (640, 480, 1601, 3202, 3202, 414, 302),
    (800, 600, 1601, 6404, 6404, 638, 477),
    (1119, 1119, 1601, 6404, 6404, 1600, 1227),
    (1120, 1120, 6404, 6404, 6404, 1600, 1227),
    (1280, 720, 3202, 6404, 6404, 1196, 882),
    (1920, 1080, 3202, 6404, 6404, 2691, 2042),
    (3840, 2160, 6404, 6404, 6404, 4214, 8162),
    (2000, 500, 3202, 3202, 6404, 1296, 994),
    (560, 2240, 3202, 3202, 6404, 1600, 1262),
]
sizes = st.builds(Size, st.integers(1, 6000), st.integers(1, 6000))
measurements = st.sampled_from(sorted(GEOMETRIES)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.dictionaries(st.sampled_from(GEOMETRIES[name].counts), st.integers(1, 20_000), min_size=1),
    )
)
fitted_rules = measurements.map(lambda measurement: fit_rule(*measurement))
tile_rules = st.one_of(st.sampled_from(sorted(GEOMETRIES)).map(get_rule), fitted_rules)
rules = st.one_of(st.sampled_from(NAMES).map(get_rule), fitted_rules)


@pytest.mark.parametrize(("width", "height", "formula", "table", "mllama", "kimi", "qwen3"), BILLS)
def test_rule_bills_the_documented_tokens(width, height, formula, table, mllama, kimi, qwen3):
    """The Qwen grid is documented without its two marker tokens."""
    size = Size(width, height)
    bills = {name: get_rule(name).tokens(size) for name in ("formula", "table", "mllama", "kimi", "qwen3")}
    assert bills == {"formula": formula, "table": table, "mllama": mllama, "kimi": kimi, "qwen3": qwen3}


def test_worst_tokens_of_a_phone_photo_are_those_of_a_native_grid():
    """A 12-megapixel photo costs 15,554 tokens by qwen2 and 11,846 by qwen3, which is above any tile rule."""
    photo = Size(4032, 3024)
    assert (get_rule("qwen2").tokens(photo), get_rule("qwen3").tokens(photo), worst_tokens(photo)) == (
        15_554,
        11_846,
        15_554,
    )


def test_native_size_keeps_the_tiles_of_a_long_image():
    """At a width of 2240 pixels this image would lose the second tile of its short side."""
    assert get_rule("formula").native(Size(3410, 1523)) == Size(2507, 1120)


@pytest.mark.parametrize(("width", "height", "tokens"), [(1024, 1024, 765), (2048, 4096, 1105), (512, 512, 255)])
def test_openai_rule_bills_the_tokens_of_its_guide(width, height, tokens):
    assert get_rule("openai").tokens(Size(width, height)) == tokens


def test_flat_rule_bills_its_number_for_any_size():
    assert get_rule("flat:280").tokens(Size(9000, 10)) == 280


@pytest.mark.parametrize(
    "name",
    ["flat", "flat:", "flat:0", "flat:-1", "flat:x", "tile", "auto", "", "fitted", "fitted:table:1=1700,2=3400,4=6800"],
)
def test_get_rule_refuses_an_unknown_rule_and_lists_the_known_ones(name):
    with pytest.raises(ValueError, match="formula, table, mllama"):
        get_rule(name)


def test_fitted_rule_bills_the_measured_tokens_by_tiles():
    """It has the tiles and the native size of the rule that it is fitted to."""
    bill = fit_rule("table", {1: 1700, 2: 3300, 4: 6500})
    bills = [bill.tokens(Size(*size)) for size in [(500, 500), (500, 561), (561, 561)]]
    assert (bill.name, bills, bill.native(Size(4032, 3024))) == ("fitted", [1700, 3300, 6500], Size(2240, 1680))


@pytest.mark.parametrize(
    ("geometry", "measured", "table"),
    [
        ("formula", {1: 1700, 2: 3400}, "1=1700,2=3400,4=6800"),
        ("formula", {1: 255, 2: 425}, "1=255,2=425,4=850"),  # the mean cost per tile is higher
        ("formula", {1: 353, 2: 1280}, "1=353,2=1280,4=3134"),  # the cost of the last tile is higher
        ("mllama", {1: 1700, 4: 6000}, "1=1700,2=3134,3=4567,4=6000"),  # interpolated, rounded up
        ("table", {4: 6800}, "1=1700,2=3400,4=6800"),
        ("table", {1: 1700, 2: 1500, 4: 1600}, "1=1700,2=1700,4=1700"),  # more tiles never cost less
    ],
)
def test_fit_rule_fills_in_unmeasured_tile_counts(geometry, measured, table):
    assert fit_rule(geometry, measured).text == f"fitted:{geometry}:{table}"


@pytest.mark.parametrize("measured", [{}, {3: 1700}, {1: 0}, {1: -5}])
def test_fit_rule_refuses_impossible_measurements(measured):
    with pytest.raises(ValueError, match="not a table of tokens by tiles for table"):
        fit_rule("table", measured)


def test_fitted_ladder_has_the_costs_of_one_two_and_four_tiles():
    """With the shipped token count it is the shipped ladder; tile counts of equal cost are one rung."""
    ladders = [fit_rule("table", {4: tokens}).rungs(Size(1, 1)) for tokens in (6404, 8000)]
    flat = fit_rule("table", {1: 1700, 2: 6800, 4: 6800}).rungs(Size(1, 1))
    assert [*ladders, flat] == [(1601, 3202, 6404), (2000, 4000, 8000), (1700, 6800)]


@given(measured=measurements)
def test_fitted_table_is_rising_and_never_below_the_measurements(measured):
    geometry, tokens = measured
    table = dict(pair.split("=") for pair in fit_rule(*measured).text.split(":")[2].split(","))
    bills = [int(table[str(count)]) for count in GEOMETRIES[geometry].counts]
    assert bills == sorted(bills)
    assert all(int(table[str(count)]) >= tokens[count] for count in tokens)


@given(bill=rules, size=sizes)
def test_rule_round_trips_through_its_text(bill, size):
    """The text preserves tokens, native size and ladder."""
    restored = parse_rule(bill.text)
    assert restored == bill
    assert (restored.tokens(size), restored.native(size)) == (bill.tokens(size), bill.native(size))
    assert restored.rungs(size) == bill.rungs(size)


@pytest.mark.parametrize(
    "text",
    [
        "fitted",
        "fitted:",
        "fitted:table",
        "fitted:tile:1=1700,2=3400,4=6800",
        "fitted:table:1=1700,2=3400",
        "fitted:table:1=1700,2=3400,4=6800,",
        "fitted:table:1=1700,2=3400,4=3399",
        "fitted:table:1=1700,1=1700,2=3400,4=6800",
        "fitted:table:1=01700,2=3400,4=6800",
        "fitted:table:1=x,2=3400,4=6800",
        "fitted:qwen2:1=1700",
    ],
)
def test_parse_rule_refuses_a_malformed_fitted_rule(text):
    """A truncated or edited table must not bill anything."""
    with pytest.raises(ValueError, match="run `tilewise calibrate` anew"):
        parse_rule(text)


def test_parse_rule_refuses_an_unknown_name_and_lists_the_known_ones():
    with pytest.raises(ValueError, match="formula, table, mllama"):
        parse_rule("tile")


@given(size=sizes, bill=rules)
def test_native_size_has_the_same_bill_and_is_never_larger(size, bill):
    """The pixels that `shrink` removes are neither seen nor billed."""
    native = bill.native(size)
    assert native.width <= size.width
    assert native.height <= size.height
    assert bill.tokens(native) == bill.tokens(size)


@given(size=sizes, bill=tile_rules, data=st.data())
def test_tile_bill_never_falls_with_size_up_to_the_native_size(size, bill, data):
    """Bisection relies on it; qwen2 is excluded, because it bills a tiny image by proportions that rounding changes."""
    longest = data.draw(st.integers(1, bill.native(size).longest))
    smaller = data.draw(st.integers(1, longest))
    assert bill.tokens(size.scale_to(smaller)) <= bill.tokens(size.scale_to(longest)) <= bill.tokens(size)


@given(size=sizes, geometry=st.sampled_from(sorted(GEOMETRIES)))
def test_native_size_of_a_fitted_rule_keeps_tiles_that_cost_nothing(size, geometry):
    """The model sees tiles without additional cost, so shrinking for free removes none."""
    tiles, bill = GEOMETRIES[geometry].tiles, fit_rule(geometry, {1: 1000, 4: 1000})
    assert tiles(bill.native(size)) == tiles(size)


@given(size=sizes, bill=rules, share=st.sampled_from([0.25, 0.5, 1.0]))
def test_fit_size_returns_the_largest_size_within_the_budget(size, bill, share):
    """One more pixel on the longest side exceeds the budget, or would be removed for free."""
    budget = int(bill.tokens(size) * share)
    fitted = fit_size(bill, size, budget)
    within = bill.tokens(fitted) <= budget if fitted else bill.tokens(size.scale_to(1)) > budget
    larger = size.scale_to((fitted.longest if fitted else 0) + 1)
    whole = fitted == bill.native(size)
    shrunk = fitted is not None and bill.native(larger).longest <= fitted.longest
    assert within
    assert whole or shrunk or bill.tokens(larger) > budget


@given(size=sizes, bill=fitted_rules)
def test_each_rung_of_a_fitted_ladder_affords_an_image(size, bill):
    """The first rung affords one tile at any cost per tile; the last affords the whole image."""
    fitted = [fit_size(bill, size, rung) for rung in bill.rungs(size)]
    assert None not in fitted
    assert bill.tokens(fitted[-1]) == bill.tokens(size)


@given(size=sizes)
def test_image_of_560_pixels_is_one_tile_by_every_tile_rule(size):
    small = size.scale_to(min(560, size.longest))
    assert {get_rule(name).tokens(small) for name in ("formula", "table", "mllama")} == {1601}
