"""`--confidence` requests log probabilities in each server's form, stores them, and works without them if refused."""

import json

import pytest

from extractors.run.refusals import MAX_CALLS

RUN = ("run", "in", "--schema", "caption", "--bill", "formula", "--policy", "faithful")
ANSWER = '{"caption": "A wall", "alt_text": null, "tags": []}'
TOKENS = ['{"', "caption", '": "', "A", " wall", '", "alt_text": ', "null", ', "tags": []}']
LOGPROBS = [-0.125, 0.0, -0.25, -0.5, -1.5, 0.0, -0.75, 0.0]
REFUSAL = "logprobs is not supported with this model"
WARNING = "the server refuses log probabilities: 400 " + REFUSAL


def with_logprobs(replies, form="openai", content=ANSWER, tokens=TOKENS, logprobs=LOGPROBS):
    """An answer with its log probabilities."""
    body = json.loads(replies.ok(content).body)
    entries = [{"token": token, "logprob": logprob} for token, logprob in zip(tokens, logprobs, strict=True)]
    forms = {"openai": {"content": entries}, "together": {"tokens": tokens, "token_logprobs": logprobs}}
    body["choices"][0]["logprobs"] = forms[form]
    return replies.raw(json.dumps(body))


@pytest.fixture
def serve_without_logprobs(serve, replies):
    """A server that refuses log probabilities with this error, and answers every other request."""

    def start(error=None, otherwise=None):
        return serve(
            lambda request: (
                (error or replies.error(400, REFUSAL)) if "logprobs" in request else otherwise or replies.ok()
            )
        )

    return start


def list_logprobs(server):
    """The value of `logprobs` in each request, None without it."""
    return [request.get("logprobs") for request in server.asked]


@pytest.mark.parametrize(("profile", "value", "form"), [("together", 1, "together"), ("generic", True, "openai")])
def test_logprobs_are_requested_in_the_form_of_the_profile(workspace, serve, replies, profile, value, form):
    """Nothing else of the request changes; the tokens are in `replies`, and the answer is the same."""
    workspace.with_images("a.jpg").using(server := serve(replies.ok(), with_logprobs(replies, form)), profile=profile)
    assert workspace.run(*RUN).exit_code == 0
    assert workspace.run(*RUN, "--redo", "all", "--confidence").exit_code == 0
    plain, confident = server.asked
    assert confident == plain | {"logprobs": value}
    assert type(confident["logprobs"]) is type(value)
    first, second = workspace.table("replies").sort("tokens", nulls_last=False).to_dicts()
    assert (first["tokens"], first["token_logprobs"]) == (None, None)
    assert (second["tokens"], second["token_logprobs"]) == (TOKENS, LOGPROBS)
    assert json.loads(second["reply"])["choices"][0]["message"]["content"] == ANSWER


def test_confidence_redoes_nothing(workspace, serve, replies):
    """The flag changes no key and no hash: results with and without it count alike."""
    workspace.with_images("a.jpg").using(server := serve(with_logprobs(replies)))
    assert workspace.run(*RUN).exit_code == 0
    assert workspace.run(*RUN, env={"TILEWISE_CONFIDENCE": "1"}).exit_code == 0
    assert workspace.run(*RUN, "--redo", "changed", "--confidence").exit_code == 0
    assert list_logprobs(server) == [None]
    workspace.images("b.jpg")
    assert workspace.run(*RUN, env={"TILEWISE_CONFIDENCE": "1"}).exit_code == 0
    assert list_logprobs(server) == [None, True]


@pytest.mark.parametrize(("keep", "rows_kept"), [("all", 1), ("failed", 0), ("none", 0)])
def test_keep_replies_applies_to_tokens(workspace, serve, replies, keep, rows_kept):
    """The ledger drops both."""
    workspace.with_images("a.jpg").using(serve(with_logprobs(replies)), keep_replies=keep)
    assert workspace.run(*RUN, "--confidence").exit_code == 0
    rows = workspace.table("replies")
    assert rows.height == rows_kept
    assert rows.is_empty() or rows["tokens"].to_list() == [TOKENS]
    assert b'": \\"' not in (workspace.folder / "ledger.db").read_bytes()


def test_refused_logprobs_are_dropped_with_one_warning(workspace, serve_without_logprobs):
    """Calls before the first answer are repeated once, unbilled and not counted as failures; later runs do not ask."""
    names = [f"{number}.jpg" for number in range(20)]
    workspace.with_images(*names).using(server := serve_without_logprobs(), attempts="1", reasks="0", concurrency="4")
    result = workspace.run(*RUN, "--confidence")
    assert result.exit_code == 0, result.output
    run, calls = workspace.only("runs"), workspace.table("calls")
    refused = calls.filter(calls["outcome"] == "client_error")
    assert (run["accepted"], run["failed"]) == (20, 0)
    assert workspace.table("failures").is_empty()
    assert [text for text in run["warnings"] if "log prob" in text] == [
        text for text in run["warnings"] if WARNING in text
    ]
    assert sum(WARNING in text for text in run["warnings"]) == 1
    assert 1 <= refused.height <= MAX_CALLS
    assert calls.height == 20 + refused.height == len(server.asked)
    assert set(refused["billed"]) == {"no"}
    assert REFUSAL in refused["error"][0]
    before = len(server.asked)
    workspace.images("later.jpg")
    result = workspace.run(*RUN, "--confidence")
    assert list_logprobs(server)[before:] == [None]
    last = workspace.table("runs").sort("started_at").to_dicts()[-1]
    assert [REFUSAL in text for text in last["warnings"] if "log prob" in text] == [True]


def test_refused_logprobs_are_recognized_in_404_and_in_200(workspace, serve_without_logprobs, replies):
    """A 404, which otherwise stops a run, and an error with status 200."""
    errors = [
        replies.error(404, "No endpoints found that can handle the requested parameters"),
        replies.raw(json.dumps({"error": {"message": REFUSAL, "code": 400}})),
    ]
    for number, error in enumerate(errors):
        workspace.with_images(f"{number}.jpg").using(
            serve_without_logprobs(error), ledger=f"sqlite:///{workspace.folder}/{number}.db"
        )
        assert workspace.run(*RUN, "--confidence").exit_code == 0
    assert set(workspace.table("runs")["accepted"]) == {1}


def test_other_errors_do_not_disable_logprobs(workspace, serve, replies):
    """They are not repeated; one that only quotes the parameter is repeated once, and is then a failure."""
    workspace.with_images("a.jpg", "b.jpg").using(server := serve(replies.error(400, "Invalid image")))
    assert workspace.run(*RUN, "--confidence").exit_code == 1
    assert len(server.asked) == 2
    workspace.images("c.jpg")
    server.answers_with(replies.error(400, "Invalid image in the request with logprobs"))
    workspace.run(*RUN, "--confidence", "--redo", "failed")
    run = workspace.table("runs").sort("started_at").to_dicts()[-1]
    assert (run["status"], run["failed"], run["calls"]) == ("completed", 3, 6)
    assert [text for text in run["warnings"] if "log prob" in text] == []
    server.answers_with(replies.ok())
    workspace.images("d.jpg")
    assert workspace.run(*RUN, "--confidence").exit_code == 0
    assert list_logprobs(server)[-1] is True


def test_reparsed_reply_keeps_its_tokens(workspace, serve, replies, monkeypatch):
    off_schema = with_logprobs(replies, content='{"x": 1}', tokens=['{"x": ', "1}"], logprobs=[-0.5, -0.25])
    workspace.with_images("a.jpg").using(server := serve(off_schema), reasks="0")
    assert workspace.run(*RUN, "--confidence").exit_code == 1
    assert workspace.run(*RUN, "--redo", "reparse").exit_code == 1
    assert list_logprobs(server) == [True]
    assert workspace.only("replies")["tokens"] == ['{"x": ', "1}"]


@pytest.mark.parametrize(("profile", "stream"), [("together", "0"), ("generic", "1")])
def test_local_endpoint_gives_logprobs(workspace, echo, profile, stream):
    """In both forms, plain and streamed; the tokens joined are the answer."""
    workspace.with_images("a.jpg").using(echo, profile=profile, stream=stream, confidence="1")
    assert workspace.run(*RUN).exit_code == 0
    reply = workspace.only("replies")
    assert json.loads("".join(reply["tokens"]))["caption"] == workspace.only("results")["caption"] == "echo"
    assert len(reply["tokens"]) == len(reply["token_logprobs"])
    assert min(reply["token_logprobs"]) < 0 == max(reply["token_logprobs"])
    assert "log prob" not in " ".join(workspace.only("runs")["warnings"])


@pytest.mark.slow
def test_run_killed_between_refusal_and_repetition_is_recovered(workspace, serve, replies, wait):
    """The refused call is not billed, the repeated one may be; the next run asks for log probabilities again."""

    def script(request):
        if "logprobs" in request:
            return replies.error(400, REFUSAL)
        server.gate.wait(90)
        return replies.ok()

    workspace.with_images("a.jpg").using(server := serve(script))
    with workspace.start(*RUN, "--confidence") as process:
        wait(lambda: len(server.asked) == 2)
        process.kill()
    server.gate.set()
    result = workspace.run(*RUN, "--confidence")
    assert result.exit_code == 0, result.output
    calls = workspace.table("calls").sort("started_at")
    assert calls["outcome"].to_list() == ["client_error", "aborted", "client_error", "accepted"]
    assert calls["billed"].to_list() == ["no", "unknown", "no", "yes"]
    assert list_logprobs(server) == [True, None, True, None]
    assert workspace.table("results").height == 1
    assert workspace.table("failures").is_empty()
