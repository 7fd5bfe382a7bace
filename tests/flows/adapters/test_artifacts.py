"""What a run shows: a summary whose counts add up, its failures by kind, and a state that says what happened."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from support.runs import vary

from extractors.core import Fingerprint, RunInfo
from extractors.core.errors import BudgetSpent, Incomplete, Refused
from extractors.core.money import Costs
from extractors.core.totals import CascadeTotals, FailureReasons, RunTotals
from extractors.report.summary import public_reason
from extractors.run.result import RunCounts, RunRecord, RunResult
from flows.adapters.artifacts import failure_rows, format_summary
from flows.adapters.naming import summarize
from flows.extract import final_state

TERMS = RunInfo(
    run="20261120T021500Z-3f9a",
    started_at=datetime(2026, 11, 20, 2, 15, tzinfo=UTC),
    source="/in",
    output="/out",
    fingerprint=Fingerprint("https://api.example/v1", "maker/model", "receipt", "5c4e", "9a0b"),
    policy="balanced",
    bill_rule="table",
)
KINDS = {("bill", "unreadable", True): 2, ("call", "timeout", False): 5}
TALLY = RunTotals(
    rejected=2,
    accepted=998,
    failed=5,
    calls=1010,
    prompt_tokens=17_500,
    residual_tokens=-12,
    estimated=Costs(Decimal("0.1"), Decimal("0.2"), Decimal("1.4")),
    cost_usd=Decimal("1.25"),
    wasted_usd=Decimal("0.05"),
    unknown_usd=Decimal("0.01"),
    kinds=Counter(KINDS),
)


def closing(totals=TALLY, error=None, fail_above=0.5, warnings=(), **terms):
    """A run that has ended like this."""
    return RunResult(RunRecord(vary(TERMS, **terms), fail_above, error, warnings), RunCounts(10, totals))


def number(name, text):
    """The number in a table's row."""
    return int(re.search(rf"\| \**{name}\** \| \**([\d,]+)\** \|", text)[1].replace(",", ""))


def test_the_counts_of_the_summary_add_up():
    """Every document that was found is in one of the rows above."""
    text = format_summary(closing())
    parts = ("skipped", "duplicates", "rejected", "accepted", "failed", "remaining")
    assert number("found", text) == sum(number(part, text) for part in parts) == 1015


def test_summary_says_where_documents_stopped():
    """With what climbing cost and what was saved; a run of whole images has no such table."""
    cascade = CascadeTotals(Counter({1601: 900, 6404: 98}), 98, Decimal("0.2"), 2_232_589, 627_592, 6_391_192)
    text = format_summary(closing(replace(TALLY, cascade=cascade)))
    for row in (
        "| stopped at 1,601 image tokens a page | 900 documents |",
        "| climbed | 98 documents, 627,592 image tokens, $0.20 |",
        "| saved against --policy faithful | 4,158,603 image tokens (65.1 %) |",
    ):
        assert row in text
    assert "rungs" not in format_summary(closing())


def test_the_money_of_the_summary():
    """Predicted against paid, wasted, unknown; and the residual of the tokens."""
    text = format_summary(closing())
    for row in (
        "| predicted, low to high | $0.10 to $1.40 |",
        "| paid | $1.25 |",
        "| wasted: billed, answer not published | $0.05 |",
        "| billing status unknown, at most | $0.01 |",
        "| prompt, predicted by table | 17,512 |",
        "| residual: billed minus predicted | -12 |",
    ):
        assert row in text


def test_names_and_warnings_have_no_markup():
    """A model's name comes from a server, a path from anybody."""
    evil = "<script>alert(1)</script>`|[x](https://evil.example)"
    text = format_summary(closing(model=evil, source=evil, warnings=(f"the model that answers is {evil}",)))
    outside_code = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    assert "<script" not in outside_code
    assert "](" not in outside_code.replace("\\]\\(", "")
    assert "the model that answers is &lt;script&gt;" in text


def test_where_the_rows_and_the_page_are():
    """As they are, to be copied; nothing of a page that could not be written."""
    run = replace(closing(), results=("s3://b/out/results/a_b.parquet",))
    assert "### Rows\n\n- `s3://b/out/results/a_b.parquet`" in format_summary(run)
    assert "### Report\n\n- `s3://b/out/reports/r.html`" in format_summary(run, "s3://b/out/reports/r.html")
    assert "Report" not in format_summary(run)


def test_failures_by_kind():
    """A row per kind, the most frequent first, in five columns."""
    rows = failure_rows(closing())
    assert [(row["stage"], row["kind"], row["documents"]) for row in rows] == [
        ("call", "timeout", 5),
        ("bill", "unreadable", 2),
    ]
    assert [row["retried"][:3] for row in rows] == ["yes", "no,"]
    assert {len(row) for row in rows} == {5}


@pytest.mark.parametrize(
    ("run", "state", "message"),
    [
        (closing(), ("COMPLETED", "Completed"), "998 accepted, 2 rejected, 5 failed"),
        (
            closing(fail_above=0.001),
            ("FAILED", "Failed"),
            "998 accepted, 2 rejected, 5 failed; 7 of 1,005 failed (0.7 %), 0.1 % allowed",
        ),
        (
            closing(RunTotals(accepted=3, failed=4), fail_above=0.2),
            ("FAILED", "Failed"),
            "3 accepted, 4 failed; 4 of 7 failed (57 %), 20 % allowed",
        ),
        (
            closing(RunTotals(accepted=3), Incomplete("folder x could not be listed")),
            ("FAILED", "Failed"),
            "3 accepted; stopped: folder x could not be listed",
        ),
        (
            closing(RunTotals(accepted=7, remaining=3), BudgetSpent("the budget of $1 is spent")),
            ("COMPLETED", "Partial"),
            "7 accepted, 3 remaining; stopped: the budget of $1 is spent",
        ),
        (
            closing(RunTotals(remaining=3), Refused("the key is refused")),
            ("FAILED", "Failed"),
            "0 accepted, 3 remaining; stopped: the key is refused",
        ),
        (
            RunResult(closing().record, RunCounts(10, skipped_failed=Counter(refused=3))),
            ("COMPLETED", "Completed"),
            (
                "nothing to do: 7 documents have a result in /out, 3 failed for good earlier (3 refused): --redo failed tries"
                " them again; no call was made"
            ),
        ),
        (
            closing(RunTotals()),
            ("COMPLETED", "Completed"),
            "nothing to do: all 10 documents have a result in /out (--redo all reads them again); no call was made",
        ),
    ],
)
def test_the_state_says_what_happened(run, state, message):
    """Failed above the share or when something is wrong, Partial when stopped as told."""
    made = final_state(run)
    assert (made.type.value, made.name) == state
    assert made.message == summarize(run) == message


def test_summary_quotes_the_reasons_of_failures_escaped():
    """The first words of one failure per kind, without markup."""
    totals = replace(TALLY, reasons=FailureReasons({("call", "timeout", False): "no answer <b>in</b> 120 s"}))
    assert "no answer &lt;b&gt;in&lt;/b&gt; 120 s" in format_summary(closing(totals))
    assert failure_rows(closing(totals))[0]["for example"] == "no answer &lt;b&gt;in&lt;/b&gt; 120 s"


@pytest.mark.parametrize(
    ("failure", "message", "reason"),
    [
        (("validate", "off_schema", False), "total: 'ACME 4111' is no number", "total: '…' is no number"),
        (("call", "server_error", False), "200 without an answer: ACME", "see the table failures"),
        (("call", "client_error", True), "400: Unknown model 'm'", "400: Unknown model 'm'"),
    ],
)
def test_public_reason_quotes_no_answer(failure, message, reason):
    """What may hold text of an answer stays in the tables."""
    assert public_reason(failure, message) == reason
