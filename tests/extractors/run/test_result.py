"""result.py: a run's counts add up, its exit code follows from them, and its sentence says what was kept.

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
TERMS = RunInfo(
    run="20261120T021500Z-3f9a",
    started_at=STARTED,
    source="/in",
    output="/out",
    fingerprint=Fingerprint("https://api.example/v1", "maker/model", "receipt", "5c4e", "9a0b"),
    policy="balanced",
    bill_rule="table",
)
TALLY = RunTotals(
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


def account(error=None, fail_above=0.0, **said):
    return RunRecord(vary(TERMS, **said), fail_above, error)


def close(tally, skipped=0, error=None, fail_above=0.0):
    return RunResult(account(error, fail_above), RunCounts(skipped, tally))


numbers = st.integers(0, 10**6)
fates = ("rejected", "accepted", "failed", "remaining", "copied", "copied_failed")
tallies = st.builds(RunTotals, **dict.fromkeys(fates, numbers))


@given(skipped=numbers, totals=tallies)
def test_every_document_found_became_something(skipped, totals):
    """Found is skipped, duplicates, rejected, accepted, failed and remaining, and nothing else."""
    row = account().row(RunCounts(skipped, totals), 1)
    parts = ("skipped", "duplicates", "rejected", "accepted", "failed", "remaining")
    assert row["found"] == sum(row[part] for part in parts)


@given(first=st.tuples(numbers, tallies), second=st.tuples(numbers, tallies))
def test_volumes_add_up(first, second):
    """The counts of two volumes are those of the run."""
    one, other = RunCounts(*first), RunCounts(*second)
    assert (one + other).found == one.found + other.found
    assert (one + other).totals == one.totals + other.totals


def test_the_row_has_the_columns_of_runs():
    """A row's keys are the table's columns, in its order, none missing and none more."""
    assert list(account().row(RunCounts(3, TALLY), 1)) == list(columns.RUNS)


def test_the_row_fits_the_types_of_runs():
    """Every cell is of its column's type."""
    row = account(Refused("no"), fail_above=0.5).row(RunCounts(3, TALLY), 1)
    frame = pl.DataFrame([row], schema=columns.RUNS, orient="row", strict=True)
    assert frame.row(0, named=True) == row


def test_the_row_says_what_the_tally_says():
    """Counts, tokens and dollars are taken over as they are."""
    row = account().row(RunCounts(3, TALLY), 2)
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
    assert [row[name] for name in dollars] == [Decimal(each) for each in ("0.1", "0.2", "0.4", "0.25", "0.05")]
    assert row["cost_unknown_usd"] == Decimal("0.01")


def test_a_cost_that_nobody_knows_is_null():
    """An unknown price never becomes 0 in the row of a run."""
    unknown = RunTotals(accepted=1, cost_usd=None, wasted_usd=None, estimated=Costs(None, None, None))
    row = account().row(RunCounts(0, unknown + TALLY), 1)
    assert [row[name] for name in ("cost_usd", "cost_wasted_usd", "estimated_high_usd")] == [None] * 3


def test_the_row_names_its_run_and_how_it_came_about():
    """A row says what ran, over what, by which rule, and under which flow run."""
    row = replace(account(flow_run="f10w"), warnings=("odd",)).row(RunCounts(), 1)
    assert row["run"] == "20261120T021500Z-3f9a"
    assert (row["flow"], row["schema"], row["source"], row["output"]) == ("run", "receipt", "/in", "/out")
    assert (row["model"], row["endpoint"]) == ("maker/model", "https://api.example/v1")
    assert (row["policy"], row["bill_rule"]) == ("balanced", "table")
    assert (row["prefect_flow_run_id"], row["warnings"]) == ("f10w", ["odd"])
    assert row["started_at"] == STARTED <= row["finished_at"] <= datetime.now(UTC)


def test_the_job_is_kept_as_it_was_asked():
    """What was asked for can be read back from the row of a run."""
    row = account(job='{"source": "/in", "limit": 5}', flow="calibrate").row(RunCounts(), 1)
    assert json.loads(row["job"]) == {"source": "/in", "limit": 5}
    assert row["flow"] == "calibrate"


def test_a_job_holds_no_secret():
    """A job has no field for a key or a password: those are settings, which no table keeps."""
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
def test_the_status_is_the_errors(error, status, words):
    """A run that was stopped says by what, in the column of its status and in words."""
    row = account(error).row(RunCounts(), 1)
    assert (row["status"], row["error"]) == (status, words)


@pytest.mark.parametrize(
    ("tally", "fail_above", "code"),
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
def test_the_exit_code_says_whether_too_many_failed(tally, fail_above, code):
    """1 is for a share of failures, among the documents tried, that is over the limit; at the limit it is 0."""
    assert close(tally, skipped=1000, fail_above=fail_above).exit_code == code


@pytest.mark.parametrize("tally", [RunTotals(), RunTotals(accepted=5), RunTotals(failed=5)])
def test_what_is_wrong_wins_over_the_share(tally):
    """A run that was refused exits with 2 whatever became of its documents."""
    assert close(tally, error=Refused("402"), fail_above=1.0).exit_code == 2


def test_the_message_counts_what_was_accepted():
    """A run without failures says how many rows it made."""
    assert close(RunTotals(accepted=12)).message == "12 of 12 documents accepted"


def test_the_message_says_where_the_failures_are():
    """A run with failures leads to their table."""
    assert close(RunTotals(accepted=9, failed=2, rejected=1)).message == (
        "9 of 12 documents accepted; 3 not: see /out/failures"
    )


@pytest.mark.parametrize(
    ("tally", "message"),
    [
        (RunTotals(accepted=997, copied=3), "997 of 1,000 documents accepted, 3 copied"),
        (RunTotals(copied=3), "0 of 3 documents accepted, 3 copied"),
        (RunTotals(failed=1, copied_failed=2), "0 of 3 documents accepted; 3 not: see /out/failures"),
    ],
)
def test_the_message_counts_copies(tally, message):
    """Copies are rows that nobody paid for; those of a failure are failures."""
    assert close(tally).message == message


def test_the_row_counts_copies_of_both_kinds_as_duplicates():
    """Found counts each once."""
    row = account().row(RunCounts(1, RunTotals(accepted=4, copied=2, copied_failed=3)), 1)
    assert (row["found"], row["duplicates"], row["accepted"], row["failed"]) == (10, 5, 4, 0)


def test_the_message_of_a_run_with_nothing_to_do_says_so():
    """Running again costs nothing, says it, and says how to read all of it anew."""
    message = close(RunTotals(), skipped=40).message
    assert (
        message
        == "nothing to do: all 40 documents have a result in /out (--redo all reads them again); no call was made"
    )


@pytest.mark.parametrize(
    ("tally", "begins"),
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
def test_the_message_says_what_is_left_to_another_run(tally, begins):
    """Two runs at once over one folder: nobody should take the rest for done."""
    assert close(tally, skipped=40).message.startswith(begins)


def test_the_message_of_a_stopped_run_says_what_was_kept():
    """Whoever is stopped learns by what, what is there, and what the next run takes."""
    message = close(TALLY, error=Refused("401 the key is not accepted")).message
    assert message == (
        "stopped: 401 the key is not accepted; 7 accepted documents are kept in /out, 5 remain for the next run"
    )


def test_a_closings_row_is_the_sum_of_its_volumes():
    """What a run prints is one row, all volumes together."""
    closing = close(TALLY, skipped=3)
    assert (closing.row["volume"], closing.row["found"]) == (1, 18)
