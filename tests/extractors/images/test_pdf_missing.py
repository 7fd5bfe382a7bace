"""PDF files without the extra `pdf`: the messages about them, and everything else works."""

import subprocess
import sys
from pathlib import Path

import extractors

SCAN_SCRIPT = """
from extractors.core.errors import ConfigurationError
from extractors.scan import scan
for source in sys.argv[1:]:
    try:
        print([found.uri for found in scan(source)])
    except ConfigurationError as error:
        print(error)
"""
BILL_SCRIPT = """
from extractors.bill import read_pages
from extractors.scan import create_store, scan
for found in scan(sys.argv[1]):
    (page,) = read_pages(found, create_store(found.uri), frames=False, most=10)
    print(page.problem.kind, page.problem.final, page.problem.message)
"""
NEEDS_EXTRA = "needs an extra to be read: pip install 'tilewise[pdf]'"
UNREADABLE = "a PDF, which nothing here can read: pip install 'tilewise[pdf]'"


def read_lines(script, *words):
    """The lines that a script prints in a process without the extra."""
    blocked = "import sys\nsys.modules['pypdfium2'] = None\n" + script
    command = [sys.executable, "-c", blocked, *map(str, words)]
    root = Path(extractors.__file__).parents[1]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()


def test_pdf_in_a_folder_is_ignored_without_the_extra(tmp_path):
    """A folder may hold other files that are no images."""
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.pdf").touch()
    assert read_lines(SCAN_SCRIPT, tmp_path) == [f"['{tmp_path}/a.jpg']"]


def test_pdf_as_source_is_refused_with_the_command_that_installs_the_extra(tmp_path):
    path = tmp_path / "a.PDF"
    path.touch()
    assert read_lines(SCAN_SCRIPT, path) == [f"source '{path}' {NEEDS_EXTRA}"]


def test_pdf_in_a_bucket_as_source_is_refused_without_the_extra(bucket):
    """A prefix that ends in `.pdf` is a folder."""
    bucket.put("in/a.pdf")
    bucket.put("in/b.pdf/a.png")
    first, second = (f"{bucket.url}/in/{name}.pdf" for name in "ab")
    assert read_lines(SCAN_SCRIPT, first, second) == [f"source '{first}' {NEEDS_EXTRA}", f"['{second}/a.png']"]


def test_pdf_named_jpg_is_rejected_not_finally_without_the_extra(tmp_path):
    """A run with the extra retries it."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%PDF-1.4")
    assert read_lines(BILL_SCRIPT, path) == [f"not_an_image False {UNREADABLE}"]
