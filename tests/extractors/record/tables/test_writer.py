"""writer.py: parts are staged, then published under the documented paths, with the row of `runs` last."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain

import duckdb
import polars as pl
import pytest
from support.runs import vary

from extractors.core.errors import ConfigurationError, OutputError
from extractors.record.output.folder import FolderOutput
from extractors.record.tables import columns
from extractors.record.tables.fields import Fields
from extractors.record.tables.volume import PartId
from extractors.record.tables.writer import Tables

RUN = "20261120T021500Z-3f9a"
DAY = "run_date=2026-11-20"
NOW = datetime(2026, 11, 20, 2, 15, 0, tzinfo=UTC)
ALL_FILES = {
    f"results/schema=slip/{DAY}/{RUN}.parquet",
    f"replies/schema=slip/{DAY}/{RUN}.parquet",
    f"failures/{DAY}/{RUN}.parquet",
    f"images/{DAY}/{RUN}.parquet",
    f"calls/{DAY}/{RUN}.parquet",
    f"fields/{DAY}/{RUN}.parquet",
    f"runs/{DAY}/{RUN}.parquet",
    "views.sql",
}
FILES_OF_EVERY_RUN = {path for path in ALL_FILES if not path.startswith(("results/", "replies/", "fields/"))}


def list_files(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def run_row(terms, **cells):
    return dict.fromkeys(columns.RUNS) | {"run": terms.run, "volume": 1, "started_at": terms.started_at, **cells}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def publish(root, terms, model, make):
    """Returns a function that publishes a run with these documents and their calls."""

    def publish_run(*ends, by=terms, keep="all"):
        with Tables(FolderOutput(root), by, model, keep) as tables:
            tables.stage(PartId(0), ends)
            tables.stage_calls_and_fields([[call | {"run": by.run} for call in make.calls(*ends)]])
            tables.publish(run_row(by))

    return publish_run


def test_tables_write_nothing_before_they_are_entered(root, terms, model):
    Tables(FolderOutput(root), terms, model)
    assert not root.exists()


def test_staged_rows_are_in_the_staging_folder_of_the_run(root, terms, model, make):
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.stage(PartId(0), [make.accept(), make.fail("/in/b.jpg")])
        staged_files = list_files(root)
    assert staged_files
    assert {path.split("/")[0] for path in staged_files} == {"staging"}
    assert {path.split("/")[1] for path in staged_files} == {RUN}


def test_run_is_published_as_one_file_per_table(root, publish, make):
    """Results and replies are in a folder per schema, and all tables in a folder per day."""
    publish(make.accept(), make.fail("/in/b.jpg"))
    assert list_files(root) == ALL_FILES


def test_staging_is_removed_after_publishing(root, publish, make):
    publish(make.accept())
    assert not (root / "staging").exists()


def test_unpublished_parts_stay_in_staging(root, terms, model, make):
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.stage(PartId(0), [make.accept()])
    assert f"staging/{RUN}/0001/results-000000.parquet" in list_files(root)


def test_publishing_keeps_the_staging_of_another_run(root, publish, terms, model, make):
    other = Tables(FolderOutput(root), vary(terms, run="other"), model)
    with other:
        other.stage(PartId(0), [make.accept()])
        publish(make.accept())
    assert "staging/other/0001/results-000000.parquet" in list_files(root)


def test_run_without_documents_is_published(root, terms, model):
    """Calls, images, failures and runs have a file for every run; results and replies only if they have rows."""
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.publish(run_row(terms))
    assert list_files(root) == FILES_OF_EVERY_RUN


@pytest.mark.parametrize("table", ["calls", "images", "failures"])
def test_table_without_rows_has_all_columns(root, terms, model, table):
    """An empty file can be read together with others."""
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.publish(run_row(terms))
    frame = pl.read_parquet(root / table / DAY / f"{RUN}.parquet", hive_partitioning=False)
    assert frame.is_empty()
    assert dict(frame.schema) == getattr(columns, table.upper())


@pytest.mark.parametrize("table", ["replies", "calls", "images", "failures", "runs"])
def test_table_with_rows_has_all_columns(root, publish, make, table):
    """The types are the documented ones for any rows."""
    publish(make.reject(), make.fail("/in/b.jpg"))
    (path,) = root.glob(f"{table}/**/*.parquet")
    assert dict(pl.read_parquet_schema(path)) == getattr(columns, table.upper())


def test_results_have_columns_of_the_schema_and_of_the_run(root, publish, model, make):
    publish(make.accept())
    path = root / f"results/schema=slip/{DAY}/{RUN}.parquet"
    assert dict(pl.read_parquet_schema(path)) == Fields(model).columns | columns.RESULTS


def test_parts_are_merged_in_the_order_of_their_chunks(root, terms, model, make):
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.stage(PartId(1), [make.accept("/in/c.jpg")])
        tables.stage(PartId(0), [make.accept("/in/a.jpg"), make.accept("/in/b.jpg")])
        tables.publish(run_row(terms))
    frame = pl.read_parquet(root / f"results/schema=slip/{DAY}/{RUN}.parquet")
    assert frame["_document"].to_list() == ["/in/a.jpg", "/in/b.jpg", "/in/c.jpg"]


def test_second_volume_has_its_own_files(root, terms, model, make):
    """They have the suffix -2 and only the rows of volume 2."""
    with Tables(FolderOutput(root), terms, model) as tables:
        for number, uri in enumerate(("/in/a.jpg", "/in/b.jpg"), 1):
            tables.stage(PartId(0), [make.accept(uri), make.fail("/in/x.jpg")])
            tables.stage_calls_and_fields([make.calls(make.accept(uri))])
            tables.publish(run_row(terms, volume=number))
    assert list_files(root) == ALL_FILES | {
        path.replace(".parquet", "-2.parquet") for path in ALL_FILES if not path.startswith("fields/")
    }
    second = pl.read_parquet(root / f"results/schema=slip/{DAY}/{RUN}-2.parquet")
    assert second["_document"].to_list() == ["/in/b.jpg"]


def test_result_files_lists_the_published_files(root, terms, model, make):
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.stage(PartId(0), [make.accept()])
        tables.publish(run_row(terms))
        assert tables.result_files == (str(root / f"results/schema=slip/{DAY}/{RUN}.parquet"),)


def test_unfinished_document_is_only_in_calls(root, publish, make):
    """The next run will read it; the calls show what was paid."""
    publish(make.leave(attempts=(make.build_unanswered(),)))
    assert list_files(root) == FILES_OF_EVERY_RUN
    heights = {name: pl.read_parquet(root / name / DAY / f"{RUN}.parquet").height for name in ("images", "calls")}
    assert heights == {"images": 0, "calls": 1}


def test_document_rejected_in_prepare_is_published_as_rejected(root, publish, make):
    """The rows of images and of failures have the same reason."""
    publish(make.reject())
    image = pl.read_parquet(root / "images" / DAY / f"{RUN}.parquet").row(0, named=True)
    failure = pl.read_parquet(root / "failures" / DAY / f"{RUN}.parquet").row(0, named=True)
    assert (image["action"], image["reason"]) == ("reject", "unreadable")
    assert (failure["stage"], failure["kind"], failure["final"]) == ("prepare", "unreadable", True)


@pytest.mark.parametrize(
    ("keep", "outcomes"), [("all", ["accepted", "refused"]), ("failed", ["refused"]), ("none", [])]
)
def test_replies_are_published_by_the_setting(root, publish, make, keep, outcomes):
    """If none are kept, there is no file."""
    publish(make.accept(), make.fail("/in/b.jpg"), keep=keep)
    frames = [pl.read_parquet(path)["outcome"].to_list() for path in root.glob("replies/**/*.parquet")]
    assert list(chain(*frames)) == outcomes


def test_runs_row_is_published_last(root, terms, model, make):
    """A run whose publishing fails has no row in `runs`, and its parts stay in staging."""
    (root / "calls" / DAY / f"{RUN}.parquet").mkdir(parents=True)
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.stage(PartId(0), [make.accept()])
        tables.stage_calls_and_fields([make.calls(make.accept())])
        with pytest.raises(OutputError, match=r"calls"):
            tables.publish(run_row(terms))
    assert not list(root.glob("runs/**/*.parquet"))
    assert f"staging/{RUN}/0001/calls-000000.parquet" in list_files(root)


@pytest.mark.parametrize("below", ["", "staging", f"staging/{RUN}", f"staging/{RUN}/0001", "calls"])
def test_output_that_cannot_be_written_is_refused_by_name(root, terms, model, below):
    """A file in place of a folder is reported in one line, before anything is spent."""
    (root / below).parent.mkdir(parents=True, exist_ok=True)
    (root / below).write_text("in the way")
    with pytest.raises(ConfigurationError) as caught, Tables(FolderOutput(root), terms, model):
        pass
    assert f"output '{root}' cannot be written: " in caught.value.message
    assert "\n" not in caught.value.message


@pytest.fixture
def two_runs(root, publish, terms, model, make):
    """Two runs under one output: two documents accepted, then one with null cells."""
    publish(make.accept("/in/a.jpg"), make.accept("/in/b.jpg"), make.reject("/in/x.jpg"))
    later = vary(terms, run="20261121T021500Z-77aa", started_at=NOW.replace(day=21))
    unpriced = make.accept("/in/c.jpg", attempts=(make.attempt(cost_usd=None),))
    publish(replace(unpriced, value=model(shop="Bar")), by=later)
    return root


def test_polars_reads_all_runs_of_an_output(two_runs):
    """One scan has the partitions as columns and typed amounts."""
    frame = pl.scan_parquet(two_runs / "results", hive_partitioning=True).sort("_document").collect()
    assert frame["schema"].to_list() == ["slip"] * 3
    assert frame["run_date"].cast(pl.String).to_list() == ["2026-11-20", "2026-11-20", "2026-11-21"]
    assert frame["total"].to_list() == [Decimal("8.20"), Decimal("8.20"), None]
    assert frame["_cost_usd"].to_list() == [Decimal("0.000935"), Decimal("0.000935"), None]
    assert frame["_extracted_at"].to_list() == [NOW] * 3


def test_duckdb_reads_all_runs_of_an_output(two_runs):
    """A query has the partitions, typed columns and nested cells."""
    rows = duckdb.sql(
        "select schema, run_date::varchar, _document, total, _cost_usd, len(_pages), typeof(_extracted_at)"
        f" from read_parquet('{two_runs}/results/**/*.parquet', hive_partitioning = true) order by _document"
    ).fetchall()
    cost, kind = Decimal("0.000935000"), "TIMESTAMP WITH TIME ZONE"
    assert rows == [
        ("slip", "2026-11-20", "/in/a.jpg", Decimal("8.20"), cost, 1, kind),
        ("slip", "2026-11-20", "/in/b.jpg", Decimal("8.20"), cost, 1, kind),
        ("slip", "2026-11-21", "/in/c.jpg", None, None, 1, kind),
    ]


@pytest.mark.parametrize("table", ["calls", "images", "failures", "runs", "replies"])
def test_duckdb_and_polars_count_the_same_rows(two_runs, table):
    """Files with and without rows are read as one table."""
    polars_count = pl.scan_parquet(two_runs / table, hive_partitioning=True).collect().height
    duckdb_count = duckdb.sql(f"select count(*) from '{two_runs}/{table}/**/*.parquet'").fetchall()
    assert duckdb_count == [(polars_count,)]


def test_cost_of_calls_equals_cost_of_results(two_runs):
    """The sums agree to the nanodollar."""
    query = "select sum({}) from read_parquet('{}/{}/**/*.parquet')"
    calls = duckdb.sql(query.format("cost_usd", two_runs, "calls")).fetchall()
    results = duckdb.sql(query.format("_cost_usd", two_runs, "results")).fetchall()
    assert calls == results == [(Decimal("0.001870000"),)]
