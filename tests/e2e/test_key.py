"""The API key appears in no file, table, ledger or output, even if a server repeats it."""

import pytest

RUN = ("run", "in", "--schema", "caption")
KEY = "sk-test-4f1c9e77a2"


@pytest.fixture(autouse=True)
def one_image(workspace):
    """A workspace with one image."""
    workspace.with_images("a.jpg")


@pytest.fixture
def run_against(workspace, serve):
    """Runs against a server with this script; returns the result and the server."""

    def run(*script, args=(), **env):
        server = serve(*script)
        return workspace.run(*RUN, *args, env={"TILEWISE_BASE_URL": server.url, **env}), server

    return run


def outcomes(workspace):
    """The outcomes of the calls in their order."""
    return workspace.table("calls").sort("started_at")["outcome"].to_list()


def test_refused_key_is_masked_everywhere(workspace, serve, replies):
    server = serve(replies.error(401, f"Incorrect API key provided: {KEY}."))
    result = workspace.tilewise(*RUN, env={"TILEWISE_BASE_URL": server.url})
    assert server.keys == [f"Bearer {KEY}"]
    assert "Incorrect API key provided: **********" in result.stdout
    assert KEY not in result.stdout + result.stderr + workspace.read_all_bytes()


@pytest.mark.parametrize("status", [400, 500])
def test_key_in_a_document_error_is_masked_everywhere(workspace, run_against, replies, status):
    result, server = run_against(replies.error(status, f"bad request by {KEY}"), TILEWISE_ATTEMPTS="1")
    assert server.keys == [f"Bearer {KEY}"]
    assert result.exit_code == 1
    assert KEY not in result.stdout + result.stderr + workspace.read_all_bytes()


def test_key_in_an_html_answer_is_masked_everywhere(workspace, run_against, replies):
    result, _ = run_against(
        replies.raw(f"<html>proxy: Authorization: Bearer {KEY}</html>", kind="text/html"), replies.ok()
    )
    assert result.exit_code == 0
    assert KEY not in result.stdout + result.stderr + workspace.read_all_bytes()
