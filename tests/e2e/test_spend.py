"""The command `spend`: what the month has cost, in groups that add up to the rows of `runs`."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

COST = (1000 * Decimal("0.30") + 100 * Decimal("1.50")) / 1_000_000  # of one answer of the server
ROW = ["calls", "prompt_tokens", "completion_tokens", "billed_usd", "wasted_usd", "unknown_usd", "unpriced"]
OTHER = '\n[models."other/model"]\ninput = 3\noutput = 15\n'


@pytest.fixture(scope="module")
def workspace_of_two_models(workspaces):
    """A workspace where two models have read two sources as two schemas, with an answer wasted and a connection lost."""
    return workspaces(TILEWISE_ATTEMPTS="1")


@pytest.fixture(scope="module")
def runs(workspace_of_two_models, serve_all, replies):
    """The rows of `runs`."""
    receipt = {"company": "Inn", "date": "2026-11-20", "address": None, "total": "8.20", "currency": None}
    good, bad, other = replies.ok(), replies.ok({"wrong": 1}), replies.ok(receipt | {"line_items": []})
    workspace_of_two_models.images("a.png", "b.png", "c.png")
    workspace_of_two_models.images("d.png", folder="more")
    path = workspace_of_two_models.folder / "prices.toml"
    path.write_text(path.read_text() + OTHER)
    server = serve_all(bad, good, good, replies.reset)
    workspace_of_two_models.env["TILEWISE_BASE_URL"] = server.url
    workspace_of_two_models.env["TILEWISE_CONCURRENCY"] = "1"
    workspace_of_two_models.run("run", "in", "--schema", "caption")
    server.script = [other]
    workspace_of_two_models.run("run", "more", "--schema", "receipt", "--model", "other/model", "--fail-above", "1")
    return workspace_of_two_models.table("runs")


@pytest.fixture
def spent(workspace_of_two_models, runs):
    """Asks for the spending, and gives its object."""

    def ask(*flags):
        ended = workspace_of_two_models.run("spend", "--json", *flags)
        assert ended.exit_code == 0, ended.stderr
        return json.loads(ended.stdout)

    return ask


def day(shift=0):
    """A UTC day, so many from today."""
    return (datetime.now(UTC).date() + timedelta(days=shift)).isoformat()


def test_json_has_rows_and_a_total(spent):
    """One object: what was asked for, the groups, and the sums over all."""
    found = spent()
    assert list(found) == ["since", "until", "by", "rows", "total"]
    assert (found["since"], found["until"], found["by"]) == (None, None, "day")
    assert list(found["total"]) == ROW
    assert [list(row) for row in found["rows"]] == [["day", *ROW]]


def test_the_sums_are_those_of_the_runs(spent, runs):
    """Every dollar of `runs` is in `spend`, and no other."""
    total = spent()["total"]
    assert total["calls"] == runs["calls"].sum()
    for name in ("prompt_tokens", "completion_tokens"):
        assert total[name] == runs[name].sum()
    assert total["billed_usd"] == float(runs["cost_usd"].sum())
    assert total["wasted_usd"] == float(runs["cost_wasted_usd"].sum())
    assert total["unknown_usd"] == float(runs["cost_unknown_usd"].sum())


def test_by_day(spent):
    assert [row["day"] for row in spent("--by", "day")["rows"]] == [day()]


def test_by_model(spent):
    """Each model at its own price."""
    rows = {row["model"]: row for row in spent("--by", "model")["rows"]}
    assert list(rows) == ["maker/model", "other/model"]
    assert rows["maker/model"]["billed_usd"] == float(3 * COST)


def test_by_schema(spent):
    assert [row["schema"] for row in spent("--by", "schema")["rows"]] == ["caption", "receipt"]


def test_by_source(spent, workspace_of_two_models):
    """A source is the absolute folder that a run was given."""
    sources = [row["source"] for row in spent("--by", "source")["rows"]]
    assert sources == [str(workspace_of_two_models.folder / "in"), str(workspace_of_two_models.folder / "more")]


def test_by_outcome(spent):
    """What was wasted and what nobody knows has outcomes of its own."""
    rows = {row["outcome"]: row for row in spent("--by", "outcome")["rows"]}
    assert rows["off_schema"]["billed_usd"] == rows["off_schema"]["wasted_usd"] == float(COST)
    assert (rows["connection"]["billed_usd"], rows["connection"]["calls"]) == (0, 1)
    assert rows["connection"]["unknown_usd"] > 0
    assert rows["accepted"]["wasted_usd"] == rows["accepted"]["unknown_usd"] == 0


@pytest.mark.parametrize("by", ["day", "model", "schema", "source", "outcome"])
def test_groups_add_up_to_the_total(spent, by):
    """Whatever the sums are grouped by."""
    found = spent("--by", by)
    assert found["total"] == spent()["total"]
    for name in ROW:
        assert sum(row[name] for row in found["rows"]) == pytest.approx(found["total"][name])


@pytest.mark.parametrize(
    ("since", "until", "calls"),
    [
        (0, 0, True),
        (-1, 0, True),
        (0, 1, True),
        (0, None, True),
        (None, 0, True),
        (1, None, False),
        (None, -1, False),
        (-9, -1, False),
    ],
)
def test_days_are_inclusive(spent, since, until, calls):
    """From the first moment of one to the last of the other."""
    limits = [("--since", since), ("--until", until)]
    flags = [word for flag, shift in limits if shift is not None for word in (flag, day(shift))]
    assert (spent(*flags)["total"]["calls"] > 0) is calls


def test_an_end_before_the_beginning_is_a_mistake(workspace_of_two_models, runs):
    """Nothing was spent between them, which is not what was meant."""
    ended = workspace_of_two_models.run("spend", "--since", day(1), "--until", day())
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert f"--since {day(1)} is after --until {day()}" in ended.stderr


def test_a_time_is_exact(spent, workspace_of_two_models):
    """Both ends belong to it, whatever their zone."""
    first, last = (
        workspace_of_two_models.table("calls")["started_at"].min(),
        workspace_of_two_models.table("calls")["started_at"].max(),
    )
    assert spent("--since", first.isoformat(), "--until", first.isoformat())["total"]["calls"] == 1
    elsewhere = (last + timedelta(hours=2)).replace(tzinfo=None).isoformat() + "+02:00"
    assert spent("--since", elsewhere)["total"]["calls"] == 1
    assert spent("--until", first.replace(tzinfo=None).isoformat())["total"]["calls"] == 1


@pytest.mark.parametrize("flag", ["--since", "--until"])
@pytest.mark.parametrize("value", ["yesterday", "2026-13-01", "2026-02-30", "2026", ""])
def test_what_is_no_day_is_refused(workspace_of_two_models, runs, flag, value):
    """The value is named, and what may be written."""
    ended = workspace_of_two_models.run("spend", flag, value)
    assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert f"{value!r} is not a UTC day or time: write 2026-11-20 or 2026-11-20T02:15:00" in ended.stderr


def test_a_group_that_is_none_is_refused(workspace_of_two_models, runs):
    ended = workspace_of_two_models.run("spend", "--by", "colour")
    assert ended.exit_code == 2
    assert "'outcome'" in ended.stderr


def test_for_people_it_is_a_table(workspace_of_two_models, runs):
    """A line a group, and the total."""
    lines = [
        " ".join(line.split()) for line in workspace_of_two_models.run("spend", "--by", "schema").stdout.splitlines()
    ]
    assert lines[-4].startswith("schema calls ")
    assert lines[-3].startswith("caption 4 3,000 300 $0.00135 $0.00045 $0")
    assert [line.split()[0] for line in lines[-2:]] == ["receipt", "total"]


def test_an_output_without_anything_costs_nothing(workspace_of_two_models, runs):
    """An empty folder is no error: zeros, and no groups."""
    found = json.loads(workspace_of_two_models.run("spend", "--json", "--output", "nowhere").stdout)
    assert (found["rows"], found["total"]) == ([], dict.fromkeys(ROW, 0))


def test_tables_are_enough(workspace_of_two_models, runs, spent):
    """Without a ledger the tables tell, and none is made."""
    env = {"TILEWISE_LEDGER": f"sqlite:///{workspace_of_two_models.folder / 'none.db'}"}
    assert json.loads(workspace_of_two_models.run("spend", "--json", env=env).stdout)["total"] == spent()["total"]
    assert not (workspace_of_two_models.folder / "none.db").exists()
