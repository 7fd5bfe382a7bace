"""Charts of the report, drawn as inline SVG when the page is written. They need the extra `report`."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from extractors.report.page import chart_data
from extractors.report.page.svg import COLOURS, INK, draw_svg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markupsafe import Markup
    from matplotlib.axes import Axes

    from extractors.record.tables.rows import Row
    from extractors.report.page.runs import RunTables

_BINS = 40
_LONGEST = 26  # characters of a label
_LEAST_BARS = 4  # for which there is room


class Chart(NamedTuple):
    """A drawing with its title and what it shows."""

    title: str
    note: str
    svg: Markup


def draw_charts(tables: RunTables, run: Row) -> list[Chart] | None:
    """The charts of a run that has what they show; None where the extra `report` is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    return [*_draw_run(tables), *_draw_trend(tables, run)]


def _draw_run(tables: RunTables) -> Iterator[Chart]:
    seconds = chart_data.latencies(tables)
    tokens = chart_data.predicted_tokens(tables)
    if tokens.height:
        yield _draw_predicted(tokens)
    rungs, folders = chart_data.spend_by_rung(tables), chart_data.spend_by_folder(tables)
    if rungs.height:
        yield _draw_spend("rung", rungs)
    if folders.height > 1:
        yield _draw_spend("folder", folders)
    if len(seconds):
        yield _draw_latency(seconds)
        yield _draw_calls(chart_data.calls_over_time(tables))


def _draw_trend(tables: RunTables, run: Row) -> Iterator[Chart]:
    runs = chart_data.last_runs(tables.output, run)
    if runs.height < 2:  # one run is no trend
        return
    yield _draw_runs(runs)
    nulls = chart_data.null_shares(tables.output, runs, str(run["schema"]))
    if nulls.height:
        yield _draw_nulls(runs, nulls)


def _draw_predicted(tokens: pl.DataFrame) -> Chart:
    most = max(_number(tokens["predicted"].max()), _number(tokens["billed"].max()))

    def draw(axes: list[Axes]) -> None:
        sizes = tokens["calls"] / max(1.0, _number(tokens["calls"].max())) * 50 + 8
        axes[0].plot([0, most], [0, most], color=INK, alpha=0.4, linewidth=1, linestyle="--")
        axes[0].scatter(tokens["predicted"], tokens["billed"], s=sizes, color=COLOURS[0], alpha=0.6, linewidths=0)
        axes[0].set(xlabel="predicted", ylabel="billed", xlim=(0, most * 1.05), ylim=(0, most * 1.05))
        _count_in_thousands(axes[0], "both")

    return Chart("Prompt tokens", "billed against predicted, by call; on the line both agree", draw_svg("tokens", draw))


def _draw_spend(name: str, data: pl.DataFrame) -> Chart:
    has_cost = _number(data["cost_usd"].sum()) > 0
    labels = [_label(each) for each in data[name]]
    places = range(data.height)

    def draw(axes: list[Axes]) -> None:
        axes[0].barh(places, data["prompt_tokens"], color=COLOURS[0], label="prompt")
        left = data["prompt_tokens"]
        axes[0].barh(places, data["completion_tokens"], left=left, color=COLOURS[1], label="completion")
        axes[0].set(yticks=places, yticklabels=labels, xlabel="tokens")
        _count_in_thousands(axes[0], "x")
        _place_legend(axes[0])
        if has_cost:
            axes[1].barh(places, data["cost_usd"], color=COLOURS[2])
            axes[1].set(yticks=places, yticklabels=[], xlabel="cost in dollars")
        for each in axes:
            each.set_ylim(max(data.height, _LEAST_BARS) - 0.5, -0.5)
            each.grid(visible=False, axis="y")
            each.locator_params(axis="x", nbins=4)

    note = "tokens and cost of all calls" if has_cost else "tokens of all calls"
    return Chart(f"By {name}", note, draw_svg(name, draw, 2 if has_cost else 1))


def _draw_latency(seconds: pl.Series) -> Chart:
    median, late, longest = (_number(seconds.quantile(share, "nearest")) for share in (0.5, 0.95, 0.995))

    def draw(axes: list[Axes]) -> None:
        axes[0].hist(seconds.clip(upper_bound=longest).to_list(), bins=_BINS, color=COLOURS[0])
        for place, style in ((median, "-"), (late, "--")):
            axes[0].axvline(place, color=INK, alpha=0.6, linewidth=1, linestyle=style)
        axes[0].set(xlabel="seconds", ylabel="calls")
        axes[0].locator_params(axis="y", integer=True)

    note = f"median {median:.2f} s (line), 95 % within {late:.2f} s (dashes)"
    return Chart("Latency", note, draw_svg("latency", draw))


def _draw_calls(calls: pl.DataFrame) -> Chart:
    parts = {"accepted": COLOURS[2], "other": COLOURS[5], "refused": COLOURS[3]}
    shown = [name for name in parts if calls[name].sum()]
    names = {"other": "other outcomes", "refused": "refused for the rate"}

    def draw(axes: list[Axes]) -> None:
        width = _number(calls["minutes"][1]) - _number(calls["minutes"][0])
        below = pl.zeros(calls.height, eager=True)
        for name in shown:
            axes[0].bar(
                calls["minutes"], calls[name], width, bottom=below, color=parts[name], label=names.get(name, name)
            )
            below = below + calls[name]
        axes[0].set(xlabel="minutes since the first call", ylabel="calls")
        axes[0].locator_params(axis="y", integer=True)
        _place_legend(axes[0])

    return Chart("Calls over time", "by outcome", draw_svg("calls", draw))


def _draw_runs(runs: pl.DataFrame) -> Chart:
    places = range(runs.height)

    def draw(axes: list[Axes]) -> None:
        axes[0].bar(places, runs["spend"].fill_null(0), color=COLOURS[0])
        axes[0].set(ylabel="spend in dollars")
        axes[1].plot(places, runs["share"] * 100, color=COLOURS[2], marker="o", markersize=3)
        axes[1].set(ylabel="accepted, percent", ylim=(0, 105))
        for each in axes:
            _name_runs(each, runs)

    return Chart(f"Last {runs.height} runs", "spend, and the share of accepted documents", draw_svg("runs", draw, 2))


def _draw_nulls(runs: pl.DataFrame, nulls: pl.DataFrame) -> Chart:
    places = {run: place for place, run in enumerate(runs["run"])}

    def draw(axes: list[Axes]) -> None:
        for (field,), shares in nulls.group_by("field", maintain_order=True):
            x = [places[run] for run in shares["run"]]
            axes[0].plot(x, shares["share"] * 100, marker="o", markersize=3, label=_shorten(str(field)))
        axes[0].set(ylabel="null, percent", ylim=(0, 105))
        _place_legend(axes[0])
        _name_runs(axes[0], runs)

    return Chart("Null shares", "of the fields with the most nulls, over the same runs", draw_svg("nulls", draw))


def _name_runs(axes: Axes, runs: pl.DataFrame) -> None:
    """Labels the first, the middle and the last run with their days."""
    days = runs["started_at"].dt.strftime("%d %b").to_list()
    places = sorted({0, runs.height // 2, runs.height - 1})
    axes.set(xticks=places, xticklabels=[days[place] for place in places], xlim=(-0.6, runs.height - 0.4))
    axes.grid(visible=False, axis="x")


def _count_in_thousands(axes: Axes, which: str) -> None:
    for axis in [axes.xaxis, axes.yaxis] if which == "both" else [axes.xaxis]:
        axis.set_major_formatter(lambda count, _place: _format_large(count))


def _format_large(count: float) -> str:
    """A count with at most four digits: `950`, `1.5k`, `20M`."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= unit:
            return f"{count / unit:.3g}{letter}"
    return f"{count:.3g}"


def _place_legend(axes: Axes) -> None:
    """Above the drawing, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, fontsize=8, borderaxespad=0.1, columnspacing=1.2)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _label(value: object) -> str:
    """The words beside a bar: a rung, or the name of a folder. Calls of an audit and of videos have rung 0."""
    if isinstance(value, int):
        return f"{value:,}" if value else "audit, video"
    return _shorten(str(value))


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"
