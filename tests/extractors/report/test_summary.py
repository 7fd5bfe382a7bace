"""report: what the terminal says, while a run goes and when it has ended."""

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
    """Seconds that pass when a test says so."""

    def __init__(self):
        """Begins anywhere: only differences count."""
        self.now = 1000.0

    def __call__(self):
        """The seconds now."""
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def screen():
    return StringIO()


@pytest.fixture
def progress(clock, screen):
    """Progress on what is no terminal."""
    return Progress(Console(file=screen, width=200), clock)


def accept(count=1, cost="0.001"):
    return RunTotals(accepted=count, cost_usd=None if cost is None else Decimal(cost))


def test_the_line_says_how_far_it_is(progress, clock):
    """Documents done, rate, dollars spent and time left stand on one line."""
    progress.set_total(1200)
    clock.now += 60
    progress.add(accept(300, "0.75"))
    assert progress.line == "300 of 1,200 documents · 5.0/s · $0.75 spent · 3 min 0 s left"


def test_the_line_counts_what_was_not_accepted(progress, clock):
    """Rejected and failed documents are done, and said."""
    progress.set_total(100)
    clock.now += 10
    progress.add(accept(7) + RunTotals(rejected=1, failed=2))
    assert progress.line == "10 of 100 documents · 3 not accepted · 1.0/s · $0.001 spent · 1 min 30 s left"


def test_the_line_does_without_a_total(progress, clock):
    """Before the source is counted there is a rate and no time left."""
    clock.now += 2
    progress.add(accept(4))
    assert progress.line == "4 documents · 2.0/s · $0.001 spent"


def test_the_share_of_what_is_expected(progress):
    """Nothing while nobody knows what to expect; never more than all of it."""
    shares = [progress.share]
    progress.set_total(4)
    for count in (1, 5):
        progress.add(accept(count))
        shares.append(progress.share)
    assert shares == [0.0, 0.25, 1.0]


def test_the_line_begins_with_nothing(progress):
    """At the first moment nothing is done and no rate is known."""
    progress.set_total(5)
    assert progress.line == "0 of 5 documents · 0.0/s · $0 spent"


def test_the_line_has_no_time_left_when_all_is_done(progress, clock):
    """Nothing is left after the last document, also where there were more than expected."""
    progress.set_total(4)
    clock.now += 2
    progress.add(accept(5))
    assert progress.line == "5 of 4 documents · 2.5/s · $0.001 spent"


def test_the_line_admits_an_unknown_cost(progress, clock):
    """One document without a price makes the sum unknown, not smaller."""
    clock.now += 1
    progress.add(accept())
    progress.add(accept(cost=None))
    assert progress.line == "2 documents · 2.0/s · cost unknown"


def test_a_document_that_was_left_is_not_done(progress, clock):
    """What the next run takes does not count."""
    clock.now += 1
    progress.add(RunTotals(remaining=3))
    assert progress.line.startswith("0 documents")


def test_plain_lines_come_at_most_every_ten_seconds(progress, clock, screen):
    """Where lines cannot be rewritten, a log gets one now and then."""
    clock.now += 9.9
    progress.add(accept())
    early = screen.getvalue()
    clock.now += 0.1
    progress.add(accept())
    clock.now += 9.9
    progress.add(accept())
    assert early == ""
    assert screen.getvalue() == "2 documents · 0.2/s · $0.002 spent\n"


def test_plain_lines_go_on(progress, clock, screen):
    """Ten seconds after a line comes the next."""
    clock.now += 10
    progress.add(accept())
    clock.now += 10
    progress.add(accept())
    assert len(screen.getvalue().splitlines()) == 2


def test_a_log_gets_no_control_characters(progress, clock, screen):
    """What is no terminal is sent text alone, and nothing at the end."""
    with progress:
        clock.now += 10
        progress.add(accept())
    assert screen.getvalue() == "1 documents · 0.1/s · $0.001 spent\n"


def test_a_terminal_gets_a_bar_that_goes_away(clock, screen):
    """On a terminal the bar is rewritten, and cleared at the end; the cursor is shown again after an interrupt."""
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
    """Every part is whole on a line of its own or beside others, and no line reaches the edge."""
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
    """What the server has billed is spent, whatever becomes of the document."""
    clock.now += 1
    progress.add(accept(1, "0.01"))
    progress.add_calls(CallCounts(calls=3, cost_usd=Decimal("0.03")))
    assert progress.line == "1 documents · 1.0/s · $0.03 spent"


def test_time_of_a_question_does_not_count_for_the_rate(progress, clock):
    """A person may think for long."""
    with progress.hidden():
        clock.now += 3600
    clock.now += 1
    progress.add(accept())
    assert progress.line.startswith("1 documents · 1.0/s")


@pytest.mark.parametrize(
    ("seconds", "said"),
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
def test_a_duration_is_said_as_a_person_says_it(seconds, said):
    """Two units at most, and never 60 of one."""
    assert format_duration(seconds) == said


@pytest.mark.parametrize(
    ("amount", "said"),
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
def test_dollars_have_the_digits_that_matter(amount, said):
    """Cents above a dollar, millionths below, and never a 0 for what nobody knows."""
    assert dollars(amount) == said


def print_renderables(*renderables):
    """What a wide console shows, without trailing spaces, runs of spaces as one."""
    screen = StringIO()
    console = Console(file=screen, width=120)
    console.print(*renderables, sep="\n")
    return [" ".join(line.split()) for line in screen.getvalue().splitlines()]


def summary(tally, **fields):
    skipped = fields.pop("skipped", 0)
    return RunView("20261120T021500Z-3f9a", tally, 12, skipped, "9 of 12 accepted", "formula", **fields)


def test_a_summary_sets_the_prediction_beside_the_bill():
    """Tokens and dollars stand as predicted and as billed."""
    tally = RunTotals(accepted=9, calls=10, prompt_tokens=1750, residual_tokens=50, completion_tokens=400)
    lines = print_renderables(*summary(tally).lines())
    assert lines[0] == "run 20261120T021500Z-3f9a"
    assert lines[1:3] == ["found 12", "accepted 9"]
    assert "calls 10" in lines
    assert "prompt tokens, predicted by formula 1,700" in lines
    assert "prompt tokens, billed 1,750" in lines
    assert "completion tokens, billed 400" in lines
    assert lines[-1] == "9 of 12 accepted"


def test_a_summary_says_what_was_wasted_and_what_nobody_knows():
    """Money that bought no row is said apart."""
    tally = RunTotals(accepted=1, cost_usd=Decimal("1.5"), wasted_usd=Decimal("0.5"), unknown_usd=Decimal("0.25"))
    lines = print_renderables(*summary(tally).lines())
    assert "cost, paid $1.50" in lines
    assert "wasted $0.50" in lines
    assert "cost, billing status unknown (at most) $0.25" in lines


def test_a_summary_leaves_out_what_did_not_happen():
    """Counts of 0 are not lines, except those that everybody looks for."""
    lines = print_renderables(*summary(RunTotals(failed=1)).lines())
    assert lines[1:4] == ["found 12", "accepted 0", "failed 1"]
    assert "wasted" not in " ".join(lines)


def test_a_summary_of_nothing_done_is_its_message():
    """A run without documents and calls shows no table of zeros."""
    assert print_renderables(*summary(RunTotals(), skipped=12).lines()) == ["9 of 12 accepted"]


def test_a_summary_ends_with_warnings_message_and_files():
    """The last lines say what to look at."""
    lines = print_renderables(
        *summary(RunTotals(), warnings=["the model changed"], results=["/out/results/a.parquet"]).lines()
    )
    assert lines == ["warning: the model changed", "9 of 12 accepted", "rows: /out/results/a.parquet"]


def spending(name, calls=4, unpriced=0):
    """A line of what was spent, in large numbers."""
    tokens = {"prompt_tokens": 2_345_678_901, "completion_tokens": 234_567_890}
    dollars = {"billed_usd": Decimal("12345.678"), "wasted_usd": Decimal("0.00045"), "unknown_usd": Decimal(0)}
    return {"source": name, "calls": calls, **tokens, **dollars, "unpriced": unpriced}


CELLS = "2,345,678,901 234,567,890 $12,345.68 $0.00045 $0"


def test_what_was_spent_has_a_line_a_group_and_a_total():
    lines = print_renderables(spending_table("source", [spending("/a"), spending("/b")], spending("", calls=8)))
    assert lines[0] == "source calls prompt tokens completion tokens billed wasted unknown"
    assert lines[1:] == [f"/a 4 {CELLS}", f"/b 4 {CELLS}", f"total 8 {CELLS}"]


@pytest.mark.parametrize("width", [60, 80])
def test_no_digit_is_cut_where_the_terminal_is_narrow(width):
    """The group's name is folded, numbers never."""
    screen, table = StringIO(), spending_table("source", [spending("/archive" * 9)], spending(""))
    Console(file=screen, width=width).print(table, crop=False)
    assert [" ".join(line.split()) for line in screen.getvalue().splitlines()][-1] == f"total 4 {CELLS}"


def test_what_has_no_price_is_said_below():
    """It is in no sum, so nobody may take the sum for all."""
    lines = print_renderables(spending_table("source", [], spending("", unpriced=3)))
    assert lines[-1] == "3 calls have no known price and are in no sum: add it to the file of TILEWISE_PRICES"


def test_summary_lists_failures_by_kind_with_a_reason():
    """The most frequent kind first, whether it is retried, and the first words of one failure."""
    rare, often = ("bill", "empty", True), ("call", "timeout", False)
    totals = RunTotals(rejected=1, failed=3, kinds=Counter({rare: 1, often: 3}))
    totals += RunTotals(reasons=FailureReasons({often: "no answer"})) + RunTotals(reasons=FailureReasons({often: "b"}))
    lines = print_renderables(*summary(totals).lines())
    assert lines[-3:-1] == ["call, timeout 3 yes, by the next run", "bill, empty 1 no, final"]
    assert failure_lines(totals)[0] == "3 documents failed: call, timeout (retried: yes, by the next run): no answer"


def fail(document, kind="timeout", message="no answer"):
    return RunTotals(failed=1, first_failures=FirstFailures([FailedDocument(document, "call", kind, message)]))


def test_summary_names_the_first_five_failures_of_as_many_kinds_as_there_are():
    """A kind that comes late takes the place of one that is there already."""
    ends = [fail(f"{number}.jpg") for number in range(8)] + [fail("8.jpg", "empty", "no bytes")]
    lines = print_renderables(*list_first_failures(sum(ends, RunTotals())))
    assert lines[:3] == ["the first 5 of 9:", "0.jpg", "timeout: no answer"]
    assert lines[-8:] == [
        *("8.jpg", "empty: no bytes", "1.jpg", "timeout: no answer"),
        *("2.jpg", "timeout: no answer", "3.jpg", "timeout: no answer"),
    ]


def test_summary_shows_control_characters_of_names_and_messages_as_question_marks():
    """A terminal obeys escape sequences, and a file's name or a model may hold them."""
    [_, line] = list_first_failures(fail("\x1b[2Ja.jpg", message=reason_of("no \x1b]0;x\x07 \u202eanswer")))
    assert line == "  ?[2Ja.jpg\n    timeout: no ?]0;x? ?answer"


def test_reason_of_a_failure_is_one_short_line():
    """Long messages and line breaks do not reach the summary."""
    assert reason_of("a\n b") == "a b"
    assert len(reason_of("x" * 1000)) == REASON_LENGTH
