"""The README is short, and the output that it shows is what the commands print.

`UPDATE_GOLDEN=1 pytest tests/docs/test_readme.py` writes their output into it.
"""

import os
import re
import subprocess

import pytest
from support.markdown import README, ROOT, RUN

MAX_LINES = 160
TIMEOUT = 280  # seconds: local OCR is slow on a busy machine
SESSIONS = README.sessions()
SAMPLES = "data/samples/receipts"


def mask(line):
    """A printed line without its numbers, run names, paths and spaces."""
    line = re.sub(r"\S*/\S*", "PLACE", RUN.sub("RUN", line))
    line = re.sub(r"\d{4}-\d\d-\d\d", "DAY", line)
    return " ".join(re.sub(r"\$?\d[\d,.]*", "N", line).split())


def list_differences(command, printed):
    """The lines that are shown below a command and not printed, or printed and not shown."""
    return {mask(line) for line in SESSIONS[command]} ^ {mask(line) for line in printed.splitlines() if line.strip()}


def update(command, printed, workspace):
    """Replaces the output below a command in the README where UPDATE_GOLDEN is set."""
    if not os.environ.get("UPDATE_GOLDEN"):
        return
    lines = [line.rstrip() for line in printed.replace(str(workspace.folder), "…").splitlines() if line.strip()]
    begin = f"$ {command}\n"
    before, _, rest = README.text.partition(begin)
    README.path.write_text(before + begin + "\n".join(lines) + "\n" + rest[rest.index("```") :], encoding="utf-8")
    SESSIONS[command] = lines


def test_readme_is_short():
    """Other text belongs to a page of docs/."""
    assert len(README.text.splitlines()) <= MAX_LINES


def test_readme_links_every_page_of_docs():
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= set(README.links)


def test_readme_opens_with_one_sentence_and_six_promises_that_have_a_number():
    """It shows a picture."""
    _, sentence, promises = README.text.split("\n\n")[:3]
    assert sentence.count(". ") == 0
    promise_lines = [line for line in promises.splitlines() if line.startswith("- **")]
    assert [bool(re.search(r"\d", line)) for line in promise_lines] == [True] * 6
    assert re.search(r"!\[[^]]+\]\(docs/\w+\.png\)", README.text)


def test_estimate_of_the_readme_is_printed(docs_workspace, workspace):
    """Only numbers differ."""
    [command] = [command for command in SESSIONS if "estimate" in command]
    result = workspace.run(*docs_workspace.arguments(command))
    update(command, result.stdout, workspace)
    assert list_differences(command, result.stdout) == set()


@pytest.mark.slow
def test_run_and_spending_of_the_readme_are_printed(workspace):
    """The commands run in their order, as in a clone."""
    workspace.env |= {"TILEWISE_API_KEY": None, "TILEWISE_MODEL": None, "TILEWISE_OUTPUT": None}
    for command in [command for command in SESSIONS if "estimate" not in command]:
        words = command.replace(SAMPLES, str(ROOT / SAMPLES)).split()[1:]
        with workspace.start(*words, stdout=subprocess.PIPE) as process:
            printed = process.communicate(timeout=TIMEOUT)[0]
        assert process.returncode == 0
        update(command, printed, workspace)
        assert list_differences(command, printed) == set()
