"""The README: short, and what it shows of the commands is what they print."""

import re
import subprocess

import pytest
from support.markdown import README, ROOT, RUN

MOST_LINES = 160
PATIENCE = 280  # seconds: local OCR is slow on a busy machine
SESSIONS = README.sessions()


def shape(line):
    """A printed line without its numbers, names of runs, places and spaces."""
    line = re.sub(r"\S*/\S*", "PLACE", RUN.sub("RUN", line))
    line = re.sub(r"\d{4}-\d\d-\d\d", "DAY", line)
    return " ".join(re.sub(r"\$?\d[\d,.]*", "N", line).split())


def differences(shown, printed):
    """The lines that are shown and were not printed."""
    return {shape(line) for line in shown} - {shape(line) for line in printed.splitlines()}


def test_it_is_short():
    """Whatever does not fit has a page in docs/."""
    assert len(README.text.splitlines()) <= MOST_LINES


def test_it_leads_to_every_page():
    """Each page of docs/ is linked from the table of questions."""
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= set(README.links)


def test_it_opens_with_one_sentence_and_six_promises_that_have_a_number():
    """And a picture."""
    _, sentence, promises = README.text.split("\n\n")[:3]
    assert sentence.count(". ") == 0
    bold = [line for line in promises.splitlines() if line.startswith("- **")]
    assert [bool(re.search(r"\d", line)) for line in bold] == [True] * 6
    assert re.search(r"!\[[^]]+\]\(docs/\w+\.png\)", README.text)


def test_the_estimate_that_is_shown_is_printed(documented, workspace):
    """The same lines, with other numbers."""
    [(command, shown)] = [each for each in SESSIONS.items() if "estimate" in each[0]]
    ended = workspace.run(*documented.arguments(command))
    assert differences(shown, ended.output) == set()


@pytest.mark.slow
def test_the_run_and_the_spending_that_are_shown_are_printed(workspace):
    """One after the other, as the reader types them in a clone."""
    samples = str(ROOT / "data" / "samples" / "receipts")
    workspace.env |= {"TILEWISE_API_KEY": None, "TILEWISE_MODEL": None, "TILEWISE_OUTPUT": None}
    for command in [command for command in SESSIONS if "estimate" not in command]:
        words = command.replace("data/samples/receipts", samples).split()[1:]
        with workspace.start(*words, stdout=subprocess.PIPE) as process:
            printed = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == 0
        assert differences(SESSIONS[command], printed) == set()
