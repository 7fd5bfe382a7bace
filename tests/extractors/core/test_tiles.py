"""tiles.py: every rule against the documented tables, and the promises of native sizes and fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.core.tiles import GEOMETRIES, NAMES, Size, fit_rule, fit_size, get_rule, parse_rule, worst_tokens

# width, height, formula, table, mllama, kimi, qwen3: the documented readings, row by row.
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
fitted_rules = measurements.map(lambda each: fit_rule(*each))
tile_rules = st.one_of(st.sampled_from(sorted(GEOMETRIES)).map(get_rule), fitted_rules)
rules = st.one_of(st.sampled_from(NAMES).map(get_rule), fitted_rules)


@pytest.mark.parametrize(("width", "height", "formula", "table", "mllama", "kimi", "qwen3"), BILLS)
def test_every_documented_bill(width, height, formula, table, mllama, kimi, qwen3):
    """Each rule gives the documented number (the Qwen grid is documented without its two markers)."""
    size = Size(width, height)
    bills = {name: get_rule(name).tokens(size) for name in ("formula", "table", "mllama", "kimi", "qwen3")}
    assert bills == {"formula": formula, "table": table, "mllama": mllama, "kimi": kimi, "qwen3": qwen3}


def test_native_grids_pass_the_tile_ceiling_on_a_phone_photo():
    """A 12-megapixel photo costs 15,554 by qwen2 and 11,846 by qwen3: the worst case of an unknown model."""
    photo = Size(4032, 3024)
    assert (get_rule("qwen2").tokens(photo), get_rule("qwen3").tokens(photo), worst_tokens(photo)) == (
        15_554,
        11_846,
        15_554,
    )


def test_a_long_picture_keeps_its_bill_when_it_is_shrunk():
    """At 2240 px this one would lose the second tile of its short side: it stays just large enough."""
    assert get_rule("formula").native(Size(3410, 1523)) == Size(2507, 1120)


@pytest.mark.parametrize(("width", "height", "tokens"), [(1024, 1024, 765), (2048, 4096, 1105), (512, 512, 255)])
def test_openai_bills_what_its_guide_says(width, height, tokens):
    assert get_rule("openai").tokens(Size(width, height)) == tokens


def test_flat_bills_its_number_whatever_the_size():
    assert get_rule("flat:280").tokens(Size(9000, 10)) == 280


@pytest.mark.parametrize(
    "name",
    ["flat", "flat:", "flat:0", "flat:-1", "flat:x", "tile", "auto", "", "fitted", "fitted:table:1=1700,2=3400,4=6800"],
)
def test_an_unknown_rule_is_refused_with_what_is_allowed(name):
    with pytest.raises(ValueError, match="formula, table, mllama"):
        get_rule(name)


def test_a_fitted_rule_bills_what_was_measured_for_each_count_of_tiles():
    """The picture is cut as by the rule that it is fitted to, and keeps that rule's native size."""
    bill = fit_rule("table", {1: 1700, 2: 3300, 4: 6500})
    bills = [bill.tokens(Size(*size)) for size in [(500, 500), (500, 561), (561, 561)]]
    assert (bill.name, bills, bill.native(Size(4032, 3024))) == ("fitted", [1700, 3300, 6500], Size(2240, 1680))


@pytest.mark.parametrize(
    ("geometry", "measured", "table"),
    [
        ("formula", {1: 1700, 2: 3400}, "1=1700,2=3400,4=6800"),
        ("formula", {1: 255, 2: 425}, "1=255,2=425,4=850"),  # as dear as the mean tile
        ("formula", {1: 353, 2: 1280}, "1=353,2=1280,4=3134"),  # as dear as the last tile
        ("mllama", {1: 1700, 4: 6000}, "1=1700,2=3134,3=4567,4=6000"),  # between, rounded up
        ("table", {4: 6800}, "1=1700,2=3400,4=6800"),
        ("table", {1: 1700, 2: 1500, 4: 1600}, "1=1700,2=1700,4=1700"),  # more tiles never cost less
    ],
)
def test_counts_of_tiles_that_were_not_measured_are_filled_in(geometry, measured, table):
    assert fit_rule(geometry, measured).text == f"fitted:{geometry}:{table}"


@pytest.mark.parametrize("measured", [{}, {3: 1700}, {1: 0}, {1: -5}])
def test_a_table_that_cannot_be_is_not_fitted(measured):
    with pytest.raises(ValueError, match="not a table of tokens by tiles for table"):
        fit_rule("table", measured)


def test_a_fitted_ladder_pays_for_one_two_and_four_tiles():
    """By the shipped number of tokens it is the shipped ladder; counts of tiles of one price are one rung."""
    ladders = [fit_rule("table", {4: tokens}).rungs(Size(1, 1)) for tokens in (6404, 8000)]
    flat = fit_rule("table", {1: 1700, 2: 6800, 4: 6800}).rungs(Size(1, 1))
    assert [*ladders, flat] == [(1601, 3202, 6404), (2000, 4000, 8000), (1700, 6800)]


@given(measured=measurements)
def test_no_count_of_tiles_is_billed_less_than_measured_or_than_fewer_tiles(measured):
    geometry, tokens = measured
    table = dict(pair.split("=") for pair in fit_rule(*measured).text.split(":")[2].split(","))
    bills = [int(table[str(count)]) for count in GEOMETRIES[geometry].counts]
    assert bills == sorted(bills)
    assert all(int(table[str(count)]) >= tokens[count] for count in tokens)


@given(bill=rules, size=sizes)
def test_a_stored_rule_is_the_same_rule(bill, size):
    """Its text alone says how it bills, what it sees, and its ladder."""
    again = parse_rule(bill.text)
    assert again == bill
    assert (again.tokens(size), again.native(size)) == (bill.tokens(size), bill.native(size))
    assert again.rungs(size) == bill.rungs(size)


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
def test_a_stored_text_that_was_never_written_is_refused(text):
    """Nothing is billed by a table that somebody cut or edited."""
    with pytest.raises(ValueError, match="run `tilewise calibrate` anew"):
        parse_rule(text)


def test_a_stored_name_that_is_no_rule_is_refused_with_what_is_allowed():
    with pytest.raises(ValueError, match="formula, table, mllama"):
        parse_rule("tile")


@given(size=sizes, bill=rules)
def test_the_native_size_has_the_same_bill_and_is_never_larger(size, bill):
    """What `shrink` takes away is neither seen nor billed."""
    native = bill.native(size)
    assert native.width <= size.width
    assert native.height <= size.height
    assert bill.tokens(native) == bill.tokens(size)


@given(size=sizes, bill=tile_rules, data=st.data())
def test_up_to_its_native_size_a_larger_picture_is_never_billed_less_by_tiles(size, bill, data):
    """What bisection stands on (qwen2 bills a picture of a few pixels by its proportions, which rounding moves)."""
    longest = data.draw(st.integers(1, bill.native(size).longest))
    smaller = data.draw(st.integers(1, longest))
    assert bill.tokens(size.scale_to(smaller)) <= bill.tokens(size.scale_to(longest)) <= bill.tokens(size)


@given(size=sizes, geometry=st.sampled_from(sorted(GEOMETRIES)))
def test_a_fitted_rule_keeps_the_tiles_that_are_seen_where_they_cost_nothing(size, geometry):
    """Tiles that cost nothing more are seen all the same: shrinking for free takes none away."""
    tiles, bill = GEOMETRIES[geometry].tiles, fit_rule(geometry, {1: 1000, 4: 1000})
    assert tiles(bill.native(size)) == tiles(size)


@given(size=sizes, bill=rules, share=st.sampled_from([0.25, 0.5, 1.0]))
def test_a_fit_is_the_largest_that_the_budget_pays(size, bill, share):
    """The fitted size is within the budget; one pixel more on its longest side is not, or would be shrunk for free."""
    budget = int(bill.tokens(size) * share)
    fits = fit_size(bill, size, budget)
    within = bill.tokens(fits) <= budget if fits else bill.tokens(size.scale_to(1)) > budget
    larger = size.scale_to((fits.longest if fits else 0) + 1)
    whole = fits == bill.native(size)
    shrunk = fits is not None and bill.native(larger).longest <= fits.longest
    assert within
    assert whole or shrunk or bill.tokens(larger) > budget


@given(size=sizes, bill=fitted_rules)
def test_every_rung_of_a_fitted_ladder_pays_for_a_picture(size, bill):
    """Its rungs are counts of tiles: the first finds a picture whatever a tile costs, the last pays for all of it."""
    fits = [fit_size(bill, size, rung) for rung in bill.rungs(size)]
    assert None not in fits
    assert bill.tokens(fits[-1]) == bill.tokens(size)


@given(size=sizes)
def test_a_longest_side_of_560_is_one_tile_by_every_tile_rule(size):
    small = size.scale_to(min(560, size.longest))
    assert {get_rule(name).tokens(small) for name in ("formula", "table", "mllama")} == {1601}
