"""The summary, the table of failures and the final state of a flow run."""

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

RUN_INFO = RunInfo(
    run="20261120T021500Z-3f9a",
    started_at=datetime(2026, 11, 20, 2, 15, tzinfo=UTC),
    source="/in",
    output="/out",
    fingerprint=Fingerprint("https://api.example/v1", "maker/model", "receipt", "5c4e", "9a0b"),
    policy="balanced",
    bill_rule="table",
)
KINDS = {("bill", "unreadable", True): 2, ("call", "timeout", False): 5}
TOTALS = RunTotals(
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


def make_result(totals=TOTALS, error=None, fail_above=0.5, warnings=(), **terms):
    """The result of a run with these totals, error and warnings."""
    return RunResult(RunRecord(vary(RUN_INFO, **terms), fail_above, error, warnings), RunCounts(10, totals))


def read_count(name, text):
    """The number in this row of a table."""
    return int(re.search(rf"\| \**{name}\** \| \**([\d,]+)\** \|", text)[1].replace(",", ""))


def test_summary_counts_add_up_to_found():
    text = format_summary(make_result())
    parts = ("skipped", "duplicates", "rejected", "accepted", "failed", "remaining")
    assert read_count("found", text) == sum(read_count(part, text) for part in parts) == 1015


def test_summary_has_a_table_of_rungs_for_a_cascade():
    """It gives documents by rung, the cost of climbing and the saving against `faithful`; other runs have none."""
    cascade = CascadeTotals(Counter({1601: 900, 6404: 98}), 98, Decimal("0.2"), 2_232_589, 627_592, 6_391_192)
    text = format_summary(make_result(replace(TOTALS, cascade=cascade)))
    for row in (
        "| stopped at 1,601 image tokens a page | 900 documents |",
        "| climbed | 98 documents, 627,592 image tokens, $0.20 |",
        "| saved against --policy faithful | 4,158,603 image tokens (65.1 %) |",
    ):
        assert row in text
    assert "rungs" not in format_summary(make_result())


def test_summary_states_predicted_paid_wasted_and_unknown_cost():
    """It also gives the predicted prompt tokens and their residual."""
    text = format_summary(make_result())
    for row in (
        "| predicted, low to high | $0.10 to $1.40 |",
        "| paid | $1.25 |",
        "| wasted: billed, answer not published | $0.05 |",
        "| billing status unknown, at most | $0.01 |",
        "| prompt, predicted by table | 17,512 |",
        "| residual: billed minus predicted | -12 |",
    ):
        assert row in text


def test_summary_escapes_names_paths_and_warnings():
    """A model's name comes from a server, and a path from a user."""
    markup = "<script>alert(1)</script>`|[x](https://evil.example)"
    text = format_summary(make_result(model=markup, source=markup, warnings=(f"the model that answers is {markup}",)))
    outside_code = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    assert "<script" not in outside_code
    assert "](" not in outside_code.replace("\\]\\(", "")
    assert "the model that answers is &lt;script&gt;" in text


def test_summary_lists_the_paths_of_rows_and_report():
    """Paths are quoted unchanged; a report that was not written has no section."""
    run = replace(make_result(), results=("s3://b/out/results/a_b.parquet",))
    assert "### Rows\n\n- `s3://b/out/results/a_b.parquet`" in format_summary(run)
    assert "### Report\n\n- `s3://b/out/reports/r.html`" in format_summary(run, "s3://b/out/reports/r.html")
    assert "Report" not in format_summary(run)


def test_failure_rows_are_sorted_by_frequency():
    """Each kind has one row of five columns."""
    rows = failure_rows(make_result())
    assert [(row["stage"], row["kind"], row["documents"]) for row in rows] == [
        ("call", "timeout", 5),
        ("bill", "unreadable", 2),
    ]
    assert [row["retried"][:3] for row in rows] == ["yes", "no,"]
    assert {len(row) for row in rows} == {5}


@pytest.mark.parametrize(
    ("run", "state", "message"),
    [
        (make_result(), ("COMPLETED", "Completed"), "998 accepted, 2 rejected, 5 failed"),
        (
            make_result(fail_above=0.001),
            ("FAILED", "Failed"),
            "998 accepted, 2 rejected, 5 failed; 7 of 1,005 failed (0.7 %), 0.1 % allowed",
        ),
        (
            make_result(RunTotals(accepted=3, failed=4), fail_above=0.2),
            ("FAILED", "Failed"),
            "3 accepted, 4 failed; 4 of 7 failed (57 %), 20 % allowed",
        ),
        (
            make_result(RunTotals(accepted=3), Incomplete("folder x could not be listed")),
            ("FAILED", "Failed"),
            "3 accepted; stopped: folder x could not be listed",
        ),
        (
            make_result(RunTotals(accepted=7, remaining=3), BudgetSpent("the budget of $1 is spent")),
            ("COMPLETED", "Partial"),
            "7 accepted, 3 remaining; stopped: the budget of $1 is spent",
        ),
        (
            make_result(RunTotals(remaining=3), Refused("the key is refused")),
            ("FAILED", "Failed"),
            "0 accepted, 3 remaining; stopped: the key is refused",
        ),
        (
            RunResult(make_result().record, RunCounts(10, skipped_failed=Counter(refused=3))),
            ("COMPLETED", "Completed"),
            (
                "nothing to do: 7 documents have a result in /out, 3 failed for good earlier (3 refused): --redo failed tries"
                " them again; no call was made"
            ),
        ),
        (
            make_result(RunTotals()),
            ("COMPLETED", "Completed"),
            "nothing to do: all 10 documents have a result in /out (--redo all reads them again); no call was made",
        ),
    ],
)
def test_final_state_follows_from_failures_and_errors(run, state, message):
    """The state is Failed above the failure threshold or after an error, Partial after a budget is spent, else Completed."""
    final = final_state(run)
    assert (final.type.value, final.name) == state
    assert final.message == summarize(run) == message


def test_summary_escapes_the_reasons_of_failures():
    """The summary and the table of failures quote the first words of one failure per kind."""
    totals = replace(TOTALS, reasons=FailureReasons({("call", "timeout", False): "no answer <b>in</b> 120 s"}))
    assert "no answer &lt;b&gt;in&lt;/b&gt; 120 s" in format_summary(make_result(totals))
    assert failure_rows(make_result(totals))[0]["for example"] == "no answer &lt;b&gt;in&lt;/b&gt; 120 s"


@pytest.mark.parametrize(
    ("failure", "message", "reason"),
    [
        (("validate", "off_schema", False), "total: 'ACME 4111' is no number", "total: '…' is no number"),
        (("call", "server_error", False), "200 without an answer: ACME", "see the table failures"),
        (("call", "client_error", True), "400: Unknown model 'm'", "400: Unknown model 'm'"),
    ],
)
def test_public_reason_quotes_no_answer(failure, message, reason):
    """Text that may come from an answer is shown in the tables only."""
    assert public_reason(failure, message) == reason
