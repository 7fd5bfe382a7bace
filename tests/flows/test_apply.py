"""`run --plan-only` stores a plan; `apply` runs exactly that plan and leaves out what has changed since."""

import json
import os
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

RUN = ("run", "in", "--schema", "caption", "--bill", "formula")


@pytest.fixture(autouse=True)
def three_images(workspace, server):
    """Three images, and a key for the server."""
    workspace.with_images("a.jpg", "b.jpg", "c.jpg").using(server)


@pytest.fixture
def plan(workspace):
    """Stores a plan, and returns its estimate and path."""

    def store_plan(*flags):
        result = workspace.run(*RUN, "--plan-only", "--json", *flags)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return store_plan


def apply(workspace, plan, *flags, code=0):
    """Applies a plan, and returns its row of `runs`."""
    result = workspace.run("apply", plan["plan"], "--json", *flags)
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def test_plan_only_stores_a_plan_and_sends_nothing(workspace, server, plan):
    """It prints the estimate and the plan's path; the output holds the plan alone."""
    summary = plan()
    assert (server.asked, summary["documents"], summary["actions"]) == ([], 3, {"send": 3})
    assert workspace.files("out") == [os.path.relpath(summary["plan"], workspace.folder / "out")]
    assert Path(summary["plan"]).parent == workspace.folder / "out" / "plans"


def test_plan_has_a_row_per_document_with_action_and_cost(plan):
    summary = plan()
    rows = pl.read_parquet(summary["plan"])
    assert rows["action"].to_list() == ["send"] * 3
    assert rows["cost_high_usd"].sum() == pytest.approx(Decimal(str(summary["cost_usd"]["high"])))
    assert (rows["schema"].unique().to_list(), rows["bill_rule"].unique().to_list()) == (["caption"], ["formula"])


def test_apply_runs_the_documents_and_the_rule_of_the_plan(workspace, server, plan):
    """Its row of `runs` names who approved it, and has the plan's estimate."""
    row = apply(workspace, plan(), "--approved-by", "ann")
    assert (row["flow"], row["approved_by"], row["bill_rule"], row["policy"]) == ("apply", "ann", "formula", "balanced")
    assert (row["found"], row["accepted"], row["calls"], len(server.asked)) == (3, 3, 3, 3)
    assert row["estimated_expected_usd"] > 0


def test_apply_summary_compares_the_bill_with_the_plan(workspace, plan):
    result = workspace.run("apply", plan()["plan"])
    assert "3 of 3 documents accepted; paid $" in result.stdout
    assert " planned (" in result.stdout


@pytest.mark.parametrize("spoil", ["written", "gone"])
def test_apply_leaves_out_a_changed_or_removed_image(workspace, server, plan, spoil):
    """It counts as remaining; an image that was added after the plan is not read."""
    summary = plan()
    changed = workspace.folder / "in" / "b.jpg"
    changed.unlink()
    if spoil == "written":
        workspace.images("b.jpg", size=(310, 210))
    workspace.images("later.jpg", size=(320, 220))
    row = apply(workspace, summary)
    assert (row["found"], row["accepted"], row["remaining"], len(server.asked)) == (3, 2, 1, 2)
    assert not any("later" in document for document in workspace.table("results")["_document"])


def test_second_apply_of_a_plan_makes_no_call(workspace, server, plan):
    """Documents read since the plan are skipped, although it was made with `--redo all`."""
    workspace.run(*RUN)
    calls = len(server.asked)
    summary = plan("--redo", "all")
    assert apply(workspace, summary)["accepted"] == 3
    again = apply(workspace, summary)
    assert (again["skipped"], again["accepted"], len(server.asked)) == (3, 0, calls + 3)


def test_apply_skips_documents_that_another_run_has_read(workspace, server, plan):
    summary = plan()
    workspace.run(*RUN)
    row = apply(workspace, summary)
    assert (row["found"], row["skipped"], row["calls"], len(server.asked)) == (3, 3, 0, 3)


def test_apply_above_the_limit_needs_yes(workspace, server, plan):
    """The message names the limit, and no call is made."""
    summary = plan()
    result = workspace.run("apply", summary["plan"], env={"TILEWISE_ASK_ABOVE": "0.001"})
    assert (result.exit_code, server.asked) == (2, [])
    assert "above TILEWISE_ASK_ABOVE=0.001" in result.stderr
    assert workspace.run("apply", summary["plan"], "--yes", env={"TILEWISE_ASK_ABOVE": "0.001"}).exit_code == 0


def test_apply_stops_at_its_budget(workspace, plan):
    """Documents that it does not cover remain."""
    row = apply(workspace, plan(), "--budget", "0.000001", code=3)
    assert (row["status"], row["accepted"], row["remaining"]) == ("budget_spent", 0, 3)


def test_apply_refuses_a_plan_of_another_prompt(workspace, server, plan):
    """The message names the prompt, and no call is made."""
    summary = plan()
    result = workspace.run("apply", summary["plan"], env={"TILEWISE_TEMPERATURE": "0.5"})
    assert (result.exit_code, server.asked) == (2, [])
    assert "its prompt was" in result.stderr
    assert "make a new plan" in result.stderr


def test_apply_refuses_a_plan_for_another_endpoint(workspace, server, plan, serve, replies):
    """Neither server gets a call, as another endpoint has other prices."""
    summary, other = plan(), serve(replies.ok())
    result = workspace.run("apply", summary["plan"], env={"TILEWISE_BASE_URL": other.url})
    assert (result.exit_code, server.asked, other.asked) == (2, [], [])
    assert f"its endpoint was {server.url}, is {other.url} here" in result.stderr


def test_apply_refuses_a_plan_of_another_version(workspace, server, plan):
    """Its job has an unknown field: the message is one line, and no call is made."""
    summary = plan()
    rows = pl.read_parquet(summary["plan"]).with_columns(job=pl.lit('{"source": "in", "from_the_future": 1}'))
    rows.write_parquet(summary["plan"])
    result = workspace.run("apply", summary["plan"])
    assert (result.exit_code, result.stderr.count("\n"), server.asked) == (2, 1, [])
    assert "is of another version of tilewise: make a new plan" in result.stderr


def test_apply_prints_no_password_or_signature_of_a_url(workspace):
    result = workspace.run("apply", "https://me:hunter2@host.example/plans/x.parquet?sig=5ec3e7")
    assert result.exit_code == 2
    assert "hunter2" not in result.stderr
    assert "5ec3e7" not in result.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out/plans/none.parquet", "does not exist: `run --plan-only` stores one"),
        ("in/a.jpg", "is not a plan file"),
        ("out/plans/other.parquet", "was not written by tilewise"),
    ],
)
def test_apply_refuses_a_file_that_is_no_plan(workspace, name, message):
    """The message is one line with the reason."""
    (workspace.folder / "out" / "plans").mkdir(parents=True)
    pl.DataFrame({"a": [1]}).write_parquet(workspace.folder / "out" / "plans" / "other.parquet")
    result = workspace.run("apply", name)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert message in result.stderr


def test_plan_only_stores_no_plan_when_all_documents_are_done(workspace, plan):
    workspace.run(*RUN)
    summary = plan()
    assert (summary["plan"], summary["skipped"], "plans" in "".join(workspace.files("out"))) == (None, 3, False)


def test_apply_reads_url_signatures_from_the_manifest(workspace, server, plan, bucket):
    """A plan is a table, which holds no signature."""
    bucket.put("a.jpg", (workspace.folder / "in" / "a.jpg").read_bytes())
    signed = f"http://127.0.0.1:{bucket.front.server_port}/{bucket.name}/a.jpg?X-Amz-Signature=5e1f0a77c43b9e2d"
    (workspace.folder / "list.csv").write_text(f"uri\n{signed}\n")
    env = {"TILEWISE_ALLOW_HOSTS": "127.0.0.1"}
    summary = json.loads(workspace.run("run", "list.csv", *RUN[2:], "--plan-only", "--json", env=env).stdout)
    assert "5e1f0a77" not in json.dumps(pl.read_parquet(summary["plan"]).to_dicts(), default=str)
    bucket.front.asked.clear()
    assert json.loads(workspace.run("apply", summary["plan"], "--json", env=env).stdout)["accepted"] == 1
    assert any("5e1f0a77" in path for _, path, _ in bucket.front.asked)


def test_plan_in_a_bucket_is_applied(workspace, server, bucket):
    """It lies with the tables of its output."""
    workspace.env |= bucket.environ
    summary = json.loads(workspace.run(*RUN, "--plan-only", "--json", "--output", f"{bucket.url}/out").stdout)
    assert summary["plan"].startswith(f"{bucket.url}/out/plans/")
    assert apply(workspace, summary)["output"] == f"{bucket.url}/out"
