"""`ROWS_SUM_TO`: an answer whose rows do not add up climbs, is asked again with the difference, and else fails."""

import pytest

BILL = """
from pydantic import BaseModel

{declared}


class Item(BaseModel):
    amount: int | None = None


class Bill(BaseModel):
    '''A bill.'''

    items: list[Item]
    total: int
"""
SUMS = 'ROWS_SUM_TO = {"items.amount": "total"}'
LOW, TOP = (1119, 1119), (2000, 2000)
SHORT = {"items": [{"amount": 30}], "total": 50}
WHOLE = {"items": [{"amount": 30}, {"amount": 20}], "total": 50}


@pytest.fixture
def command_of(workspace, server):
    """A workspace with one image large enough to climb; returns the arguments of a run with this declaration."""
    workspace.with_images("a.jpg", size=(2000, 2000)).using(server)

    def arguments(declared, *flags, command="run"):
        name = f"{workspace.module(BILL.format(declared=declared))}:Bill"
        return (command, "in", "--schema", name, *(("--bill", "formula") if command == "run" else ()), *flags)

    return arguments


def test_incomplete_list_climbs_and_is_asked_again_with_the_difference(workspace, server, replies, command_of):
    """Only the answer that adds up is published; the others are in `calls`."""
    server.answers_with(replies.ok(SHORT), replies.ok(SHORT), replies.ok(WHOLE))
    result = workspace.run(*command_of(SUMS))
    assert (result.exit_code, server.pictures) == (0, [LOW, TOP, TOP])
    assert ["20 short" in str(request["messages"][2:]) for request in server.asked] == [False, True, True]
    assert workspace.table("calls").sort("attempt")["outcome"].to_list() == ["refused", "refused", "accepted"]
    assert [row["amount"] for row in workspace.only("results")["items"]] == [30, 20]


def test_list_that_stays_incomplete_fails_finally(workspace, server, replies, command_of):
    """`reparse` refuses an answer that was accepted without the declaration, not finally; a run refuses it finally."""
    server.answers_with(replies.ok(SHORT))
    assert workspace.run(*command_of("")).exit_code == 0
    assert workspace.run(*command_of(SUMS, "--redo", "reparse")).exit_code == 1
    assert (len(server.asked), workspace.table("failures")["kind"].to_list()) == (1, ["refused"])
    assert workspace.run(*command_of(SUMS, "--redo", "changed")).exit_code == 1
    assert (len(server.asked), workspace.table("results").height) == (4, 1)
    assert workspace.table("failures").sort("failed_at")["final"].to_list() == [False, True]


def test_invalid_declaration_is_refused_by_all_commands(workspace, server, command_of):
    """In one line that names the file, before anything is read."""
    results = [
        workspace.run(*command_of('ROWS_SUM_TO = {"items.amont": "total"}', command=command))
        for command in ("run", "estimate")
    ]
    schemas = workspace.run("schemas", "show", command_of('ROWS_SUM_TO = {"items.amont": "total"}')[3])
    assert [result.exit_code for result in (*results, schemas)] == [2, 2, 2]
    assert [result.stderr.count("\n") for result in (*results, schemas)] == [1, 1, 1]
    assert ".py: ROWS_SUM_TO names 'amont', which is no field of Item, did you mean amount" in schemas.stderr
    assert server.asked == []
