"""Golden files: the text that a user reads, one file per situation, in `tests/golden/<command>/`.

`UPDATE_GOLDEN=1 pytest tests/flows/test_cli.py` writes them again; read the diff before you commit it.
"""

import os
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "golden"
VOLATILE = (  # text that differs from run to run, and its replacement
    (re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{4}\b"), "<run>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
    (re.compile(r"\b20\d\d-\d\d-\d\d(T[0-9:.]+)?\b"), "<date>"),
    (re.compile(r"\b\d+(\.\d+)? s\b"), "<seconds> s"),
    (re.compile(r"\d+(\.\d+)?/s\b"), "<rate>/s"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\b\d+ days old"), "<days> days old"),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)


def normalise(text, *paths):
    """The text without what differs from run to run; these paths become `<folder>`."""
    for path in map(str, paths):
        text = text.replace(path, "<folder>")
    for pattern, name in VOLATILE:
        text = pattern.sub(name, text)
    return text


def transcript(workspace, *commands, env=None):
    """The terminal's text of these commands, run one after the other in the workspace."""
    lines = []
    for arguments in commands:
        ended = workspace.run(*arguments, env={"COLUMNS": "100"} | (env or {}))
        lines.append(
            f"$ tilewise {' '.join(map(str, arguments))}\n{ended.stdout}{ended.stderr}[exit {ended.exit_code}]\n"
        )
    return normalise("\n".join(lines), workspace.folder)


@pytest.fixture
def golden():
    """Compares a text with its golden file, or writes the file when UPDATE_GOLDEN is set."""

    def compare(name, text):
        path = FOLDER / f"{name}.txt"
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{path} differs: UPDATE_GOLDEN=1 writes it anew"

    return compare
