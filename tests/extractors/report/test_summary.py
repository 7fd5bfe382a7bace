"""progress.py and summary.py: what the terminal shows during a run and after it."""

import re
from collections import Counter
from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from extractors.core.call_counts import CallCounts
from extractors.core.money import dollars
from extractors.core.totals import REASON_LENGTH, FailedDocument, FailureReasons, FirstFailures, RunTotals, reason_of
from extractors.report.progress import Progress, format_duration
from extractors.report.summary import RunView, failure_lines, list_first_failures, spending_table


class Clock:
    """A clock that a test advances."""

    def __init__(self):
        """Starts at an arbitrary time, because only differences count."""
        self.now = 1000.0

    def __call__(self):
        """Returns the current time in seconds."""
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def screen():
    return StringIO()


@pytest.fixture
def progress(clock, screen):
    """Progress on an output that is not a terminal."""
    return Progress(Console(file=screen, width=200), clock)


def accept(count=1, cost="0.001"):
    return RunTotals(accepted=count, cost_usd=None if cost is None else Decimal(cost))


def test_progress_line_has_count_rate_cost_and_time_left(progress, clock):
    progress.set_total(1200)
    clock.now += 60
    progress.add(accept(300, "0.75"))
    assert progress.line == "300 of 1,200 documents · 5.0/s · $0.75 spent · 3 min 0 s left"


def test_progress_line_counts_documents_that_were_not_accepted(progress, clock):
    """Rejected and failed documents count as done."""
    progress.set_total(100)
    clock.now += 10
    progress.add(accept(7) + RunTotals(rejected=1, failed=2))
    assert progress.line == "10 of 100 documents · 3 not accepted · 1.0/s · $0.001 spent · 1 min 30 s left"


def test_progress_line_without_a_total_has_no_time_left(progress, clock):
    clock.now += 2
    progress.add(accept(4))
    assert progress.line == "4 documents · 2.0/s · $0.001 spent"


def test_share_is_0_without_a_total_and_at_most_1(progress):
    shares = [progress.share]
    progress.set_total(4)
    for count in (1, 5):
        progress.add(accept(count))
        shares.append(progress.share)
    assert shares == [0.0, 0.25, 1.0]


def test_progress_line_starts_with_zero_counts(progress):
    progress.set_total(5)
    assert progress.line == "0 of 5 documents · 0.0/s · $0 spent"


def test_progress_line_has_no_time_left_after_the_last_document(progress, clock):
    """More documents than expected do not change this."""
    progress.set_total(4)
    clock.now += 2
    progress.add(accept(5))
    assert progress.line == "5 of 4 documents · 2.5/s · $0.001 spent"


def test_progress_line_shows_an_unknown_cost(progress, clock):
    """One document without a price makes the sum unknown."""
    clock.now += 1
    progress.add(accept())
    progress.add(accept(cost=None))
    assert progress.line == "2 documents · 2.0/s · cost unknown"


def test_remaining_documents_are_not_counted_as_done(progress, clock):
    clock.now += 1
    progress.add(RunTotals(remaining=3))
    assert progress.line.startswith("0 documents")


def test_plain_lines_are_at_least_ten_seconds_apart(progress, clock, screen):
    """Plain lines are written if the output is not a terminal."""
    clock.now += 9.9
    progress.add(accept())
    text_before_ten_seconds = screen.getvalue()
    clock.now += 0.1
    progress.add(accept())
    clock.now += 9.9
    progress.add(accept())
    assert text_before_ten_seconds == ""
    assert screen.getvalue() == "2 documents · 0.2/s · $0.002 spent\n"


def test_next_plain_line_is_written_after_ten_seconds(progress, clock, screen):
    clock.now += 10
    progress.add(accept())
    clock.now += 10
    progress.add(accept())
    assert len(screen.getvalue().splitlines()) == 2


def test_log_gets_no_control_characters(progress, clock, screen):
    with progress:
        clock.now += 10
        progress.add(accept())
    assert screen.getvalue() == "1 documents · 0.1/s · $0.001 spent\n"


def test_terminal_bar_is_cleared_at_the_end(clock, screen):
    """The cursor is shown again after an interrupt."""
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    progress = Progress(console, clock)
    progress.set_total(4)
    progress.add(accept())
    with pytest.raises(KeyboardInterrupt), progress:
        raise KeyboardInterrupt
    assert "1 of 4 documents, 25 %" in screen.getvalue()
    assert "\x1b[2K" in screen.getvalue().rpartition("1 of 4 documents")[2]
    assert screen.getvalue().rindex("\x1b[?25h") > screen.getvalue().rindex("\x1b[?25l")


KINDS = [("validate", "off_schema"), ("call", "timeout"), ("call", "server_error"), ("bill", "empty")]
FAILED = RunTotals(failed=10, kinds=Counter({(*kind, False): 4 - n for n, kind in enumerate(KINDS)}))
BELOW_THE_BAR = [
    *("1.2/s", "$1.50 of $20.00 spent", "7 s left", "4 retries", "9 refusals"),
    *("failed calls: 3 timeout", "2 not_json"),
    *("failed documents: 4 off_schema", "3 timeout", "2 server_error", "1 other"),
]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_bar_shows_pace_budget_retries_refusals_and_kinds_and_does_not_wrap(clock, width):
    """No part is split over lines, and no line reaches the edge."""
    screen = StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None)
    progress = Progress(console, clock, Decimal(20))
    progress.set_total(20)
    clock.now += 10
    progress.add(accept(2, "1.50") + FAILED)
    failures = Counter({"timeout": 3, "not_json": 2})
    progress.add_calls(CallCounts(16, retries=4, refusals=9, failures=failures, cost_usd=Decimal("1.50")))
    with progress:
        pass
    lines = [
        line for line in re.sub(r"\x1b\[[0-9?;]*[A-Za-z]|\r", "\n", screen.getvalue()).splitlines() if line.strip()
    ]
    assert max(map(len, lines)) < width
    assert [part.strip() for line in lines if "━" not in line for part in line.split("·")] == BELOW_THE_BAR
    assert "12 of 20 documents, 60 %" in lines[0]


def test_spent_includes_calls_of_documents_in_progress(progress, clock):
    """Billed calls count as spent before their document ends."""
    clock.now += 1
    progress.add(accept(1, "0.01"))
    progress.add_calls(CallCounts(calls=3, cost_usd=Decimal("0.03")))
    assert progress.line == "1 documents · 1.0/s · $0.03 spent"


def test_rate_excludes_time_while_progress_is_hidden(progress, clock):
    """Progress is hidden while the user is asked to confirm."""
    with progress.hidden():
        clock.now += 3600
    clock.now += 1
    progress.add(accept())
    assert progress.line.startswith("1 documents · 1.0/s")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (42, "42 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599, "59 min 59 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_format_duration_uses_at_most_two_units(seconds, text):
    """60 seconds or minutes are never shown as such."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "unknown"),
        (Decimal(0), "$0"),
        (Decimal("0.000935"), "$0.000935"),
        (Decimal("0.5"), "$0.50"),
        (Decimal("0.0174612"), "$0.0175"),
        (Decimal("0.9996"), "$1.00"),
        (Decimal("-0.004"), "-$0.004"),
        (Decimal("0.000000001"), "$0.000000001"),
        (Decimal(1), "$1.00"),
        (Decimal("12.345"), "$12.34"),
        (Decimal("1234567.8"), "$1,234,567.80"),
    ],
)
def test_dollars_rounds_to_cents_or_significant_digits(amount, text):
    """Cents are shown above a dollar, up to nine decimals below it, and "unknown" for an unknown amount."""
    assert dollars(amount) == text


def print_renderables(*renderables):
    """The lines that a wide console shows, with runs of spaces replaced by one space."""
    screen = StringIO()
    console = Console(file=screen, width=120)
    console.print(*renderables, sep="\n")
    return [" ".join(line.split()) for line in screen.getvalue().splitlines()]


def build_summary(totals, **fields):
    skipped = fields.pop("skipped", 0)
    return RunView("20261120T021500Z-3f9a", totals, 12, skipped, "9 of 12 accepted", "formula", **fields)


def test_summary_shows_predicted_and_billed_tokens():
    totals = RunTotals(accepted=9, calls=10, prompt_tokens=1750, residual_tokens=50, completion_tokens=400)
    lines = print_renderables(*build_summary(totals).lines())
    assert lines[0] == "run 20261120T021500Z-3f9a"
    assert lines[1:3] == ["found 12", "accepted 9"]
    assert "calls 10" in lines
    assert "prompt tokens, predicted by formula 1,700" in lines
    assert "prompt tokens, billed 1,750" in lines
    assert "completion tokens, billed 400" in lines
    assert lines[-1] == "9 of 12 accepted"


def test_summary_shows_paid_wasted_and_unknown_cost():
    totals = RunTotals(accepted=1, cost_usd=Decimal("1.5"), wasted_usd=Decimal("0.5"), unknown_usd=Decimal("0.25"))
    lines = print_renderables(*build_summary(totals).lines())
    assert "cost, paid $1.50" in lines
    assert "wasted $0.50" in lines
    assert "cost, billing status unknown (at most) $0.25" in lines


def test_summary_omits_zero_counts():
    """The counts found and accepted are always shown."""
    lines = print_renderables(*build_summary(RunTotals(failed=1)).lines())
    assert lines[1:4] == ["found 12", "accepted 0", "failed 1"]
    assert "wasted" not in " ".join(lines)


def test_summary_without_documents_and_calls_is_its_message():
    assert print_renderables(*build_summary(RunTotals(), skipped=12).lines()) == ["9 of 12 accepted"]


def test_summary_ends_with_warnings_message_and_files():
    lines = print_renderables(
        *build_summary(RunTotals(), warnings=["the model changed"], results=["/out/results/a.parquet"]).lines()
    )
    assert lines == ["warning: the model changed", "9 of 12 accepted", "rows: /out/results/a.parquet"]


def build_spending_row(name, calls=4, unpriced=0):
    """A row of the spending table with large numbers."""
    tokens = {"prompt_tokens": 2_345_678_901, "completion_tokens": 234_567_890}
    dollars = {"billed_usd": Decimal("12345.678"), "wasted_usd": Decimal("0.00045"), "unknown_usd": Decimal(0)}
    return {"source": name, "calls": calls, **tokens, **dollars, "unpriced": unpriced}


CELLS = "2,345,678,901 234,567,890 $12,345.68 $0.00045 $0"


def test_spending_table_has_a_line_per_group_and_a_total():
    lines = print_renderables(
        spending_table("source", [build_spending_row("/a"), build_spending_row("/b")], build_spending_row("", calls=8))
    )
    assert lines[0] == "source calls prompt tokens completion tokens billed wasted unknown"
    assert lines[1:] == [f"/a 4 {CELLS}", f"/b 4 {CELLS}", f"total 8 {CELLS}"]


@pytest.mark.parametrize("width", [60, 80])
def test_spending_table_cuts_no_digit_on_a_narrow_terminal(width):
    """Only the name of a group is wrapped."""
    screen, table = StringIO(), spending_table("source", [build_spending_row("/archive" * 9)], build_spending_row(""))
    Console(file=screen, width=width).print(table, crop=False)
    assert [" ".join(line.split()) for line in screen.getvalue().splitlines()][-1] == f"total 4 {CELLS}"


def test_spending_table_counts_calls_without_a_price():
    """They are in none of the sums."""
    lines = print_renderables(spending_table("source", [], build_spending_row("", unpriced=3)))
    assert lines[-1] == "3 calls have no known price and are in no sum: add it to the file of TILEWISE_PRICES"


def test_summary_lists_failures_by_kind_with_a_reason():
    """The most frequent kind comes first, with whether it is retried and the reason of one failure."""
    rare, frequent = ("bill", "empty", True), ("call", "timeout", False)
    totals = RunTotals(rejected=1, failed=3, kinds=Counter({rare: 1, frequent: 3}))
    totals += RunTotals(reasons=FailureReasons({frequent: "no answer"})) + RunTotals(
        reasons=FailureReasons({frequent: "b"})
    )
    lines = print_renderables(*build_summary(totals).lines())
    assert lines[-3:-1] == ["call, timeout 3 yes, by the next run", "bill, empty 1 no, final"]
    assert failure_lines(totals)[0] == "3 documents failed: call, timeout (retried: yes, by the next run): no answer"


def build_failure(document, kind="timeout", message="no answer"):
    return RunTotals(failed=1, first_failures=FirstFailures([FailedDocument(document, "call", kind, message)]))


def test_summary_names_five_failures_of_as_many_kinds_as_possible():
    """A failure of a new kind replaces one whose kind is already listed."""
    ends = [build_failure(f"{number}.jpg") for number in range(8)] + [build_failure("8.jpg", "empty", "no bytes")]
    lines = print_renderables(*list_first_failures(sum(ends, RunTotals())))
    assert lines[:3] == ["the first 5 of 9:", "0.jpg", "timeout: no answer"]
    assert lines[-8:] == [
        *("8.jpg", "empty: no bytes", "1.jpg", "timeout: no answer"),
        *("2.jpg", "timeout: no answer", "3.jpg", "timeout: no answer"),
    ]


def test_summary_shows_control_characters_of_names_and_messages_as_question_marks():
    """A terminal would execute escape sequences in file names and model output."""
    [_, line] = list_first_failures(build_failure("\x1b[2Ja.jpg", message=reason_of("no \x1b]0;x\x07 \u202eanswer")))
    assert line == "  ?[2Ja.jpg\n    timeout: no ?]0;x? ?answer"


def test_reason_of_a_failure_is_one_short_line():
    """Line breaks are removed and long messages are cut."""
    assert reason_of("a\n b") == "a b"
    assert len(reason_of("x" * 1000)) == REASON_LENGTH
