"""monitors.py: the failure guard, the model guard and the billing monitor."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.core import Attempt, CallRequest, LadderStep, Reply
from extractors.core.errors import Failing, Refused
from extractors.core.money import Costs, Usage
from extractors.core.tiles import NAMES, Size, fit_rule, get_rule
from extractors.core.totals import CascadeTotals, RunTotals
from extractors.run import monitors as module
from extractors.run.monitors import BillingMonitor, FailureGuard, ModelGuard

NOW = datetime(2026, 11, 20, tzinfo=UTC)
NO_TOTALS = RunTotals()
REQUEST = CallRequest("a", "key", "request", 300, (), 100, 2000, 128, 512)
BYTES, ESTIMATE, TEXT = (
    1800,
    450,
    520,
)  # of the text: its bytes, the estimated tokens, the tokens that the server counts
MIXED = [Size(300, 300), Size(561, 561), Size(1119, 791), Size(1280, 720), Size(2000, 500), Size(560, 2240)]
ALIKE = [Size(1119, 791)]


def documents(accepted, failed, cost="0", high="1"):
    """Totals of this many documents."""
    return RunTotals(
        accepted=accepted, failed=failed, cost_usd=Decimal(cost), estimated=Costs(Decimal(0), Decimal(0), Decimal(high))
    )


def test_failure_guard_does_not_check_before_200_documents():
    assert FailureGuard().observe(documents(0, 199)) is None


def test_failure_guard_stops_when_most_documents_fail():
    guard = FailureGuard()
    guard.observe(documents(90, 109))
    assert guard.observe(documents(0, 1)).status == "failing"


def test_failure_guard_does_not_count_the_cost_of_climbs():
    """A climb is configured, and no estimate includes it."""
    climbing = replace(documents(200, 0, cost="2.5"), cascade=CascadeTotals(climb_usd=Decimal("0.5")))
    assert FailureGuard().observe(climbing) is None
    assert FailureGuard().observe(documents(200, 0, cost="2.5")).status == "failing"


def test_failure_guard_allows_exactly_half():
    assert FailureGuard().observe(documents(100, 100)) is None


def test_failure_guard_allows_more_failures_by_fail_above():
    """A share over one half raises the limit."""
    assert FailureGuard(fail_above=0.9).observe(documents(30, 170)) is None


def test_failure_guard_checks_again_after_a_thousand_documents():
    guard = FailureGuard()
    assert guard.observe(documents(200, 0)) is None
    assert guard.observe(documents(0, 999)) is None
    assert isinstance(guard.observe(documents(0, 1)), Failing)


@pytest.mark.parametrize(("cost", "stops"), [("2", False), ("2.01", True)])
def test_failure_guard_stops_above_twice_the_high_estimate(cost, stops):
    assert isinstance(FailureGuard().observe(documents(200, 0, cost)), Failing) is stops


def build_attempt(model, status=200):
    """An attempt that a model of this name answered."""
    return Attempt(REQUEST, NOW, 1.0, "accepted", "yes", Reply(status, "", model=model))


LOST = Attempt(REQUEST, NOW, 1.0, "connection", "unknown")


def build_model_guard(*earlier_names, stops=False):
    """A guard of a run whose last run was answered by models of these names."""
    return ModelGuard("maker/model", frozenset(earlier_names), stops)


@pytest.mark.parametrize("earlier_names", [(), ("one",), ("one", "two")])
def test_model_guard_accepts_names_of_the_last_run(earlier_names):
    """The first run accepts every name."""
    guard = build_model_guard(*earlier_names, stops=True)
    assert guard.observe(NO_TOTALS, [build_attempt("one"), LOST, build_attempt(None)]) is None
    assert guard.warning() is None
    assert guard.names == {"one"}


def test_model_guard_warns_of_a_new_name():
    """The warning has the requested, the new and the earlier names."""
    guard = build_model_guard("one", "two")
    assert guard.observe(NO_TOTALS, [build_attempt("two"), build_attempt("four"), build_attempt("three")]) is None
    assert "maker/model was answered by four, three, in the last run by one, two" in guard.warning()


def test_model_guard_stops_at_a_new_name_if_configured():
    """The error names the setting."""
    stop = build_model_guard("one", stops=True).observe(NO_TOTALS, [build_attempt("two")])
    assert isinstance(stop, Refused)
    assert "maker/model was answered by two, in the last run by one" in stop.message
    assert "set TILEWISE_ON_MODEL_CHANGE=warn to go on with it" in stop.message


def test_model_guard_ignores_calls_without_an_answer():
    """They have no model name."""
    guard = build_model_guard("one", stops=True)
    assert guard.observe(NO_TOTALS, [LOST, LOST]) is None
    assert guard.names == set()


def build_image_attempt(sizes, prompt, in_force="formula", text_tokens=ESTIMATE):
    """An answered attempt that sent images of these sizes; without a usage where `prompt` is None."""
    steps = tuple(LadderStep(6404, size, get_rule(in_force).tokens(size)) for size in sizes)
    usage = None if prompt is None else Usage(prompt=prompt, completion=50)
    request = CallRequest("a", "key", "request", 0, steps, text_tokens, 20_000, 300, 2048)
    return Attempt(request, NOW, 1.0, "accepted", "yes", Reply(200, "", usage=usage))


def bill_pages(bill, sizes=MIXED, calls=300, text=TEXT):
    """The page and the prompt tokens of each of these calls of one page, by a server that bills with `bill`."""
    return [((size,), text + bill.tokens(size)) for size in islice(cycle(sizes), calls)]


def bill_no_images(sizes=MIXED, calls=300):
    """The page and the prompt tokens of each of these calls, by a server that does not count images."""
    return [((size,), TEXT) for size in islice(cycle(sizes), calls)]


def observe_calls(in_force, *replies, measured=False):
    """A monitor that has observed these calls."""
    text = TEXT if measured else ESTIMATE
    monitor = BillingMonitor(get_rule(in_force), BYTES, text, measured)
    for sizes, prompt in replies:
        monitor.observe(NO_TOTALS, [build_image_attempt(sizes, prompt, in_force, text)])
    return monitor


@given(name=st.sampled_from([*NAMES, "flat:280"]), sizes=st.sampled_from([MIXED, ALIKE]), measured=st.booleans())
def test_billing_monitor_does_not_warn_of_the_rule_in_force(name, sizes, measured):
    monitor = observe_calls(name, *bill_pages(get_rule(name), sizes), measured=measured)
    assert (monitor.warning(), monitor.baseline) == (None, TEXT)


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("true", [*NAMES, "flat:1100"])
def test_billing_monitor_names_the_true_rule_of_a_server_with_another_rule(name, true, measured):
    """On pictures of mixed sizes no shipped rule is taken for another, even if the tokens of the text are only estimated."""
    warning = observe_calls(name, *bill_pages(get_rule(true)), measured=measured).warning()
    fitting = true if measured or not true.startswith("flat") else "flat:1170"  # the text is 70 more than expected
    expected = f"; the rule {fitting} fits: run `tilewise calibrate`"
    assert (warning is None) == (name == true)
    assert name == true or f"what the rule {name} predicts" in warning
    assert name == true or expected in warning


def test_billing_warning_has_the_share_of_calls_and_the_median_difference():
    """Two pictures of a hundred are one tile by both rules; the others differ by three tiles."""
    calls = bill_pages(get_rule("table"), [*[Size(800, 600)] * 98, Size(500, 500), Size(400, 400)], calls=300)
    assert observe_calls("formula", *calls).warning() == (
        "the bill is not what the rule formula predicts: 98 % of 300 calls are off, by +4,803 image tokens a call"
        " at the median; the rule table or mllama fits: run `tilewise calibrate`"
    )


def test_median_difference_of_two_calls_is_the_smaller_one():
    """It is a difference that was measured, not a mean."""
    calls = [(ALIKE, TEXT + 3202), (ALIKE, TEXT + 6404)]
    assert "by +1,601 image tokens a call at the median" in observe_calls("formula", *calls, measured=True).warning()


def test_billing_warning_says_that_no_shipped_rule_fits_other_tile_prices():
    bill = fit_rule("table", {1: 1700, 2: 3400, 4: 6800})
    assert "; no shipped rule fits: run" in observe_calls("table", *bill_pages(bill)).warning()


@pytest.mark.parametrize("prompt", [TEXT + 6404, 17, 0])
def test_billing_monitor_warns_after_one_call_that_leaves_no_plausible_text(prompt):
    warning = observe_calls("formula", (ALIKE, prompt)).warning()
    assert f"the one call is off, by {prompt - ESTIMATE - 1601:+,} image tokens; " in warning


@pytest.mark.parametrize(
    ("prompt", "measured", "warned"),
    [
        (1601 + BYTES // 8, False, False),
        (1601 + BYTES // 8 - 1, False, True),
        (1601 + BYTES + 64, False, False),
        (1601 + BYTES + 65, False, True),
        (1601 + TEXT + 78, True, False),
        (1601 + TEXT + 79, True, True),
        (1601 + TEXT - 79, True, True),
    ],
)
def test_billing_monitor_judges_pictures_of_one_size_by_the_tokens_left_for_the_text(prompt, measured, warned):
    """Every rule explains pictures of one size, except for a text that is too short or too long."""
    assert bool(observe_calls("formula", *[(ALIKE, prompt)] * 30, measured=measured).warning()) is warned


def test_measured_short_text_may_differ_by_thirty_tokens():
    monitors = [BillingMonitor(get_rule("formula"), 40, 10, measured=True) for _ in range(2)]
    for monitor, text in zip(monitors, (40, 41), strict=True):
        monitor.observe(NO_TOTALS, [build_image_attempt(ALIKE, 1601 + text, text_tokens=10)])
    assert [bool(monitor.warning()) for monitor in monitors] == [False, True]


def test_billing_warning_names_all_rules_that_fit_pictures_of_one_size():
    """Kimi and qwen2 count almost the same, and a flat rule is not named."""
    warning = observe_calls("table", *bill_pages(get_rule("kimi"), [Size(1000, 700)]), measured=True).warning()
    assert "; the rule qwen2 or kimi fits: run" in warning


def test_billing_warning_names_a_flat_rule_when_no_other_fits_one_size():
    warning = observe_calls("table", *bill_pages(get_rule("flat:300"), ALIKE), measured=True).warning()
    assert "; the rule flat:300 fits: run" in warning


@pytest.mark.parametrize(("odd", "warned"), [(3, False), (6, False), (7, True)])
def test_billing_monitor_ignores_up_to_two_per_cent_odd_calls(odd, warned):
    calls = bill_pages(get_rule("formula"), calls=300 - odd) + [((Size(500, 500),), 9000 + n) for n in range(odd)]
    assert bool(observe_calls("formula", *calls).warning()) is warned


@pytest.mark.parametrize(("off", "warned"), [(16, False), (-16, False), (17, True), (-17, True)])
def test_billing_monitor_ignores_differences_of_up_to_16_tokens(off, warned):
    small = [(ALIKE, TEXT + 1601)] * 20 + [(ALIKE, TEXT + 1601 + off)] * 10
    assert bool(observe_calls("formula", *small).warning()) is warned


@pytest.mark.parametrize(("off", "warned"), [(64, False), (65, True)])
def test_billing_monitor_ignores_differences_of_one_per_cent_of_a_large_call(off, warned):
    large = [Size(2240, 2240)]
    calls = [(large, TEXT + 6404)] * 20 + [(large, TEXT + 6404 + off)] * 10
    assert bool(observe_calls("formula", *calls).warning()) is warned


def build_documents(bill, markers=0):
    """Documents of one to eight pages, with this many tokens around each page."""
    documents = [tuple(islice(cycle(MIXED), first, first + pages)) for pages in range(1, 9) for first in range(6)]
    return [(pages, TEXT + sum(bill.tokens(size) + markers for size in pages)) for pages in documents]


@pytest.mark.parametrize("name", [*NAMES, "flat:280"])
def test_billing_monitor_ignores_markers_around_every_page(name):
    """A document of many pages has many markers."""
    assert observe_calls(name, *build_documents(get_rule(name), markers=8)).warning() is None


@pytest.mark.parametrize(("name", "true"), [("formula", "table"), ("kimi", "qwen2"), ("table", "flat:280")])
def test_billing_warning_names_the_true_rule_from_documents_of_several_pages(name, true):
    """The growth of the prompt with the pages shows a flat rule, whose text could otherwise have any length."""
    assert f"; the rule {true} fits: run" in observe_calls(name, *build_documents(get_rule(true))).warning()


def test_billing_warning_says_that_the_usage_does_not_count_images():
    """It is certain where the tokens of the text were measured."""
    warning = observe_calls("formula", *bill_no_images(), measured=True).warning()
    assert "; the server's usage does not count images: run" in warning


def test_billing_warning_names_a_flat_rule_or_no_images_when_the_text_was_not_measured():
    """A constant number of tokens can be the text or the images."""
    warning = observe_calls("formula", *bill_no_images()).warning()
    assert "; the rule flat:70 fits, or the server's usage does not count images: run" in warning


def test_billing_monitor_ignores_answers_without_usage_re_asks_and_calls_without_images():
    """A re-ask has a longer text."""
    monitor = BillingMonitor(get_rule("formula"), BYTES, ESTIMATE)
    reask = build_image_attempt(ALIKE, 9000, text_tokens=ESTIMATE + 300)
    monitor.observe(NO_TOTALS, [build_image_attempt(ALIKE, None), reask, build_image_attempt([], 9000)])
    assert monitor.warning() is None
    assert not monitor._seen


def test_billing_monitor_without_calls_has_no_warning():
    assert observe_calls("formula").warning() is None


def test_baseline_is_measured_after_twenty_explained_replies():
    calls = bill_pages(get_rule("formula"), calls=20)
    assert [observe_calls("formula", *calls[:count]).baseline for count in (19, 20)] == [None, TEXT]


def test_odd_replies_delay_the_baseline():
    """With five odd replies the baseline is not measured after 19 explained replies, and is measured after 26."""
    odd = [((Size(500, 500),), 9000 + n) for n in range(5)]
    monitors = [observe_calls("formula", *odd, *bill_pages(get_rule("formula"), calls=count)) for count in (19, 26)]
    assert [monitor.baseline for monitor in monitors] == [None, TEXT]


def test_baseline_is_not_measured_when_the_rule_explains_few_replies():
    """Sixty equal calls among 220 may be chance."""
    calls = [*bill_pages(get_rule("qwen3"), calls=160), *bill_pages(get_rule("formula"), calls=60)]
    assert observe_calls("formula", *calls).baseline is None


def test_baseline_does_not_change_and_requests_estimated_with_it_are_observed():
    """Requests that expect the baseline as their text are plain; requests with a longer text are not."""
    monitor = observe_calls("formula", *bill_pages(get_rule("formula"), calls=20))
    monitor.observe(NO_TOTALS, [build_image_attempt(ALIKE, TEXT + 1601 + 9, text_tokens=TEXT)] * 400)
    monitor.observe(NO_TOTALS, [build_image_attempt(ALIKE, 9000, text_tokens=TEXT + 10)] * 400)
    assert (monitor.baseline, monitor._calls, monitor.warning()) == (TEXT, 420, None)


def test_billing_monitor_keeps_a_bounded_number_of_different_calls(monkeypatch):
    """Beyond the limit it counts only the calls that it has, and its warning is about these."""
    monkeypatch.setattr(module, "MAX_KEYS", 40)
    calls = [((Size(300 + n, 700),), TEXT + get_rule("table").tokens(Size(300 + n, 700))) for n in range(100)]
    monitor = observe_calls("formula", *calls, *calls)
    assert (len(monitor._seen), monitor._calls) == (40, 80)
    assert "100 % of 80 calls are off" in monitor.warning()
