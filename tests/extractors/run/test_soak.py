"""A whole run against a faulty server: every document ends once, and every call is in the ledger."""

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import httpx
import polars as pl
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
IMAGES = 1000
FAULTS = """
seed = 11
[shares]
rate_limited = 0.05
server_error = 0.05
capacity = 0.04
reset = 0.03
stall = 0.005
drip = 0.005
truncated = 0.03
off_schema = 0.03
prose = 0.02
fenced = 0.02
empty = 0.01
html = 0.01
error_body = 0.01
no_usage = 0.01
[options]
drip_seconds = 0.2
"""
# The outcome in the ledger, by kind of the server's own count.
OUTCOMES = {
    "answered": "accepted",
    "fenced": "accepted",
    "no_usage": "accepted",
    "rate_limited": "rate_limited",
    "server_error": "server_error",
    "html": "server_error",
    "error_body": "server_error",
    "capacity": "capacity",
    "reset": "connection",
    "stall": "timeout",
    "drip": "timeout",
    "truncated": "truncated",
    "off_schema": "off_schema",
    "prose": "not_json",
    "empty": "empty",
}


@pytest.fixture
def faulty_server(tmp_path):
    """The root address of a server that fails three calls in ten."""
    faults = tmp_path / "faults.toml"
    faults.write_text(FAULTS)
    command = [sys.executable, "-m", "extractors.endpoint", "--port", "0", "--reader", "echo", "--parent-pipe"]
    with subprocess.Popen(
        [*command, "--faults", str(faults)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield json.loads(process.stdout.readline())["url"].removesuffix("/v1")
        process.stdin.close()


@pytest.fixture
def images(tmp_path):
    """A folder of a thousand different pictures."""
    folder = tmp_path / "in"
    folder.mkdir()
    [
        Image.new("RGB", (40, 40), (number % 256, number // 256, 7)).save(folder / f"{number}.png")
        for number in range(IMAGES)
    ]
    return folder


def read_table(output, table):
    """All published rows of a table."""
    return pl.read_parquet(output / table / "**" / "*.parquet")


@pytest.mark.slow
def test_every_document_ends_once_and_every_call_is_in_the_ledger(tmp_path, images, faulty_server):
    """The outcomes in the ledger equal the server's own counts by kind, with three faults in ten calls."""
    output, ledger = tmp_path / "out", tmp_path / "ledger.db"
    settings = {"TILEWISE_LEDGER": f"sqlite:///{ledger}", "TILEWISE_TIMEOUT": "2", "TILEWISE_REASKS": "3"}
    command = [sys.executable, "-m", "flows", "run", str(images), "--schema", "receipt", "--direct", "--yes"]
    completed = subprocess.run(
        [
            *command,
            "--base-url",
            f"{faulty_server}/v1",
            "--model",
            "any",
            "--output",
            str(output),
            "--fail-above",
            "0.05",
        ],
        cwd=ROOT,
        env=os.environ | settings,
        check=False,
        capture_output=True,
        text=True,
    )
    server_counts = Counter(
        {kind: count for kind, count in httpx.get(f"{faulty_server}/rehearsal").json()["kinds"].items() if count}
    )
    with closing(sqlite3.connect(ledger)) as connection:
        ledger_counts = Counter(
            dict(connection.execute("select outcome, count(*) from calls group by outcome").fetchall())
        )
    expected = Counter()
    [expected.update({OUTCOMES[kind]: count}) for kind, count in server_counts.items()]

    assert completed.returncode == 0, completed.stderr
    documents = [*read_table(output, "results")["_document"], *read_table(output, "failures")["document"]]
    assert len(documents) == len(set(documents)) == IMAGES
    assert ledger_counts == expected
    assert Counter(read_table(output, "calls")["outcome"]) == expected
    assert min(server_counts[kind] for kind in OUTCOMES) > 0, "a kind of fault was never tried"
