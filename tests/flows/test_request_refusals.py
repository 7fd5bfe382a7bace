"""A refusal of the request before any answer stops the run; a refusal after an answer fails its document."""

import json

import pytest

RUN = ("run", "in", "--schema", "caption", "--json", "--yes")
REFUSAL = {"error": {"message": "Unsupported value: 'temperature'", "type": "invalid_request_error", "code": None}}


@pytest.fixture
def run(workspace, serve):
    """Runs over images against a server with this script; returns the exit code, the row of `runs` and the server."""

    def start(script, *args, images=0, **env):
        workspace.images(*(f"{number:02}.jpg" for number in range(images)))
        server = serve(script)
        result = workspace.run(*RUN, *args, env={"TILEWISE_BASE_URL": server.url, **env})
        return result.exit_code, json.loads(result.stdout), server

    return start


def make_refusal(replies, status=400, **error):
    """A refusal with this status, and these fields of its error changed."""
    return replies.raw(json.dumps({"error": REFUSAL["error"] | error}), status)


def test_five_equal_refusals_before_an_answer_stop_the_run_without_failures(workspace, replies, run):
    """The exit code is 2, every document remains, none has a failure, and the error quotes the server once."""
    code, row, server = run(make_refusal(replies), images=30)
    assert (code, row["status"]) == (2, "refused")
    assert (row["found"], row["failed"], row["remaining"]) == (30, 0, 30)
    assert workspace.table("failures").height == 0
    assert row["error"].count("Unsupported value") == 1
    assert len(server.asked) <= 16


def test_next_run_reads_the_documents_of_a_refused_run(replies, run):
    run(make_refusal(replies), images=8)
    code, row, _ = run(replies.ok())
    assert (code, row["accepted"], row["skipped"]) == (0, 8, 0)


@pytest.mark.parametrize("chunk", ["1", "3"])
def test_refusals_in_several_chunks_count_together(workspace, replies, run, chunk):
    """The documents of earlier chunks remain, too."""
    code, row, _ = run(make_refusal(replies), images=9, TILEWISE_CHUNK=chunk, TILEWISE_CONCURRENCY="1")
    assert (code, row["status"], row["failed"], row["remaining"]) == (2, "refused", 0, 9)
    assert workspace.table("failures").height == 0


def test_fewer_than_five_refusals_are_failures_that_are_not_final(workspace, replies, run):
    """The next run reads these documents again."""
    code, row, _ = run(make_refusal(replies), images=4)
    assert (code, row["status"], row["failed"]) == (1, "completed", 4)
    assert workspace.table("failures")["final"].to_list() == [False] * 4
    code, row, _ = run(replies.ok())
    assert (code, row["accepted"]) == (0, 4)


def test_different_codes_are_different_refusals(workspace, replies, run):
    """Four of one code and four of another do not stop the run; their messages do not count."""
    numbers = iter(range(8))

    def script(_):
        number = next(numbers)
        return make_refusal(replies, code=f"code_{number % 2}", message=f"no {number}")

    code, row, _ = run(script, images=8, TILEWISE_CONCURRENCY="1")
    assert (code, row["status"], row["failed"]) == (1, "completed", 8)
    assert workspace.table("failures")["final"].any() is False


def test_refusal_after_an_answer_is_final_under_the_same_model(workspace, replies, run):
    """The next run skips the document, and a run of another model reads it again."""
    numbers = iter(range(100))

    def script(_):
        return make_refusal(replies) if next(numbers) == 2 else replies.ok()

    code, row, _ = run(script, images=4, TILEWISE_CONCURRENCY="1")
    assert (code, row["accepted"], row["failed"]) == (1, 3, 1)
    assert workspace.only("failures")["final"] is True
    code, row, _ = run(replies.ok())
    assert (code, row["accepted"], row["skipped"]) == (0, 0, 4)
    code, row, _ = run(replies.ok(), "--model", "maker/other")
    assert (code, row["accepted"], row["skipped"]) == (0, 1, 3)
