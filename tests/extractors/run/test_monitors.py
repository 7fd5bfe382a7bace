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
BYTES, ESTIMATE, TEXT = 1800, 450, 520  # of text: its length, what is expected of it, what the server counts
MIXED = [Size(300, 300), Size(561, 561), Size(1119, 791), Size(1280, 720), Size(2000, 500), Size(560, 2240)]
ALIKE = [Size(1119, 791)]


def documents(accepted, failed, cost="0", high="1"):
    """Totals of so many documents."""
    return RunTotals(
        accepted=accepted, failed=failed, cost_usd=Decimal(cost), estimated=Costs(Decimal(0), Decimal(0), Decimal(high))
    )


def test_failure_guard_does_not_check_before_200_documents():
    assert FailureGuard().observe(documents(0, 199)) is None


def test_failure_guard_stops_when_most_documents_fail():
    guard = FailureGuard()
    guard.observe(documents(90, 109))
    assert guard.observe(documents(0, 1)).status == "failing"


def test_failure_guard_does_not_count_what_climbs_cost():
    """A climb is paid on purpose, and is in no estimate."""
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
    """An attempt that this model answered."""
    return Attempt(REQUEST, NOW, 1.0, "accepted", "yes", Reply(status, "", model=model))


LOST = Attempt(REQUEST, NOW, 1.0, "connection", "unknown")


def model_guard(*before, stops=False):
    """A guard of a run whose last run was answered by these names."""
    return ModelGuard("maker/model", frozenset(before), stops)


@pytest.mark.parametrize("before", [(), ("one",), ("one", "two")])
def test_model_guard_accepts_names_of_the_last_run(before):
    """The first run accepts every name."""
    guard = model_guard(*before, stops=True)
    assert guard.observe(NO_TOTALS, [build_attempt("one"), LOST, build_attempt(None)]) is None
    assert guard.warning() is None
    assert guard.names == {"one"}


def test_model_guard_warns_of_a_new_name():
    """The warning has the requested, the new and the earlier names."""
    guard = model_guard("one", "two")
    assert guard.observe(NO_TOTALS, [build_attempt("two"), build_attempt("four"), build_attempt("three")]) is None
    assert "maker/model was answered by four, three, in the last run by one, two" in guard.warning()


def test_model_guard_stops_at_a_new_name_if_configured():
    """The error names the setting."""
    stop = model_guard("one", stops=True).observe(NO_TOTALS, [build_attempt("two")])
    assert isinstance(stop, Refused)
    assert "maker/model was answered by two, in the last run by one" in stop.message
    assert "set TILEWISE_ON_MODEL_CHANGE=warn to go on with it" in stop.message


def test_model_guard_ignores_calls_without_an_answer():
    """They have no model name."""
    guard = model_guard("one", stops=True)
    assert guard.observe(NO_TOTALS, [LOST, LOST]) is None
    assert guard.names == set()


def attempt(sizes, prompt, in_force="formula", text_tokens=ESTIMATE):
    """One answered attempt that sent these pictures; without a usage where `prompt` is None."""
    steps = tuple(LadderStep(6404, size, get_rule(in_force).tokens(size)) for size in sizes)
    usage = None if prompt is None else Usage(prompt=prompt, completion=50)
    order = CallRequest("a", "key", "request", 0, steps, text_tokens, 20_000, 300, 2048)
    return Attempt(order, NOW, 1.0, "accepted", "yes", Reply(200, "", usage=usage))


def server(bill, sizes=MIXED, calls=300, text=TEXT):
    """What a server counts that bills by `bill`: so many calls of one page each, as pages and prompt tokens."""
    return [((size,), text + bill.tokens(size)) for size in islice(cycle(sizes), calls)]


def nothing(sizes=MIXED, calls=300):
    """What a server counts that counts no images."""
    return [((size,), TEXT) for size in islice(cycle(sizes), calls)]


def observe_calls(in_force, *replies, measured=False):
    """A monitor that has observed these calls."""
    text = TEXT if measured else ESTIMATE
    monitor = BillingMonitor(get_rule(in_force), BYTES, text, measured)
    for sizes, prompt in replies:
        monitor.observe(NO_TOTALS, [attempt(sizes, prompt, in_force, text)])
    return monitor


@given(name=st.sampled_from([*NAMES, "flat:280"]), sizes=st.sampled_from([MIXED, ALIKE]), measured=st.booleans())
def test_the_rule_by_which_the_server_bills_is_not_warned_of(name, sizes, measured):
    monitor = observe_calls(name, *server(get_rule(name), sizes), measured=measured)
    assert (monitor.warning(), monitor.baseline) == (None, TEXT)


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("true", [*NAMES, "flat:1100"])
def test_any_other_rule_is_noticed_and_the_true_one_named(name, true, measured):
    """On pictures of mixed sizes no shipped rule passes for another one, however little is known of the text."""
    warning = observe_calls(name, *server(get_rule(true)), measured=measured).warning()
    named = true if measured or not true.startswith("flat") else "flat:1170"  # the text is 70 more than expected
    expected = f"; the rule {named} fits: run `tilewise calibrate`"
    assert (warning is None) == (name == true)
    assert name == true or f"what the rule {name} predicts" in warning
    assert name == true or expected in warning


def test_the_warning_says_how_many_calls_are_off_and_by_how_much():
    """Two pictures of a hundred are one tile by both readings; the others are off by three tiles."""
    calls = server(get_rule("table"), [*[Size(800, 600)] * 98, Size(500, 500), Size(400, 400)], calls=300)
    assert observe_calls("formula", *calls).warning() == (
        "the bill is not what the rule formula predicts: 98 % of 300 calls are off, by +4,803 image tokens a call"
        " at the median; the rule table or mllama fits: run `tilewise calibrate`"
    )


def test_the_median_is_a_number_that_was_measured():
    """Of two calls that are off it is the smaller, not something between."""
    calls = [(ALIKE, TEXT + 3202), (ALIKE, TEXT + 6404)]
    assert "by +1,601 image tokens a call at the median" in observe_calls("formula", *calls, measured=True).warning()


def test_a_server_of_fitted_tiles_is_no_shipped_rule():
    bill = fit_rule("table", {1: 1700, 2: 3400, 4: 6800})
    assert "; no shipped rule fits: run" in observe_calls("table", *server(bill)).warning()


@pytest.mark.parametrize("prompt", [TEXT + 6404, 17, 0])
def test_one_call_is_enough_where_nothing_plausible_is_left_for_the_text(prompt):
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
def test_pictures_of_one_size_are_judged_by_what_is_left_for_the_text(prompt, measured, warned):
    """Every rule is consistent there: only a text that is too short or too long gives it away."""
    assert bool(observe_calls("formula", *[(ALIKE, prompt)] * 30, measured=measured).warning()) is warned


def test_a_short_text_that_was_measured_may_be_off_by_thirty_tokens():
    monitors = [BillingMonitor(get_rule("formula"), 40, 10, measured=True) for _ in range(2)]
    for monitor, text in zip(monitors, (40, 41), strict=True):
        monitor.observe(NO_TOTALS, [attempt(ALIKE, 1601 + text, text_tokens=10)])
    assert [bool(monitor.warning()) for monitor in monitors] == [False, True]


def test_all_rules_that_fit_pictures_of_one_size_are_named():
    """Kimi and qwen2 count almost the same; that anything of one size looks flat says nothing."""
    warning = observe_calls("table", *server(get_rule("kimi"), [Size(1000, 700)]), measured=True).warning()
    assert "; the rule qwen2 or kimi fits: run" in warning


def test_pictures_of_one_size_that_no_rule_fits_are_flat():
    warning = observe_calls("table", *server(get_rule("flat:300"), ALIKE), measured=True).warning()
    assert "; the rule flat:300 fits: run" in warning


@pytest.mark.parametrize(("odd", "warned"), [(3, False), (6, False), (7, True)])
def test_a_few_odd_calls_are_no_reason_to_warn(odd, warned):
    """Up to two per cent of the calls may be counted otherwise."""
    calls = server(get_rule("formula"), calls=300 - odd) + [((Size(500, 500),), 9000 + n) for n in range(odd)]
    assert bool(observe_calls("formula", *calls).warning()) is warned


@pytest.mark.parametrize(("off", "warned"), [(16, False), (-16, False), (17, True), (-17, True)])
def test_a_call_may_be_off_by_a_few_markers(off, warned):
    small = [(ALIKE, TEXT + 1601)] * 20 + [(ALIKE, TEXT + 1601 + off)] * 10
    assert bool(observe_calls("formula", *small).warning()) is warned


@pytest.mark.parametrize(("off", "warned"), [(64, False), (65, True)])
def test_a_large_call_may_be_off_by_a_hundredth_of_its_image_tokens(off, warned):
    large = [Size(2240, 2240)]
    calls = [(large, TEXT + 6404)] * 20 + [(large, TEXT + 6404 + off)] * 10
    assert bool(observe_calls("formula", *calls).warning()) is warned


def build_documents(bill, markers=0):
    """Documents of one to eight pages, with so many tokens around each page."""
    documents = [tuple(islice(cycle(MIXED), first, first + pages)) for pages in range(1, 9) for first in range(6)]
    return [(pages, TEXT + sum(bill.tokens(size) + markers for size in pages)) for pages in documents]


@pytest.mark.parametrize("name", [*NAMES, "flat:280"])
def test_markers_around_every_page_are_no_reason_to_warn(name):
    """A document of many pages has many of them, where one of one page has few."""
    assert observe_calls(name, *build_documents(get_rule(name), markers=8)).warning() is None


@pytest.mark.parametrize(("name", "true"), [("formula", "table"), ("kimi", "qwen2"), ("table", "flat:280")])
def test_documents_of_several_pages_give_the_true_rule_away(name, true):
    """A flat rule's number is seen in how the prompt grows with the pages, whatever the text has."""
    assert f"; the rule {true} fits: run" in observe_calls(name, *build_documents(get_rule(true))).warning()


def test_a_usage_that_counts_no_images_is_said_to():
    """Where the text was measured it is certain."""
    warning = observe_calls("formula", *nothing(), measured=True).warning()
    assert "; the server's usage does not count images: run" in warning


def test_few_tokens_that_never_change_may_be_the_text_or_the_images():
    """Where the text was not measured both can be."""
    warning = observe_calls("formula", *nothing()).warning()
    assert "; the rule flat:70 fits, or the server's usage does not count images: run" in warning


def test_only_answers_with_a_usage_to_the_plain_question_count():
    """An answer that was asked for again carries more words; what was lost was not counted."""
    monitor = BillingMonitor(get_rule("formula"), BYTES, ESTIMATE)
    again = attempt(ALIKE, 9000, text_tokens=ESTIMATE + 300)
    monitor.observe(NO_TOTALS, [attempt(ALIKE, None), again, attempt([], 9000)])
    assert monitor.warning() is None
    assert not monitor._seen


def test_no_calls_are_no_reason_to_warn():
    assert observe_calls("formula").warning() is None


def test_a_baseline_is_measured_after_twenty_explained_replies():
    calls = server(get_rule("formula"), calls=20)
    assert [observe_calls("formula", *calls[:count]).baseline for count in (19, 20)] == [None, TEXT]


def test_odd_replies_only_delay_the_baseline():
    """Twenty explained replies among thirty."""
    odd = [((Size(500, 500),), 9000 + n) for n in range(5)]
    monitors = [observe_calls("formula", *odd, *server(get_rule("formula"), calls=count)) for count in (19, 26)]
    assert [monitor.baseline for monitor in monitors] == [None, TEXT]


def test_a_rule_that_explains_little_gives_no_baseline():
    """Sixty calls alike among more than two hundred are chance, not text."""
    calls = [*server(get_rule("qwen3"), calls=160), *server(get_rule("formula"), calls=60)]
    assert observe_calls("formula", *calls).baseline is None


def test_a_baseline_stays_and_what_is_estimated_by_it_still_counts():
    """Orders that expect the baseline of their text are plain, too; those with more words are not."""
    monitor = observe_calls("formula", *server(get_rule("formula"), calls=20))
    monitor.observe(NO_TOTALS, [attempt(ALIKE, TEXT + 1601 + 9, text_tokens=TEXT)] * 400)
    monitor.observe(NO_TOTALS, [attempt(ALIKE, 9000, text_tokens=TEXT + 10)] * 400)
    assert (monitor.baseline, monitor._calls, monitor.warning()) == (TEXT, 420, None)


def test_memory_is_bounded(monkeypatch):
    """Beyond so many different calls only those are counted further; the warning stands on them."""
    monkeypatch.setattr(module, "MAX_KEYS", 40)
    calls = [((Size(300 + n, 700),), TEXT + get_rule("table").tokens(Size(300 + n, 700))) for n in range(100)]
    monitor = observe_calls("formula", *calls, *calls)
    assert (len(monitor._seen), monitor._calls) == (40, 80)
    assert "100 % of 80 calls are off" in monitor.warning()
