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
def workspace_of_five(workspaces, echo):
    """A workspace where five images were read by the echo endpoint."""
    return (
        workspaces()
        .with_images("a.jpg", "b.png", "c.webp", "sub/d.jpg", "sub/deeper/e.gif", size=(900, 700))
        .using(echo)
    )


@pytest.fixture(scope="module")
def ended(workspace_of_five):
    """The run, as a process."""
    return workspace_of_five.tilewise("run", "in", "--schema", "caption", "--bill", "formula", "--json")


@pytest.fixture(scope="module")
def row(ended, workspace_of_five):
    """The run's row of `runs`."""
    return workspace_of_five.only("runs")


def test_a_run_in_which_all_is_accepted_exits_with_0(ended):
    """Five images, five rows, and nothing to complain of."""
    assert ended.returncode == 0, ended.stderr


def test_json_is_one_object_on_stdout_and_nothing_else(ended):
    """Scripts can read stdout as it is; its keys are the columns of `runs`."""
    assert list(json.loads(ended.stdout)) == COLUMNS["runs"].split()
    assert ended.stdout.count("\n") == 1


def test_what_a_person_reads_goes_to_stderr(ended):
    """One line says that the run was not a flow, and how to make it one."""
    assert ended.stderr == "tilewise: ran without Prefect; use --prefect to run it as a flow\n"


@pytest.mark.parametrize("table", COLUMNS)
def test_every_table_has_exactly_its_columns(table, row, workspace_of_five):
    """The columns, in order, are those of the contract."""
    assert workspace_of_five.table(table).columns == COLUMNS[table].split()


@pytest.mark.parametrize("table", COLUMNS)
def test_every_table_is_one_file_at_its_place(table, row, workspace_of_five):
    """A file is named after its run, under the day on which the run started and, where it has one, the schema."""
    below = "schema=caption/" if table in {"results", "replies"} else ""
    assert workspace_of_five.files(f"out/{table}") == [
        f"{below}run_date={row['started_at']:%Y-%m-%d}/{row['run']}.parquet"
    ]


def test_nothing_is_left_in_staging(ended, workspace_of_five):
    """What is published is staged no more."""
    assert not (workspace_of_five.folder / "out" / "staging").exists()


def test_the_counts_add_up(row):
    """Every document that was found came to exactly one end."""
    ends = ("skipped", "duplicates", "rejected", "accepted", "failed", "remaining")
    assert row["found"] == sum(row[end] for end in ends) == 5
    assert (row["accepted"], row["status"]) == (5, "completed")


def test_rows_of_results_are_the_accepted(row, workspace_of_five):
    """One row a document, named by its absolute path, in every folder below the source."""
    names = ["a.jpg", "b.png", "c.webp", "sub/d.jpg", "sub/deeper/e.gif"]
    found = [str(workspace_of_five.folder / "in" / name) for name in names]
    assert sorted(workspace_of_five.table("results")["_document"]) == found
    assert sorted(workspace_of_five.table("images")["document"]) == found


def test_rows_of_failures_are_those_that_failed(row, workspace_of_five):
    """Where nothing failed the table is there, without rows."""
    assert workspace_of_five.table("failures").height == row["rejected"] + row["failed"] == 0


def test_the_prediction_is_the_bill(row, workspace_of_five):
    """By the server's own rule not one prompt token is unforeseen."""
    calls = workspace_of_five.table("calls")
    assert calls["prompt_tokens"].to_list() == calls["estimated_prompt_tokens"].to_list()
    assert calls["residual_tokens"].to_list() == [0] * 5
    assert row["residual_tokens"] == 0
    assert row["prompt_tokens"] == calls["prompt_tokens"].sum() > 0


def test_every_reply_is_kept(row, workspace_of_five):
    """The raw answers are published apart, one for each call."""
    replies = workspace_of_five.table("replies")
    assert replies["document"].sort().to_list() == workspace_of_five.table("calls")["document"].sort().to_list()
    assert replies["reply"].str.contains("echo").all()


def test_the_summary_for_people_has_the_run_in_it(workspace_of_five, ended):
    """Without --json stdout says what was found, what it cost, and where the rows are."""
    again = workspace_of_five.run(
        "run", "in", "--schema", "caption", "--redo", "all", "--limit", "2", "--output", "elsewhere"
    )
    path = next((workspace_of_five.folder / "elsewhere" / "results").rglob("*.parquet"))
    assert again.exit_code == 0
    assert "2 of 2 documents accepted\n" in again.stdout
    assert f"rows: {path}\n" in again.stdout
