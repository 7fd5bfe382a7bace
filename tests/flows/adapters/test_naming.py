"""What a flow run says: its name, its state, and words of others in Markdown."""

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
def test_the_name_of_a_flow_run(source, place):
    """The last part of the source, the schema, and in UTC when it was due; no signature, no second line."""
    assert (
        format_run_name(build_job(source=source, schema_name="receipt"), DUE) == f"{place} → receipt, 2026-11-21 02:15"
    )


@pytest.mark.parametrize(
    ("asked", "about"),
    [
        (build_job(source="in"), "in"),
        (build_request(plan="s3://bucket/out/plans/p1.parquet"), "p1.parquet"),
        ("maker/model", "calibrate maker/model"),
        (None, "calibrate"),
    ],
)
def test_the_name_of_a_run_without_a_schema(asked, about):
    """An estimate, a plan that is applied, a model that is calibrated: that of the settings where none is named."""
    assert format_run_name(asked, DUE) == f"{about}, 2026-11-21 02:15"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("plain, 2 of 3 (50 %)", "plain, 2 of 3 \\(50 %\\)"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("a|b*c_d`e", "a\\|b\\*c\\_d\\`e"),
        ("[x](y)", "\\[x\\]\\(y\\)"),
        ("two\nlines\x1b[0m", "two lines \\[0m"),
    ],
)
def test_words_of_others_have_no_markup(words, shown):
    """Neither Markdown nor HTML, on one line."""
    assert escape_markdown(words) == shown


@pytest.mark.parametrize("words", ["https://evil.example", "www.evil.example", "me@evil.example"])
def test_words_of_others_are_no_link(words):
    """What a Markdown reader would make a link of by itself is broken up."""
    assert words not in escape_markdown(words)
    assert escape_markdown(words).replace("\u200b", "") == words


@pytest.mark.parametrize(
    ("words", "shown"),
    [("a_b*<c>.parquet", "`a_b*<c>.parquet`"), ("a`b``c", "```a`b``c```"), ("`a", "`` `a ``"), ("", "` `")],
)
def test_a_path_is_shown_as_it_is(words, shown):
    """Inside code nothing has a meaning, whatever backticks the path has."""
    assert format_code(words) == shown
