"""The cost confirmation on a terminal.

Covers `flows.runner`, too.
"""

import os
import pty
import subprocess

import pytest

RUN = ("run", "in", "--schema", "caption")


@pytest.fixture(autouse=True)
def one_image_to_confirm(workspace, server):
    """A workspace with one image, where every cost needs confirmation."""
    workspace.with_images("a.jpg").using(server, ask_above="0")


@pytest.fixture
def run_at_terminal(workspace):
    """Runs with a terminal as stdin, and types this text."""

    def run(text):
        controller, terminal = pty.openpty()
        os.write(controller, text.encode())
        with workspace.start(*RUN, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            os.close(terminal)
            stdout, stderr = process.communicate(timeout=60)
        os.close(controller)
        return process.returncode, stdout, stderr

    return run


@pytest.mark.slow
def test_yes_at_the_terminal_continues(run_at_terminal, server):
    """The question names the cost."""
    code, _, stderr = run_at_terminal("y\n")
    assert "this may cost up to $0.0" in stderr
    assert "[y/N]" in stderr
    assert (code, len(server.asked)) == (0, 1)


def test_no_at_the_terminal_ends_the_run(run_at_terminal, server, workspace):
    """It exits with 2, sends nothing and writes no table."""
    code, _, _ = run_at_terminal("n\n")
    assert code == 2
    assert server.asked == []
    assert workspace.files("out") == []
