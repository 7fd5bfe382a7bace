"""quality_monitor.py: the warning of a run whose pictures are unlike those of the labels."""

import pytest

from extractors.core import Evidence
from extractors.core.document_totals import totals_of
from extractors.core.totals import RunTotals
from extractors.run.quality_monitor import QualityMonitor


@pytest.mark.parametrize(("unlike", "compared", "warns"), [(1, 10, False), (2, 10, True), (1, 1, True), (0, 0, False)])
def test_quality_monitor_warns_of_more_than_a_tenth_of_unlike_pictures(unlike, compared, warns):
    monitor = QualityMonitor()
    for number in range(compared):
        assert monitor.observe(RunTotals(accepted=1, compared=1, unlike=int(number < unlike)), ()) is None
    monitor.observe(RunTotals(accepted=5), ())  # documents without a measured quality
    assert (monitor.warning() is not None) is warns


@pytest.mark.parametrize(("like", "counted"), [(None, (0, 0)), (True, (1, 0)), (False, (1, 1))])
def test_totals_count_compared_and_unlike_pictures(make, like, counted):
    totals = totals_of(make.accept(evidence=Evidence((), like)))
    assert (totals.compared, totals.unlike) == counted
