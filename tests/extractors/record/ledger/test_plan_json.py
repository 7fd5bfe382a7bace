"""plan_json.py: a planned document comes back from its text as it went in."""

from dataclasses import replace

import pytest
from pydantic import SecretStr

from extractors.core import Problem
from extractors.core.money import Costs
from extractors.record.ledger.plan_json import dump_plan, load_plan


def test_a_plan_comes_back_as_it_was(make):
    planned = make.plan(tries=2)
    assert load_plan(dump_plan(planned)) == planned


def test_a_rejected_page_keeps_its_flaw(make):
    planned = make.plan(pages=(make.build_rejected_page(problem=Problem("forbidden", "bill", "no", final=False)),))
    assert load_plan(dump_plan(planned)) == planned


def test_a_plan_of_several_pages_keeps_their_order(make):
    planned = make.plan(pages=(make.page("/in/a.jpg"), make.page("/in/b.jpg")))
    assert load_plan(dump_plan(planned)) == planned


def test_an_unknown_cost_stays_unknown(make):
    planned = make.plan(pages=(make.page(costs=Costs(None, None, None)),))
    assert load_plan(dump_plan(planned)) == planned


def test_what_scan_did_not_know_stays_unknown(make):
    page = make.page()
    found = replace(page.billed.found, size=None, version=None, modified=None)
    planned = make.plan(pages=(replace(page, billed=replace(page.billed, found=found)),))
    assert load_plan(dump_plan(planned)) == planned


@pytest.mark.parametrize("text", ["", "{}", '{"document": "a", "pages": [{}], "tries": 0}', "[]"])
def test_what_is_no_plan_is_refused(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        load_plan(text)


def test_a_signature_is_not_written_down(make):
    """It stays in memory: a run that is taken over does without it."""
    page = make.page()
    signed = replace(page.billed.found, address=SecretStr("https://store.example/a.jpg?X-Amz-Signature=5e1f"))
    planned = make.plan(pages=(replace(page, billed=replace(page.billed, found=signed)),))
    assert "5e1f" not in dump_plan(planned)
    assert load_plan(dump_plan(planned)) == make.plan()


def test_passwords_are_not_written_down(make):
    """They come from the settings of whoever applies the plan."""
    page = make.page()
    locked = replace(page.billed.found, passwords=(SecretStr("sesame"),))
    planned = make.plan(pages=(replace(page, billed=replace(page.billed, found=locked)),))
    assert "sesame" not in dump_plan(planned)
    assert load_plan(dump_plan(planned)) == make.plan()


def test_a_page_of_a_file_and_its_manifest_come_back(make):
    page = make.page()
    second = replace(page.billed.found, page=2)
    planned = replace(
        make.plan(pages=(replace(page, billed=replace(page.billed, found=second)),)), manifest='{"shop":"Inn"}'
    )
    assert load_plan(dump_plan(planned)) == planned
