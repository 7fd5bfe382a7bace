"""Extra headers and a query in the base URL: they reach the server, and stand in no table, plan, job or output."""

import pytest

RUN = ("run", "in", "--schema", "caption")
HEADER, QUERY = "tok-4f1c9e77a2b8", "sig-9d2e71c0aa55"


@pytest.fixture
def ran(workspace, server, replies):
    """A run behind a gateway that wants both; gives the ended command."""
    workspace.with_images("a.png").using(server)
    server.answers_with(replies.ok())
    workspace.env["TILEWISE_BASE_URL"] = f"{server.url}?code={QUERY}"
    workspace.env["TILEWISE_HEADERS"] = f'{{"X-Team": "{HEADER}"}}'
    return workspace.run(*RUN)


def test_values_of_headers_and_query_are_in_no_file(workspace, ran):
    """The base URL is in the tables without its query."""
    assert ran.exit_code == 0, ran.stderr
    assert workspace.only("results")["caption"] == "A wall"
    assert "?" not in workspace.only("runs")["endpoint"]
    assert HEADER not in workspace.read_all_bytes()
    assert QUERY not in workspace.read_all_bytes()


def test_values_of_headers_and_query_are_in_no_output(workspace, ran):
    """Neither of the run nor of `doctor`, which shows every setting."""
    doctor = workspace.run("doctor")
    assert "TILEWISE_HEADERS" in doctor.stdout
    for text in (ran.stdout, ran.stderr, doctor.stdout, doctor.stderr):
        assert HEADER not in text
        assert QUERY not in text


def test_query_in_the_base_url_of_a_job_is_refused(workspace, server):
    """A job is stored by the orchestrator and in the tables."""
    workspace.with_images("a.png").using(server)
    ended = workspace.run(*RUN, "--base-url", f"{server.url}?code={QUERY}")
    assert ended.exit_code == 2
    assert "TILEWISE_BASE_URL" in ended.stderr
    assert QUERY not in ended.stderr
