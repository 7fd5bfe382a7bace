"""cascade.py: stops, climbs and their costs are the same from the tables and from the documents."""

from decimal import Decimal

import pytest

from extractors.core import LadderStep
from extractors.core.document_totals import totals_of
from extractors.core.tiles import Size, get_rule
from extractors.core.totals import RunTotals
from extractors.record.output.folder import FolderOutput
from extractors.record.tables.volume import PartId
from extractors.record.tables.writer import Tables
from extractors.report.cascade import list_cascade
from extractors.run.recovery import totals_from_tables
from extractors.run.result import RunCounts, RunRecord

LOW, TOP = LadderStep(1, Size(560, 448), 1601), LadderStep(3, Size(1000, 800), 6404)


@pytest.fixture
def ends(make):
    """Documents that stopped on the first rung, climbed in vain, climbed after a refusal, failed or were rejected."""

    def attempt(uri, step, outcome="accepted", cost="0.001"):
        request = make.request(uri, steps=(step,))
        return make.attempt(request=request, outcome=outcome, cost_usd=Decimal(cost))

    def attempts(uri, *outcomes):
        return tuple(
            attempt(uri, step, outcome, cost)
            for step, outcome, cost in zip((LOW, TOP), outcomes, ("0.001", "0.004"), strict=False)
        )

    return [
        make.accept("/in/low.jpg", attempts=attempts("/in/low.jpg", "accepted"), step=LOW),
        make.accept("/in/kept.jpg", attempts=attempts("/in/kept.jpg", "accepted", "accepted"), step=LOW),
        make.accept("/in/surer.jpg", attempts=attempts("/in/surer.jpg", "accepted", "accepted"), step=TOP),
        make.accept("/in/again.jpg", attempts=attempts("/in/again.jpg", "refused", "accepted"), step=TOP),
        make.fail("/in/no.jpg", attempts=attempts("/in/no.jpg", "refused", "refused")),
        make.reject("/in/bad.jpg"),
    ]


@pytest.fixture
def totals(ends):
    """The totals of these documents."""
    return sum((totals_of(end) for end in ends), RunTotals())


def test_answers_that_were_not_published_are_wasted_and_climbs_are_counted(totals):
    """Of two accepted answers the published one is not wasted; image tokens of all rungs count."""
    cascade = totals.cascade
    assert dict(cascade.stopped_at_rung) == {1: 2, 3: 2}
    assert (cascade.climbed, cascade.climb_usd, cascade.climb_tokens) == (4, Decimal("0.016"), 4 * 6404)
    assert cascade.saved_tokens == 5 * 6404 - 5 * 1601 - 4 * 6404
    assert totals.wasted_usd == Decimal("0.004") + 2 * Decimal("0.001") + Decimal("0.005")


def test_totals_from_tables_equal_those_of_the_documents(tmp_path, ends, totals, make, model, terms):
    """Shards and recovered runs compute their totals from the staged tables."""
    tables = Tables(FolderOutput(tmp_path), terms, model)
    with tables:
        tables.stage(PartId(0), ends)
        tables.volume.stage_calls([make.calls(*ends)], "all")
        table_totals = totals_from_tables(tables.volume, 0, get_rule("table"))
        assert (table_totals.cascade, table_totals.wasted_usd) == (totals.cascade, totals.wasted_usd)
        assert totals_from_tables(tables.volume, 0).cascade.saved_tokens == 0
    row = RunRecord(terms).row(RunCounts(0, table_totals), 1)
    assert row["stopped_at_rung"] == '{"1": 2, "3": 2}'


def test_list_cascade_gives_stops_climbs_and_savings(totals):
    """Savings are in tokens, and in dollars if the price is known; without a cascade there are no lines."""
    lines = dict(list_cascade(totals.cascade, Decimal("0.50")))
    assert lines == {
        "stopped at 1 image tokens a page": "2 documents",
        "stopped at 3 image tokens a page": "2 documents",
        "climbed": "4 documents, 25,616 image tokens, $0.016",
        "saved against --policy faithful": "-1,601 image tokens (-5.0 %), -$0.0008",
    }
    assert "$" not in dict(list_cascade(totals.cascade, None))["saved against --policy faithful"]
    assert list(list_cascade(RunTotals().cascade, None)) == []
