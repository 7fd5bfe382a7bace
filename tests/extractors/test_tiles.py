"""tiles.py: every rule against the documented tables, and the promises of native sizes and fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.tiles import NAMES, Size, fit, rule, worst

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


@pytest.mark.parametrize(("width", "height", "formula", "table", "mllama", "kimi", "qwen3"), BILLS)
def test_every_documented_bill(width, height, formula, table, mllama, kimi, qwen3):
    """Each rule gives the documented number (the Qwen grid is documented without its two markers)."""
    size = Size(width, height)
    bills = {name: rule(name).tokens(size) for name in ("formula", "table", "mllama", "kimi", "qwen3")}
    assert bills == {"formula": formula, "table": table, "mllama": mllama, "kimi": kimi, "qwen3": qwen3}


def test_native_grids_pass_the_tile_ceiling_on_a_phone_photo():
    """A 12-megapixel photo costs 15,554 by qwen2 and 11,846 by qwen3: the worst case of an unknown model."""
    photo = Size(4032, 3024)
    assert (rule("qwen2").tokens(photo), rule("qwen3").tokens(photo), worst(photo)) == (15_554, 11_846, 15_554)


def test_a_long_picture_keeps_its_bill_when_it_is_shrunk():
    """At 2240 px this one would lose the second tile of its short side: it stays just large enough."""
    assert rule("formula").native(Size(3410, 1523)) == Size(2507, 1120)


@pytest.mark.parametrize(("width", "height", "tokens"), [(1024, 1024, 765), (2048, 4096, 1105), (512, 512, 255)])
def test_openai_bills_what_its_guide_says(width, height, tokens):
    assert rule("openai").tokens(Size(width, height)) == tokens


def test_flat_bills_its_number_whatever_the_size():
    assert rule("flat:280").tokens(Size(9000, 10)) == 280


@pytest.mark.parametrize("name", ["flat", "flat:", "flat:0", "flat:-1", "flat:x", "tile", "auto", ""])
def test_an_unknown_rule_is_refused_with_what_is_allowed(name):
    with pytest.raises(ValueError, match="formula, table, mllama"):
        rule(name)


@given(size=sizes, name=st.sampled_from(NAMES))
def test_the_native_size_has_the_same_bill_and_is_never_larger(size, name):
    """What `shrink` takes away is neither seen nor billed."""
    bill = rule(name)
    native = bill.native(size)
    assert native.width <= size.width
    assert native.height <= size.height
    assert bill.tokens(native) == bill.tokens(size)


@given(size=sizes, name=st.sampled_from(NAMES), share=st.sampled_from([0.25, 0.5, 1.0]))
def test_a_fit_is_the_largest_that_the_budget_pays(size, name, share):
    """The fitted size is within the budget; one pixel more on its longest side is not, or would be shrunk for free."""
    bill = rule(name)
    budget = int(bill.tokens(size) * share)
    fitted = fit(bill, size, budget)
    within = bill.tokens(fitted) <= budget if fitted else bill.tokens(size.scaled(1)) > budget
    larger = size.scaled((fitted.longest if fitted else 0) + 1)
    whole = fitted == bill.native(size)
    shrunk = fitted is not None and bill.native(larger).longest <= fitted.longest
    assert within
    assert whole or shrunk or bill.tokens(larger) > budget


@given(size=sizes)
def test_a_longest_side_of_560_is_one_tile_by_every_tile_rule(size):
    small = size.scaled(min(560, size.longest))
    assert {rule(name).tokens(small) for name in ("formula", "table", "mllama")} == {1601}
