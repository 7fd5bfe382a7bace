"""An endpoint that reads locally, under the name of a vision model: what it has read is done for it, whoever looks."""

import json

import pytest

RUN = ("run", "in", "--schema", "caption")


@pytest.fixture(autouse=True)
def one_image_read_locally(workspace, endpoints):
    """A workspace with one image after a run over such an endpoint."""
    workspace.env |= {"TILEWISE_BASE_URL": endpoints(), "TILEWISE_PRICES": None}
    workspace.images("a.jpg")
    assert workspace.run(*RUN).exit_code == 0


def test_an_estimate_leaves_out_what_it_has_read(workspace):
    """The estimate asks nobody: the run before has seen what kind of endpoint this is."""
    said = json.loads(workspace.run("estimate", "in", "--schema", "caption", "--output", "out", "--json").stdout)
    assert (said["skipped"], said["documents"]) == (1, 0)


def test_an_estimate_knows_that_it_is_free(workspace):
    said = json.loads(workspace.run("estimate", "in", "--schema", "caption", "--json").stdout)
    assert said["cost_usd"] == {"low": 0, "expected": 0, "high": 0}


def test_its_answers_are_read_again(workspace):
    """The same command with --redo reparse takes what it has answered, without a call."""
    ended = workspace.run(*RUN, "--redo", "reparse", "--json")
    row = json.loads(ended.stdout)
    assert (ended.exit_code, row["accepted"], row["calls"]) == (0, 1, 0)


def test_another_kind_of_endpoint_at_its_address_is_noticed(workspace, serve, replies):
    """What was seen there is forgotten once a list of models has no local reader."""
    server = serve(replies.ok())
    workspace.env["TILEWISE_BASE_URL"] = server.url
    server.listed = replies.raw(json.dumps([{"id": "offline/echo"}]))
    workspace.run(*RUN)
    server.listed = replies.raw(json.dumps([{"id": "a/b"}]))
    workspace.run(*RUN, "--redo", "all")
    said = json.loads(workspace.run("estimate", "in", "--schema", "caption", "--json").stdout)
    assert said["cost_usd"]["high"] is None
