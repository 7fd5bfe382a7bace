"""profile.py: what a run's answers looked like, of the run at hand and of those published before it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from extractors.record.output.folder import FolderOutput
from extractors.record.tables import columns
from extractors.record.tables.profile import RunProfile, profile_of, recent_profiles

FIRST = datetime(2026, 11, 1, 2, 15, tzinfo=UTC)


def frame(rows, table):
    """Rows of a table, of which most cells are null."""
    return pl.DataFrame(rows, schema=table, orient="row")


def field(name, rows, nulls, run="now"):
    """A row of `fields`."""
    told = {"run": run, "schema": "slip", "field": name, "rows": rows, "nulls": nulls, "distinct": 1}
    return dict.fromkeys(columns.FIELDS) | told


def calls(*documents):
    """Calls of documents, each given by the rungs that it was called at."""
    rows = [{"document": str(number), "rung": rung} for number, rungs in enumerate(documents) for rung in rungs]
    return frame(rows, columns.CALLS)


def shape(fields=(), called=(), accepted=0, failed=0, cost=None):
    """The shape of a run with these counts."""
    return profile_of("now", list(fields), calls(*called).lazy(), accepted=accepted, failed=failed, cost_usd=cost)


def test_shares_are_of_what_they_are_about():
    """Nulls are of the rows that have fields, accepted of all tried, the cost of each of those."""
    found = shape([field("shop", 150, 0), field("total", 150, 30)], accepted=150, failed=50, cost=Decimal(1))
    assert found == RunProfile("now", 200, {"shop": 0.0, "total": 0.2}, 0.75, None, Decimal("0.005"))


def test_a_document_climbed_that_was_called_at_more_than_one_rung():
    """A retry on one rung is no climb, a call whose rung nobody knows neither, one rung down is."""
    found = shape(called=[(1,), (1, 1), (1, 2), (2, 1, 1), (None, 1)])
    assert found.climbed == 0.4


def test_audit_is_neither_a_climb_nor_a_cost_of_documents(publish, tmp_path):
    """Of the run at hand and of those before it; a document that has nothing but an audit in a volume was not called."""
    audit = {"document": "0", "rung": 0, "sent_width": 100, "sent_height": 100, "cost_usd": Decimal("0.5")}
    called = pl.concat([calls((1,), (1, 2)), frame([audit, audit | {"document": "9"}], columns.CALLS)])
    found = profile_of("a", [], called.lazy(), accepted=900, failed=100, cost_usd=Decimal(2))
    assert found == RunProfile("a", 1000, {}, 0.9, 0.5, Decimal("0.001"))
    publish("a", 1, called=[(1,)])
    called.write_parquet(publish.path_of("calls", "a", 1))
    assert recent_profiles(FolderOutput(tmp_path), "/in", "slip") == [found]


def test_a_run_without_rows_has_no_shares():
    """A field that nothing was read into is not null by half; nothing divides by nothing."""
    assert shape([field("shop", 0, 0)]) == RunProfile("now", 0)
    assert shape(cost=Decimal(0)).cost is None


def test_an_unknown_price_stays_unknown():
    """Null is not zero."""
    assert shape(accepted=200).cost is None


@pytest.fixture
def publish(tmp_path):
    """Publishes one volume of a run on some day of the month, with as many tables as are given rows."""

    def publish_run(run, day, *, volume=1, fields=(), called=(), **changes):
        told = {"run": run, "volume": volume, "flow": "run", "schema": "slip", "source": "/in", "accepted": 900}
        told |= {"failed": 100, "cost_usd": Decimal(2), "started_at": FIRST + timedelta(days=day - 1)} | changes
        tables = {"runs": frame([told], columns.RUNS)}
        tables |= {"fields": frame(fields, columns.FIELDS)} if fields else {}
        tables |= {"calls": calls(*called)} if called else {}
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
def names(tmp_path):
    """The runs that are found, in their order."""
    return lambda *asked, **more: [
        each.run for each in recent_profiles(FolderOutput(tmp_path), "/in", "slip", *asked, **more)
    ]


def test_there_is_no_past_before_the_first_run(names):
    """An output that does not exist yet has no shapes."""
    assert names() == []


def test_a_published_run_has_the_shape_it_had(publish, tmp_path):
    """What is read back is what the run itself would have said."""
    publish("a", 1, fields=[field("shop", 900, 9, "a"), field("total", 900, 0, "a")], called=[(1,), (1, 2)])
    shares = {"shop": 0.01, "total": 0.0}
    assert recent_profiles(FolderOutput(tmp_path), "/in", "slip") == [
        RunProfile("a", 1000, shares, 0.9, 0.5, Decimal("0.002"))
    ]


def test_the_newest_runs_come_first(publish, names):
    """Seven of them, by the time of their start, across days and within one."""
    for day in range(1, 9):
        publish(f"run-{day}", day)
    publish("z-early", 8, started_at=FIRST + timedelta(days=6, hours=22))
    assert names() == ["run-8", "z-early", "run-7", "run-6", "run-5", "run-4", "run-3"]
    assert names(2) == ["run-8", "z-early"]


@pytest.mark.parametrize(
    "other", [{"flow": "tune"}, {"source": "/else"}, {"schema": "slip_v2"}, {"accepted": 99}, {"accepted": None}]
)
def test_only_runs_like_it_count(publish, names, other):
    """Of one source and schema, with 200 documents accepted or failed; others do not use up the seven."""
    publish("old", 1, accepted=100)
    publish("other", 2, **other)
    assert names(1) == ["old"]


def test_volumes_are_summed(publish, tmp_path):
    """A run is one run, however many files it has; two volumes of 150 are enough rows."""
    publish("a", 1, accepted=100, failed=50, fields=[field("shop", 200, 20, "a")], called=[(1,), (1, 2)])
    publish("a", 1, volume=2, accepted=100, failed=50, cost_usd=Decimal(4), called=[(1,), (1,)])
    assert recent_profiles(FolderOutput(tmp_path), "/in", "slip") == [
        RunProfile("a", 300, {"shop": 0.1}, 2 / 3, 0.25, Decimal("0.02"))
    ]


def test_an_unknown_cost_of_a_volume_makes_the_runs_unknown(publish, tmp_path):
    """A sum of some of the bills is not the bill."""
    publish("a", 1)
    publish("a", 1, volume=2, cost_usd=None)
    assert [each.cost for each in recent_profiles(FolderOutput(tmp_path), "/in", "slip")] == [None]


def test_the_run_itself_is_no_past(publish, names):
    """A volume that the run has published already does not vouch for it."""
    publish("a", 1)
    publish("b", 2)
    assert names(before="b") == ["a"]


def test_runs_of_one_beginning_are_told_apart(publish, tmp_path):
    """Another run's file is not a volume of this one, though its name begins alike."""
    publish("a", 1, called=[(1,)])
    publish("ab", 1, called=[(1, 2)], started_at=FIRST - timedelta(hours=1))
    assert [(each.run, each.climbed) for each in recent_profiles(FolderOutput(tmp_path), "/in", "slip")] == [
        ("a", 0.0),
        ("ab", 1.0),
    ]


def test_an_output_of_an_older_version_has_a_shape_with_less_in_it(publish, tmp_path):
    """Without `fields`, without `calls` and without a column of `runs` there is still what was counted."""
    publish("a", 1)
    path = publish.path_of("runs", "a", 1)
    pl.read_parquet(path, hive_partitioning=False).drop("cost_usd", "warnings").write_parquet(path)
    assert recent_profiles(FolderOutput(tmp_path), "/in", "slip") == [RunProfile("a", 1000, {}, 0.9, None, None)]


def test_tables_with_columns_missing_are_read(publish, tmp_path):
    """Calls that do not know of rungs have not climbed; fields that do not count nulls have none."""
    publish("a", 1, fields=[field("shop", 900, 9, "a")], called=[(1, 2)])
    for table, column in [("calls", "rung"), ("fields", "nulls")]:
        path = publish.path_of(table, "a", 1)
        pl.read_parquet(path, hive_partitioning=False).drop(column).write_parquet(path)
    assert recent_profiles(FolderOutput(tmp_path), "/in", "slip") == [
        RunProfile("a", 1000, {"shop": 0.0}, 0.9, 0.0, Decimal("0.002"))
    ]


@pytest.mark.parametrize("table", ["runs", "fields", "calls"])
def test_what_cannot_be_read_is_passed_over(publish, names, table):
    """A broken file of an earlier night costs a comparison, not the run."""
    publish("old", 1)
    publish("broken", 2, fields=[field("shop", 900, 9, "a")], called=[(1, 2)])
    publish.path_of(table, "broken", 2).write_bytes(b"not parquet at all")
    assert names() == ["old"]


def test_only_the_files_of_those_runs_are_read(publish, names):
    """Older runs, and other sources' calls of the same day, stay closed."""
    publish("old", 1)
    publish("new", 2, called=[(1,)])
    publish("other", 2, source="/else", called=[(1,)])
    publish.path_of("runs", "old", 1).write_bytes(b"broken")
    publish.path_of("calls", "other", 2).write_bytes(b"broken")
    assert names(1) == ["new"]
