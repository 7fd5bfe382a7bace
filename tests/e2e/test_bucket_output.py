"""`tilewise run --output s3://…`: what a folder promises, a bucket keeps."""

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
    """What lies under the output, read as anybody would."""

    def __init__(self, bucket):
        self.url, self._store = f"{bucket.url}/out", S3Store(bucket.name)

    def keys(self, folder=None):
        """Every key, as seen from the output's root."""
        pages = obstore.list(self._store, f"out/{folder}" if folder else "out")
        return sorted(meta["path"].removeprefix("out/") for page in pages for meta in page)

    def read(self, table):
        """Everything published in a table."""
        keys = self.keys(table)
        files = [io.BytesIO(bytes(obstore.get(self._store, f"out/{key}").bytes())) for key in keys]
        return pl.concat([pl.read_parquet(each) for each in files]) if files else pl.DataFrame()

    def only(self, table):
        """The one row of a table."""
        [row] = self.read(table).to_dicts()
        return row

    def download(self, folder):
        """All of it as files of this machine."""
        for key in self.keys():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(obstore.get(self._store, f"out/{key}").bytes()))


@pytest.fixture
def tables(bucket):
    """The output in the bucket."""
    return Tables(bucket)


@pytest.fixture
def remote(bucket, workspace, echo, tables):
    """A workspace with five pictures and a broken one, whose tables are in the bucket."""
    workspace.images(*(f"{number}.png" for number in range(5)))
    (workspace.folder / "in" / "broken.jpg").write_bytes(b"no picture")
    workspace.env |= bucket.environ | {"TILEWISE_BASE_URL": echo, "TILEWISE_OUTPUT": f"{tables.url}/"}
    return workspace


def row_of(ended):
    """What a run says of itself."""
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


def counts(row):
    """What became of the documents."""
    return tuple(row[name] for name in ("found", "skipped", "accepted", "rejected", "remaining"))


def layout(keys, run):
    """Keys without what differs from run to run."""
    return [key.replace(run, "RUN").replace(f"{datetime.now(UTC):%Y-%m-%d}", "DAY") for key in keys]


def test_every_table_is_published_and_nothing_is_left_staged(remote, tables):
    """The same layout as in a folder; the output is the URL without a slash at its end."""
    row = row_of(remote.run("run", "in", *MOST))
    assert counts(row) == (6, 0, 5, 1, 0)
    assert row["output"] == tables.url
    files = [
        f"{table}{'/schema=caption' if table in {'results', 'replies'} else ''}/run_date=DAY/RUN.parquet"
        for table in TABLES
    ]
    assert layout(tables.keys(), row["run"]) == sorted([*files, "views.sql"])
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


def test_the_row_of_runs_is_the_last_that_appears(remote, bucket):
    """It refers only to rows that are there; the views over all tables are written after it."""
    remote.run("run", "in", *MOST)
    puts = [path for method, path, _ in bucket.front.asked if method == "PUT" and "/staging/" not in path]
    assert [path.split("/")[3] for path in puts] == [*TABLES, "views.sql"]


def test_forget_erases_a_document_from_a_bucket(remote, tables, bucket):
    """Its rows go, its call keeps its amount, and the views answer; an image in a bucket is looked up there."""
    remote.run("run", "in", *MOST)
    image = str(remote.folder / "in" / "1.png")
    bucket.put("in/2.png", b"picture")
    ended = remote.run("forget", image, f"{bucket.url}/in/2.png", f"{bucket.url}/in/9.png", "--yes")
    assert ended.exit_code == 0, ended.stderr
    assert f"{image} is still in its source" in ended.stdout
    assert f"{bucket.url}/in/2.png is still in its source" in ended.stdout
    assert f"{bucket.url}/in/9.png is still" not in ended.stdout
    assert [tables.read(name).height for name in TABLES] == [4, 4, 1, 5, 5, 3, 1]
    assert sorted(tables.read("calls")["document"])[:2] == ["", str(remote.folder / "in" / "0.png")]
    tables.download(remote.folder / "copy")
    text = (remote.folder / "copy" / "views.sql").read_text()
    assert "LOAD httpfs" in text
    views = text[text.index("CREATE OR REPLACE VIEW") :].replace(f"'{tables.url}/", f"'{remote.folder}/copy/")
    with duckdb.connect() as database:
        database.execute(views)
        assert database.execute("SELECT count(*) FROM latest_caption").fetchall() == [(4,)]


def test_a_second_run_calls_nothing(remote, tables, serve, replies):
    """What is done is seen in the bucket, by an estimate too."""
    server = serve(replies.ok())
    remote.env["TILEWISE_BASE_URL"] = server.url
    remote.run("run", "in", *MOST)
    row = row_of(remote.run("run", "in", *MOST))
    assert counts(row) == (6, 6, 0, 0, 0)
    assert len(server.asked) == 5
    said = row_of(remote.run("estimate", "in", "--schema", "caption", "--output", tables.url, "--json"))
    assert (said["skipped"], said["documents"]) == (6, 0)


def test_a_run_in_volumes_is_published_volume_by_volume(remote, tables):
    """Each has its files, and `fields` sums them up in one."""
    row = row_of(remote.run("run", "in", *MOST, env={"TILEWISE_VOLUME": "2", "TILEWISE_CHUNK": "1"}))
    assert counts(row) == (6, 0, 5, 1, 0)
    assert len(tables.keys("runs")) == 3
    assert len(tables.keys("fields")) == 1
    assert set(tables.read("fields")["rows"]) == {5}
    assert tables.keys("staging") == []


def test_people_are_told_the_urls(remote, tables):
    """They are where the rows are."""
    said = remote.run("run", "in", "--schema", "caption", "--yes", "--direct").stdout
    assert f"see {tables.url}/failures" in said
    assert f"rows: {tables.url}/{tables.keys('results')[0]}" in said


def test_polars_reads_the_bucket(remote, tables):
    """By its URL, with the partitions as columns."""
    row = row_of(remote.run("run", "in", *MOST))
    found = pl.scan_parquet(f"{tables.url}/results/", hive_partitioning=True, credential_provider=None).collect()
    assert found.height == 5
    assert set(found["schema"]) == {"caption"}
    assert set(found["_run"]) == {row["run"]}


def test_duckdb_reads_the_bucket(remote, tables, tmp_path):
    """By its URL where its extension for that is at hand, else what was downloaded."""
    remote.run("run", "in", *MOST)
    with duckdb.connect() as connection:
        where = tables.url
        try:
            connection.execute("load httpfs")
            host = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
            connection.execute(
                f"create secret (type s3, key_id 'AKIATILEWISE', secret 'secret', region 'us-east-1',"
                f" endpoint '{host}', url_style 'path', use_ssl false)"
            )
        except duckdb.IOException:
            where = tmp_path / "downloaded"
            tables.download(where)
        query = f"from read_parquet('{where}/results/**/*.parquet', hive_partitioning = true) select schema, count(*)"
        assert connection.sql(f"{query} group by all").fetchall() == [("caption", 5)]


def test_spend_reads_the_bucket(remote, tables):
    """The calls are those of the tables, once."""
    remote.run("run", "in", *MOST)
    said = row_of(remote.run("spend", "--output", tables.url, "--json", env={"TILEWISE_OUTPUT": None}))
    assert said["total"]["calls"] == 5
    assert row_of(remote.run("spend", "--output", f"{tables.url}/else", "--json"))["total"]["calls"] == 0


def test_the_report_of_a_run_lies_in_the_bucket(remote, tables, bucket):
    """Beside its tables, as a page; its name is a URL."""
    row = row_of(remote.run("run", "in", *MOST, "--fail-above", "1"))
    ended = remote.run("report")
    key = f"reports/{row['run']}.html"
    assert ended.stdout == f"{tables.url}/{key}\n", ended.stderr
    page = obstore.get(S3Store(bucket.name), f"out/{key}")
    assert page.attributes["Content-Type"].startswith("text/html")
    assert f"{tables.url}/results/schema=caption/" in bytes(page.bytes()).decode()


def test_the_report_shows_pictures_of_a_bucket(remote, tables, bucket):
    """Read again from the source, in the version that the run has read; a changed one has no picture."""
    for name in ("a.png", "b.png"):
        bucket.put(f"scans/{name}", (remote.folder / "in" / "0.png").read_bytes() + name.encode())
    row = row_of(remote.run("run", f"{bucket.url}/scans", *MOST, "--redo", "all"))
    bucket.put("scans/b.png", (remote.folder / "in" / "1.png").read_bytes())
    ended = remote.run("report", row["run"])
    assert ended.exit_code == 0, ended.stderr
    page = bytes(obstore.get(S3Store(bucket.name), f"out/reports/{row['run']}.html").bytes()).decode()
    assert page.count('src="data:image/webp') == 1
    assert page.count("the file has changed since this run read it") == 1


def test_no_secret_is_in_what_is_published(remote, tables, tmp_path):
    """A table is read by many."""
    remote.run("run", "in", *MOST)
    tables.download(tmp_path / "all")
    for name in TABLES:
        assert "AKIATILEWISE" not in json.dumps(tables.read(name).to_dicts(), default=str)


# --- what goes wrong


@pytest.mark.parametrize(
    "command", [("run", "in", *MOST), ("spend",), ("run", "in", "--schema", "caption", "--dry-run")]
)
def test_a_bucket_that_does_not_exist_ends_it_before_anything_is_sent(remote, command, serve, replies):
    """Exit 2 and one line that names the output."""
    server = serve(replies.ok())
    ended = remote.run(*command, "--output", "s3://no-such-bucket/out", env={"TILEWISE_BASE_URL": server.url})
    assert ended.exit_code == 2
    assert ended.stderr.startswith("tilewise: output 's3://no-such-bucket/out' does not exist: no such bucket")
    assert len(ended.stderr.splitlines()) == 1
    assert server.asked == []


def test_a_bucket_that_may_not_be_written_ends_it_before_anything_is_sent(remote, bucket, serve, replies):
    """Exit 2 and one line that names the permission."""
    server = serve(replies.ok())
    bucket.front.refuse = lambda method, path: (403, DENIED) if method == "PUT" else None
    ended = remote.run("run", "in", *MOST, env={"TILEWISE_BASE_URL": server.url})
    assert ended.exit_code == 2
    assert "may not be written (AccessDenied): the key needs s3:PutObject and s3:DeleteObject" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert server.asked == []


def test_a_volume_whose_publishing_was_refused_is_finished_by_the_next_run(remote, bucket, tables):
    """It says what is kept; the run has its row, under its own name, and nothing is paid again."""
    bucket.front.refuse = lambda method, path: (403, DENIED) if method == "PUT" and "/out/calls/" in path else None
    ended = remote.run("run", "in", *MOST)
    assert ended.exit_code == 2
    assert "may not be written (AccessDenied)" in ended.stderr
    assert "all answers received so far are kept in the ledger, and the next run publishes them" in ended.stderr
    assert tables.keys("results")
    assert not tables.keys("runs")

    bucket.front.refuse = lambda method, path: None
    row = row_of(remote.run("run", "in", *MOST))
    assert (counts(row), row["calls"]) == ((6, 6, 0, 0, 0), 0)
    runs = tables.read("runs").sort("started_at")
    assert runs["accepted"].to_list() == [5, 0]
    assert runs["status"].to_list() == ["completed", "completed"]
    assert tables.read("calls").height == 5
    assert tables.keys("staging") == []


@pytest.mark.parametrize("at", ["PUT /out/staging/", "PUT /out/results/", "PUT /out/calls/", "PUT /out/runs/", "POST "])
def test_a_run_killed_anywhere_is_finished_by_the_next(remote, bucket, tables, at):
    """Before the first part, between two tables, before the commit and after it: every document is there once."""
    method, _, where = at.partition(" ")
    process, killed = [], []

    def kill(asked, path):
        if process and not killed and asked == method and where in path and "begun" not in path:
            killed.append(path)
            process[0].send_signal(signal.SIGKILL)

    bucket.front.refuse = kill
    env = {"TILEWISE_CHUNK": "2"}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with remote.start("run", "in", *MOST, env=env, **pipes) as started:
        process.append(started)
        assert started.wait(60) == -signal.SIGKILL
    bucket.front.refuse = lambda method, path: None
    ended = remote.run("run", "in", *MOST)
    row = row_of(ended)

    assert row["found"] == 6
    assert row["skipped"] + row["accepted"] + row["rejected"] == 6
    assert tables.read("results")["_document"].n_unique() == tables.read("results").height == 5
    assert tables.read("failures").height == 1
    assert tables.read("runs")["run"].n_unique() == 2
    assert tables.read("calls").filter(billed="yes").height == 5
    assert tables.keys("staging") == []
