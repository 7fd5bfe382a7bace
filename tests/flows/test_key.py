"""What a server answers instead of an answer, and what becomes of the document and of the run."""

import pytest

RUN = ("run", "in", "--schema", "caption")
KEY = "sk-test-4f1c9e77a2"


@pytest.fixture
def desk(desk):
    """A desk with one image."""
    desk.images("a.jpg")
    return desk


@pytest.fixture
def answered(desk, serve):
    """Runs against a server with this script; gives the ended command and the server."""

    def run(*script, args=(), **env):
        server = serve(*script)
        return desk.run(*RUN, *args, env={"TILEWISE_BASE_URL": server.url, **env}), server

    return run


def outcomes(desk):
    """The outcomes of the calls in their order."""
    return desk.table("calls").sort("started_at")["outcome"].to_list()


def test_the_key_is_kept_nowhere(desk, serve, say):
    """A server that repeats the key gets it into no file, no table, no ledger and no line of output."""
    server = serve(say.error(401, f"Incorrect API key provided: {KEY}."))
    ended = desk.tilewise(*RUN, env={"TILEWISE_BASE_URL": server.url})
    assert server.keys == [f"Bearer {KEY}"]
    assert "Incorrect API key provided: **********" in ended.stdout
    assert KEY not in ended.stdout + ended.stderr + desk.said()


@pytest.mark.parametrize("status", [400, 500])
def test_the_key_is_kept_nowhere_when_a_document_fails(desk, answered, say, status):
    """Nor is it where the server repeats it in the error of one document."""
    ended, server = answered(say.error(status, f"bad request by {KEY}"), TILEWISE_ATTEMPTS="1")
    assert server.keys == [f"Bearer {KEY}"]
    assert ended.exit_code == 1
    assert KEY not in ended.stdout + ended.stderr + desk.said()


def test_the_key_is_kept_nowhere_when_a_model_says_it(desk, answered, say):
    """Not even where an accepted answer has it in its text."""
    ended, _ = answered(say.raw(f"<html>proxy: Authorization: Bearer {KEY}</html>", kind="text/html"), say.ok())
    assert ended.exit_code == 0
    assert KEY not in ended.stdout + ended.stderr + desk.said()
