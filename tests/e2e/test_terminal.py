"""Money on a terminal: a person is asked, and the answer counts.

Covers `flows.runner`, too.
"""

import os
import pty
import subprocess

import pytest

RUN = ("run", "in", "--schema", "caption")


@pytest.fixture(autouse=True)
def one_image_to_confirm(workspace, server):
    """A workspace with one image, where every cost is asked about."""
    workspace.with_images("a.jpg").using(server, ask_above="0")


@pytest.fixture
def answered(workspace):
    """Runs with a terminal as stdin, at which this is typed."""

    def run(typed):
        ours, theirs = pty.openpty()
        os.write(ours, typed.encode())
        with workspace.start(*RUN, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            os.close(theirs)
            stdout, stderr = process.communicate(timeout=60)
        os.close(ours)
        return process.returncode, stdout, stderr

    return run


@pytest.mark.slow
def test_a_yes_on_the_terminal_goes_on(answered, server):
    """The question has the figure in it."""
    code, _, stderr = answered("y\n")
    assert "this may cost up to $0.0" in stderr
    assert "[y/N]" in stderr
    assert (code, len(server.asked)) == (0, 1)


def test_a_no_on_the_terminal_sends_nothing(answered, server, workspace):
    """A run that was not wanted never began: it exits with 2, sends nothing and writes no table."""
    code, _, _ = answered("n\n")
    assert code == 2
    assert server.asked == []
    assert workspace.files("out") == []
