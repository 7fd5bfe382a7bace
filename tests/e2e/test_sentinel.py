"""The bill against its prediction: a run notices by itself when the server bills by another rule."""

from itertools import chain, repeat

import pytest

from extractors.core.tiles import get_rule

pytestmark = pytest.mark.slow

RUN = ("run", "in", "--schema", "caption")


@pytest.fixture(autouse=True)
def thirty_images(workspace):
    """A workspace with pictures that the formula and the table bill differently."""
    workspace.with_images(*(f"{number:03}.png" for number in range(30)), size=(900, 700))


@pytest.fixture
def formula(endpoints, workspace):
    """An endpoint that bills by the formula, in force."""
    workspace.env["TILEWISE_BASE_URL"] = endpoints("--bill", "formula")


def test_a_bill_by_another_rule_is_one_clear_warning(workspace, formula):
    """The warning names the rule in force, the one that fits, and what to do; the run itself is good."""
    ended = workspace.run(*RUN, "--bill", "table")
    [warning] = workspace.only("runs")["warnings"]
    assert ended.exit_code == 0
    assert warning.startswith("the bill is not what the rule table predicts: 100 % of 30 calls are off, by -4,803")
    assert "the rule formula" in warning
    assert warning.endswith("run `tilewise calibrate`")
    assert ended.stdout.count(f"warning: {warning}\n") == ended.stdout.count("warning:") == 1
    assert workspace.only("runs")["residual_tokens"] == 30 * -4803


def test_the_rule_by_which_the_server_bills_is_no_warning(workspace, formula):
    ended = workspace.run(*RUN, "--bill", "formula")
    assert workspace.only("runs")["warnings"] == []
    assert "warning" not in ended.stdout


def test_what_the_warning_suggests_ends_it(workspace, formula):
    """After a calibration the same run is as predicted."""
    workspace.run(*RUN)
    assert workspace.run("calibrate").exit_code == 0
    workspace.run(*RUN, "--redo", "all", "--output", "again")
    assert [len(each) for each in workspace.table("runs").filter(flow="run")["warnings"]] == [1]
    assert workspace.table("runs", "again")["warnings"].to_list() == [[]]


@pytest.mark.parametrize(("odd", "warnings"), [(2, 0), (3, 1)])
def test_a_few_odd_calls_are_no_warning(workspace, serve, replies, odd, warnings):
    """Up to two calls of a hundred may be counted otherwise."""
    workspace.images(*(f"{number:03}.png" for number in range(100)), size=(900, 700))
    bills = chain(
        [replies.billing(get_rule("table").tokens)] * odd, repeat(replies.billing(get_rule("formula").tokens))
    )

    def script(asked):
        return next(bills)(asked)

    server = serve(script)
    assert workspace.run(*RUN, "--bill", "formula", "--base-url", server.url).exit_code == 0
    assert len(workspace.only("runs")["warnings"]) == warnings


def test_a_server_without_usage_is_no_warning(workspace, serve, replies):
    """Nothing is compared with nothing; that the bill is unknown stands in its own column."""
    server = serve(replies.ok(usage=None))
    workspace.run(*RUN, "--base-url", server.url)
    assert workspace.only("runs")["warnings"] == []
    assert workspace.only("runs")["cost_unknown_usd"] > 0


def test_a_usage_that_counts_no_images_is_said_to(workspace, serve, replies):
    """A gateway may count the text alone."""
    server = serve(replies.billing(lambda size: 0))
    workspace.run(*RUN, "--base-url", server.url)
    [warning] = workspace.only("runs")["warnings"]
    assert "the server's usage does not count images" in warning


def test_a_text_that_is_counted_otherwise_is_no_warning(workspace, serve, replies):
    """Languages differ in bytes a token: a difference that is the same for all calls is the text's."""
    server = serve(replies.billing(get_rule("formula").tokens, bytes_a_token=3))
    workspace.run(*RUN, "--base-url", server.url, "--bill", "formula")
    workspace.run(*RUN, "--base-url", server.url, "--bill", "formula", "--redo", "all", "--output", "again")
    [first, again] = [workspace.only("runs"), workspace.table("runs", "again").to_dicts()[0]]
    assert (first["warnings"], again["warnings"]) == ([], [])
    assert first["residual_tokens"] > 0 == again["residual_tokens"]
