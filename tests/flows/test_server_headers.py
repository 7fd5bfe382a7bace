"""The values of extra headers and of the base URL's query appear in no table, plan, job or output."""

import pytest

RUN = ("run", "in", "--schema", "caption")
HEADER, QUERY = "tok-4f1c9e77a2b8", "sig-9d2e71c0aa55"


@pytest.fixture
def run_result(workspace, server, replies):
    """The result of a run behind a gateway that requires a header and a query."""
    workspace.with_images("a.png").using(server)
    server.answers_with(replies.ok())
    workspace.env["TILEWISE_BASE_URL"] = f"{server.url}?code={QUERY}"
    workspace.env["TILEWISE_HEADERS"] = f'{{"X-Team": "{HEADER}"}}'
    return workspace.run(*RUN)


def test_values_of_headers_and_query_are_in_no_file(workspace, run_result):
    """The tables have the base URL without its query."""
    assert run_result.exit_code == 0, run_result.stderr
    assert workspace.only("results")["caption"] == "A wall"
    assert "?" not in workspace.only("runs")["endpoint"]
    assert HEADER not in workspace.read_all_bytes()
    assert QUERY not in workspace.read_all_bytes()


def test_values_of_headers_and_query_are_in_no_output(workspace, run_result):
    """Neither the run nor `doctor`, which shows every setting, prints them."""
    doctor = workspace.run("doctor")
    assert "TILEWISE_HEADERS" in doctor.stdout
    for text in (run_result.stdout, run_result.stderr, doctor.stdout, doctor.stderr):
        assert HEADER not in text
        assert QUERY not in text


def test_query_in_the_base_url_of_a_job_is_refused(workspace, server):
    """Prefect and the tables store jobs as plain text."""
    workspace.with_images("a.png").using(server)
    result = workspace.run(*RUN, "--base-url", f"{server.url}?code={QUERY}")
    assert result.exit_code == 2
    assert "TILEWISE_BASE_URL" in result.stderr
    assert QUERY not in result.stderr
