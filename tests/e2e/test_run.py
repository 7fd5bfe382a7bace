"""The command `run`, from a folder of images to the published tables.

Covers `flows.console`, too.
"""

import json

import pytest

COLUMNS = {
    "results": "caption alt_text tags _image _document _pages _version _modified _key _sha256 _run _extracted_at"
    " _model_requested _model _schema_hash _prompt_hash _action _encoded _rung _width _height _sent_width _sent_height"
    " _attempts _image_tokens_estimated _prompt_tokens _completion_tokens _cost_usd _copied_from _manifest"
    " _confidence _evidence",
    "replies": "run document key attempt outcome reply tokens token_logprobs",
    "calls": "run document key schema endpoint attempt rung pages started_at seconds http_status outcome billed"
    " model_requested model_returned bill_rule payload_bytes sent_width sent_height estimated_image_tokens"
    " estimated_prompt_tokens prompt_tokens cached_tokens completion_tokens reasoning_tokens residual_tokens"
    " price_input price_cached price_output price_as_of reserved_usd cost_usd finish_reason request_id error",
    "images": "run document schema page image size version modified format width height frames orientation action"
    " reason note rung scale tokens_formula tokens_table tokens_planned cost_low_usd cost_expected_usd cost_high_usd"
    " sharpness contrast",
    "failures": "run document image schema version schema_hash prompt_hash model_requested stage kind message final"
    " tries attempts cost_usd failed_at",
    "runs": "run volume flow schema source model endpoint policy bill_rule output job status started_at finished_at"
    " found skipped skipped_failed duplicates rejected accepted failed remaining calls prompt_tokens cached_tokens"
    " completion_tokens reasoning_tokens estimated_low_usd estimated_expected_usd estimated_high_usd cost_usd cost_wasted_usd"
    " cost_unknown_usd residual_tokens warnings error prefect_flow_run_id approved_by version passed_over"
    " stopped_at_rung audited audit_agreed review_below",
}


@pytest.fixture(scope="module")
def workspace_with_five_images(workspaces, echo):
    """A workspace with five images and the echo endpoint."""
    return (
        workspaces()
        .with_images("a.jpg", "b.png", "c.webp", "sub/d.jpg", "sub/deeper/e.gif", size=(900, 700))
        .using(echo)
    )


@pytest.fixture(scope="module")
def result(workspace_with_five_images):
    """The finished process of the run."""
    return workspace_with_five_images.tilewise("run", "in", "--schema", "caption", "--bill", "formula", "--json")


@pytest.fixture(scope="module")
def row(result, workspace_with_five_images):
    """The run's row of `runs`."""
    return workspace_with_five_images.only("runs")


def test_successful_run_exits_with_0(result):
    assert result.returncode == 0, result.stderr


def test_json_is_the_only_output_on_stdout(result):
    """One object, whose keys are the columns of `runs`."""
    assert list(json.loads(result.stdout)) == COLUMNS["runs"].split()
    assert result.stdout.count("\n") == 1


def test_note_on_prefect_goes_to_stderr(result):
    assert result.stderr == "tilewise: ran without Prefect; use --prefect to run it as a flow\n"


@pytest.mark.parametrize("table", COLUMNS)
def test_table_has_its_documented_columns_in_order(table, row, workspace_with_five_images):
    assert workspace_with_five_images.table(table).columns == COLUMNS[table].split()


@pytest.mark.parametrize("table", COLUMNS)
def test_table_is_one_file_named_by_run(table, row, workspace_with_five_images):
    """Under the day on which the run started and, for results and replies, the schema."""
    folder = "schema=caption/" if table in {"results", "replies"} else ""
    assert workspace_with_five_images.files(f"out/{table}") == [
        f"{folder}run_date={row['started_at']:%Y-%m-%d}/{row['run']}.parquet"
    ]


def test_staging_is_removed(result, workspace_with_five_images):
    assert not (workspace_with_five_images.folder / "out" / "staging").exists()


def test_found_is_the_sum_of_outcomes(row):
    outcomes = ("skipped", "duplicates", "rejected", "accepted", "failed", "remaining")
    assert row["found"] == sum(row[outcome] for outcome in outcomes) == 5
    assert (row["accepted"], row["status"]) == (5, "completed")


def test_results_have_one_row_a_document(row, workspace_with_five_images):
    """Named by its absolute path, from all folders below the source."""
    names = ["a.jpg", "b.png", "c.webp", "sub/d.jpg", "sub/deeper/e.gif"]
    documents = [str(workspace_with_five_images.folder / "in" / name) for name in names]
    assert sorted(workspace_with_five_images.table("results")["_document"]) == documents
    assert sorted(workspace_with_five_images.table("images")["document"]) == documents


def test_failures_table_is_empty_without_failures(row, workspace_with_five_images):
    assert workspace_with_five_images.table("failures").height == row["rejected"] + row["failed"] == 0


def test_token_estimate_equals_the_bill(row, workspace_with_five_images):
    calls = workspace_with_five_images.table("calls")
    assert calls["prompt_tokens"].to_list() == calls["estimated_prompt_tokens"].to_list()
    assert calls["residual_tokens"].to_list() == [0] * 5
    assert row["residual_tokens"] == 0
    assert row["prompt_tokens"] == calls["prompt_tokens"].sum() > 0


def test_replies_have_one_row_a_call(row, workspace_with_five_images):
    replies = workspace_with_five_images.table("replies")
    assert (
        replies["document"].sort().to_list() == workspace_with_five_images.table("calls")["document"].sort().to_list()
    )
    assert replies["reply"].str.contains("echo").all()


def test_summary_names_documents_and_file_of_rows(workspace_with_five_images, result):
    second = workspace_with_five_images.run(
        "run", "in", "--schema", "caption", "--redo", "all", "--limit", "2", "--output", "elsewhere"
    )
    path = next((workspace_with_five_images.folder / "elsewhere" / "results").rglob("*.parquet"))
    assert second.exit_code == 0
    assert "2 of 2 documents accepted\n" in second.stdout
    assert f"rows: {path}\n" in second.stdout
