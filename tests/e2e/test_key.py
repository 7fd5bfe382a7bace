"""What a server answers instead of an answer, and what becomes of the document and of the run."""

import pytest

RUN = ("run", "in", "--schema", "caption")
KEY = "sk-test-4f1c9e77a2"


@pytest.fixture(autouse=True)
def one_image(workspace):
    """A workspace with one image."""
    workspace.with_images("a.jpg")


@pytest.fixture
def answered(workspace, serve):
    """Runs against a server with this script; gives the ended command and the server."""

    def run(*script, args=(), **env):
        server = serve(*script)
        return workspace.run(*RUN, *args, env={"TILEWISE_BASE_URL": server.url, **env}), server

    return run


def outcomes(workspace):
    """The outcomes of the calls in their order."""
    return workspace.table("calls").sort("started_at")["outcome"].to_list()


def test_the_key_is_kept_nowhere(workspace, serve, replies):
    """A server that repeats the key gets it into no file, no table, no ledger and no line of output."""
    server = serve(replies.error(401, f"Incorrect API key provided: {KEY}."))
    ended = workspace.tilewise(*RUN, env={"TILEWISE_BASE_URL": server.url})
    assert server.keys == [f"Bearer {KEY}"]
    assert "Incorrect API key provided: **********" in ended.stdout
    assert KEY not in ended.stdout + ended.stderr + workspace.read_all_bytes()


@pytest.mark.parametrize("status", [400, 500])
def test_the_key_is_kept_nowhere_when_a_document_fails(workspace, answered, replies, status):
    """Nor is it where the server repeats it in the error of one document."""
    ended, server = answered(replies.error(status, f"bad request by {KEY}"), TILEWISE_ATTEMPTS="1")
    assert server.keys == [f"Bearer {KEY}"]
    assert ended.exit_code == 1
    assert KEY not in ended.stdout + ended.stderr + workspace.read_all_bytes()


def test_the_key_is_kept_nowhere_when_a_model_says_it(workspace, answered, replies):
    """Not even where an accepted answer has it in its text."""
    ended, _ = answered(replies.raw(f"<html>proxy: Authorization: Bearer {KEY}</html>", kind="text/html"), replies.ok())
    assert ended.exit_code == 0
    assert KEY not in ended.stdout + ended.stderr + workspace.read_all_bytes()
