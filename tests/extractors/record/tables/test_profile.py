"""profile.py: shares and costs of a run's results, of the current run and of published ones."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from extractors.record.output.folder import FolderOutput
from extractors.record.tables import columns
from extractors.record.tables.profile import RunProfile, profile_of, recent_profiles

FIRST = datetime(2026, 11, 1, 2, 15, tzinfo=UTC)


def frame(rows, table):
    """A table of these rows, whose other cells are null."""
    return pl.DataFrame(rows, schema=table, orient="row")


def field(name, rows, nulls, run="now"):
    """A row of `fields`."""
    cells = {"run": run, "schema": "slip", "field": name, "rows": rows, "nulls": nulls, "distinct": 1}
    return dict.fromkeys(columns.FIELDS) | cells


def calls(*documents):
    """Calls of documents, each document given as the rungs of its calls."""
    rows = [{"document": str(number), "rung": rung} for number, rungs in enumerate(documents) for rung in rungs]
    return frame(rows, columns.CALLS)


def build_profile(fields=(), rungs=(), accepted=0, failed=0, cost=None):
    """The profile of a run with these counts."""
    return profile_of("now", list(fields), calls(*rungs).lazy(), accepted=accepted, failed=failed, cost_usd=cost)


def test_profile_divides_counts_by_their_totals():
    """Nulls are a share of rows, accepted documents a share of all, and the cost is per document."""
    profile = build_profile([field("shop", 150, 0), field("total", 150, 30)], accepted=150, failed=50, cost=Decimal(1))
    assert profile == RunProfile("now", 200, {"shop": 0.0, "total": 0.2}, 0.75, None, Decimal("0.005"))


def test_climbed_counts_documents_with_calls_on_several_rungs():
    """A retry on the same rung and a call without a rung are not counted; a lower rung is."""
    profile = build_profile(rungs=[(1,), (1, 1), (1, 2), (2, 1, 1), (None, 1)])
    assert profile.climbed == 0.4


def test_audit_calls_are_not_climbs_and_not_costs(publish, tmp_path):
    """This holds for current and published runs; a document with only an audit call does not count as called."""
    audit = {"document": "0", "rung": 0, "sent_width": 100, "sent_height": 100, "cost_usd": Decimal("0.5")}
    calls_with_audit = pl.concat([calls((1,), (1, 2)), frame([audit, audit | {"document": "9"}], columns.CALLS)])
    profile = profile_of("a", [], calls_with_audit.lazy(), accepted=900, failed=100, cost_usd=Decimal(2))
    assert profile == RunProfile("a", 1000, {}, 0.9, 0.5, Decimal("0.001"))
    publish("a", 1, rungs=[(1,)])
    calls_with_audit.write_parquet(publish.path_of("calls", "a", 1))
    assert recent_profiles(FolderOutput(tmp_path), "/in", "slip") == [profile]


def test_profile_without_rows_has_no_shares():
    """A count of 0 is never divided by."""
    assert build_profile([field("shop", 0, 0)]) == RunProfile("now", 0)
    assert build_profile(cost=Decimal(0)).cost is None


def test_unknown_cost_stays_unknown():
    assert build_profile(accepted=200).cost is None


@pytest.fixture
def publish(tmp_path):
    """Returns a function that publishes one volume of a run, with fields and calls if they are given."""

    def publish_run(run, day, *, volume=1, fields=(), rungs=(), **changes):
        run_row = {"run": run, "volume": volume, "flow": "run", "schema": "slip", "source": "/in", "accepted": 900}
        run_row |= {"failed": 100, "cost_usd": Decimal(2), "started_at": FIRST + timedelta(days=day - 1)} | changes
        tables = {"runs": frame([run_row], columns.RUNS)}
        tables |= {"fields": frame(fields, columns.FIELDS)} if fields else {}
        tables |= {"calls": calls(*rungs)} if rungs else {}
        for table, rows in tables.items():
            path = path_of(table, run, day, volume)
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.write_parquet(path)

    def path_of(table, run, day, volume=1):
        name = run if volume == 1 else f"{run}-{volume}"
        return tmp_path / table / f"run_date=2026-11-{day:02}" / f"{name}.parquet"

    publish_run.path_of = path_of
    return publish_run


@pytest.fixture
def list_names(tmp_path):
    """Returns a function that lists the ids of the runs that `recent_profiles` finds."""
    return lambda *limit, **options: [
        profile.run for profile in recent_profiles(FolderOutput(tmp_path), "/in", "slip", *limit, **options)
    ]


def test_missing_output_has_no_profiles(list_names):
    assert list_names() == []


def test_profile_of_a_published_run_is_read_from_its_tables(publish, tmp_path):
    """It equals the profile that the run itself computed."""
    publish("a", 1, fields=[field("shop", 900, 9, "a"), field("total", 900, 0, "a")], rungs=[(1,), (1, 2)])
    shares = {"shop": 0.01, "total": 0.0}
    assert recent_profiles(FolderOutput(tmp_path), "/in", "slip") == [
        RunProfile("a", 1000, shares, 0.9, 0.5, Decimal("0.002"))
    ]


def test_recent_profiles_returns_the_newest_seven(publish, list_names):
    """They are sorted by start time, across days and within a day."""
    for day in range(1, 9):
        publish(f"run-{day}", day)
    publish("z-early", 8, started_at=FIRST + timedelta(days=6, hours=22))
    assert list_names() == ["run-8", "z-early", "run-7", "run-6", "run-5", "run-4", "run-3"]
    assert list_names(2) == ["run-8", "z-early"]


@pytest.mark.parametrize(
    "other", [{"flow": "tune"}, {"source": "/else"}, {"schema": "slip_v2"}, {"accepted": 99}, {"accepted": None}]
)
def test_recent_profiles_ignores_runs_of_another_kind_or_with_few_documents(publish, list_names, other):
    """Only runs of the same source and schema with 200 accepted or failed documents count towards the limit."""
    publish("old", 1, accepted=100)
    publish("other", 2, **other)
    assert list_names(1) == ["old"]


def test_profile_sums_the_volumes_of_a_run(publish, tmp_path):
    """Two volumes of 150 documents reach the minimum."""
    publish("a", 1, accepted=100, failed=50, fields=[field("shop", 200, 20, "a")], rungs=[(1,), (1, 2)])
    publish("a", 1, volume=2, accepted=100, failed=50, cost_usd=Decimal(4), rungs=[(1,), (1,)])
    assert recent_profiles(FolderOutput(tmp_path), "/in", "slip") == [
        RunProfile("a", 300, {"shop": 0.1}, 2 / 3, 0.25, Decimal("0.02"))
    ]


def test_unknown_cost_of_a_volume_makes_the_cost_of_its_run_unknown(publish, tmp_path):
    publish("a", 1)
    publish("a", 1, volume=2, cost_usd=None)
    assert [profile.cost for profile in recent_profiles(FolderOutput(tmp_path), "/in", "slip")] == [None]


def test_recent_profiles_ignores_the_current_run(publish, list_names):
    """A volume that the run has already published does not count."""
    publish("a", 1)
    publish("b", 2)
    assert list_names(before="b") == ["a"]


def test_run_whose_id_begins_with_another_is_not_its_volume(publish, tmp_path):
    publish("a", 1, rungs=[(1,)])
    publish("ab", 1, rungs=[(1, 2)], started_at=FIRST - timedelta(hours=1))
    assert [(profile.run, profile.climbed) for profile in recent_profiles(FolderOutput(tmp_path), "/in", "slip")] == [
        ("a", 0.0),
        ("ab", 1.0),
    ]


def test_profile_of_an_older_output_has_only_its_counts(publish, tmp_path):
    """Its tables `fields` and `calls` and columns of `runs` are missing."""
    publish("a", 1)
    path = publish.path_of("runs", "a", 1)
    pl.read_parquet(path, hive_partitioning=False).drop("cost_usd", "warnings").write_parquet(path)
    assert recent_profiles(FolderOutput(tmp_path), "/in", "slip") == [RunProfile("a", 1000, {}, 0.9, None, None)]


def test_missing_columns_of_calls_and_fields_count_as_zero(publish, tmp_path):
    """Without `rung` no document climbed, and without `nulls` no value is null."""
    publish("a", 1, fields=[field("shop", 900, 9, "a")], rungs=[(1, 2)])
    for table, column in [("calls", "rung"), ("fields", "nulls")]:
        path = publish.path_of(table, "a", 1)
        pl.read_parquet(path, hive_partitioning=False).drop(column).write_parquet(path)
    assert recent_profiles(FolderOutput(tmp_path), "/in", "slip") == [
        RunProfile("a", 1000, {"shop": 0.0}, 0.9, 0.0, Decimal("0.002"))
    ]


@pytest.mark.parametrize("table", ["runs", "fields", "calls"])
def test_unreadable_files_are_skipped(publish, list_names, table):
    """A damaged file of an earlier run must not fail the current one."""
    publish("old", 1)
    publish("broken", 2, fields=[field("shop", 900, 9, "a")], rungs=[(1, 2)])
    publish.path_of(table, "broken", 2).write_bytes(b"not parquet at all")
    assert list_names() == ["old"]


def test_recent_profiles_reads_only_files_of_its_runs(publish, list_names):
    """Older runs, and the calls of other sources of the same day, are not opened."""
    publish("old", 1)
    publish("new", 2, rungs=[(1,)])
    publish("other", 2, source="/else", rungs=[(1,)])
    publish.path_of("runs", "old", 1).write_bytes(b"broken")
    publish.path_of("calls", "other", 2).write_bytes(b"broken")
    assert list_names(1) == ["new"]
