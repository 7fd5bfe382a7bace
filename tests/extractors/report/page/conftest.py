"""A published run whose names, values and replies contain HTML, scripts and template code."""

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

RUN, STARTED_AT = "20261120T021500Z-3f9a", datetime(2026, 11, 20, 2, 15, tzinfo=UTC)
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


class PublishedRun:
    """The output of the run, and the paths of its documents."""

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
    """A run with a failure, a document with two attempts, a copy, and a missing image file."""
    run = PublishedRun(tmp_path_factory.mktemp("published"))
    failed_name, climbed_name, copied_name, _, missing_name, _ = run.documents
    images, results, calls, replies = [], [], [], []
    body = json.dumps({"choices": [{"message": {"content": json.dumps({"company": f"{EVIL}</pre>"})}}]})
    for number, name in enumerate(run.documents):
        Path(name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (300, 200), (200, 40 * number, 60)).save(name)
        status = Path(name).stat()
        version = f"{status.st_size}-{status.st_mtime_ns}"
        image_cells = {"size": status.st_size, "version": version, "format": "PNG", "width": 300, "height": 200}
        images.append(
            {"document": name, "image": name, "page": 1, "orientation": 1, "action": "send", "note": EVIL} | image_cells
        )
        for attempt in range(1, 3 if name == climbed_name else 2):
            call_cells = {
                "document": name,
                "attempt": attempt,
                "rung": 400 * attempt,
                "outcome": "accepted",
                "billed": "yes",
            }
            times = {"started_at": STARTED_AT + timedelta(seconds=number), "seconds": 1.5, "prompt_tokens": 900}
            calls.append(
                call_cells
                | times
                | {"estimated_prompt_tokens": 900, "completion_tokens": 9, "error": EVIL, "bill_rule": EVIL}
            )
            replies.append({"document": name, "attempt": attempt, "reply": body})
        if name != failed_name:
            result_cells = {
                "_document": name,
                "_attempts": 1 + (name == climbed_name),
                "_manifest": json.dumps({"note": EVIL}),
                "_model": EVIL,
            }
            if name == run.documents[3]:  # plain.png
                evidence = [{"field": "company", "confidence": 0.934}, {"field": "total", "confidence": None}]
                result_cells |= {"_evidence": evidence}
            results.append(VALUE | result_cells | {"_copied_from": climbed_name if name == copied_name else None})
    Path(missing_name).unlink()
    run.write("images", images)
    run.write("calls", calls)
    run.write("replies", replies)
    run.write("results", results, FIELDS | columns.RESULTS)
    run.write(
        "failures",
        [{"document": failed_name, "stage": "validate", "kind": EVIL, "message": EVIL, "final": True, "attempts": 1}],
    )
    counts = {name: 0 for name, dtype in columns.RUNS.items() if dtype == columns.INT}
    texts = {
        "schema": "receipt",
        "source": EVIL,
        "model": EVIL,
        "job": EVIL,
        "status": "completed",
        "warnings": [EVIL],
        "error": EVIL,
    }
    times = {"started_at": STARTED_AT, "finished_at": STARTED_AT + timedelta(minutes=2)}
    run.write(
        "runs",
        [counts | texts | times | {"run": RUN, "found": 6, "accepted": 4, "duplicates": 1, "failed": 1, "calls": 7}],
    )
    return run


@pytest.fixture(scope="session")
def report(published_run):
    """The path of the run's report page."""
    return write_report(published_run.output)
