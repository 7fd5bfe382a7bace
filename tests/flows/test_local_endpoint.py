"""An endpoint that reads locally, under the name of a vision model: what it has read is done for it, whoever looks."""

import json

import pytest

RUN = ("run", "in", "--schema", "caption")


@pytest.fixture
def desk(desk, endpoints):
    """A desk with one image after a run over such an endpoint."""
    desk.env |= {"TILEWISE_BASE_URL": endpoints(), "TILEWISE_PRICES": None}
    desk.images("a.jpg")
    assert desk.run(*RUN).exit_code == 0
    return desk


def test_an_estimate_leaves_out_what_it_has_read(desk):
    """The estimate asks nobody: the run before has seen what kind of endpoint this is."""
    said = json.loads(desk.run("estimate", "in", "--schema", "caption", "--output", "out", "--json").stdout)
    assert (said["skipped"], said["documents"]) == (1, 0)


def test_an_estimate_knows_that_it_is_free(desk):
    said = json.loads(desk.run("estimate", "in", "--schema", "caption", "--json").stdout)
    assert said["cost_usd"] == {"low": 0, "expected": 0, "high": 0}


def test_its_answers_are_read_again(desk):
    """The same command with --redo reparse takes what it has answered, without a call."""
    ended = desk.run(*RUN, "--redo", "reparse", "--json")
    row = json.loads(ended.stdout)
    assert (ended.exit_code, row["accepted"], row["calls"]) == (0, 1, 0)


def test_another_kind_of_endpoint_at_its_address_is_noticed(desk, serve, say):
    """What was seen there is forgotten once a list of models has no local reader."""
    server = serve(say.ok())
    desk.env["TILEWISE_BASE_URL"] = server.url
    server.listed = say.raw(json.dumps([{"id": "offline/echo"}]))
    desk.run(*RUN)
    server.listed = say.raw(json.dumps([{"id": "a/b"}]))
    desk.run(*RUN, "--redo", "all")
    said = json.loads(desk.run("estimate", "in", "--schema", "caption", "--json").stdout)
    assert said["cost_usd"]["high"] is None
