"""The columns of every published table, in order.

Types come from here and from the schema's model (`fields.py`), never from data, so that any two files of a table can be
read together.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from polars._typing import PolarsDataType

Columns = dict[str, pl.DataType]

MONEY = pl.Decimal(18, 9)
TIME = pl.Datetime("us", "UTC")
TEXT, INT, PX, FLAG, REAL = pl.String(), pl.Int64(), pl.Int32(), pl.Boolean(), pl.Float64()
# The evidence for the value of one field; `page` and the box where the witness has looked for it.
EVIDENCE: Columns = {
    "field": TEXT,
    "confidence": REAL,
    "page": PX,
    "x": PX,
    "y": PX,
    "width": PX,
    "height": PX,
}

RESULTS: Columns = {
    "_image": TEXT,
    "_document": TEXT,
    "_pages": pl.List(pl.String()),
    "_version": TEXT,
    "_modified": TIME,
    "_key": TEXT,
    "_sha256": TEXT,
    "_run": TEXT,
    "_extracted_at": TIME,
    "_model_requested": TEXT,
    "_model": TEXT,
    "_schema_hash": TEXT,
    "_prompt_hash": TEXT,
    "_action": TEXT,
    "_encoded": FLAG,
    "_rung": INT,
    "_width": PX,
    "_height": PX,
    "_sent_width": PX,
    "_sent_height": PX,
    "_attempts": INT,
    "_image_tokens_estimated": INT,
    "_prompt_tokens": INT,
    "_completion_tokens": INT,
    "_cost_usd": MONEY,
    "_copied_from": TEXT,
    "_manifest": TEXT,
    "_confidence": REAL,
    "_evidence": pl.List(pl.Struct(EVIDENCE)),
}
REPLIES: Columns = {
    "run": TEXT,
    "document": TEXT,
    "key": TEXT,
    "attempt": INT,
    "outcome": TEXT,
    "reply": TEXT,
    "tokens": pl.List(pl.String()),
    "token_logprobs": pl.List(pl.Float32()),
}
CALLS: Columns = {
    "run": TEXT,
    "document": TEXT,
    "key": TEXT,
    "schema": TEXT,
    "endpoint": TEXT,
    "attempt": INT,
    "rung": INT,
    "pages": INT,
    "started_at": TIME,
    "seconds": REAL,
    "http_status": INT,
    "outcome": TEXT,
    "billed": TEXT,
    "model_requested": TEXT,
    "model_returned": TEXT,
    "bill_rule": TEXT,
    "payload_bytes": INT,
    "sent_width": PX,
    "sent_height": PX,
    "estimated_image_tokens": INT,
    "estimated_prompt_tokens": INT,
    "prompt_tokens": INT,
    "cached_tokens": INT,
    "completion_tokens": INT,
    "reasoning_tokens": INT,
    "residual_tokens": INT,
    "price_input": MONEY,
    "price_cached": MONEY,
    "price_output": MONEY,
    "price_as_of": pl.Date(),
    "reserved_usd": MONEY,
    "cost_usd": MONEY,
    "finish_reason": TEXT,
    "request_id": TEXT,
    "error": TEXT,
}
IMAGES: Columns = {
    "run": TEXT,
    "document": TEXT,
    "schema": TEXT,
    "page": INT,
    "image": TEXT,
    "size": INT,
    "version": TEXT,
    "modified": TIME,
    "format": TEXT,
    "width": PX,
    "height": PX,
    "frames": INT,
    "orientation": INT,
    "action": TEXT,
    "reason": TEXT,
    "note": TEXT,
    "rung": INT,
    "scale": REAL,
    "tokens_formula": INT,
    "tokens_table": INT,
    "tokens_planned": INT,
    "cost_low_usd": MONEY,
    "cost_expected_usd": MONEY,
    "cost_high_usd": MONEY,
    "sharpness": REAL,
    "contrast": REAL,
}
FAILURES: Columns = {
    "run": TEXT,
    "document": TEXT,
    "image": TEXT,
    "schema": TEXT,
    "version": TEXT,
    "schema_hash": TEXT,
    "prompt_hash": TEXT,
    "model_requested": TEXT,
    "stage": TEXT,
    "kind": TEXT,
    "message": TEXT,
    "final": FLAG,
    "tries": INT,
    "attempts": INT,
    "cost_usd": MONEY,
    "failed_at": TIME,
}
FIELDS: Columns = {
    "run": TEXT,
    "schema": TEXT,
    "field": TEXT,
    "rows": INT,
    "nulls": INT,
    "distinct": INT,
    "min": TEXT,
    "max": TEXT,
    "mean_length": REAL,
    "mean_confidence": REAL,
}
RUNS: Columns = {
    "run": TEXT,
    "volume": INT,
    "flow": TEXT,
    "schema": TEXT,
    "source": TEXT,
    "model": TEXT,
    "endpoint": TEXT,
    "policy": TEXT,
    "bill_rule": TEXT,
    "output": TEXT,
    "job": TEXT,
    "status": TEXT,
    "started_at": TIME,
    "finished_at": TIME,
    "found": INT,
    "skipped": INT,
    "skipped_failed": INT,
    "duplicates": INT,
    "rejected": INT,
    "accepted": INT,
    "failed": INT,
    "remaining": INT,
    "calls": INT,
    "prompt_tokens": INT,
    "cached_tokens": INT,
    "completion_tokens": INT,
    "reasoning_tokens": INT,
    "estimated_low_usd": MONEY,
    "estimated_expected_usd": MONEY,
    "estimated_high_usd": MONEY,
    "cost_usd": MONEY,
    "cost_wasted_usd": MONEY,
    "cost_unknown_usd": MONEY,
    "residual_tokens": INT,
    "warnings": pl.List(pl.String()),
    "error": TEXT,
    "prefect_flow_run_id": TEXT,
    "approved_by": TEXT,
    "version": TEXT,
    "passed_over": TEXT,
    "stopped_at_rung": TEXT,
    "audited": INT,
    "audit_agreed": INT,
    "review_below": REAL,
}


def format_type(dtype: PolarsDataType) -> str:
    """A column's type as the documentation writes it: `Decimal(38, 6)`, `List(String)`."""
    return re.sub(r"precision=|scale=|time_unit=|time_zone=|'", "", str(dtype))


# Calls of an audit: no ladder has rung 0, and a video has no size.
AUDIT_CALL = ((pl.col("rung") == 0) & pl.col("sent_width").is_not_null()).fill_null(value=False)
