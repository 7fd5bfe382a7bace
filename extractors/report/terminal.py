"""The console on which tables and lines are printed. It imports little, so that a command that reads no run starts fast."""

from __future__ import annotations

from rich.console import Console


def terminal(*, stderr: bool = False) -> Console:
    """A console that prints foreign text (paths, server messages, model names) verbatim, never as markup."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)
