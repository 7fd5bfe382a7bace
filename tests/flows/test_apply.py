"""`run --plan-only` and `apply`: what was planned is run, exactly that, and what changed since is left out."""

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
    """Stores a plan, and gives what was said of it."""

    def stored(*flags):
        ended = workspace.run(*RUN, "--plan-only", "--json", *flags)
        assert ended.exit_code == 0, ended.stderr
        return json.loads(ended.stdout)

    return stored


def apply(workspace, plan, *flags, code=0):
    """The row of `runs` of a plan that was applied."""
    ended = workspace.run("apply", plan["plan"], "--json", *flags)
    assert ended.exit_code == code, ended.stderr
    return json.loads(ended.stdout)


def test_planning_sends_nothing_and_publishes_nothing(workspace, server, plan):
    """The estimate's object and where the plan is; under the output there is the plan alone."""
    told = plan()
    assert (server.asked, told["documents"], told["actions"]) == ([], 3, {"send": 3})
    assert workspace.files("out") == [os.path.relpath(told["plan"], workspace.folder / "out")]
    assert Path(told["plan"]).parent == workspace.folder / "out" / "plans"


def test_a_plan_can_be_looked_at(plan):
    """A row a document: what is done with it, why, and what that costs."""
    told = plan()
    rows = pl.read_parquet(told["plan"])
    assert rows["action"].to_list() == ["send"] * 3
    assert rows["cost_high_usd"].sum() == pytest.approx(Decimal(str(told["cost_usd"]["high"])))
    assert (rows["schema"].unique().to_list(), rows["bill_rule"].unique().to_list()) == (["caption"], ["formula"])


def test_a_plan_is_run_as_it_was_stored(workspace, server, plan):
    """Its documents, its rule, and who approved it; its bill beside the plan's."""
    row = apply(workspace, plan(), "--approved-by", "ann")
    assert (row["flow"], row["approved_by"], row["bill_rule"], row["policy"]) == ("apply", "ann", "formula", "balanced")
    assert (row["found"], row["accepted"], row["calls"], len(server.asked)) == (3, 3, 3, 3)
    assert row["estimated_expected_usd"] > 0


def test_the_summary_says_how_far_the_bill_was_from_the_plan(workspace, plan):
    """A person who approved of a figure is told what became of it."""
    ended = workspace.run("apply", plan()["plan"])
    assert "3 of 3 documents accepted; paid $" in ended.stdout
    assert " planned (" in ended.stdout


@pytest.mark.parametrize("spoil", ["written", "gone"])
def test_what_has_changed_since_is_left_out_and_counted(workspace, server, plan, spoil):
    """It was not agreed on; an image that came later was not either."""
    told = plan()
    changed = workspace.folder / "in" / "b.jpg"
    changed.unlink()
    if spoil == "written":
        workspace.images("b.jpg", size=(310, 210))
    workspace.images("later.jpg", size=(320, 220))
    row = apply(workspace, told)
    assert (row["found"], row["accepted"], row["remaining"], len(server.asked)) == (3, 2, 1, 2)
    assert not any("later" in document for document in workspace.table("results")["_document"])


def test_a_plan_is_not_paid_for_twice(workspace, server, plan):
    """What was done since the plan was made is skipped, although the plan was to do everything again."""
    workspace.run(*RUN)
    before = len(server.asked)
    told = plan("--redo", "all")
    assert apply(workspace, told)["accepted"] == 3
    again = apply(workspace, told)
    assert (again["skipped"], again["accepted"], len(server.asked)) == (3, 0, before + 3)


def test_what_another_run_did_meanwhile_is_skipped(workspace, server, plan):
    """A plan of yesterday that tonight's run has overtaken."""
    told = plan()
    workspace.run(*RUN)
    row = apply(workspace, told)
    assert (row["found"], row["skipped"], row["calls"], len(server.asked)) == (3, 3, 0, 3)


def test_a_plan_that_may_cost_much_needs_a_yes(workspace, server, plan):
    """As a run does: its figure stands in the message, and nothing is sent."""
    told = plan()
    ended = workspace.run("apply", told["plan"], env={"TILEWISE_ASK_ABOVE": "0.001"})
    assert (ended.exit_code, server.asked) == (2, [])
    assert "above TILEWISE_ASK_ABOVE=0.001" in ended.stderr
    assert workspace.run("apply", told["plan"], "--yes", env={"TILEWISE_ASK_ABOVE": "0.001"}).exit_code == 0


def test_a_budget_holds_for_a_plan(workspace, plan):
    """What is left of it waits."""
    row = apply(workspace, plan(), "--budget", "0.000001", code=3)
    assert (row["status"], row["accepted"], row["remaining"]) == ("budget_spent", 0, 3)


def test_the_plan_of_another_prompt_is_refused(workspace, server, plan):
    """What was agreed on would not be what is asked."""
    told = plan()
    ended = workspace.run("apply", told["plan"], env={"TILEWISE_TEMPERATURE": "0.5"})
    assert (ended.exit_code, server.asked) == (2, [])
    assert "its prompt was" in ended.stderr
    assert "make a new plan" in ended.stderr


def test_the_plan_for_another_endpoint_is_refused(workspace, server, plan, serve, replies):
    """What was agreed on is not sent to somebody else, at another price."""
    told, other = plan(), serve(replies.ok())
    ended = workspace.run("apply", told["plan"], env={"TILEWISE_BASE_URL": other.url})
    assert (ended.exit_code, server.asked, other.asked) == (2, [], [])
    assert f"its endpoint was {server.url}, is {other.url} here" in ended.stderr


def test_the_plan_of_another_version_is_refused(workspace, server, plan):
    """Whose job has a field that is not known here: in one line, and nothing is sent."""
    told = plan()
    rows = pl.read_parquet(told["plan"]).with_columns(job=pl.lit('{"source": "in", "from_the_future": 1}'))
    rows.write_parquet(told["plan"])
    ended = workspace.run("apply", told["plan"])
    assert (ended.exit_code, ended.stderr.count("\n"), server.asked) == (2, 1, [])
    assert "is of another version of tilewise: make a new plan" in ended.stderr


def test_a_password_in_a_plans_url_is_not_repeated(workspace):
    """Nor a signature."""
    ended = workspace.run("apply", "https://me:hunter2@host.example/plans/x.parquet?sig=5ec3e7")
    assert ended.exit_code == 2
    assert "hunter2" not in ended.stderr
    assert "5ec3e7" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out/plans/none.parquet", "does not exist: `run --plan-only` stores one"),
        ("in/a.jpg", "is not a plan file"),
        ("out/plans/other.parquet", "was not written by tilewise"),
    ],
)
def test_what_is_no_plan_is_refused(workspace, name, said):
    """By its name, in one line."""
    (workspace.folder / "out" / "plans").mkdir(parents=True)
    pl.DataFrame({"a": [1]}).write_parquet(workspace.folder / "out" / "plans" / "other.parquet")
    ended = workspace.run("apply", name)
    assert (ended.exit_code, ended.stderr.count("\n")) == (2, 1)
    assert said in ended.stderr


def test_where_nothing_is_to_do_no_plan_is_stored(workspace, plan):
    """There is nothing to approve of."""
    workspace.run(*RUN)
    told = plan()
    assert (told["plan"], told["skipped"], "plans" in "".join(workspace.files("out"))) == (None, 3, False)


def test_a_signature_is_in_no_plan_and_is_found_again(workspace, server, plan, bucket):
    """The manifest has it; a plan is a table, which holds none."""
    bucket.put("a.jpg", (workspace.folder / "in" / "a.jpg").read_bytes())
    signed = f"http://127.0.0.1:{bucket.front.server_port}/{bucket.name}/a.jpg?X-Amz-Signature=5e1f0a77c43b9e2d"
    (workspace.folder / "list.csv").write_text(f"uri\n{signed}\n")
    env = {"TILEWISE_ALLOW_HOSTS": "127.0.0.1"}
    told = json.loads(workspace.run("run", "list.csv", *RUN[2:], "--plan-only", "--json", env=env).stdout)
    assert "5e1f0a77" not in json.dumps(pl.read_parquet(told["plan"]).to_dicts(), default=str)
    bucket.front.asked.clear()
    assert json.loads(workspace.run("apply", told["plan"], "--json", env=env).stdout)["accepted"] == 1
    assert any("5e1f0a77" in path for _, path, _ in bucket.front.asked)


def test_a_plan_may_lie_in_a_bucket(workspace, server, bucket):
    """With the tables that it is for."""
    workspace.env |= bucket.environ
    told = json.loads(workspace.run(*RUN, "--plan-only", "--json", "--output", f"{bucket.url}/out").stdout)
    assert told["plan"].startswith(f"{bucket.url}/out/plans/")
    assert apply(workspace, told)["output"] == f"{bucket.url}/out"
