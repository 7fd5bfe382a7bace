"""The README: short, and what it shows of the commands is what they print.

`UPDATE_GOLDEN=1 pytest tests/docs/test_readme.py` writes what they print into it.
"""

import os
import re
import subprocess

import pytest
from support.markdown import README, ROOT, RUN

MAX_LINES = 160
PATIENCE = 280  # seconds: local OCR is slow on a busy machine
SESSIONS = README.sessions()
SAMPLES = "data/samples/receipts"


def shape(line):
    """A printed line without its numbers, names of runs, places and spaces."""
    line = re.sub(r"\S*/\S*", "PLACE", RUN.sub("RUN", line))
    line = re.sub(r"\d{4}-\d\d-\d\d", "DAY", line)
    return " ".join(re.sub(r"\$?\d[\d,.]*", "N", line).split())


def differences(command, printed):
    """The lines that are shown below a command and were not printed, or the other way round."""
    return {shape(line) for line in SESSIONS[command]} ^ {shape(line) for line in printed.splitlines() if line.strip()}


def update(command, printed, workspace):
    """Shows in the README what the command has printed, where UPDATE_GOLDEN asks for it."""
    if not os.environ.get("UPDATE_GOLDEN"):
        return
    lines = [line.rstrip() for line in printed.replace(str(workspace.folder), "…").splitlines() if line.strip()]
    begin = f"$ {command}\n"
    before, _, rest = README.text.partition(begin)
    README.path.write_text(before + begin + "\n".join(lines) + "\n" + rest[rest.index("```") :], encoding="utf-8")
    SESSIONS[command] = lines


def test_it_is_short():
    """What does not fit has a page in docs/."""
    assert len(README.text.splitlines()) <= MAX_LINES


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
    [command] = [command for command in SESSIONS if "estimate" in command]
    ended = workspace.run(*documented.arguments(command))
    update(command, ended.stdout, workspace)
    assert differences(command, ended.stdout) == set()


@pytest.mark.slow
def test_the_run_and_the_spending_that_are_shown_are_printed(workspace):
    """One after the other, as the reader types them in a clone."""
    workspace.env |= {"TILEWISE_API_KEY": None, "TILEWISE_MODEL": None, "TILEWISE_OUTPUT": None}
    for command in [command for command in SESSIONS if "estimate" not in command]:
        words = command.replace(SAMPLES, str(ROOT / SAMPLES)).split()[1:]
        with workspace.start(*words, stdout=subprocess.PIPE) as process:
            printed = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == 0
        update(command, printed, workspace)
        assert differences(command, printed) == set()
