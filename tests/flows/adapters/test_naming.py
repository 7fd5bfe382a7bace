"""Names of flow runs, and the escaping of foreign text in Markdown."""

from datetime import datetime, timedelta, timezone

import pytest

from extractors.config.job import build_job
from extractors.plan.apply_request import build_request
from flows.adapters.naming import escape_markdown, format_code, format_run_name

DUE = datetime(2026, 11, 21, 4, 15, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("data/receipts/", "receipts"),
        ("s3://bucket/receipts/2026", "2026"),
        ("s3://bucket", "bucket"),
        ("https://host.example/list.csv?X-Amz-Signature=5ec3e7", "list.csv"),
        ("a\nb", "a b"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_run_name_has_source_schema_and_due_time(source, place):
    """It has the last part of the source and the time in UTC, without a signature or a second line."""
    assert (
        format_run_name(build_job(source=source, schema_name="receipt"), DUE) == f"{place} → receipt, 2026-11-21 02:15"
    )


@pytest.mark.parametrize(
    ("parameter", "place"),
    [
        (build_job(source="in"), "in"),
        (build_request(plan="s3://bucket/out/plans/p1.parquet"), "p1.parquet"),
        ("maker/model", "calibrate maker/model"),
        (None, "calibrate"),
    ],
)
def test_run_name_without_a_schema_names_source_plan_or_model(parameter, place):
    """A calibration of the configured model is named `calibrate` alone."""
    assert format_run_name(parameter, DUE) == f"{place}, 2026-11-21 02:15"


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("plain, 2 of 3 (50 %)", "plain, 2 of 3 \\(50 %\\)"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("a|b*c_d`e", "a\\|b\\*c\\_d\\`e"),
        ("[x](y)", "\\[x\\]\\(y\\)"),
        ("two\nlines\x1b[0m", "two lines \\[0m"),
    ],
)
def test_escape_markdown_leaves_no_markup(text, markdown):
    """Markdown and HTML are escaped, and control characters become spaces."""
    assert escape_markdown(text) == markdown


@pytest.mark.parametrize("text", ["https://evil.example", "www.evil.example", "me@evil.example"])
def test_escape_markdown_breaks_automatic_links(text):
    """A zero-width space keeps Markdown viewers from making a link."""
    assert text not in escape_markdown(text)
    assert escape_markdown(text).replace("\u200b", "") == text


@pytest.mark.parametrize(
    ("text", "markdown"),
    [("a_b*<c>.parquet", "`a_b*<c>.parquet`"), ("a`b``c", "```a`b``c```"), ("`a", "`` `a ``"), ("", "` `")],
)
def test_format_code_shows_a_path_unchanged(text, markdown):
    """The fence is longer than any run of backticks in the path."""
    assert format_code(text) == markdown
