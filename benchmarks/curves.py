"""Draws the curves of docs/accuracy.md from what `tilewise tune` has written.

    python benchmarks/curves.py CLEAN.json CLEAN.parquet WORSE.parquet docs/accuracy.png

CLEAN.json is the output of `tilewise tune --json`, CLEAN.parquet its `tuning/<run>.parquet`, WORSE.parquet that of the same
images made worse (benchmarks/degrade.py). Left: accuracy of each field by rung; middle: choices; right: risk against
coverage on the images made worse, by the fitted score and by the token probability alone.
"""

import argparse
import json
from pathlib import Path

import polars as pl
from matplotlib.figure import Figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("shown", "clean", "worse", "picture"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args()
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    draw_rungs(left, pl.read_parquet(asked.clean))
    draw_choices(middle, json.loads(asked.shown.read_text()))
    draw_coverage(right, pl.read_parquet(asked.worse))
    figure.savefig(asked.picture, dpi=110, metadata={"Software": None})


def draw_rungs(axes, rows):
    """The share of right values against the mean image tokens of a document."""
    means = rows.group_by("rung", "field").agg(pl.col("right").mean(), pl.col("image_tokens").mean()).sort("rung")
    for field in rows["field"].unique(maintain_order=True):
        line = means.filter(pl.col("field") == field)
        axes.plot(line["image_tokens"], line["right"], marker="o", markersize=3, label=field)
    axes.set(xlabel="image tokens a document", ylabel="share right", ylim=(0, 1.03), title="accuracy by rung")
    axes.legend(fontsize=8)


def draw_choices(axes, shown):
    """Ladders, with and without a threshold, and the one that is recommended."""
    for label, chosen in (
        ("climbs when refused", [each for each in shown["choices"] if each["climb_below"] is None]),
        ("climbs when unsure, too", [each for each in shown["choices"] if each["climb_below"] is not None]),
    ):
        axes.scatter(*points(chosen), s=18, label=label)
    axes.scatter(*points([shown["recommended"]]), s=110, facecolors="none", edgecolors="black", label="recommended")
    axes.set(xlabel="share of faithful's image tokens", ylabel="mean accuracy", title="choices, climbs included")
    axes.legend(fontsize=8)


def points(choices):
    """The coordinates of these choices."""
    return [each["image_tokens_share"] for each in choices], [each["accuracy_mean"] for each in choices]


def draw_coverage(axes, rows):
    """The share wrong among the surest values, by how many of all these are."""
    for label, column in (("fitted score, out of fold", "score"), ("token probability", "confidence")):
        known = rows.filter(pl.col(column).is_not_null()).sort(column, descending=True)
        wrong = (~known["right"]).cast(pl.Int64).cum_sum() / pl.int_range(1, known.height + 1, eager=True)
        axes.plot([place / known.height for place in range(1, known.height + 1)], wrong, label=label)
    axes.set(xlabel="share of values, the surest first", ylabel="share wrong", title="images made worse")
    axes.legend(fontsize=8)


if __name__ == "__main__":
    main()
