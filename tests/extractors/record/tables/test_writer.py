"""writer.py: parts are staged, then published whole under the contract's paths, `runs` last."""

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
ALL = {
    f"results/schema=slip/{DAY}/{RUN}.parquet",
    f"replies/schema=slip/{DAY}/{RUN}.parquet",
    f"failures/{DAY}/{RUN}.parquet",
    f"images/{DAY}/{RUN}.parquet",
    f"calls/{DAY}/{RUN}.parquet",
    f"fields/{DAY}/{RUN}.parquet",
    f"runs/{DAY}/{RUN}.parquet",
    "views.sql",
}
EVERY_RUN = {path for path in ALL if not path.startswith(("results/", "replies/", "fields/"))}


def files(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def run_row(terms, **cells):
    return dict.fromkeys(columns.RUNS) | {"run": terms.run, "volume": 1, "started_at": terms.started_at, **cells}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def publish(root, terms, model, make):
    """Publishes one run with these ends and their calls."""

    def publish_run(*ends, by=terms, keep="all"):
        with Tables(FolderOutput(root), by, model, keep) as tables:
            tables.stage(PartId(0), ends)
            tables.stage_calls_and_fields([[call | {"run": by.run} for call in make.calls(*ends)]])
            tables.publish(run_row(by))

    return publish_run


def test_nothing_is_written_before_it_is_entered(root, terms, model):
    """Tables that are only made leave no trace."""
    Tables(FolderOutput(root), terms, model)
    assert not root.exists()


def test_nothing_is_visible_before_publishing(root, terms, model, make):
    """Rows that are staged lie in the run's staging folder alone."""
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.stage(PartId(0), [make.accept(), make.fail("/in/b.jpg")])
        staged = files(root)
    assert staged
    assert {path.split("/")[0] for path in staged} == {"staging"}
    assert {path.split("/")[1] for path in staged} == {RUN}


def test_a_run_is_one_file_a_table(root, publish, make):
    """Publishing leaves the contract's paths and nothing else: results and replies by schema, all by the run's day."""
    publish(make.accept(), make.fail("/in/b.jpg"))
    assert files(root) == ALL


def test_staging_is_gone_after_publishing(root, publish, make):
    """Parts leave no folder behind."""
    publish(make.accept())
    assert not (root / "staging").exists()


def test_parts_that_were_not_published_stay(root, terms, model, make):
    """A run that ends before publishing keeps what it has staged."""
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.stage(PartId(0), [make.accept()])
    assert f"staging/{RUN}/0001/results-000000.parquet" in files(root)


def test_the_staging_of_another_run_is_left_alone(root, publish, terms, model, make):
    """Two runs under one output do not clear each other's parts."""
    other = Tables(FolderOutput(root), vary(terms, run="other"), model)
    with other:
        other.stage(PartId(0), [make.accept()])
        publish(make.accept())
    assert "staging/other/0001/results-000000.parquet" in files(root)


def test_a_run_without_documents_writes_its_tables(root, terms, model):
    """Calls, images, failures and runs are there for every run; results and replies only with rows."""
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.publish(run_row(terms))
    assert files(root) == EVERY_RUN


@pytest.mark.parametrize("table", ["calls", "images", "failures"])
def test_a_table_without_rows_has_all_columns(root, terms, model, table):
    """An empty file can be read together with full ones."""
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.publish(run_row(terms))
    frame = pl.read_parquet(root / table / DAY / f"{RUN}.parquet", hive_partitioning=False)
    assert frame.is_empty()
    assert dict(frame.schema) == getattr(columns, table.upper())


@pytest.mark.parametrize("table", ["replies", "calls", "images", "failures", "runs"])
def test_a_table_with_rows_has_all_columns(root, publish, make, table):
    """The published types are the documented ones, whatever the rows hold."""
    publish(make.reject(), make.fail("/in/b.jpg"))
    (path,) = root.glob(f"{table}/**/*.parquet")
    assert dict(pl.read_parquet_schema(path)) == getattr(columns, table.upper())


def test_results_have_the_schemas_fields_and_the_runs_own(root, publish, model, make):
    """A result's file has typed columns for the schema's fields first."""
    publish(make.accept())
    path = root / f"results/schema=slip/{DAY}/{RUN}.parquet"
    assert dict(pl.read_parquet_schema(path)) == Fields(model).columns | columns.RESULTS


def test_the_parts_of_a_run_are_folded(root, terms, model, make):
    """One file holds the rows of all chunks, in the chunks' order."""
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.stage(PartId(1), [make.accept("/in/c.jpg")])
        tables.stage(PartId(0), [make.accept("/in/a.jpg"), make.accept("/in/b.jpg")])
        tables.publish(run_row(terms))
    frame = pl.read_parquet(root / f"results/schema=slip/{DAY}/{RUN}.parquet")
    assert frame["_document"].to_list() == ["/in/a.jpg", "/in/b.jpg", "/in/c.jpg"]


def test_a_second_volume_has_a_name_of_its_own(root, terms, model, make):
    """Volume 2 stands beside volume 1 and holds its own rows only."""
    with Tables(FolderOutput(root), terms, model) as tables:
        for number, uri in enumerate(("/in/a.jpg", "/in/b.jpg"), 1):
            tables.stage(PartId(0), [make.accept(uri), make.fail("/in/x.jpg")])
            tables.stage_calls_and_fields([make.calls(make.accept(uri))])
            tables.publish(run_row(terms, volume=number))
    assert files(root) == ALL | {
        path.replace(".parquet", "-2.parquet") for path in ALL if not path.startswith("fields/")
    }
    second = pl.read_parquet(root / f"results/schema=slip/{DAY}/{RUN}-2.parquet")
    assert second["_document"].to_list() == ["/in/b.jpg"]


def test_the_published_files_are_named(root, terms, model, make):
    """Who publishes can say where the rows are."""
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.stage(PartId(0), [make.accept()])
        tables.publish(run_row(terms))
        assert tables.result_files == (str(root / f"results/schema=slip/{DAY}/{RUN}.parquet"),)


def test_a_left_document_is_in_no_table_but_calls(root, publish, make):
    """What the next run takes has no image and no failure, and what was paid for it is still told."""
    publish(make.leave(attempts=(make.build_unanswered(),)))
    assert files(root) == EVERY_RUN
    heights = {name: pl.read_parquet(root / name / DAY / f"{RUN}.parquet").height for name in ("images", "calls")}
    assert heights == {"images": 0, "calls": 1}


def test_a_document_rejected_in_prepare_is_published_as_rejected(root, publish, make):
    """Its row of images says so, with the reason that its row of failures has."""
    publish(make.reject())
    image = pl.read_parquet(root / "images" / DAY / f"{RUN}.parquet").row(0, named=True)
    failure = pl.read_parquet(root / "failures" / DAY / f"{RUN}.parquet").row(0, named=True)
    assert (image["action"], image["reason"]) == ("reject", "unreadable")
    assert (failure["stage"], failure["kind"], failure["final"]) == ("prepare", "unreadable", True)


@pytest.mark.parametrize(
    ("keep", "outcomes"), [("all", ["accepted", "refused"]), ("failed", ["refused"]), ("none", [])]
)
def test_replies_are_published_as_asked(root, publish, make, keep, outcomes):
    """The raw answers can be kept, kept where they failed, or not kept: then there is no file."""
    publish(make.accept(), make.fail("/in/b.jpg"), keep=keep)
    frames = [pl.read_parquet(path)["outcome"].to_list() for path in root.glob("replies/**/*.parquet")]
    assert list(chain(*frames)) == outcomes


def test_the_row_of_runs_comes_last(root, terms, model, make):
    """A run whose publishing breaks off before the end is not in `runs`: its row is the commit."""
    (root / "calls" / DAY / f"{RUN}.parquet").mkdir(parents=True)
    with Tables(FolderOutput(root), terms, model) as tables:
        tables.stage(PartId(0), [make.accept()])
        tables.stage_calls_and_fields([make.calls(make.accept())])
        with pytest.raises(OutputError, match=r"calls"):
            tables.publish(run_row(terms))
    assert not list(root.glob("runs/**/*.parquet"))
    assert f"staging/{RUN}/0001/calls-000000.parquet" in files(root)


@pytest.mark.parametrize("below", ["", "staging", f"staging/{RUN}", f"staging/{RUN}/0001", "calls"])
def test_an_output_that_cannot_be_written_is_refused_by_name(root, terms, model, below):
    """A file where a folder has to be is found before anything is spent, and said in one line."""
    (root / below).parent.mkdir(parents=True, exist_ok=True)
    (root / below).write_text("in the way")
    with pytest.raises(ConfigurationError) as caught, Tables(FolderOutput(root), terms, model):
        pass
    assert f"output '{root}' cannot be written: " in caught.value.message
    assert "\n" not in caught.value.message


@pytest.fixture
def two_runs(root, publish, terms, model, make):
    """Two nights under one output: two documents accepted, then one; some cells of the second are null."""
    publish(make.accept("/in/a.jpg"), make.accept("/in/b.jpg"), make.reject("/in/x.jpg"))
    later = vary(terms, run="20261121T021500Z-77aa", started_at=NOW.replace(day=21))
    unpriced = make.accept("/in/c.jpg", attempts=(make.attempt(cost_usd=None),))
    publish(replace(unpriced, value=model(shop="Bar")), by=later)
    return root


def test_polars_reads_the_runs_of_an_output_together(two_runs):
    """One scan reads every run with the partitions as columns, and money can be added up as it is."""
    frame = pl.scan_parquet(two_runs / "results", hive_partitioning=True).sort("_document").collect()
    assert frame["schema"].to_list() == ["slip"] * 3
    assert frame["run_date"].cast(pl.String).to_list() == ["2026-11-20", "2026-11-20", "2026-11-21"]
    assert frame["total"].to_list() == [Decimal("8.20"), Decimal("8.20"), None]
    assert frame["_cost_usd"].to_list() == [Decimal("0.000935"), Decimal("0.000935"), None]
    assert frame["_extracted_at"].to_list() == [NOW] * 3


def test_duckdb_reads_the_runs_of_an_output_together(two_runs):
    """SQL over all files sees the partitions, typed columns and nested cells."""
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
def test_duckdb_and_polars_count_the_same(two_runs, table):
    """Files with rows and files without are one table to both readers."""
    scanned = pl.scan_parquet(two_runs / table, hive_partitioning=True).collect().height
    counted = duckdb.sql(f"select count(*) from '{two_runs}/{table}/**/*.parquet'").fetchall()
    assert counted == [(scanned,)]


def test_the_sum_of_calls_is_the_sum_of_results(two_runs):
    """Money agrees between tables to the last of its nine digits."""
    query = "select sum({}) from read_parquet('{}/{}/**/*.parquet')"
    calls = duckdb.sql(query.format("cost_usd", two_runs, "calls")).fetchall()
    results = duckdb.sql(query.format("_cost_usd", two_runs, "results")).fetchall()
    assert calls == results == [(Decimal("0.001870000"),)]
