"""rows.py: each result, failure, page, call and reply becomes a row with all documented columns."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from support.runs import vary

from extractors.core import Copied, Evidence, FieldEvidence, Problem, Quality
from extractors.core.evidence import Box, Sighting, Sightings
from extractors.record.tables import columns
from extractors.record.tables.fields import Fields
from extractors.record.tables.rows import (
    call_row,
    copy_row,
    failure_row,
    image_rows,
    is_kept,
    reply_row,
    restore_attempt,
    result_row,
)

NOW = datetime(2026, 11, 20, 2, 15, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 21, 2, 15, 0, tzinfo=UTC)
MODIFIED = datetime(2026, 11, 19, 8, 30, 0, tzinfo=UTC)


@pytest.fixture
def fields(model):
    return Fields(model)


def test_result_row_has_all_cells(make, terms, fields):
    """The schema's fields come first, then the columns of the run."""
    assert result_row(make.accept(), terms, fields) == {
        "shop": "Inn",
        "total": Decimal("8.20"),
        "_image": "/in/a.jpg",
        "_document": "/in/a.jpg",
        "_pages": ["/in/a.jpg"],
        "_version": "1-2048",
        "_modified": MODIFIED,
        "_key": "key-/in/a.jpg",
        "_sha256": "5ha",
        "_run": "20261120T021500Z-3f9a",
        "_extracted_at": NOW,
        "_model_requested": "maker/model",
        "_model": "maker/model-2",
        "_schema_hash": "5c4e",
        "_prompt_hash": "9a0b",
        "_action": "resize",
        "_encoded": True,
        "_rung": 1,
        "_width": 1000,
        "_height": 800,
        "_sent_width": 560,
        "_sent_height": 448,
        "_attempts": 1,
        "_image_tokens_estimated": 1601,
        "_prompt_tokens": 1750,
        "_completion_tokens": 40,
        "_cost_usd": Decimal("0.000935"),
        "_copied_from": None,
        "_manifest": None,
        "_confidence": None,
        "_evidence": None,
    }


def test_result_row_has_evidence_and_its_copy_has_none(make, terms, fields):
    """Every field has an entry, with or without a confidence; the box is null without a witness."""
    evidence = Evidence((FieldEvidence("shop", confidence=0.75), FieldEvidence("total")))
    row = result_row(make.accept(evidence=evidence), terms, fields)
    box = dict.fromkeys(("page", "x", "y", "width", "height"))
    assert row["_confidence"] == 0.75
    assert row["_evidence"] == [
        {"field": "shop", "confidence": 0.75} | box,
        {"field": "total", "confidence": None} | box,
    ]
    copied_row = copy_row(build_copy(row, make), terms)
    assert (copied_row["_confidence"], copied_row["_evidence"]) == (None, None)


def test_evidence_has_the_box_of_each_value_that_the_witness_saw(make, terms, fields):
    """A value that was not found has page 0, and each cell of a list has an entry of its own."""
    shop = Sighting("shop", 2, Box(1.4, 2.6, 30.2, 0.2))
    amount, missing_row = Sighting("items[0].amount", 1, Box(1, 2, 3, 4)), Sighting("items[?]", 1, Box(5, 6, 7, 8))
    sightings = Sightings((shop, Sighting("total", 0), amount, missing_row))
    row = result_row(make.accept(sightings=sightings), terms, fields)
    assert [tuple(entry.values()) for entry in row["_evidence"]] == [
        ("shop", None, 2, 1, 3, 30, 1),
        ("total", None, 0, None, None, None, None),
        ("items[0].amount", None, 1, 1, 2, 3, 4),
        ("items[?]", None, 1, 5, 6, 7, 8),
    ]
    evidence = Evidence((FieldEvidence("shop", confidence=0.75),))
    source = result_row(make.accept(sightings=sightings, evidence=evidence), terms, fields)
    entries = source["_evidence"]
    assert [(entry["field"], entry["confidence"], entry["page"]) for entry in entries[:2]] == [
        ("shop", 0.75, 2),
        ("total", None, 0),
    ]
    copied_row = copy_row(build_copy(source, make), terms)  # the same bytes, so the same boxes
    assert (copied_row["_confidence"], copied_row["_evidence"]) == (None, row["_evidence"])


def build_copy(row, make, *, failed=False):
    """A later document that is a copy of the one in this row."""
    return Copied(make.plan("/in/b.jpg", tries=2), (), "key-/in/a.jpg", LATER, row, failed)


def test_copy_of_a_result_has_its_own_names_and_no_cost(make, terms, fields):
    """The other cells are those of the copied row; tokens, attempts and cost are 0."""
    source = result_row(make.accept(), vary(terms, run="earlier"), fields)
    names = {"_image": "/in/b.jpg", "_document": "/in/b.jpg", "_pages": ["/in/b.jpg"], "_copied_from": "/in/a.jpg"}
    run_cells = {"_run": terms.run, "_extracted_at": LATER, "_cost_usd": 0}
    zero_columns = ("_attempts", "_image_tokens_estimated", "_prompt_tokens", "_completion_tokens")
    row = copy_row(build_copy(source, make), terms)
    assert row == source | names | run_cells | dict.fromkeys(zero_columns, 0)
    assert list(row) == list(source)


def test_copy_of_a_failure_has_its_own_name_and_no_cost(make, terms):
    """Its kind and `final` are those of the copied row; it counts its own tries."""
    source = failure_row(make.fail(), terms)
    changed_cells = {
        "document": "/in/b.jpg",
        "image": "/in/b.jpg",
        "tries": 3,
        "attempts": 0,
        "cost_usd": 0,
        "failed_at": LATER,
    }
    assert copy_row(build_copy(source, make, failed=True), terms) == source | changed_cells


def test_result_row_has_the_order_of_the_columns(make, terms, fields):
    assert list(result_row(make.accept(), terms, fields)) == [*fields.columns, *columns.RESULTS]


def test_result_row_sums_all_attempts(make, terms, fields):
    """Tokens and cost include those of answers that were not accepted."""
    attempts = (make.attempt(outcome="not_json"), make.attempt(outcome="capacity", billed="no"), make.attempt())
    row = result_row(make.accept(attempts=attempts), terms, fields)
    assert row["_attempts"] == 3
    assert row["_prompt_tokens"] == 5250
    assert row["_completion_tokens"] == 120
    assert row["_image_tokens_estimated"] == 4803
    assert row["_cost_usd"] == Decimal("0.001870")


def test_result_row_without_a_price_has_a_null_cost(make, terms, fields):
    """An unknown cost is null, never 0."""
    row = result_row(make.accept(attempts=(make.attempt(cost_usd=None),)), terms, fields)
    assert row["_cost_usd"] is None


def test_result_row_lists_all_pages(make, terms, fields):
    """`_image` is the first page, and `_pages` lists all of them in order."""
    planned = make.plan("/in/doc", (make.page("/in/p1.jpg"), make.page("/in/p2.jpg")))
    row = result_row(make.accept(planned=planned), terms, fields)
    assert (row["_document"], row["_image"]) == ("/in/doc", "/in/p1.jpg")
    assert row["_pages"] == ["/in/p1.jpg", "/in/p2.jpg"]


def test_result_row_names_the_requested_model_if_the_reply_names_none(make, terms, fields):
    """`_model` is never null."""
    assert result_row(make.accept(reply=make.reply(model=None)), terms, fields)["_model"] == "maker/model"


def test_result_row_of_an_earlier_runs_reply_has_no_cost(make, terms, fields):
    """The row names the model that answered, and sums the attempts of this run only."""
    row = result_row(make.accept(attempts=()), terms, fields)
    assert row["_model"] == "maker/model-2"
    assert (row["_attempts"], row["_prompt_tokens"], row["_image_tokens_estimated"], row["_cost_usd"]) == (0, 0, 0, 0)


def test_failure_row_has_all_cells(make, terms):
    end = make.fail(planned=make.plan(tries=2))
    row = failure_row(end, terms)
    assert list(row) == list(columns.FAILURES)
    assert row == {
        "run": "20261120T021500Z-3f9a",
        "document": "/in/a.jpg",
        "image": "/in/a.jpg",
        "schema": "slip",
        "version": "1-2048",
        "schema_hash": "5c4e",
        "prompt_hash": "9a0b",
        "model_requested": "maker/model",
        "stage": "validate",
        "kind": "refused",
        "message": "total: never negative",
        "final": True,
        "tries": 3,
        "attempts": 1,
        "cost_usd": Decimal("0.000935"),
        "failed_at": NOW,
    }


def test_image_row_has_all_cells(make, terms):
    (row,) = image_rows(make.accept(), terms)
    assert list(row) == list(columns.IMAGES)
    assert row == {
        "run": "20261120T021500Z-3f9a",
        "document": "/in/a.jpg",
        "schema": "slip",
        "page": 1,
        "image": "/in/a.jpg",
        "size": 2048,
        "version": "1-2048",
        "modified": MODIFIED,
        "format": "JPEG",
        "width": 1000,
        "height": 800,
        "frames": 1,
        "orientation": 6,
        "action": "resize",
        "reason": "cheaper",
        "note": "odd",
        "rung": 1,
        "scale": 0.56,
        "tokens_formula": 1601,
        "tokens_table": 6404,
        "tokens_planned": 1601,
        "cost_low_usd": Decimal("0.001"),
        "cost_expected_usd": Decimal("0.002"),
        "cost_high_usd": Decimal("0.01"),
        "sharpness": None,
        "contrast": None,
    }


def test_image_rows_have_the_quality_of_each_page(make, terms):
    """A page that was not decoded has none."""
    pages = (make.page("/in/a.jpg"), make.page("/in/b.jpg"))
    end = make.accept(planned=make.plan(pages=pages), qualities=(None, Quality(120.5, 0.2)))
    qualities = [(row["sharpness"], row["contrast"]) for row in image_rows(end, terms)]
    assert qualities == [(None, None), (120.5, 0.2)]


def test_image_row_of_a_document_rejected_in_prepare_is_rejected(make, terms):
    """The plan's cells are null, while those of the header stay."""
    (row,) = image_rows(make.reject(), terms)
    assert (row["action"], row["reason"]) == ("reject", "unreadable")
    assert (row["rung"], row["scale"], row["tokens_planned"], row["cost_high_usd"]) == (None, None, None, None)
    assert (row["width"], row["height"]) == (1000, 800)


def test_image_row_of_a_page_without_a_header_has_null_cells(make, terms):
    """A file that is not an image has a row, without size, format and token counts."""
    (row,) = image_rows(
        make.reject(pages=(make.build_rejected_page(),), problem=Problem("not_an_image", "bill", "no")), terms
    )
    nulls = {name for name, cell in row.items() if cell is None}
    assert (row["action"], row["reason"], row["image"]) == ("reject", "not_an_image", "/in/a.jpg")
    assert {"format", "width", "height", "frames", "orientation", "tokens_formula", "tokens_table"} <= nulls
    assert nulls.isdisjoint({"run", "document", "schema", "page", "image", "size", "version", "action", "reason"})


def test_image_row_of_a_failed_document_keeps_its_plan(make, terms):
    """A refused answer does not reject the image."""
    (row,) = image_rows(make.fail(), terms)
    assert (row["action"], row["reason"], row["tokens_planned"]) == ("resize", "cheaper", 1601)


def test_image_rows_number_pages_from_one(make, terms):
    planned = make.plan("/in/doc", (make.page("/in/p1.jpg"), make.page("/in/p2.jpg")))
    rows = image_rows(make.accept(planned=planned), terms)
    assert [(row["document"], row["page"], row["image"]) for row in rows] == [
        ("/in/doc", 1, "/in/p1.jpg"),
        ("/in/doc", 2, "/in/p2.jpg"),
    ]


def test_call_row_has_all_cells(make, terms):
    row = call_row(make.call(make.attempt()), terms)
    assert set(row) == set(columns.CALLS)
    assert row == {
        "run": "20261120T021500Z-3f9a",
        "document": "/in/a.jpg",
        "key": "key-/in/a.jpg",
        "schema": "slip",
        "endpoint": "https://api.example/v1",
        "attempt": 1,
        "rung": 1,
        "pages": 1,
        "started_at": NOW,
        "seconds": 1.5,
        "http_status": 200,
        "outcome": "accepted",
        "billed": "yes",
        "model_requested": "maker/model",
        "model_returned": "maker/model-2",
        "bill_rule": "table",
        "payload_bytes": 300,
        "sent_width": 560,
        "sent_height": 448,
        "estimated_image_tokens": 1601,
        "estimated_prompt_tokens": 1701,
        "prompt_tokens": 1750,
        "cached_tokens": 64,
        "completion_tokens": 40,
        "reasoning_tokens": 8,
        "residual_tokens": 49,
        "price_input": Decimal("0.50"),
        "price_cached": Decimal("0.10"),
        "price_output": Decimal("2.80"),
        "price_as_of": date(2026, 8, 1),
        "reserved_usd": Decimal("0.002512"),
        "cost_usd": Decimal("0.000935"),
        "finish_reason": "stop",
        "request_id": "req-1",
        "error": None,
    }


def test_call_row_of_a_timeout_has_null_tokens_and_cost(make, terms):
    """It has the amount reserved and the error."""
    row = call_row(make.call(make.build_unanswered(), 2), terms)
    null_columns = ("http_status", "model_returned", "prompt_tokens", "residual_tokens", "cost_usd", "finish_reason")
    assert [row[name] for name in null_columns] == [None] * len(null_columns)
    assert (row["outcome"], row["billed"], row["error"]) == ("timeout", "unknown", "read timeout")
    assert row["reserved_usd"] == Decimal("0.002512")


def test_call_row_without_a_price_has_null_prices(make, terms):
    """An unknown price is null, never 0."""
    row = call_row(make.call(make.attempt()), vary(terms, price=None))
    assert [row[name] for name in ("price_input", "price_cached", "price_output", "price_as_of")] == [None] * 4


def test_call_row_of_a_request_without_images_has_no_rung_and_size(make, terms):
    row = call_row(make.call(make.attempt(request=make.request(steps=()))), terms)
    assert (row["rung"], row["sent_width"], row["sent_height"], row["pages"]) == (None, None, None, 0)


def test_call_row_of_an_unsettled_call_is_aborted_with_unknown_bill(make, terms):
    """Its process ended while the call was in flight, so at most the reservation was billed."""
    row = call_row(make.intent(), terms)
    assert set(row) == set(columns.CALLS)
    assert (row["outcome"], row["billed"], row["seconds"]) == ("aborted", "unknown", 0.0)
    assert (row["reserved_usd"], row["cost_usd"], row["http_status"]) == (Decimal("0.002512"), None, None)
    assert row["error"] == "its process ended meanwhile"


@pytest.mark.parametrize(
    ("keep", "outcomes"), [("all", ["off_schema", "accepted"]), ("failed", ["off_schema"]), ("none", [])]
)
def test_is_kept_selects_replies_by_the_setting(make, keep, outcomes):
    """`all` keeps every reply, `failed` those that were not accepted, `none` none."""
    calls = [
        make.call(attempt) for attempt in (make.build_unanswered(), make.attempt(outcome="off_schema"), make.attempt())
    ]
    assert [call["outcome"] for call in calls if is_kept(call, keep)] == outcomes


def test_reply_row_has_all_cells(make):
    """The body is that of the server, unchanged."""
    row = reply_row(make.call(make.attempt()))
    assert list(row) == list(columns.REPLIES)
    assert row == {
        "run": "20261120T021500Z-3f9a",
        "document": "/in/a.jpg",
        "key": "key-/in/a.jpg",
        "attempt": 1,
        "outcome": "accepted",
        "reply": '{"raw": 1}',
        "tokens": None,
        "token_logprobs": None,
    }


def test_reply_row_has_the_tokens_of_its_call(make):
    """`restore_attempt` reads the same tokens from the ledger's row."""
    call = make.call(make.attempt(reply=make.reply(logprobs=make.logprobs())))
    row = reply_row(call)
    assert row["tokens"] == ['{"', "shop", '":"', "<0xC3>", '"}\0']
    assert row["token_logprobs"] == [-0.5, 0.0, None, -2.25, -9999.0]
    assert restore_attempt(call).reply.logprobs == make.logprobs()
