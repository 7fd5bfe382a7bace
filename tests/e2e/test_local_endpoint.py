"""An endpoint that reads locally under the name of a vision model: its results count as results of that model."""

import json

import pytest

RUN = ("run", "in", "--schema", "caption")


@pytest.fixture(autouse=True)
def one_image_read_locally(workspace, endpoints):
    """A workspace with one image, after a run with such an endpoint."""
    workspace.env |= {"TILEWISE_BASE_URL": endpoints(), "TILEWISE_PRICES": None}
    workspace.images("a.jpg")
    assert workspace.run(*RUN).exit_code == 0


def test_estimate_skips_results_of_local_endpoint(workspace):
    """It sends no request: the run before has recorded the kind of the endpoint."""
    estimated = json.loads(workspace.run("estimate", "in", "--schema", "caption", "--output", "out", "--json").stdout)
    assert (estimated["skipped"], estimated["documents"]) == (1, 0)


def test_estimate_for_local_endpoint_is_free(workspace):
    estimated = json.loads(workspace.run("estimate", "in", "--schema", "caption", "--json").stdout)
    assert estimated["cost_usd"] == {"low": 0, "expected": 0, "high": 0}


def test_reparse_takes_answers_of_local_endpoint(workspace):
    result = workspace.run(*RUN, "--redo", "reparse", "--json")
    row = json.loads(result.stdout)
    assert (result.exit_code, row["accepted"], row["calls"]) == (0, 1, 0)


def test_replaced_local_endpoint_is_detected(workspace, serve, replies):
    """The recorded kind is dropped when the address lists models without a local reader."""
    server = serve(replies.ok())
    workspace.env["TILEWISE_BASE_URL"] = server.url
    server.listed = replies.raw(json.dumps([{"id": "offline/echo"}]))
    workspace.run(*RUN)
    server.listed = replies.raw(json.dumps([{"id": "a/b"}]))
    workspace.run(*RUN, "--redo", "all")
    estimated = json.loads(workspace.run("estimate", "in", "--schema", "caption", "--json").stdout)
    assert estimated["cost_usd"]["high"] is None
