"""columns.py: each table has the documented columns."""

import polars as pl
import pytest

from extractors.record.tables import columns

# The documented columns of each table; a name without a type is text.
TABLES = {
    "RESULTS": """
        _image _document _pages:list _version _modified:time _key _sha256 _run _extracted_at:time _model_requested
        _model _schema_hash _prompt_hash _action _encoded:flag _rung:count _width:pixels _height:pixels
        _sent_width:pixels _sent_height:pixels _attempts:count _image_tokens_estimated:count _prompt_tokens:count
        _completion_tokens:count _cost_usd:money _copied_from _manifest _confidence:real _evidence:evidence
    """,
    "REPLIES": "run document key attempt:count outcome reply tokens:list token_logprobs:logarithms",
    "CALLS": """
        run document key schema endpoint attempt:count rung:count pages:count started_at:time seconds:real
        http_status:count outcome billed model_requested model_returned bill_rule payload_bytes:count
        sent_width:pixels sent_height:pixels estimated_image_tokens:count estimated_prompt_tokens:count
        prompt_tokens:count cached_tokens:count completion_tokens:count reasoning_tokens:count residual_tokens:count
        price_input:money price_cached:money price_output:money price_as_of:day reserved_usd:money cost_usd:money
        finish_reason request_id error
    """,
    "IMAGES": """
        run document schema page:count image size:count version modified:time format width:pixels height:pixels
        frames:count orientation:count action reason note rung:count scale:real tokens_formula:count
        tokens_table:count tokens_planned:count cost_low_usd:money cost_expected_usd:money cost_high_usd:money
        sharpness:real contrast:real
    """,
    "FAILURES": """
        run document image schema version schema_hash prompt_hash model_requested stage kind message final:flag
        tries:count attempts:count cost_usd:money failed_at:time
    """,
    "FIELDS": "run schema field rows:count nulls:count distinct:count min max mean_length:real mean_confidence:real",
    "RUNS": """
        run volume:count flow schema source model endpoint policy bill_rule output job status started_at:time
        finished_at:time found:count skipped:count skipped_failed:count duplicates:count rejected:count accepted:count failed:count
        remaining:count calls:count prompt_tokens:count cached_tokens:count completion_tokens:count
        reasoning_tokens:count estimated_low_usd:money estimated_expected_usd:money estimated_high_usd:money
        cost_usd:money cost_wasted_usd:money cost_unknown_usd:money residual_tokens:count warnings:list error
        prefect_flow_run_id approved_by version passed_over stopped_at_rung
        audited:count audit_agreed:count review_below:real
    """,
}
TYPES = {
    "": pl.String(),
    "count": pl.Int64(),
    "pixels": pl.Int32(),
    "money": pl.Decimal(18, 9),
    "real": pl.Float64(),
    "time": pl.Datetime("us", "UTC"),
    "flag": pl.Boolean(),
    "list": pl.List(pl.String()),
    "day": pl.Date(),
    "logarithms": pl.List(pl.Float32()),
    "evidence": pl.List(
        pl.Struct(
            {"field": pl.String(), "confidence": pl.Float64()}
            | dict.fromkeys(("page", "x", "y", "width", "height"), pl.Int32())
        )
    ),
}


@pytest.mark.parametrize("table", TABLES)
def test_table_has_the_documented_columns(table):
    """Users' queries depend on their names, order and types."""
    documented = [word.partition(":") for word in TABLES[table].split()]
    assert list(getattr(columns, table).items()) == [(name, TYPES[kind]) for name, _, kind in documented]
