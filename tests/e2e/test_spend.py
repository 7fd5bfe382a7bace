"""The command `spend`: costs by group, which add up to the rows of `runs`."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

COST = (1000 * Decimal("0.30") + 100 * Decimal("1.50")) / 1_000_000  # of one answer of the server
ROW = ["calls", "prompt_tokens", "completion_tokens", "billed_usd", "wasted_usd", "unknown_usd", "unpriced"]
OTHER = '\n[models."other/model"]\ninput = 3\noutput = 15\n'


@pytest.fixture(scope="module")
def workspace_of_two_models(workspaces):
    """A workspace for runs of two models over two sources with two schemas."""
    return workspaces(TILEWISE_ATTEMPTS="1")


@pytest.fixture(scope="module")
def runs(workspace_of_two_models, serve_all, replies):
    """The rows of `runs`, with one invalid answer and one lost connection."""
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
def read_spend(workspace_of_two_models, runs):
    """Runs `spend --json` with these flags, and returns its object."""

    def read(*flags):
        result = workspace_of_two_models.run("spend", "--json", *flags)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return read


def format_day(shift=0):
    """Today in UTC, shifted by this many days."""
    return (datetime.now(UTC).date() + timedelta(days=shift)).isoformat()


def test_spend_json_has_rows_and_a_total(read_spend):
    spend = read_spend()
    assert list(spend) == ["since", "until", "by", "rows", "total"]
    assert (spend["since"], spend["until"], spend["by"]) == (None, None, "day")
    assert list(spend["total"]) == ROW
    assert [list(row) for row in spend["rows"]] == [["day", *ROW]]


def test_spend_total_equals_sums_of_runs(read_spend, runs):
    total = read_spend()["total"]
    assert total["calls"] == runs["calls"].sum()
    for name in ("prompt_tokens", "completion_tokens"):
        assert total[name] == runs[name].sum()
    assert total["billed_usd"] == float(runs["cost_usd"].sum())
    assert total["wasted_usd"] == float(runs["cost_wasted_usd"].sum())
    assert total["unknown_usd"] == float(runs["cost_unknown_usd"].sum())


def test_spend_groups_by_day(read_spend):
    assert [row["day"] for row in read_spend("--by", "day")["rows"]] == [format_day()]


def test_spend_groups_by_model(read_spend):
    """Each model has its own price."""
    rows = {row["model"]: row for row in read_spend("--by", "model")["rows"]}
    assert list(rows) == ["maker/model", "other/model"]
    assert rows["maker/model"]["billed_usd"] == float(3 * COST)


def test_spend_groups_by_schema(read_spend):
    assert [row["schema"] for row in read_spend("--by", "schema")["rows"]] == ["caption", "receipt"]


def test_spend_groups_by_source(read_spend, workspace_of_two_models):
    """A source is an absolute path."""
    sources = [row["source"] for row in read_spend("--by", "source")["rows"]]
    assert sources == [str(workspace_of_two_models.folder / "in"), str(workspace_of_two_models.folder / "more")]


def test_spend_groups_by_outcome(read_spend):
    """Wasted and unknown costs have outcomes of their own."""
    rows = {row["outcome"]: row for row in read_spend("--by", "outcome")["rows"]}
    assert rows["off_schema"]["billed_usd"] == rows["off_schema"]["wasted_usd"] == float(COST)
    assert (rows["connection"]["billed_usd"], rows["connection"]["calls"]) == (0, 1)
    assert rows["connection"]["unknown_usd"] > 0
    assert rows["accepted"]["wasted_usd"] == rows["accepted"]["unknown_usd"] == 0


@pytest.mark.parametrize("by", ["day", "model", "schema", "source", "outcome"])
def test_spend_groups_add_up_to_the_total(read_spend, by):
    spend = read_spend("--by", by)
    assert spend["total"] == read_spend()["total"]
    for name in ROW:
        assert sum(row[name] for row in spend["rows"]) == pytest.approx(spend["total"][name])


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
def test_since_and_until_days_are_inclusive(read_spend, since, until, calls):
    limits = [("--since", since), ("--until", until)]
    flags = [word for flag, shift in limits if shift is not None for word in (flag, format_day(shift))]
    assert (read_spend(*flags)["total"]["calls"] > 0) is calls


def test_since_after_until_is_refused(workspace_of_two_models, runs):
    result = workspace_of_two_models.run("spend", "--since", format_day(1), "--until", format_day())
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"--since {format_day(1)} is after --until {format_day()}" in result.stderr


def test_since_and_until_times_are_inclusive_in_every_zone(read_spend, workspace_of_two_models):
    first, last = (
        workspace_of_two_models.table("calls")["started_at"].min(),
        workspace_of_two_models.table("calls")["started_at"].max(),
    )
    assert read_spend("--since", first.isoformat(), "--until", first.isoformat())["total"]["calls"] == 1
    elsewhere = (last + timedelta(hours=2)).replace(tzinfo=None).isoformat() + "+02:00"
    assert read_spend("--since", elsewhere)["total"]["calls"] == 1
    assert read_spend("--until", first.replace(tzinfo=None).isoformat())["total"]["calls"] == 1


@pytest.mark.parametrize("flag", ["--since", "--until"])
@pytest.mark.parametrize("value", ["yesterday", "2026-13-01", "2026-02-30", "2026", ""])
def test_invalid_since_or_until_is_refused(workspace_of_two_models, runs, flag, value):
    """The message names the value and the formats that are allowed."""
    result = workspace_of_two_models.run("spend", flag, value)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert f"{value!r} is not a UTC day or time: write 2026-11-20 or 2026-11-20T02:15:00" in result.stderr


def test_unknown_group_is_refused(workspace_of_two_models, runs):
    result = workspace_of_two_models.run("spend", "--by", "colour")
    assert result.exit_code == 2
    assert "'outcome'" in result.stderr


def test_spend_text_has_one_line_a_group_and_a_total(workspace_of_two_models, runs):
    lines = [
        " ".join(line.split()) for line in workspace_of_two_models.run("spend", "--by", "schema").stdout.splitlines()
    ]
    assert lines[-4].startswith("schema calls ")
    assert lines[-3].startswith("caption 4 3,000 300 $0.00135 $0.00045 $0")
    assert [line.split()[0] for line in lines[-2:]] == ["receipt", "total"]


def test_spend_of_missing_output_is_0(workspace_of_two_models, runs):
    spend = json.loads(workspace_of_two_models.run("spend", "--json", "--output", "nowhere").stdout)
    assert (spend["rows"], spend["total"]) == ([], dict.fromkeys(ROW, 0))


def test_spend_needs_no_ledger(workspace_of_two_models, runs, read_spend):
    """It creates none."""
    env = {"TILEWISE_LEDGER": f"sqlite:///{workspace_of_two_models.folder / 'none.db'}"}
    assert json.loads(workspace_of_two_models.run("spend", "--json", env=env).stdout)["total"] == read_spend()["total"]
    assert not (workspace_of_two_models.folder / "none.db").exists()
