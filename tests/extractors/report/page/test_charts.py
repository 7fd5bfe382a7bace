"""page.charts, page.chart_data and extractors.report.page.svg: inline drawings, their figures, and what a strict policy asks of them."""

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

RUN, BEGAN = "20261120T021500Z-3f9a", datetime(2026, 11, 20, 2, 15, tzinfo=UTC)
EVIL = "/in/$x$ <script>alert(1)</script>"


def call(number, **changes):
    """A row of calls."""
    usual = {
        "document": f"/in/a/{number}.png",
        "rung": 400,
        "started_at": BEGAN + timedelta(seconds=number),
        "seconds": 1.0 + number / 10,
        "outcome": "accepted",
        "estimated_prompt_tokens": 980,
        "prompt_tokens": 980,
        "completion_tokens": 20,
        "cost_usd": Decimal("0.001"),
    }
    return dict.fromkeys(columns.CALLS) | usual | changes


@pytest.fixture
def tables(tmp_path):
    """A run of ten calls in two folders, one of them refused, after three runs of the days before."""
    calls = [call(number) for number in range(8)]
    calls += [call(8, document=f"{EVIL}/b.png", rung=800), call(9, outcome="rate_limited", prompt_tokens=None)]
    pl.DataFrame(calls, schema=columns.CALLS, orient="row").write_parquet(tmp_path / "calls.parquet")
    for days in range(4):
        began = BEGAN - timedelta(days=days)
        run = f"{began:%Y%m%dT%H%M%S}Z-3f9a"
        rows = {
            "runs": {"schema": "receipt", "started_at": began, "accepted": 9, "failed": 1, "cost_usd": Decimal("0.5")},
            "fields": {"schema": "receipt", "field": EVIL, "rows": 10, "nulls": days, "distinct": 2},
        }
        for name, row in rows.items():
            schema = getattr(columns, name.upper())
            folder = tmp_path / name / f"run_date={began:%Y-%m-%d}"
            folder.mkdir(parents=True)
            whole = dict.fromkeys(schema) | row | {"run": run}
            pl.DataFrame([whole], schema=schema, orient="row").write_parquet(folder / f"{run}.parquet")
    return RunTables(open_output(str(tmp_path)), RUN, {"calls": ["calls.parquet"]})


@pytest.mark.slow
def test_charts_need_no_style_and_load_nothing(tables):
    """What the data names is text, no attribute is a style, and the same data draws the same."""
    pytest.importorskip("matplotlib")
    charts = draw_charts(tables, {"run": RUN, "schema": "receipt"})
    titles = ["Prompt tokens", "By rung", "By folder", "Latency", "Calls over time", "Last 4 runs", "Null shares"]
    assert [chart.title for chart in charts] == titles
    drawn = "".join(chart.svg for chart in charts)
    assert "style" not in drawn
    assert "<script" not in drawn
    assert "alert(1)" in drawn
    assert "currentColor" in drawn
    assert not re.findall(r'(?:href|src)="(?!#)', drawn)
    assert draw_charts(tables, {"run": RUN, "schema": "receipt"}) == charts
    names = re.findall(r' id="([^"]*)"', drawn)
    assert len(names) == len(set(names))


def test_figures_are_summed_by_rung_and_folder(tables):
    assert chart_data.spend_by_rung(tables).rows() == [(400, 7840, 180, pytest.approx(0.009)), (800, 980, 20, 0.001)]
    assert chart_data.spend_by_folder(tables)["prompt_tokens"].to_list() == [7840, 980]


def test_calls_over_time_count_refusals_apart(tables):
    calls = chart_data.calls_over_time(tables)
    assert calls.select("accepted", "other", "refused").sum().row(0) == (9, 0, 1)
    assert calls["refused"][-1] == 1


def test_trend_is_of_runs_up_to_this_one(tables):
    """Of its schema only, in order of time."""
    runs = chart_data.last_runs(tables.output, {"run": "20261119T021500Z-3f9a", "schema": "receipt"})
    assert runs["share"].to_list() == [0.9, 0.9, 0.9]
    assert runs["started_at"].is_sorted()
    assert chart_data.last_runs(tables.output, {"run": RUN, "schema": "other"}).height == 0
    shares = chart_data.null_shares(tables.output, runs, "receipt")
    assert shares["share"].to_list() == [0.3, 0.2, 0.1]
