"""probes.py: which rule four pictures give away, shipped or fitted, and when they give none away."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.core.errors import ConfigurationError
from extractors.core.tiles import GEOMETRIES, NAMES, fit_rule, get_rule, parse_rule
from extractors.run.probes import PROBES, identify

TEXT = 31
SHIPPED = [*NAMES, "flat:280", "flat:1601"]
markers = st.integers(-5, 5)


def solve_probes(*image_tokens, text=TEXT):
    """What is found where the four probes take so many image tokens."""
    return identify(text, {size: text + tokens for size, tokens in zip(PROBES, image_tokens, strict=True)})


def bill_probes(bill):
    """The image tokens of the four probes by this rule."""
    return [bill.tokens(size) for size in PROBES]


# probe by probe: formula, table, mllama, kimi, qwen3 (documented without its two markers)
DOCUMENTED = [
    ((500, 500), 1601, 1601, 1601, 324, 256),
    ((561, 561), 1601, 6404, 6404, 441, 324),
    ((1280, 720), 3202, 6404, 6404, 1196, 880),
    ((560, 2240), 3202, 3202, 6404, 1600, 1260),
]


def test_the_probes_are_those_that_are_documented():
    """Their documented image tokens are told apart, column by column."""
    sizes, *columns = zip(*DOCUMENTED, strict=True)
    assert sizes == PROBES
    assert [solve_probes(*column).rule.name for column in columns] == ["formula", "table", "mllama", "kimi", "qwen3"]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_rule_is_found_from_its_own_bill(name):
    finding = solve_probes(*bill_probes(get_rule(name)))
    assert (finding.rule.name, finding.exact, finding.explains) == (name, True, True)
    assert (finding.text_tokens, set(finding.residuals.values())) == (TEXT, {0})


@given(name=st.sampled_from(NAMES), added=st.tuples(markers, markers, markers, markers))
def test_a_few_markers_around_an_image_hide_no_rule(name, added):
    """What a server adds to each image is a residual, not another rule."""
    bills = bill_probes(get_rule(name))
    finding = solve_probes(*(tokens + more for tokens, more in zip(bills, added, strict=True)))
    assert finding.rule.name == name
    assert finding.exact
    assert tuple(finding.residuals.values()) == added
    assert dict(finding.image_tokens) == {
        size: tokens + more for size, tokens, more in zip(PROBES, bills, added, strict=True)
    }


@pytest.mark.parametrize(("largest", "name"), [(6532, "table"), (6533, "fitted")])
def test_a_shipped_rule_may_be_off_by_two_per_cent(largest, name):
    assert solve_probes(1601, largest, 6404, 3202).rule.name == name


@given(tokens=st.integers(20, 5000), added=st.tuples(markers, markers, markers, markers))
def test_probes_that_are_all_alike_are_flat_by_the_largest(tokens, added):
    """Within a few markers of each other; a budget holds by the largest."""
    most = max(added)
    near = tuple(max(more, most - 8) for more in added)
    assert solve_probes(*(tokens + more for more in near)).rule.name == f"flat:{tokens + most}"


@pytest.mark.parametrize(
    ("image_tokens", "text"),
    [
        ((1700, 1700, 3400, 3400), "fitted:formula:1=1700,2=3400,4=6800"),
        ((1700, 6800, 6800, 3400), "fitted:table:1=1700,2=3400,4=6800"),
        ((1700, 6800, 6800, 6800), "fitted:mllama:1=1700,2=3400,3=5100,4=6800"),
        ((1700, 6805, 6805, 6800), "fitted:mllama:1=1700,2=3402,3=5104,4=6805"),  # a third number explains nothing more
        ((1700, 6800, 6793, 3400), "fitted:table:1=1700,2=3400,4=6800"),  # the larger of two
    ],
)
def test_tiles_of_another_price_are_fitted(image_tokens, text):
    """The geometry whose counts of tiles explain the probes, with the fewest numbers, at the tokens measured."""
    finding = solve_probes(*image_tokens)
    assert (finding.rule.text, finding.exact, finding.explains) == (text, False, True)


@given(tokens=st.integers(1700, 6000), geometry=st.sampled_from(sorted(GEOMETRIES)))
def test_any_price_of_a_tile_is_found_again(tokens, geometry):
    bill = fit_rule(geometry, {count: count * tokens for count in GEOMETRIES[geometry].counts})
    assert solve_probes(*bill_probes(bill)).rule == bill


@given(image_tokens=st.tuples(*[st.integers(9, 20_000)] * 4))
def test_whatever_is_measured_is_never_billed_lower_by_what_is_fitted(image_tokens):
    """Probes that no rule explains still bound the bill of their own sizes, and the finding says how badly it fits."""
    finding = solve_probes(*image_tokens)
    residuals = finding.residuals.values()
    assert finding.exact or max(residuals) <= 0
    assert finding.explains or (not finding.exact and min(residuals) < -8)
    assert parse_rule(finding.rule.text) == finding.rule


def test_a_model_of_patches_that_is_not_shipped_is_known_not_to_be_explained():
    """Four numbers of a model without tiles: a rule is fitted, and says that it does not explain them."""
    finding = solve_probes(260, 353, 957, 1280)
    assert (finding.exact, finding.explains) == (False, False)


@pytest.mark.parametrize("image_tokens", [(0, 0, 0, 0), (-3, 0, 0, 0), (8, 8, 8, 8), (1601, 6404, 6404, 0)])
def test_a_server_that_counts_no_images_is_said_to(image_tokens):
    """Markers alone are no bill."""
    with pytest.raises(ConfigurationError, match="the server's usage does not count images"):
        solve_probes(*image_tokens)


def test_the_error_names_the_probe_and_both_counts():
    said = re.escape("1,031 prompt tokens with one of 500x500 px, 1,031 without")
    with pytest.raises(ConfigurationError, match=said):
        solve_probes(0, 0, 0, 0, text=1031)
