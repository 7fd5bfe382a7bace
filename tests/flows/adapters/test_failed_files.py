"""The failed documents of a run by name, without text of a model's answer."""

from datetime import UTC, datetime

from extractors.core import Fingerprint, RunInfo
from extractors.run.result import RunCounts, RunRecord, RunResult
from flows.adapters.failed_files import list_failed_files


def test_failed_files_are_listed_by_name(workspace, serve, replies):
    """Each row has a name, a kind and a message that quotes no answer."""
    workspace.with_images("good.jpg").using(serve(replies.ok({"caption": "ACME <b>", "tags": 5})))
    (workspace.folder / "in" / "no_image.jpg").write_bytes(b"no image")
    workspace.run("run", "in", "--schema", "caption", "--direct", "--yes")
    row = workspace.only("runs")
    info = RunInfo(
        run=row["run"],
        started_at=datetime.now(UTC),
        source=row["source"],
        output=str(workspace.folder / "out"),
        fingerprint=Fingerprint(row["endpoint"], row["model"], row["schema"], "", ""),
        policy="balanced",
        bill_rule="table",
    )
    rows = list_failed_files(RunResult(RunRecord(info), RunCounts()))
    assert [(row["uri"].rpartition("/")[2], row["kind"]) for row in rows] == [
        (r"no\_image.jpg", "bill, not_an_image"),
        ("good.jpg", "validate, off_schema"),
    ]
    assert all(row["message"] and len(row) == 4 for row in rows)
    assert "ACME" not in str(rows)
