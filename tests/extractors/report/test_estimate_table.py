"""estimate_table.py: the table of an estimate, as the terminal shows it."""

from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from extractors.core.money import Costs
from extractors.report.estimate_table import EstimateView


def print_view(view, width=120):
    """The lines that a console of this width shows, with runs of spaces replaced by one space."""
    screen = StringIO()
    Console(file=screen, width=width).print(*view.lines(), sep="\n")
    return [" ".join(line.split()) for line in screen.getvalue().splitlines()]


@pytest.fixture
def estimate():
    """Returns a function that builds an estimate of three documents."""

    def build(costs=None, model="maker/model", **fields):
        return EstimateView(
            counts={"documents": 3, "skipped": 0, "rejected": 9, "images": 1200},
            tokens={"formula": 3202, "table": 12_808, "planned": 3202},
            reasons={("send", "fits"): 1, ("resize", "cheaper"): 1199, ("reject", "empty"): 9},
            costs=costs or Costs(Decimal("0.001"), Decimal("0.002"), Decimal(3)),
            bill_rule="table",
            model=model,
            seconds=0.25,
            sent=1000,
            **fields,
        )

    return build


def test_table_has_counts_choices_tokens_and_costs(estimate):
    assert print_view(estimate()) == [
        "estimate",
        "documents 3",
        "rejected 9",
        "images 1,200",
        "reduced to a cheaper size: retried larger if invalid 1,199",
        "sent as they are: a smaller size costs the same 1",
        "rejected: empty 9",
        "image tokens at full size, formula 3,202",
        "image tokens at full size, table 12,808",
        "image tokens as first sent, table 3,202",
        "cost, low $0.001",
        "cost, expected $0.002",
        "cost, high $3.00",
        "cost per 1,000 images, expected $0.002",
        "planned in 0.25 s",
    ]


def test_table_has_the_saving_against_faithful(estimate):
    lines = print_view(estimate(faithful_tokens=6404, saving_usd=Decimal("0.00096")))
    assert "saved against --policy faithful $0.00096 (50.0 %)" in lines


def test_table_names_rejected_documents_and_counts_the_others(estimate):
    lines = print_view(estimate(rejects=[("empty", "in/a.jpg"), ("unreadable", "in/b.jpg")]))
    assert lines[-4:] == [
        "rejected, which a run does not send:",
        "empty in/a.jpg",
        "unreadable in/b.jpg",
        "and 7 more",
    ]


@pytest.mark.parametrize(("model", "subject"), [("maker/model", "for maker/model:"), ("", "for an unset model:")])
def test_unknown_price_names_the_settings(estimate, model, subject):
    lines = print_view(estimate(Costs(None, None, None), model))
    assert "cost, high unknown" in lines
    assert lines[-1] == f"no known price {subject} set --model or TILEWISE_PRICES"
    assert "1,000 images" not in " ".join(lines)


def test_table_has_the_time_from_previous_runs(estimate):
    """It is omitted if there are none."""
    assert "time, from previous runs 2 h 5 min" in print_view(estimate(eta_seconds=7500))
    assert "time" not in " ".join(print_view(estimate()))


def test_table_marks_a_calibrated_rule(estimate):
    assert "image tokens as first sent, table (calibrated) 3,202" in print_view(estimate(calibrated=True))


def test_table_does_not_wrap_at_80_columns(estimate):
    most = Decimal("12345.67")
    view = estimate(faithful_tokens=6404, saving_usd=most, intervals={"high": (most, most)})
    assert print_view(view, width=80) == print_view(view)
