"""A published run whose names, values and replies try to become more than text."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from extractors.record.output import open_output
from extractors.record.tables import columns
from extractors.report.page import write_report

RUN, BEGAN = "20261120T021500Z-3f9a", datetime(2026, 11, 20, 2, 15, tzinfo=UTC)
EVIL = "<script>alert('1')</script>\" onload='x' data-v=\"2\" <img src=http://127.0.0.1/x> &lt;b&gt; {{ 7 * 7 }}"
NAMES = ("a 'quoted\" <b>.png", "ü &amp; 100%#1?.png", "javascript:alert(1).png", "plain.png", "gone.png", "{{x}}.png")
FIELDS = {
    "company": pl.String,
    "day": pl.Date,
    "total": pl.Decimal(38, 4),
    "count": pl.Int64,
    "paid": pl.Boolean,
    "items": pl.List(pl.Struct({"what": pl.String, "amount": pl.Decimal(38, 6)})),
    "note": pl.String,
}
VALUE = {
    "company": EVIL,
    "day": date(2026, 11, 20),
    "total": Decimal("21.1000"),
    "count": 9007199254740993,  # more than a JavaScript number holds
    "paid": True,
    "items": [{"what": "</td><b> it's' onload='x", "amount": Decimal("2.500000")}],
    "note": None,
}


class Published:
    """The output of the run, its pictures, and the full names of its documents."""

    def __init__(self, folder):
        self.output, self.run = open_output(str(folder / "out")), RUN
        self.documents = [str(folder / "in" / name) for name in NAMES]

    def write(self, table, rows, schema=None):
        """Writes a table of the run."""
        schema = schema or getattr(columns, table.upper())
        parts = ("schema=receipt",) if table in {"results", "replies"} else ()
        frame = pl.DataFrame([dict.fromkeys(schema) | row for row in rows], schema=schema, orient="row")
        self.output.write("/".join((table, *parts, "run_date=2026-11-20", f"{RUN}.parquet")), frame)


@pytest.fixture(scope="session")
def published_run(tmp_path_factory):
    """One failure, one climb, one copy, one picture that is missing."""
    made = Published(tmp_path_factory.mktemp("published"))
    failed, climbed, copied, _, gone, _ = made.documents
    images, results, calls, replies = [], [], [], []
    body = json.dumps({"choices": [{"message": {"content": json.dumps({"company": f"{EVIL}</pre>"})}}]})
    for number, name in enumerate(made.documents):
        Path(name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (300, 200), (200, 40 * number, 60)).save(name)
        status = Path(name).stat()
        version = f"{status.st_size}-{status.st_mtime_ns}"
        shape = {"size": status.st_size, "version": version, "format": "PNG", "width": 300, "height": 200}
        images.append(
            {"document": name, "image": name, "page": 1, "orientation": 1, "action": "send", "note": EVIL} | shape
        )
        for attempt in range(1, 3 if name == climbed else 2):
            called = {
                "document": name,
                "attempt": attempt,
                "rung": 400 * attempt,
                "outcome": "accepted",
                "billed": "yes",
            }
            times = {"started_at": BEGAN + timedelta(seconds=number), "seconds": 1.5, "prompt_tokens": 900}
            calls.append(
                called
                | times
                | {"estimated_prompt_tokens": 900, "completion_tokens": 9, "error": EVIL, "bill_rule": EVIL}
            )
            replies.append({"document": name, "attempt": attempt, "reply": body})
        if name != failed:
            own = {
                "_document": name,
                "_attempts": 1 + (name == climbed),
                "_manifest": json.dumps({"note": EVIL}),
                "_model": EVIL,
            }
            if name == made.documents[3]:  # plain.png
                evidence = [{"field": "company", "confidence": 0.934}, {"field": "total", "confidence": None}]
                own |= {"_evidence": evidence}
            results.append(VALUE | own | {"_copied_from": climbed if name == copied else None})
    Path(gone).unlink()
    made.write("images", images)
    made.write("calls", calls)
    made.write("replies", replies)
    made.write("results", results, FIELDS | columns.RESULTS)
    made.write(
        "failures",
        [{"document": failed, "stage": "validate", "kind": EVIL, "message": EVIL, "final": True, "attempts": 1}],
    )
    sums = {name: 0 for name, dtype in columns.RUNS.items() if dtype == columns.INT}
    words = {
        "schema": "receipt",
        "source": EVIL,
        "model": EVIL,
        "job": EVIL,
        "status": "completed",
        "warnings": [EVIL],
        "error": EVIL,
    }
    times = {"started_at": BEGAN, "finished_at": BEGAN + timedelta(minutes=2)}
    made.write(
        "runs",
        [sums | words | times | {"run": RUN, "found": 6, "accepted": 4, "duplicates": 1, "failed": 1, "calls": 7}],
    )
    return made


@pytest.fixture(scope="session")
def report(published_run):
    """The path of its page."""
    return write_report(published_run.output)
