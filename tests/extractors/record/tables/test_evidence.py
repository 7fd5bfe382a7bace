"""evidence.py: totals of the witness are summed from rows of results."""

import polars as pl
import pytest

from extractors.core.document_totals import totals_of
from extractors.core.evidence import Box, Sighting, Sightings
from extractors.core.totals import WitnessTotals
from extractors.record.tables import columns
from extractors.record.tables.evidence import sum_witness
from extractors.record.tables.fields import Fields
from extractors.record.tables.rows import result_row

BOX = Box(1, 2, 3, 4)
SEEN = Sightings((Sighting("shop", 1, BOX), Sighting("total", 0), Sighting("items[?]", 2, BOX), Sighting("items")))
SCHEMA = {name: columns.RESULTS[name] for name in ("_document", "_copied_from", "_evidence")}
PLAIN = Sightings((Sighting("shop", 1, BOX),))


def test_sum_witness_equals_the_totals_of_the_documents(make, terms, model):
    """Copies and rows without evidence are not counted."""
    ends = [make.accept("/a", sightings=SEEN), make.accept("/b", sightings=PLAIN), make.accept("/c")]
    rows = [{name: result_row(end, terms, Fields(model))[name] for name in SCHEMA} for end in ends]
    copy = rows[0] | {"_document": "/d", "_copied_from": "/a"}
    totals = sum_witness(pl.LazyFrame([*rows, copy], schema=SCHEMA))
    assert totals == WitnessTotals(documents=2, unseen=1, missing_rows=1)
    assert totals == sum((totals_of(end).witness for end in ends), WitnessTotals())


@pytest.mark.parametrize("cells", [None, []])
def test_rows_without_evidence_count_nothing(cells):
    rows = None if cells is None else pl.LazyFrame([{"_document": "a", "_evidence": None}], schema=SCHEMA)
    assert sum_witness(rows) == WitnessTotals()
