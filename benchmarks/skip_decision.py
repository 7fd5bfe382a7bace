"""What deciding costs: a million published rows of one schema, a million documents found, most of them done.

    python benchmarks/skip_decision.py                        40 files of 25,000 rows; each redo in a process of its own
    python benchmarks/skip_decision.py --files 1              the same rows in one file
    python benchmarks/skip_decision.py --rows 200000          fewer of both

Seconds are CPU, those of reading the past and of one `skips` a document, with --redo also of one `cause` a document taken;
the peak is the whole process's, imports and all. The last line is what copying adds: reading all keys, finding each,
and reading back the rows of one document in ten.
"""

import argparse
import hashlib
import multiprocessing
import resource
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from measure import own_versions, report
from pydantic import BaseModel

from extractors.core import Fingerprint, RunInfo
from extractors.core.outcomes import RedoScope
from extractors.record.output.folder import FolderOutput
from extractors.record.tables import columns
from extractors.record.tables.history import load_history
from extractors.record.tables.row_index import RowIndex
from extractors.record.tables.writer import Tables

NIGHT = datetime(2026, 11, 20, 2, 15, tzinfo=UTC)
TERMS = RunInfo(
    "now", NIGHT, "in", "out", Fingerprint("url", "maker/model", "receipt", "5c4e", "9a0b"), "balanced", "table", None
)
OTHER = replace(TERMS, fingerprint=replace(TERMS.fingerprint, prompt_hash="0000"))
READ = {"schema_hash": TERMS.schema_hash, "prompt_hash": TERMS.prompt_hash, "model_requested": TERMS.model}
FAILING, NEW = 20, 50  # one in so many documents has failed too; one in so many is new


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=40)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        alone(publish, Path(folder), asked.rows, asked.files)
        rows = []
        for redo, terms in ((None, TERMS), ("failed", TERMS), ("changed", TERMS), ("changed", OTHER), ("all", TERMS)):
            result = alone(decide, Path(folder), asked.rows, redo, terms)
            name = (redo or "none") + (", every document" if terms is OTHER else "")
            figures = (result[key] for key in ("read", "decide", "skipped", "peak_mb", "start_mb"))
            rows.append((f"redo {name}", *figures))
        result = alone(copy, Path(folder), asked.rows)
        figures = (result["open"] + result["find"], result["copy"], result["copied"], result["peak_mb"])
        rows.append(("copies", *figures, result["start_mb"]))
    header = ("decision", "CPU s to read", "CPU s to decide", "skipped or copied", "peak MiB", "of it imports")
    title = f"{asked.rows:,} rows in {asked.files} files, {asked.rows:,} documents found"
    report("skip_decision", title, header, rows, versions=own_versions("polars"))


def alone(work, *asked):
    """What this work gives back, done in a fresh process. Its peak begins at its parent's: this one stays small."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, asked)


def decide(folder, rows, redo, terms):
    """What one run does before its first call, and what that took; with --redo it tells the cause of every one taken."""
    start_mb, started = peak_mb(), time.process_time()
    past = load_history(FolderOutput(folder), terms.fingerprint, RedoScope(redo), offline=False)
    read = time.process_time()
    skipped = 0
    for number in range(rows):
        if past.skips(name(number), redo):
            skipped += 1
        elif redo:
            past.reason(name(number), redo)
    decided = time.process_time()
    return {
        "read": read - started,
        "decide": decided - read,
        "skipped": skipped,
        "peak_mb": peak_mb(),
        "start_mb": start_mb,
    }


def copy(folder, rows):
    """What a run does that has to look for each document's content among what is published."""
    start_mb, started = peak_mb(), time.process_time()
    row_index = RowIndex(Tables(FolderOutput(folder), TERMS, BaseModel), earlier=True, offline=False)
    row_index.load_published()
    opened = time.process_time()
    for number in range(rows):
        row_index.find(key(number))
    found = time.process_time()
    wanted = [key(number) for number in range(0, rows, 10) if number % NEW]
    copied = sum(row_index.read_row(row_index.find(each), each) is not None for each in wanted)
    return {
        "open": opened - started,
        "find": found - opened,
        "copy": time.process_time() - found,
        "copied": copied,
        "peak_mb": peak_mb(),
        "start_mb": start_mb,
    }


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def name(number):
    """Where the document lies and its version: as long as they are in a bucket."""
    uri = f"s3://company-receipts/branches/north/2026/11/receipt-{number:07}.jpg"
    return uri, f"{123456 + number}-{1763600000000000000 + number}"


def key(number):
    """The key of its content."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def publish(folder, rows, files):
    """Tables as runs leave them: a document in `FAILING` has a failure too, one in `NEW` has nothing yet."""
    each = -(-rows // files)
    for part in range(files):
        numbers = [number for number in range(part * each, min(rows, part * each + each)) if number % NEW]
        day, run = f"run_date=2026-{part // 28 % 12 + 1:02}-{part % 28 + 1:02}", f"run-{part:04}"
        write(folder / "results" / "schema=receipt" / day, run, results(numbers), columns.RESULTS)
        failing = [number for number in numbers if number % FAILING == 1]
        write(folder / "failures" / day, run, failures(failing), columns.FAILURES)


def write(folder, run, rows, table):
    frame = pl.DataFrame(rows, schema_overrides=table)
    missing = [pl.lit(None, dtype=dtype).alias(column) for column, dtype in table.items() if column not in rows]
    folder.mkdir(parents=True)
    frame.with_columns(missing).select(*table).write_parquet(folder / f"{run}.parquet", compression="zstd")


def results(numbers):
    told = {"_model": TERMS.model, "_extracted_at": NIGHT} | {f"_{column}": value for column, value in READ.items()}
    named = [name(number) for number in numbers]
    uris, versions = [uri for uri, _ in named], [version for _, version in named]
    keys = [key(number) for number in numbers]
    return {"_document": uris, "_image": uris, "_version": versions, "_key": keys} | same(told, len(named))


def failures(numbers):
    told = {"schema": TERMS.schema, "failed_at": NIGHT} | READ
    named = [name(number) for number in numbers]
    uris, versions = [uri for uri, _ in named], [version for _, version in named]
    ends = {
        "kind": ["timeout"] * len(numbers),
        "final": [number % 3 == 0 for number in numbers],
        "tries": [number % 6 + 1 for number in numbers],
    }
    return {"document": uris, "image": uris, "version": versions} | ends | same(told, len(named))


def same(told, count):
    return {column: [value] * count for column, value in told.items()}


if __name__ == "__main__":
    main()
