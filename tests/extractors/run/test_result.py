"""result.py: the counts of a run, its exit code and its message.

Covers `extractors.core.outcomes`, too.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.runs import vary

from extractors.config.job import Job
from extractors.core import Fingerprint, RunInfo
from extractors.core.errors import LedgerError, Refused, RunError
from extractors.core.money import Costs
from extractors.core.totals import RunTotals
from extractors.record.tables import columns
from extractors.run.result import RunCounts, RunRecord, RunResult

STARTED = datetime(2026, 11, 20, 2, 15, 0, tzinfo=UTC)
RUN_INFO = RunInfo(
    run="20261120T021500Z-3f9a",
    started_at=STARTED,
    source="/in",
    output="/out",
    fingerprint=Fingerprint("https://api.example/v1", "maker/model", "receipt", "5c4e", "9a0b"),
    policy="balanced",
    bill_rule="table",
)
TOTALS = RunTotals(
    rejected=2,
    accepted=7,
    failed=1,
    remaining=5,
    calls=11,
    prompt_tokens=17_500,
    cached_tokens=640,
    completion_tokens=400,
    reasoning_tokens=80,
    residual_tokens=-12,
    estimated=Costs(Decimal("0.1"), Decimal("0.2"), Decimal("0.4")),
    cost_usd=Decimal("0.25"),
    wasted_usd=Decimal("0.05"),
    unknown_usd=Decimal("0.01"),
)


def build_record(error=None, fail_above=0.0, **changes):
    return RunRecord(vary(RUN_INFO, **changes), fail_above, error)


def build_result(totals, skipped=0, error=None, fail_above=0.0):
    return RunResult(build_record(error, fail_above), RunCounts(skipped, totals))


counts = st.integers(0, 10**6)
outcomes = ("rejected", "accepted", "failed", "remaining", "copied", "copied_failed")
totals_strategy = st.builds(RunTotals, **dict.fromkeys(outcomes, counts))


@given(skipped=counts, totals=totals_strategy)
def test_found_is_the_sum_of_all_outcomes(skipped, totals):
    """It is the sum of skipped, duplicates, rejected, accepted, failed and remaining."""
    row = build_record().row(RunCounts(skipped, totals), 1)
    parts = ("skipped", "duplicates", "rejected", "accepted", "failed", "remaining")
    assert row["found"] == sum(row[part] for part in parts)


@given(first=st.tuples(counts, totals_strategy), second=st.tuples(counts, totals_strategy))
def test_counts_of_two_volumes_are_added(first, second):
    one, other = RunCounts(*first), RunCounts(*second)
    assert (one + other).found == one.found + other.found
    assert (one + other).totals == one.totals + other.totals


def test_row_has_the_columns_of_runs_in_order():
    assert list(build_record().row(RunCounts(3, TOTALS), 1)) == list(columns.RUNS)


def test_row_has_the_types_of_the_columns_of_runs():
    row = build_record(Refused("no"), fail_above=0.5).row(RunCounts(3, TOTALS), 1)
    frame = pl.DataFrame([row], schema=columns.RUNS, orient="row", strict=True)
    assert frame.row(0, named=True) == row


def test_row_has_the_counts_tokens_and_dollars_of_the_totals():
    row = build_record().row(RunCounts(3, TOTALS), 2)
    assert {name: row[name] for name in ("volume", "found", "skipped", "rejected", "accepted", "failed")} == {
        "volume": 2,
        "found": 18,
        "skipped": 3,
        "rejected": 2,
        "accepted": 7,
        "failed": 1,
    }
    tokens = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "residual_tokens")
    assert [row[name] for name in tokens] == [11, 17_500, 640, 400, 80, -12]
    dollars = ("estimated_low_usd", "estimated_expected_usd", "estimated_high_usd", "cost_usd", "cost_wasted_usd")
    assert [row[name] for name in dollars] == [Decimal(amount) for amount in ("0.1", "0.2", "0.4", "0.25", "0.05")]
    assert row["cost_unknown_usd"] == Decimal("0.01")


def test_unknown_cost_is_null_in_the_row():
    """An unknown price never becomes 0."""
    unknown = RunTotals(accepted=1, cost_usd=None, wasted_usd=None, estimated=Costs(None, None, None))
    row = build_record().row(RunCounts(0, unknown + TOTALS), 1)
    assert [row[name] for name in ("cost_usd", "cost_wasted_usd", "estimated_high_usd")] == [None] * 3


def test_row_names_its_run_source_output_model_bill_rule_and_flow_run():
    row = replace(build_record(flow_run="f10w"), warnings=("odd",)).row(RunCounts(), 1)
    assert row["run"] == "20261120T021500Z-3f9a"
    assert (row["flow"], row["schema"], row["source"], row["output"]) == ("run", "receipt", "/in", "/out")
    assert (row["model"], row["endpoint"]) == ("maker/model", "https://api.example/v1")
    assert (row["policy"], row["bill_rule"]) == ("balanced", "table")
    assert (row["prefect_flow_run_id"], row["warnings"]) == ("f10w", ["odd"])
    assert row["started_at"] == STARTED <= row["finished_at"] <= datetime.now(UTC)


def test_row_has_the_job_as_json():
    row = build_record(job='{"source": "/in", "limit": 5}', flow="calibrate").row(RunCounts(), 1)
    assert json.loads(row["job"]) == {"source": "/in", "limit": 5}
    assert row["flow"] == "calibrate"


def test_job_has_no_field_for_a_secret():
    """A key or a password is a setting, which no table stores."""
    names = Job.model_fields.keys()
    assert not {name for name in names if {"key", "secret", "token", "password"} & set(name.split("_"))}


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (None, "completed", None),
        (Refused("401 the key is not accepted"), "refused", "401 the key is not accepted"),
        (LedgerError("disk is full"), "failed", "disk is full"),
        (RunError("odd"), "failed", "odd"),
    ],
)
def test_status_and_error_of_the_row_are_those_of_the_error(error, status, words):
    row = build_record(error).row(RunCounts(), 1)
    assert (row["status"], row["error"]) == (status, words)


@pytest.mark.parametrize(
    ("totals", "fail_above", "code"),
    [
        (RunTotals(), 0.0, 0),
        (RunTotals(accepted=10), 0.0, 0),
        (RunTotals(accepted=99, failed=1), 0.0, 1),
        (RunTotals(accepted=99, rejected=1), 0.0, 1),
        (RunTotals(accepted=8, failed=1, rejected=1), 0.2, 0),
        (RunTotals(accepted=7, failed=2, rejected=1), 0.2, 1),
        (RunTotals(failed=3), 1.0, 0),
        (RunTotals(accepted=8, failed=2, remaining=90), 0.1, 1),
        (RunTotals(accepted=10, remaining=90), 0.0, 0),
        (RunTotals(accepted=1, copied=9), 0.0, 0),
        (RunTotals(accepted=7, failed=1, copied=1, copied_failed=1), 0.2, 0),
        (RunTotals(accepted=7, failed=1, copied_failed=2), 0.2, 1),
    ],
)
def test_exit_code_is_1_when_the_share_of_failures_exceeds_fail_above(totals, fail_above, code):
    """The share is of the documents tried; a share equal to the limit exits with 0."""
    assert build_result(totals, skipped=1000, fail_above=fail_above).exit_code == code


@pytest.mark.parametrize("totals", [RunTotals(), RunTotals(accepted=5), RunTotals(failed=5)])
def test_exit_code_of_a_refused_run_is_2_with_any_share_of_failures(totals):
    assert build_result(totals, error=Refused("402"), fail_above=1.0).exit_code == 2


def test_message_counts_accepted_documents():
    assert build_result(RunTotals(accepted=12)).message == "12 of 12 documents accepted"


def test_message_names_the_table_of_failures():
    assert build_result(RunTotals(accepted=9, failed=2, rejected=1)).message == (
        "9 of 12 documents accepted; 3 not: see /out/failures"
    )


@pytest.mark.parametrize(
    ("totals", "message"),
    [
        (RunTotals(accepted=997, copied=3), "997 of 1,000 documents accepted, 3 copied"),
        (RunTotals(copied=3), "0 of 3 documents accepted, 3 copied"),
        (RunTotals(failed=1, copied_failed=2), "0 of 3 documents accepted; 3 not: see /out/failures"),
    ],
)
def test_message_counts_copies(totals, message):
    """Copies of a failure are counted as failures."""
    assert build_result(totals).message == message


def test_row_counts_copies_of_rows_and_of_failures_as_duplicates():
    """Found counts each of them once."""
    row = build_record().row(RunCounts(1, RunTotals(accepted=4, copied=2, copied_failed=3)), 1)
    assert (row["found"], row["duplicates"], row["accepted"], row["failed"]) == (10, 5, 4, 0)


def test_message_of_a_run_with_nothing_to_do_names_redo():
    """It says that no call was made."""
    message = build_result(RunTotals(), skipped=40).message
    assert (
        message
        == "nothing to do: all 40 documents have a result in /out (--redo all reads them again); no call was made"
    )


@pytest.mark.parametrize(
    ("totals", "beginning"),
    [
        (
            RunTotals(remaining=3),
            "nothing to do: 3 documents are being processed by another run; all 40 documents have a result",
        ),
        (
            RunTotals(accepted=2, remaining=3),
            "2 of 2 documents accepted; 3 documents are being processed by another run",
        ),
    ],
)
def test_message_counts_documents_that_another_run_has_in_progress(totals, beginning):
    """The message does not count them as done."""
    assert build_result(totals, skipped=40).message.startswith(beginning)


def test_message_of_a_stopped_run_has_the_reason_the_kept_and_the_remaining_documents():
    message = build_result(TOTALS, error=Refused("401 the key is not accepted")).message
    assert message == (
        "stopped: 401 the key is not accepted; 7 accepted documents are kept in /out, 5 remain for the next run"
    )


def test_row_of_a_result_has_volume_1_and_the_counts_of_all_volumes():
    """The command prints this one row."""
    result = build_result(TOTALS, skipped=3)
    assert (result.row["volume"], result.row["found"]) == (1, 18)
