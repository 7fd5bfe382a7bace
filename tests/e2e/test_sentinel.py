"""A run compares the token bill with its estimate, and warns if the server bills by another rule."""

from itertools import chain, repeat

import pytest

from extractors.core.tiles import get_rule

pytestmark = pytest.mark.slow

RUN = ("run", "in", "--schema", "caption")


@pytest.fixture(autouse=True)
def thirty_images(workspace):
    """A workspace with images that the formula and the table bill differently."""
    workspace.with_images(*(f"{number:03}.png" for number in range(30)), size=(900, 700))


@pytest.fixture
def formula_endpoint(endpoints, workspace):
    """A workspace with an endpoint that bills by the formula."""
    workspace.env["TILEWISE_BASE_URL"] = endpoints("--bill", "formula")


def test_bill_by_another_rule_is_one_warning(workspace, formula_endpoint):
    """It names the configured rule, the rule that fits, and what to do; the run succeeds."""
    result = workspace.run(*RUN, "--bill", "table")
    [warning] = workspace.only("runs")["warnings"]
    assert result.exit_code == 0
    assert warning.startswith("the bill is not what the rule table predicts: 100 % of 30 calls are off, by -4,803")
    assert "the rule formula" in warning
    assert warning.endswith("run `tilewise calibrate`")
    assert result.stdout.count(f"warning: {warning}\n") == result.stdout.count("warning:") == 1
    assert workspace.only("runs")["residual_tokens"] == 30 * -4803


def test_bill_by_the_configured_rule_is_no_warning(workspace, formula_endpoint):
    result = workspace.run(*RUN, "--bill", "formula")
    assert workspace.only("runs")["warnings"] == []
    assert "warning" not in result.stdout


def test_calibration_ends_the_billing_warning(workspace, formula_endpoint):
    workspace.run(*RUN)
    assert workspace.run("calibrate").exit_code == 0
    workspace.run(*RUN, "--redo", "all", "--output", "again")
    assert [len(warnings) for warnings in workspace.table("runs").filter(flow="run")["warnings"]] == [1]
    assert workspace.table("runs", "again")["warnings"].to_list() == [[]]


@pytest.mark.parametrize(("deviating", "warnings"), [(2, 0), (3, 1)])
def test_two_deviating_calls_of_100_are_no_warning(workspace, serve, replies, deviating, warnings):
    """The third is."""
    workspace.images(*(f"{number:03}.png" for number in range(100)), size=(900, 700))
    bills = chain(
        [replies.billing(get_rule("table").tokens)] * deviating, repeat(replies.billing(get_rule("formula").tokens))
    )

    def script(request):
        return next(bills)(request)

    server = serve(script)
    assert workspace.run(*RUN, "--bill", "formula", "--base-url", server.url).exit_code == 0
    assert len(workspace.only("runs")["warnings"]) == warnings


def test_missing_usage_is_no_warning(workspace, serve, replies):
    """Its cost is in `cost_unknown_usd`."""
    server = serve(replies.ok(usage=None))
    workspace.run(*RUN, "--base-url", server.url)
    assert workspace.only("runs")["warnings"] == []
    assert workspace.only("runs")["cost_unknown_usd"] > 0


def test_usage_without_image_tokens_is_a_warning(workspace, serve, replies):
    """As of a gateway that counts the text alone."""
    server = serve(replies.billing(lambda size: 0))
    workspace.run(*RUN, "--base-url", server.url)
    [warning] = workspace.only("runs")["warnings"]
    assert "the server's usage does not count images" in warning


def test_constant_text_difference_is_no_warning(workspace, serve, replies):
    """Languages differ in bytes a token; the next run has no residual."""
    server = serve(replies.billing(get_rule("formula").tokens, bytes_a_token=3))
    workspace.run(*RUN, "--base-url", server.url, "--bill", "formula")
    workspace.run(*RUN, "--base-url", server.url, "--bill", "formula", "--redo", "all", "--output", "again")
    [first, second] = [workspace.only("runs"), workspace.table("runs", "again").to_dicts()[0]]
    assert (first["warnings"], second["warnings"]) == ([], [])
    assert first["residual_tokens"] > 0 == second["residual_tokens"]
