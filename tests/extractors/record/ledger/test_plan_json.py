"""plan_json.py: a planned document is loaded from JSON text as it was dumped."""

from dataclasses import replace

import pytest
from pydantic import SecretStr

from extractors.core import Problem
from extractors.core.money import Costs
from extractors.record.ledger.plan_json import dump_plan, load_plan


def test_load_plan_returns_the_dumped_plan(make):
    planned = make.plan(tries=2)
    assert load_plan(dump_plan(planned)) == planned


def test_rejected_page_keeps_its_problem(make):
    planned = make.plan(pages=(make.build_rejected_page(problem=Problem("forbidden", "bill", "no", final=False)),))
    assert load_plan(dump_plan(planned)) == planned


def test_pages_keep_their_order(make):
    planned = make.plan(pages=(make.page("/in/a.jpg"), make.page("/in/b.jpg")))
    assert load_plan(dump_plan(planned)) == planned


def test_unknown_cost_stays_unknown(make):
    planned = make.plan(pages=(make.page(costs=Costs(None, None, None)),))
    assert load_plan(dump_plan(planned)) == planned


def test_unknown_size_version_and_modification_time_stay_unknown(make):
    page = make.page()
    found = replace(page.billed.found, size=None, version=None, modified=None)
    planned = make.plan(pages=(replace(page, billed=replace(page.billed, found=found)),))
    assert load_plan(dump_plan(planned)) == planned


@pytest.mark.parametrize("text", ["", "{}", '{"document": "a", "pages": [{}], "tries": 0}', "[]"])
def test_load_plan_refuses_invalid_text(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        load_plan(text)


def test_signed_address_is_not_dumped(make):
    """The signed URL stays in memory only; a run that is taken over continues without it."""
    page = make.page()
    signed = replace(page.billed.found, address=SecretStr("https://store.example/a.jpg?X-Amz-Signature=5e1f"))
    planned = make.plan(pages=(replace(page, billed=replace(page.billed, found=signed)),))
    assert "5e1f" not in dump_plan(planned)
    assert load_plan(dump_plan(planned)) == make.plan()


def test_passwords_are_not_dumped(make):
    """A run that applies the plan reads them from its settings."""
    page = make.page()
    locked = replace(page.billed.found, passwords=(SecretStr("sesame"),))
    planned = make.plan(pages=(replace(page, billed=replace(page.billed, found=locked)),))
    assert "sesame" not in dump_plan(planned)
    assert load_plan(dump_plan(planned)) == make.plan()


def test_page_number_and_manifest_row_are_restored(make):
    page = make.page()
    second = replace(page.billed.found, page=2)
    planned = replace(
        make.plan(pages=(replace(page, billed=replace(page.billed, found=second)),)), manifest='{"shop":"Inn"}'
    )
    assert load_plan(dump_plan(planned)) == planned
