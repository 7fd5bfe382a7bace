"""sentinel.py: a rule that stops predicting is noticed by the run itself, and one that predicts is left in peace."""

from datetime import UTC, datetime
from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.core import Attempt, CallRequest, Reply, Step
from extractors.core.money import Usage
from extractors.core.tiles import NAMES, Size, fitted, rule
from extractors.run import sentinel as module
from extractors.run.sentinel import BillingMonitor

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BYTES, ESTIMATE, TEXT = 1800, 450, 520  # of text: its length, what is expected of it, what the server counts
MIXED = [Size(300, 300), Size(561, 561), Size(1119, 791), Size(1280, 720), Size(2000, 500), Size(560, 2240)]
ALIKE = [Size(1119, 791)]


def attempt(sizes, prompt, in_force="formula", text_tokens=ESTIMATE):
    """One answered attempt that sent these pictures; without a usage where `prompt` is None."""
    steps = tuple(Step(6404, size, rule(in_force).tokens(size)) for size in sizes)
    usage = None if prompt is None else Usage(prompt=prompt, completion=50)
    order = CallRequest("a", "key", "request", 0, steps, text_tokens, 20_000, 300, 2048)
    return Attempt(order, NOW, 1.0, "accepted", "yes", Reply(200, "", usage=usage))


def server(bill, sizes=MIXED, calls=300, text=TEXT):
    """What a server counts that bills by `bill`: so many calls of one page each, as pages and prompt tokens."""
    return [((size,), text + bill.tokens(size)) for size in islice(cycle(sizes), calls)]


def nothing(sizes=MIXED, calls=300):
    """What a server counts that counts no images."""
    return [((size,), TEXT) for size in islice(cycle(sizes), calls)]


def watching(in_force, *replies, measured=False):
    """A sentinel that was told of these calls."""
    text = TEXT if measured else ESTIMATE
    sentinel = BillingMonitor(rule(in_force), BYTES, text, measured)
    for sizes, prompt in replies:
        sentinel.observe([attempt(sizes, prompt, in_force, text)])
    return sentinel


@given(name=st.sampled_from([*NAMES, "flat:280"]), sizes=st.sampled_from([MIXED, ALIKE]), measured=st.booleans())
def test_the_rule_by_which_the_server_bills_is_not_warned_of(name, sizes, measured):
    sentinel = watching(name, *server(rule(name), sizes), measured=measured)
    assert (sentinel.warning(), sentinel.baseline) == (None, TEXT)


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("true", [*NAMES, "flat:1100"])
def test_any_other_rule_is_noticed_and_the_true_one_named(name, true, measured):
    """On pictures of mixed sizes no shipped rule passes for another one, however little is known of the text."""
    warning = watching(name, *server(rule(true)), measured=measured).warning()
    named = true if measured or not true.startswith("flat") else "flat:1170"  # the text is 70 more than expected
    expected = f"; the rule {named} fits: run `tilewise calibrate`"
    assert (warning is None) == (name == true)
    assert name == true or f"what the rule {name} predicts" in warning
    assert name == true or expected in warning


def test_the_warning_says_how_many_calls_are_off_and_by_how_much():
    """Two pictures of a hundred are one tile by both readings; the others are off by three tiles."""
    calls = server(rule("table"), [*[Size(800, 600)] * 98, Size(500, 500), Size(400, 400)], calls=300)
    assert watching("formula", *calls).warning() == (
        "the bill is not what the rule formula predicts: 98 % of 300 calls are off, by +4,803 image tokens a call"
        " at the median; the rule table or mllama fits: run `tilewise calibrate`"
    )


def test_the_median_is_a_number_that_was_measured():
    """Of two calls that are off it is the smaller, not something between."""
    calls = [(ALIKE, TEXT + 3202), (ALIKE, TEXT + 6404)]
    assert "by +1,601 image tokens a call at the median" in watching("formula", *calls, measured=True).warning()


def test_a_server_of_fitted_tiles_is_no_shipped_rule():
    bill = fitted("table", {1: 1700, 2: 3400, 4: 6800})
    assert "; no shipped rule fits: run" in watching("table", *server(bill)).warning()


@pytest.mark.parametrize("prompt", [TEXT + 6404, 17, 0])
def test_one_call_is_enough_where_nothing_plausible_is_left_for_the_text(prompt):
    warning = watching("formula", (ALIKE, prompt)).warning()
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
    assert bool(watching("formula", *[(ALIKE, prompt)] * 30, measured=measured).warning()) is warned


def test_a_short_text_that_was_measured_may_be_off_by_thirty_tokens():
    sentinels = [BillingMonitor(rule("formula"), 40, 10, measured=True) for _ in range(2)]
    for sentinel, text in zip(sentinels, (40, 41), strict=True):
        sentinel.observe([attempt(ALIKE, 1601 + text, text_tokens=10)])
    assert [bool(sentinel.warning()) for sentinel in sentinels] == [False, True]


def test_all_rules_that_fit_pictures_of_one_size_are_named():
    """Kimi and qwen2 count almost the same; that anything of one size looks flat says nothing."""
    warning = watching("table", *server(rule("kimi"), [Size(1000, 700)]), measured=True).warning()
    assert "; the rule qwen2 or kimi fits: run" in warning


def test_pictures_of_one_size_that_no_rule_fits_are_flat():
    warning = watching("table", *server(rule("flat:300"), ALIKE), measured=True).warning()
    assert "; the rule flat:300 fits: run" in warning


@pytest.mark.parametrize(("odd", "warned"), [(3, False), (6, False), (7, True)])
def test_a_few_odd_calls_are_no_reason_to_warn(odd, warned):
    """Up to two per cent of the calls may be counted otherwise."""
    calls = server(rule("formula"), calls=300 - odd) + [((Size(500, 500),), 9000 + n) for n in range(odd)]
    assert bool(watching("formula", *calls).warning()) is warned


@pytest.mark.parametrize(("off", "warned"), [(16, False), (-16, False), (17, True), (-17, True)])
def test_a_call_may_be_off_by_a_few_markers(off, warned):
    small = [(ALIKE, TEXT + 1601)] * 20 + [(ALIKE, TEXT + 1601 + off)] * 10
    assert bool(watching("formula", *small).warning()) is warned


@pytest.mark.parametrize(("off", "warned"), [(64, False), (65, True)])
def test_a_large_call_may_be_off_by_a_hundredth_of_its_image_tokens(off, warned):
    large = [Size(2240, 2240)]
    calls = [(large, TEXT + 6404)] * 20 + [(large, TEXT + 6404 + off)] * 10
    assert bool(watching("formula", *calls).warning()) is warned


def paged(bill, markers=0):
    """Documents of one to eight pages, with so many tokens around each page."""
    documents = [tuple(islice(cycle(MIXED), first, first + pages)) for pages in range(1, 9) for first in range(6)]
    return [(pages, TEXT + sum(bill.tokens(size) + markers for size in pages)) for pages in documents]


@pytest.mark.parametrize("name", [*NAMES, "flat:280"])
def test_markers_around_every_page_are_no_reason_to_warn(name):
    """A document of many pages has many of them, where one of one page has few."""
    assert watching(name, *paged(rule(name), markers=8)).warning() is None


@pytest.mark.parametrize(("name", "true"), [("formula", "table"), ("kimi", "qwen2"), ("table", "flat:280")])
def test_documents_of_several_pages_give_the_true_rule_away(name, true):
    """A flat rule's number is seen in how the prompt grows with the pages, whatever the text has."""
    assert f"; the rule {true} fits: run" in watching(name, *paged(rule(true))).warning()


def test_a_usage_that_counts_no_images_is_said_to():
    """Where the text was measured it is certain."""
    warning = watching("formula", *nothing(), measured=True).warning()
    assert "; the server's usage does not count images: run" in warning


def test_few_tokens_that_never_change_may_be_the_text_or_the_images():
    """Where the text was not measured both can be."""
    warning = watching("formula", *nothing()).warning()
    assert "; the rule flat:70 fits, or the server's usage does not count images: run" in warning


def test_only_answers_with_a_usage_to_the_plain_question_count():
    """An answer that was asked for again carries more words; what was lost was not counted."""
    sentinel = BillingMonitor(rule("formula"), BYTES, ESTIMATE)
    again = attempt(ALIKE, 9000, text_tokens=ESTIMATE + 300)
    sentinel.observe([attempt(ALIKE, None), again, attempt([], 9000)])
    assert sentinel.warning() is None
    assert not sentinel._seen


def test_no_calls_are_no_reason_to_warn():
    assert watching("formula").warning() is None


def test_a_baseline_is_measured_after_twenty_explained_replies():
    calls = server(rule("formula"), calls=20)
    assert [watching("formula", *calls[:count]).baseline for count in (19, 20)] == [None, TEXT]


def test_odd_replies_only_delay_the_baseline():
    """Twenty explained replies among thirty."""
    odd = [((Size(500, 500),), 9000 + n) for n in range(5)]
    sentinels = [watching("formula", *odd, *server(rule("formula"), calls=count)) for count in (19, 26)]
    assert [sentinel.baseline for sentinel in sentinels] == [None, TEXT]


def test_a_rule_that_explains_little_gives_no_baseline():
    """Sixty calls alike among more than two hundred are chance, not text."""
    calls = [*server(rule("qwen3"), calls=160), *server(rule("formula"), calls=60)]
    assert watching("formula", *calls).baseline is None


def test_a_baseline_stays_and_what_is_estimated_by_it_still_counts():
    """Orders that expect the baseline of their text are plain, too; those with more words are not."""
    sentinel = watching("formula", *server(rule("formula"), calls=20))
    sentinel.observe([attempt(ALIKE, TEXT + 1601 + 9, text_tokens=TEXT)] * 400)
    sentinel.observe([attempt(ALIKE, 9000, text_tokens=TEXT + 10)] * 400)
    assert (sentinel.baseline, sentinel._calls, sentinel.warning()) == (TEXT, 420, None)


def test_a_residual_is_of_the_images_once_the_text_is_measured():
    sentinel = watching("formula", *server(rule("formula"), calls=20))
    early, late = attempt(ALIKE, TEXT + 1603), attempt(ALIKE, TEXT + 1603, text_tokens=TEXT)
    again, lost = attempt(ALIKE, 9000, text_tokens=ESTIMATE + 300), attempt(ALIKE, None)
    assert [sentinel.residual(each) for each in (early, late, again, lost)] == [2, 2, None, None]
    assert watching("formula").residual(early) is None


def test_memory_is_bounded(monkeypatch):
    """Beyond so many different calls only those are counted further; the warning stands on them."""
    monkeypatch.setattr(module, "MOST_KEYS", 40)
    calls = [((Size(300 + n, 700),), TEXT + rule("table").tokens(Size(300 + n, 700))) for n in range(100)]
    sentinel = watching("formula", *calls, *calls)
    assert (len(sentinel._seen), sentinel._calls) == (40, 80)
    assert "100 % of 80 calls are off" in sentinel.warning()
