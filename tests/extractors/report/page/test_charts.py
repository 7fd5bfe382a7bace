"""page.charts, page.chart_data and `extractors.report.page.svg`: inline drawings and their figures."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from extractors.record.output import open_output
from extractors.record.tables import columns
from extractors.report.page import chart_data
from extractors.report.page.charts import draw_charts
from extractors.report.page.runs import RunTables

RUN, STARTED_AT = "20261120T021500Z-3f9a", datetime(2026, 11, 20, 2, 15, tzinfo=UTC)
EVIL = "/in/$x$ <script>alert(1)</script>"


def build_call(number, **changes):
    """A row of calls."""
    defaults = {
        "document": f"/in/a/{number}.png",
        "rung": 400,
        "started_at": STARTED_AT + timedelta(seconds=number),
        "seconds": 1.0 + number / 10,
        "outcome": "accepted",
        "estimated_prompt_tokens": 980,
        "prompt_tokens": 980,
        "completion_tokens": 20,
        "cost_usd": Decimal("0.001"),
    }
    return dict.fromkeys(columns.CALLS) | defaults | changes


@pytest.fixture
def tables(tmp_path):
    """A run of ten calls in two folders, one of them rate limited, after three runs of the previous days."""
    calls = [build_call(number) for number in range(8)]
    calls += [
        build_call(8, document=f"{EVIL}/b.png", rung=800),
        build_call(9, outcome="rate_limited", prompt_tokens=None),
    ]
    pl.DataFrame(calls, schema=columns.CALLS, orient="row").write_parquet(tmp_path / "calls.parquet")
    for days in range(4):
        started_at = STARTED_AT - timedelta(days=days)
        run = f"{started_at:%Y%m%dT%H%M%S}Z-3f9a"
        rows = {
            "runs": {
                "schema": "receipt",
                "started_at": started_at,
                "accepted": 9,
                "failed": 1,
                "cost_usd": Decimal("0.5"),
            },
            "fields": {"schema": "receipt", "field": EVIL, "rows": 10, "nulls": days, "distinct": 2},
        }
        for name, row in rows.items():
            schema = getattr(columns, name.upper())
            folder = tmp_path / name / f"run_date={started_at:%Y-%m-%d}"
            folder.mkdir(parents=True)
            full_row = dict.fromkeys(schema) | row | {"run": run}
            pl.DataFrame([full_row], schema=schema, orient="row").write_parquet(folder / f"{run}.parquet")
    return RunTables(open_output(str(tmp_path)), RUN, {"calls": ["calls.parquet"]})


@pytest.mark.slow
def test_charts_have_no_style_attribute_and_load_no_resource(tables):
    """Names in the data are escaped, no attribute is a style, and the same data gives the same drawing."""
    pytest.importorskip("matplotlib")
    charts = draw_charts(tables, {"run": RUN, "schema": "receipt"})
    titles = ["Prompt tokens", "By rung", "By folder", "Latency", "Calls over time", "Last 4 runs", "Null shares"]
    assert [chart.title for chart in charts] == titles
    svg = "".join(chart.svg for chart in charts)
    assert "style" not in svg
    assert "<script" not in svg
    assert "alert(1)" in svg
    assert "currentColor" in svg
    assert not re.findall(r'(?:href|src)="(?!#)', svg)
    assert draw_charts(tables, {"run": RUN, "schema": "receipt"}) == charts
    names = re.findall(r' id="([^"]*)"', svg)
    assert len(names) == len(set(names))


def test_spend_is_summed_by_rung_and_by_folder(tables):
    assert chart_data.spend_by_rung(tables).rows() == [(400, 7840, 180, pytest.approx(0.009)), (800, 980, 20, 0.001)]
    assert chart_data.spend_by_folder(tables)["prompt_tokens"].to_list() == [7840, 980]


def test_calls_over_time_count_refusals_separately(tables):
    calls = chart_data.calls_over_time(tables)
    assert calls.select("accepted", "other", "refused").sum().row(0) == (9, 0, 1)
    assert calls["refused"][-1] == 1


def test_last_runs_end_with_the_given_run(tables):
    """They are of the same schema, in order of time."""
    runs = chart_data.last_runs(tables.output, {"run": "20261119T021500Z-3f9a", "schema": "receipt"})
    assert runs["share"].to_list() == [0.9, 0.9, 0.9]
    assert runs["started_at"].is_sorted()
    assert chart_data.last_runs(tables.output, {"run": RUN, "schema": "other"}).height == 0
    shares = chart_data.null_shares(tables.output, runs, "receipt")
    assert shares["share"].to_list() == [0.3, 0.2, 0.1]
