"""witness.py: the lines about the witness in the summary of a run."""

from extractors.core.totals import WitnessTotals
from extractors.report.witness import list_witness


def test_run_without_a_witness_has_no_witness_lines():
    assert list(list_witness(WitnessTotals())) == []


def test_witness_lines_count_documents_values_and_rows():
    assert [value for _, value in list_witness(WitnessTotals(1200, 3, 0))] == ["1,200", "3", "0"]
