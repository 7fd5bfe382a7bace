"""`tilewise run --output s3://…`: tables in a bucket behave like tables in a folder."""

import io
import json
import os
import signal
import subprocess
from datetime import UTC, datetime

import duckdb
import obstore
import polars as pl
import pytest
from obstore.store import S3Store

pytestmark = pytest.mark.slow

TABLES = ("results", "replies", "failures", "images", "calls", "fields", "runs")
MOST = ("--schema", "caption", "--yes", "--json", "--direct")
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class Tables:
    """The tables under the output, read with an ordinary client."""

    def __init__(self, bucket):
        self.url, self._store = f"{bucket.url}/out", S3Store(bucket.name)

    def keys(self, folder=None):
        """Every key, relative to the output's root."""
        pages = obstore.list(self._store, f"out/{folder}" if folder else "out")
        return sorted(meta["path"].removeprefix("out/") for page in pages for meta in page)

    def read(self, table):
        """All rows published in a table."""
        keys = self.keys(table)
        files = [io.BytesIO(bytes(obstore.get(self._store, f"out/{key}").bytes())) for key in keys]
        return pl.concat([pl.read_parquet(file) for file in files]) if files else pl.DataFrame()

    def only(self, table):
        """The one row of a table."""
        [row] = self.read(table).to_dicts()
        return row

    def download(self, folder):
        """Copies all objects to a local folder."""
        for key in self.keys():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(obstore.get(self._store, f"out/{key}").bytes()))


@pytest.fixture
def tables(bucket):
    return Tables(bucket)


@pytest.fixture
def remote(bucket, workspace, echo, tables):
    """A workspace with five images and a broken one, whose output is in the bucket."""
    workspace.images(*(f"{number}.png" for number in range(5)))
    (workspace.folder / "in" / "broken.jpg").write_bytes(b"no picture")
    workspace.env |= bucket.environ | {"TILEWISE_BASE_URL": echo, "TILEWISE_OUTPUT": f"{tables.url}/"}
    return workspace


def parse_row(result):
    """The JSON object that a command printed."""
    assert result.stdout, result.stderr
    return json.loads(result.stdout)


def counts(row):
    """The numbers of documents by outcome."""
    return tuple(row[name] for name in ("found", "skipped", "accepted", "rejected", "remaining"))


def normalize_keys(keys, run):
    """The keys with the run id and the date replaced."""
    return [key.replace(run, "RUN").replace(f"{datetime.now(UTC):%Y-%m-%d}", "DAY") for key in keys]


def test_bucket_has_every_table_and_no_staging(remote, tables):
    """The layout is that of a folder; the output is the URL without its trailing slash."""
    row = parse_row(remote.run("run", "in", *MOST))
    assert counts(row) == (6, 0, 5, 1, 0)
    assert row["output"] == tables.url
    files = [
        f"{table}{'/schema=caption' if table in {'results', 'replies'} else ''}/run_date=DAY/RUN.parquet"
        for table in TABLES
    ]
    assert normalize_keys(tables.keys(), row["run"]) == sorted([*files, "views.sql"])
    assert {name: tables.read(name).height for name in TABLES} == {
        "results": 5,
        "replies": 5,
        "failures": 1,
        "images": 6,
        "calls": 5,
        "fields": 3,
        "runs": 1,
    }
    assert not (remote.folder / "out").exists()


def test_runs_table_is_written_last(remote, bucket):
    """It refers only to rows that exist; only the views are written after it."""
    remote.run("run", "in", *MOST)
    puts = [path for method, path, _ in bucket.front.asked if method == "PUT" and "/staging/" not in path]
    assert [path.split("/")[3] for path in puts] == [*TABLES, "views.sql"]


def test_forget_erases_a_document_from_a_bucket(remote, tables, bucket):
    """Its rows are deleted, its call keeps its cost, the views still work, and images still in the source are named."""
    remote.run("run", "in", *MOST)
    image = str(remote.folder / "in" / "1.png")
    bucket.put("in/2.png", b"picture")
    result = remote.run("forget", image, f"{bucket.url}/in/2.png", f"{bucket.url}/in/9.png", "--yes")
    assert result.exit_code == 0, result.stderr
    assert f"{image} is still in its source" in result.stdout
    assert f"{bucket.url}/in/2.png is still in its source" in result.stdout
    assert f"{bucket.url}/in/9.png is still" not in result.stdout
    assert [tables.read(name).height for name in TABLES] == [4, 4, 1, 5, 5, 3, 1]
    assert sorted(tables.read("calls")["document"])[:2] == ["", str(remote.folder / "in" / "0.png")]
    tables.download(remote.folder / "copy")
    text = (remote.folder / "copy" / "views.sql").read_text()
    assert "LOAD httpfs" in text
    views = text[text.index("CREATE OR REPLACE VIEW") :].replace(f"'{tables.url}/", f"'{remote.folder}/copy/")
    with duckdb.connect() as database:
        database.execute(views)
        assert database.execute("SELECT count(*) FROM latest_caption").fetchall() == [(4,)]


def test_second_run_skips_documents_in_bucket(remote, tables, serve, replies):
    """An estimate skips them as well."""
    server = serve(replies.ok())
    remote.env["TILEWISE_BASE_URL"] = server.url
    remote.run("run", "in", *MOST)
    row = parse_row(remote.run("run", "in", *MOST))
    assert counts(row) == (6, 6, 0, 0, 0)
    assert len(server.asked) == 5
    estimated = parse_row(remote.run("estimate", "in", "--schema", "caption", "--output", tables.url, "--json"))
    assert (estimated["skipped"], estimated["documents"]) == (6, 0)


def test_volumes_are_published_as_separate_files(remote, tables):
    """`fields` is one file for all of them."""
    row = parse_row(remote.run("run", "in", *MOST, env={"TILEWISE_VOLUME": "2", "TILEWISE_CHUNK": "1"}))
    assert counts(row) == (6, 0, 5, 1, 0)
    assert len(tables.keys("runs")) == 3
    assert len(tables.keys("fields")) == 1
    assert set(tables.read("fields")["rows"]) == {5}
    assert tables.keys("staging") == []


def test_summary_names_urls_of_tables(remote, tables):
    summary = remote.run("run", "in", "--schema", "caption", "--yes", "--direct").stdout
    assert f"see {tables.url}/failures" in summary
    assert f"rows: {tables.url}/{tables.keys('results')[0]}" in summary


def test_polars_reads_tables_from_bucket(remote, tables):
    """By URL, with the partitions as columns."""
    row = parse_row(remote.run("run", "in", *MOST))
    rows = pl.scan_parquet(f"{tables.url}/results/", hive_partitioning=True, credential_provider=None).collect()
    assert rows.height == 5
    assert set(rows["schema"]) == {"caption"}
    assert set(rows["_run"]) == {row["run"]}


def test_duckdb_reads_tables_from_bucket(remote, tables, tmp_path):
    """By URL if its httpfs extension is installed, else from a downloaded copy."""
    remote.run("run", "in", *MOST)
    with duckdb.connect() as connection:
        location = tables.url
        try:
            connection.execute("load httpfs")
            host = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
            connection.execute(
                f"create secret (type s3, key_id 'AKIATILEWISE', secret 'secret', region 'us-east-1',"
                f" endpoint '{host}', url_style 'path', use_ssl false)"
            )
        except duckdb.IOException:
            location = tmp_path / "downloaded"
            tables.download(location)
        query = (
            f"from read_parquet('{location}/results/**/*.parquet', hive_partitioning = true) select schema, count(*)"
        )
        assert connection.sql(f"{query} group by all").fetchall() == [("caption", 5)]


def test_spend_reads_calls_from_bucket(remote, tables):
    """Each call is counted once."""
    remote.run("run", "in", *MOST)
    spend = parse_row(remote.run("spend", "--output", tables.url, "--json", env={"TILEWISE_OUTPUT": None}))
    assert spend["total"]["calls"] == 5
    assert parse_row(remote.run("spend", "--output", f"{tables.url}/else", "--json"))["total"]["calls"] == 0


def test_report_is_written_to_the_bucket(remote, tables, bucket):
    """It is an HTML page beside the tables, and its URL is printed."""
    row = parse_row(remote.run("run", "in", *MOST, "--fail-above", "1"))
    result = remote.run("report")
    key = f"reports/{row['run']}.html"
    assert result.stdout == f"{tables.url}/{key}\n", result.stderr
    page = obstore.get(S3Store(bucket.name), f"out/{key}")
    assert page.attributes["Content-Type"].startswith("text/html")
    assert f"{tables.url}/results/schema=caption/" in bytes(page.bytes()).decode()


def test_report_shows_images_from_a_bucket(remote, tables, bucket):
    """It reads them again from the source; an image that has changed since the run is not shown."""
    for name in ("a.png", "b.png"):
        bucket.put(f"scans/{name}", (remote.folder / "in" / "0.png").read_bytes() + name.encode())
    row = parse_row(remote.run("run", f"{bucket.url}/scans", *MOST, "--redo", "all"))
    bucket.put("scans/b.png", (remote.folder / "in" / "1.png").read_bytes())
    result = remote.run("report", row["run"])
    assert result.exit_code == 0, result.stderr
    page = bytes(obstore.get(S3Store(bucket.name), f"out/reports/{row['run']}.html").bytes()).decode()
    assert page.count('src="data:image/webp') == 1
    assert page.count("the file has changed since this run read it") == 1


def test_published_tables_contain_no_secret(remote, tables, tmp_path):
    remote.run("run", "in", *MOST)
    tables.download(tmp_path / "all")
    for name in TABLES:
        assert "AKIATILEWISE" not in json.dumps(tables.read(name).to_dicts(), default=str)


# --- errors


@pytest.mark.parametrize(
    "command", [("run", "in", *MOST), ("spend",), ("run", "in", "--schema", "caption", "--dry-run")]
)
def test_missing_output_bucket_ends_command_before_any_call(remote, command, serve, replies):
    """Exit 2 and one line that names the output."""
    server = serve(replies.ok())
    result = remote.run(*command, "--output", "s3://no-such-bucket/out", env={"TILEWISE_BASE_URL": server.url})
    assert result.exit_code == 2
    assert result.stderr.startswith("tilewise: output 's3://no-such-bucket/out' does not exist: no such bucket")
    assert len(result.stderr.splitlines()) == 1
    assert server.asked == []


def test_read_only_output_bucket_ends_run_before_any_call(remote, bucket, serve, replies):
    """Exit 2 and one line that names the permission."""
    server = serve(replies.ok())
    bucket.front.refuse = lambda method, path: (403, DENIED) if method == "PUT" else None
    result = remote.run("run", "in", *MOST, env={"TILEWISE_BASE_URL": server.url})
    assert result.exit_code == 2
    assert "may not be written (AccessDenied): the key needs s3:PutObject and s3:DeleteObject" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert server.asked == []


def test_next_run_publishes_volume_whose_publishing_failed(remote, bucket, tables):
    """The error says what is kept; the first run gets its own row, and nothing is paid again."""
    bucket.front.refuse = lambda method, path: (403, DENIED) if method == "PUT" and "/out/calls/" in path else None
    result = remote.run("run", "in", *MOST)
    assert result.exit_code == 2
    assert "may not be written (AccessDenied)" in result.stderr
    assert "all answers received so far are kept in the ledger, and the next run publishes them" in result.stderr
    assert tables.keys("results")
    assert not tables.keys("runs")

    bucket.front.refuse = lambda method, path: None
    row = parse_row(remote.run("run", "in", *MOST))
    assert (counts(row), row["calls"]) == ((6, 6, 0, 0, 0), 0)
    runs = tables.read("runs").sort("started_at")
    assert runs["accepted"].to_list() == [5, 0]
    assert runs["status"].to_list() == ["completed", "completed"]
    assert tables.read("calls").height == 5
    assert tables.keys("staging") == []


@pytest.mark.parametrize("at", ["PUT /out/staging/", "PUT /out/results/", "PUT /out/calls/", "PUT /out/runs/", "POST "])
def test_next_run_recovers_run_killed_while_publishing(remote, bucket, tables, at):
    """Before the first part, between two tables, before the commit and after it: every document is published once."""
    method, _, prefix = at.partition(" ")
    process, killed = [], []

    def kill(verb, path):
        if process and not killed and verb == method and prefix in path and "begun" not in path:
            killed.append(path)
            process[0].send_signal(signal.SIGKILL)

    bucket.front.refuse = kill
    env = {"TILEWISE_CHUNK": "2"}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with remote.start("run", "in", *MOST, env=env, **pipes) as running:
        process.append(running)
        assert running.wait(60) == -signal.SIGKILL
    bucket.front.refuse = lambda method, path: None
    result = remote.run("run", "in", *MOST)
    row = parse_row(result)

    assert row["found"] == 6
    assert row["skipped"] + row["accepted"] + row["rejected"] == 6
    assert tables.read("results")["_document"].n_unique() == tables.read("results").height == 5
    assert tables.read("failures").height == 1
    assert tables.read("runs")["run"].n_unique() == 2
    assert tables.read("calls").filter(billed="yes").height == 5
    assert tables.keys("staging") == []
