"""probes.py: which shipped or fitted rule explains four measured pictures, and when none does."""

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
    """The finding for probes with this many image tokens."""
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


def test_documented_probes_tell_the_shipped_rules_apart():
    sizes, *columns = zip(*DOCUMENTED, strict=True)
    assert sizes == PROBES
    assert [solve_probes(*column).rule.name for column in columns] == ["formula", "table", "mllama", "kimi", "qwen3"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_rule_is_identified_from_its_own_bill(name):
    finding = solve_probes(*bill_probes(get_rule(name)))
    assert (finding.rule.name, finding.exact, finding.explains) == (name, True, True)
    assert (finding.text_tokens, set(finding.residuals.values())) == (TEXT, {0})


@given(name=st.sampled_from(NAMES), added=st.tuples(markers, markers, markers, markers))
def test_rule_is_identified_despite_up_to_five_markers_an_image(name, added):
    """The markers are residuals of the finding."""
    bills = bill_probes(get_rule(name))
    finding = solve_probes(*(tokens + more for tokens, more in zip(bills, added, strict=True)))
    assert finding.rule.name == name
    assert finding.exact
    assert tuple(finding.residuals.values()) == added
    assert dict(finding.image_tokens) == {
        size: tokens + more for size, tokens, more in zip(PROBES, bills, added, strict=True)
    }


@pytest.mark.parametrize(("largest", "name"), [(6532, "table"), (6533, "fitted")])
def test_shipped_rule_may_differ_by_two_per_cent(largest, name):
    assert solve_probes(1601, largest, 6404, 3202).rule.name == name


@given(tokens=st.integers(20, 5000), added=st.tuples(markers, markers, markers, markers))
def test_probes_within_a_few_markers_are_a_flat_rule_of_the_largest(tokens, added):
    """A budget holds with the largest."""
    largest = max(added)
    near = tuple(max(more, largest - 8) for more in added)
    assert solve_probes(*(tokens + more for more in near)).rule.name == f"flat:{tokens + largest}"


@pytest.mark.parametrize(
    ("image_tokens", "text"),
    [
        ((1700, 1700, 3400, 3400), "fitted:formula:1=1700,2=3400,4=6800"),
        ((1700, 6800, 6800, 3400), "fitted:table:1=1700,2=3400,4=6800"),
        ((1700, 6800, 6800, 6800), "fitted:mllama:1=1700,2=3400,3=5100,4=6800"),
        (
            (1700, 6805, 6805, 6800),
            "fitted:mllama:1=1700,2=3402,3=5104,4=6805",
        ),  # a third count of tiles explains no more
        ((1700, 6800, 6793, 3400), "fitted:table:1=1700,2=3400,4=6800"),  # the larger of two measured values
    ],
)
def test_tiles_of_another_price_are_fitted(image_tokens, text):
    """The fitted geometry is the one that explains the probes with the fewest tile counts, at the measured tokens."""
    finding = solve_probes(*image_tokens)
    assert (finding.rule.text, finding.exact, finding.explains) == (text, False, True)


@given(tokens=st.integers(1700, 6000), geometry=st.sampled_from(sorted(GEOMETRIES)))
def test_fitted_rule_has_the_tile_price_of_the_server(tokens, geometry):
    bill = fit_rule(geometry, {count: count * tokens for count in GEOMETRIES[geometry].counts})
    assert solve_probes(*bill_probes(bill)).rule == bill


@given(image_tokens=st.tuples(*[st.integers(9, 20_000)] * 4))
def test_fitted_rule_never_bills_less_than_was_measured(image_tokens):
    """For probes that no rule explains, the fitted rule still bounds their bill, and the finding says that it does not explain them."""
    finding = solve_probes(*image_tokens)
    residuals = finding.residuals.values()
    assert finding.exact or max(residuals) <= 0
    assert finding.explains or (not finding.exact and min(residuals) < -8)
    assert parse_rule(finding.rule.text) == finding.rule


def test_finding_says_that_no_rule_explains_an_unknown_model_of_patches():
    """A rule is fitted all the same."""
    finding = solve_probes(260, 353, 957, 1280)
    assert (finding.exact, finding.explains) == (False, False)


@pytest.mark.parametrize("image_tokens", [(0, 0, 0, 0), (-3, 0, 0, 0), (8, 8, 8, 8), (1601, 6404, 6404, 0)])
def test_server_that_does_not_count_images_is_refused(image_tokens):
    """Probes that differ by markers alone have no rule."""
    with pytest.raises(ConfigurationError, match="the server's usage does not count images"):
        solve_probes(*image_tokens)


def test_error_names_the_probe_and_both_prompt_counts():
    words = re.escape("1,031 prompt tokens with one of 500x500 px, 1,031 without")
    with pytest.raises(ConfigurationError, match=words):
        solve_probes(0, 0, 0, 0, text=1031)
