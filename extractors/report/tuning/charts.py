"""Curves of a tuning, drawn as the charts of a run are. They need the extra `report`."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from extractors.report.page.charts import Chart
from extractors.report.page.svg import COLOURS, INK, draw_svg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from extractors.report.tuning import ChoiceView, ConfidenceView, TuningView
    from extractors.report.tuning.review_costs import DollarsView

ALL = "all"  # of `TuningView.confidence`


def draw_charts(view: TuningView) -> list[Chart] | None:
    """The curves that there are figures for; None where the extra `report` is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    return list(_draw(view))


def _draw(view: TuningView) -> Iterator[Chart]:
    yield _draw_rungs(view)
    if view.choices:
        yield _draw_choices(view)
    if view.dollars:
        yield _draw_dollars(view.dollars)
    ranking = view.confidence.get(ALL)
    if ranking is not None and ranking.coverage:
        yield _draw_coverage(ranking)
    if ranking is not None and ranking.bins:
        yield _draw_reliability(ranking)


def _draw_rungs(view: TuningView) -> Chart:
    def draw(axes: list[Axes]) -> None:
        tokens = [rung.image_tokens for rung in view.rungs]
        for place, name in enumerate(view.fields):
            shares = [rung.fields[name] for rung in view.rungs]
            low = [share.value - share.low for share in shares]
            high = [share.high - share.value for share in shares]
            values = [share.value for share in shares]
            colour = COLOURS[place % len(COLOURS)]
            axes[0].errorbar(
                tokens,
                values,
                (low, high),
                label=name,
                color=colour,
                marker="o",
                markersize=3,
                linewidth=1.2,
                capsize=2,
            )
        axes[0].set(xlabel="image tokens a document", ylabel="share right", ylim=(0, 1.03))
        axes[0].legend(fontsize=7)

    title = "Accuracy of the rows" if view.published else "Accuracy by rung"
    return Chart(title, "each field, with 95 % intervals", draw_svg("rungs", draw))


def _draw_choices(view: TuningView) -> Chart:
    def points(choices: list[ChoiceView]) -> tuple[list[float], list[float]]:
        return [each.image_tokens_share for each in choices], [each.accuracy_mean for each in choices]

    def draw(axes: list[Axes]) -> None:
        plain = [each for each in view.choices if each.climb_below is None]
        confident = [each for each in view.choices if each.climb_below is not None]
        front = sorted((each for each in view.choices if each.on_front), key=lambda each: each.image_tokens)
        axes[0].plot(*points(front), color=INK, alpha=0.5, linewidth=1, drawstyle="steps-post")
        axes[0].scatter(*points(plain), s=18, color=COLOURS[0], label="climbs when refused")
        axes[0].scatter(*points(confident), s=18, color=COLOURS[1], label="climbs when unsure, too")
        if view.recommended:
            axes[0].scatter(
                *points([view.recommended]), s=90, facecolors="none", edgecolors=COLOURS[3], label="recommended"
            )
        axes[0].set(xlabel="share of faithful's image tokens, climbs included", ylabel="mean accuracy")
        axes[0].legend(fontsize=7)

    return Chart("Choices", "ladders and thresholds; the line is the front", draw_svg("choices", draw))


def _draw_dollars(dollars: DollarsView) -> Chart:
    def draw(axes: list[Axes]) -> None:
        curve, best = sorted(dollars.curve), dollars.chosen
        axes[0].plot([share for share, _ in curve], [usd for _, usd in curve], color=COLOURS[0], linewidth=1.4)
        chosen = best.reviewed / best.documents
        axes[0].scatter([chosen], [best.usd_a_document], s=90, facecolors="none", edgecolors=COLOURS[3], label="chosen")
        axes[0].set(xlabel="share of documents that are reviewed", ylabel="dollars a document", xlim=(0, 1.03))
        axes[0].set_ylim(bottom=0)
        axes[0].legend(fontsize=7)

    return Chart("Dollars against review", "calls, reviews and wrong rows", draw_svg("dollars", draw))


def _draw_coverage(ranking: ConfidenceView) -> Chart:
    def draw(axes: list[Axes]) -> None:
        coverage, risk = [point[0] for point in ranking.coverage], [point[1] for point in ranking.coverage]
        axes[0].plot(coverage, risk, color=COLOURS[0], linewidth=1.4, drawstyle="steps-post")
        axes[0].set(xlabel="share of values, the surest first", ylabel="share wrong among them", xlim=(0, 1))
        axes[0].set_ylim(bottom=0)

    return Chart("Risk against coverage", "all fields together", draw_svg("coverage", draw))


def _draw_reliability(ranking: ConfidenceView) -> Chart:
    def draw(axes: list[Axes]) -> None:
        axes[0].plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=1, linestyle="--")
        for confidence, right, low, high, _ in ranking.bins:
            axes[0].plot([confidence, confidence], [low, high], color=COLOURS[2], linewidth=1)
            axes[0].scatter([confidence], [right], color=COLOURS[2], s=16)
        axes[0].set(xlabel="confidence", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.03))

    return Chart("Reliability", "bins of about equal counts, with 95 % intervals", draw_svg("reliability", draw))
