"""plans.py: a planned document comes back from its text as it went in."""

from dataclasses import replace

import pytest

from extractors.model import Flaw
from extractors.money import Costs
from extractors.record.ledger.plans import dumped, loaded


def test_a_plan_comes_back_as_it_was(nouns):
    planned = nouns.planned(tries=2)
    assert loaded(dumped(planned)) == planned


def test_a_rejected_page_keeps_its_flaw(nouns):
    planned = nouns.planned(pages=(nouns.rejected_page(flaw=Flaw("forbidden", "bill", "no", final=False)),))
    assert loaded(dumped(planned)) == planned


def test_a_plan_of_several_pages_keeps_their_order(nouns):
    planned = nouns.planned(pages=(nouns.page("/in/a.jpg"), nouns.page("/in/b.jpg")))
    assert loaded(dumped(planned)) == planned


def test_an_unknown_cost_stays_unknown(nouns):
    planned = nouns.planned(pages=(nouns.page(costs=Costs(None, None, None)),))
    assert loaded(dumped(planned)) == planned


def test_what_scan_did_not_know_stays_unknown(nouns):
    page = nouns.page()
    found = replace(page.billed.found, size=None, version=None, modified=None)
    planned = nouns.planned(pages=(replace(page, billed=replace(page.billed, found=found)),))
    assert loaded(dumped(planned)) == planned


@pytest.mark.parametrize("text", ["", "{}", '{"document": "a", "pages": [{}], "tries": 0}', "[]"])
def test_what_is_no_plan_is_refused(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        loaded(text)
