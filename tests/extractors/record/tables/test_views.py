"""views.py: DuckDB runs views.sql on published outputs, and each view has the expected rows."""

from decimal import Decimal

import duckdb
import polars as pl
import pytest
from support.history import OFFLINE_COMPANY, REDONE_TOTAL, publish_failures

from extractors.record.output import open_output
from extractors.record.output.folder import FolderOutput
from extractors.record.tables import columns
from extractors.record.tables.current import keep_current
from extractors.record.tables.views import build_views, quote_name, write_views

VIEWS = {"latest_receipt", "results_receipt", "latest_ticket_v2", "results_ticket_v2"}
FIXED = {"evidence", "runs_latest", "open_failures", "images_latest", "spend_by_day"}


def connect(folder, monkeypatch, text=None):
    """A database with the views of this output."""
    monkeypatch.chdir(folder)
    database = duckdb.connect()
    database.execute(text or (folder / "views.sql").read_text())
    return database


@pytest.fixture
def views(history, monkeypatch):
    """A database with the views of the history."""
    with connect(history.folder / "out", monkeypatch) as database:
        yield database


def fetch_rows(database, query):
    """The rows of a query."""
    return database.execute(query).fetchall()


def test_views_exist_for_each_published_schema_and_table(views):
    assert {
        name for (name,) in fetch_rows(views, "SELECT view_name FROM duckdb_views() WHERE NOT internal")
    } == VIEWS | FIXED


def test_latest_view_has_redone_rows_and_no_offline_rows(views):
    latest = fetch_rows(views, "SELECT parse_filename(_document), company, total FROM latest_receipt")
    assert sorted(latest) == [
        ("a.jpg", "Blue Heron", Decimal(REDONE_TOTAL)),
        ("b.jpg", "Inn", Decimal("10.00")),
        ("c.jpg", "Kiosk", Decimal("7.50")),
        ("copy.jpg", "Blue Heron", Decimal(REDONE_TOTAL)),
        ("d.jpg", "Baker", Decimal("3.20")),
        ("f.jpg", "Hotel", Decimal("120.00")),
    ]
    assert fetch_rows(views, "SELECT count(*) FROM latest_receipt WHERE _copied_from IS NOT NULL") == [(1,)]
    assert fetch_rows(views, "SELECT count(*) FROM results_receipt WHERE company = 'Read offline'") == [(1,)]
    assert fetch_rows(views, "SELECT company, total FROM latest_ticket_v2") == [("Inn", 10.0)]


def test_latest_view_has_the_rows_that_python_keeps_as_current(views, history):
    """The view and `keep_current` implement the same rule."""
    files = sorted((history.folder / "out" / "results" / "schema=receipt").rglob("*.parquet"))
    current = keep_current(pl.scan_parquet(files, hive_partitioning=False)).select("_document", "_run").collect()
    assert sorted(fetch_rows(views, "SELECT _document, _run FROM latest_receipt")) == sorted(current.rows())


def test_latest_view_has_an_offline_row_where_a_document_has_no_other(history, monkeypatch, tmp_path):
    """Of two offline rows of the same time, the view has that of the greater run id."""
    files = sorted((history.folder / "out" / "results" / "schema=receipt").rglob("*.parquet"))
    frame = pl.concat([pl.read_parquet(file, hive_partitioning=False) for file in files])
    offline = frame.filter(pl.col("company") == OFFLINE_COMPANY)
    twins = [offline.with_columns(_run=pl.lit(run), company=pl.lit(run)) for run in ("20260101-b", "20260101-a")]
    output = FolderOutput(tmp_path)
    for number, rows in enumerate((offline, *twins)):
        output.write(f"results/schema=receipt/run_date=2026-01-0{number + 1}/x.parquet", rows)
    write_views(output)
    with connect(tmp_path, monkeypatch) as database:
        (latest,) = fetch_rows(database, "SELECT company FROM latest_receipt")
    assert latest == (offline["company"][0],)  # its run id is the greatest


def test_open_failures_has_the_latest_failure_of_documents_without_a_later_result(views, history):
    open_failures = fetch_rows(
        views, "SELECT parse_filename(document), kind, source, run FROM open_failures ORDER BY document"
    )
    assert [(name, kind) for name, kind, *_ in open_failures] == [
        ("e.jpg", "client_error"),
        ("text.png", "not_an_image"),
    ]
    assert {source for _, _, source, _ in open_failures} == {str(history.folder / "in")}
    failures = history.table("failures")
    assert "capacity" in failures["kind"].to_list()  # of d.jpg, which was accepted later
    assert open_failures[0][3] == failures.filter(pl.col("kind") == "client_error").sort("failed_at")["run"][-1]


def test_open_failures_works_on_an_output_with_failures_only(workspace, server, monkeypatch):
    folder = publish_failures(workspace.using(server)).folder / "out"
    with connect(folder, monkeypatch) as database:
        names = {name for (name,) in fetch_rows(database, "SELECT view_name FROM duckdb_views() WHERE NOT internal")}
        assert names == FIXED
        assert fetch_rows(database, "SELECT count(*) FROM open_failures") == [(2,)]


def test_open_failures_is_typed_and_empty_without_files(tmp_path, monkeypatch, views):
    """Its columns and types are those of an output with failures."""
    columns_with_files = fetch_rows(views, "DESCRIBE open_failures")
    with connect(tmp_path, monkeypatch, build_views(FolderOutput(tmp_path))) as database:
        assert fetch_rows(database, "DESCRIBE open_failures") == columns_with_files
        assert fetch_rows(database, "SELECT * FROM open_failures") == []


def test_spend_by_day_counts_each_call_once(views, history):
    """The sums are by day, model, schema and source; a run may have several rows in `runs`."""
    sums = fetch_rows(views, "SELECT sum(calls), sum(billed_usd), sum(wasted_usd), sum(unpriced) FROM spend_by_day")
    calls = history.table("calls")
    billed = calls.filter(pl.col("billed") == "yes")
    wasted = billed.filter(pl.col("outcome") != "accepted")["cost_usd"].sum()
    assert sums == [(len(calls), billed["cost_usd"].sum(), wasted, 0)]
    assert fetch_rows(views, "SELECT count(*) FROM (FROM spend_by_day WHERE schema = 'ticket_v2')") == [(1,)]


def test_runs_latest_has_the_last_run_of_each_schema_and_source(views, history):
    latest = dict(fetch_rows(views, "SELECT schema, run FROM runs_latest"))
    runs = history.table("runs").sort("started_at").group_by("schema").agg(pl.col("run").last())
    assert latest == dict(runs.rows())


def test_runs_latest_sums_the_volumes_of_a_run(history, tmp_path, monkeypatch):
    """An amount that is unknown in one volume is unknown for the run."""
    row = history.table("runs").head(1)
    other = row.with_columns(volume=pl.lit(2), cost_usd=pl.lit(None, columns.MONEY), status=pl.lit("stopped"))
    output = FolderOutput(tmp_path)
    for number, volume in enumerate((row, other), 1):
        output.write(f"runs/run_date=2026-01-01/x-{number}.parquet", volume)
    with connect(tmp_path, monkeypatch, build_views(output)) as database:
        latest = fetch_rows(database, "SELECT volumes, found, status, cost_usd, warnings FROM runs_latest")
    assert latest == [(2, 2 * row["found"][0], "stopped", None, row["warnings"][0].to_list())]


def test_images_latest_has_the_pages_of_each_documents_last_run(views, history):
    start_times = history.table("runs").select("run", "started_at")
    images = history.table("images").join(start_times, on="run").sort("started_at")
    view_rows = fetch_rows(views, "SELECT schema, document, page, run FROM images_latest")
    latest = images.group_by("schema", "document", "page").agg(pl.col("run").last())
    assert sorted(view_rows) == sorted(latest.rows())


@pytest.mark.parametrize(
    ("url", "lines"),
    [
        ("s3://bucket/tables", ["LOAD httpfs", "TYPE s3, PROVIDER credential_chain, SCOPE 's3://bucket'"]),
        ("gs://bucket/tables", ["LOAD httpfs", "TYPE gcs"]),
        ("az://bucket/tables", ["LOAD azure", "TYPE azure, PROVIDER credential_chain"]),
    ],
)
def test_views_of_a_bucket_have_absolute_paths_and_sign_in(url, lines, history, monkeypatch):
    """After the header, the statements run on the same files in a folder."""
    folder = history.folder / "out"
    output = open_output(str(folder))
    monkeypatch.setattr(output, "_name", url)
    text = build_views(output)
    assert [line for line in lines if line not in text] == []
    assert text.count(f"'{url}/") > len(FIXED)
    views = text[text.index("CREATE OR REPLACE VIEW") :].replace(f"'{url}/", f"'{folder}/")
    with duckdb.connect() as database:
        database.execute(views)
        assert len(database.execute("SELECT * FROM latest_receipt").fetchall()) == 6


def test_evidence_lists_the_fields_of_current_rows(history, tmp_path, monkeypatch):
    """Files of an earlier version lack the columns, and a row without evidence has no line."""
    files = sorted((history.folder / "out" / "results" / "schema=receipt").rglob("*.parquet"))
    frame = pl.read_parquet(files[0], hive_partitioning=False)
    output, new_columns = FolderOutput(tmp_path), ["_confidence", "_evidence"]
    output.write("results/schema=receipt/run_date=2026-01-01/x.parquet", frame.drop(new_columns))
    older_views = build_views(output)
    date, missing_item = (
        {"field": "date", "page": 2, "x": 1, "y": 2, "width": 3, "height": 4},
        {"field": "items[?]", "page": 1},
    )
    cells = [{"field": "company", "confidence": 0.5}, {"field": "total", "page": 0}, date, missing_item]
    evidence = [cells] + [None] * (frame.height - 1)
    column = pl.Series("_evidence", evidence, dtype=columns.RESULTS["_evidence"])
    later = frame.with_columns(column, pl.col("_extracted_at") + pl.duration(hours=1), _run=pl.lit("later"))
    assert connect(tmp_path, monkeypatch, older_views).execute("FROM evidence").fetchall() == []
    output.write("results/schema=receipt/run_date=2026-01-02/x.parquet", later)
    with connect(tmp_path, monkeypatch, build_views(output)) as database:
        query = "SELECT schema, document, run, field, confidence, page, x, y, width, height, seen FROM evidence"
        identity = ("receipt", later["_document"][0], "later")
        assert fetch_rows(database, query) == [
            (*identity, "company", 0.5, *[None] * 6),
            (*identity, "total", None, 0, *[None] * 4, False),
            (*identity, "date", None, 2, 1, 2, 3, 4, True),
            (*identity, "items[?]", None, 1, *[None] * 5),
        ]
        types = fetch_rows(database, "DESCRIBE evidence")
    with connect(tmp_path, monkeypatch, build_views(FolderOutput(tmp_path / "empty"))) as database:
        assert fetch_rows(database, "DESCRIBE evidence") == types


def test_folder_without_files_has_no_view(history, tmp_path):
    """A user may have deleted the files, and a view over no file would end the script."""
    for day in ("results/schema=receipt/run_date=2026-01-02", "calls/run_date=2026-01-02", "runs/run_date=2026-01-02"):
        (tmp_path / day).mkdir(parents=True)
    text = build_views(FolderOutput(tmp_path))
    assert text.count("CREATE OR REPLACE VIEW") == 2  # of evidence and of failures, with their columns and no rows
    row = history.table("runs").head(1)
    FolderOutput(tmp_path).write("runs/run_date=2026-01-01/x.parquet", row)
    assert "runs_latest" in build_views(FolderOutput(tmp_path))


def test_unusual_schema_names_are_quoted(history, tmp_path, monkeypatch):
    """The names are a number, an SQL keyword, and names with quotes and with glob characters."""
    (file, *_) = sorted((history.folder / "out" / "results" / "schema=receipt").rglob("*.parquet"))
    frame, output = pl.read_parquet(file, hive_partitioning=False), FolderOutput(tmp_path)
    for schema in ("2026", "select", "o\"d'd", "x[1]"):
        output.write(f"results/schema={schema}/run_date=2026-01-01/x.parquet", frame)
        with connect(tmp_path, monkeypatch, build_views(output)) as database:
            view = quote_name(f"latest_{schema}")
            assert fetch_rows(database, f"SELECT DISTINCT schema FROM {view}") == [(schema,)]


def test_publishing_writes_views_sql(history):
    """It leaves no temporary file."""
    out = history.folder / "out"
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == ["views.sql"]
    assert "duckdb -init views.sql" in (out / "views.sql").read_text()
