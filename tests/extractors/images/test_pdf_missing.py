"""Without the extra `pdf`: what is said of PDFs, and that nothing else needs it."""

import subprocess
import sys
from pathlib import Path

import extractors

SCANNED = """
from extractors.core.errors import ConfigurationError
from extractors.scan import scan
for source in sys.argv[1:]:
    try:
        print([found.uri for found in scan(source)])
    except ConfigurationError as error:
        print(error)
"""
BILLED = """
from extractors.bill import read_pages
from extractors.scan import create_store, scan
for found in scan(sys.argv[1]):
    (page,) = read_pages(found, create_store(found.uri), frames=False, most=10)
    print(page.problem.kind, page.problem.final, page.problem.message)
"""
NEEDED = "needs an extra to be read: pip install 'tilewise[pdf]'"
HOW = "a PDF, which nothing here can read: pip install 'tilewise[pdf]'"


def read_lines(script, *words):
    """The lines that a process prints for which the extra is not installed."""
    blocked = "import sys\nsys.modules['pypdfium2'] = None\n" + script
    command = [sys.executable, "-c", blocked, *map(str, words)]
    root = Path(extractors.__file__).parents[1]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()


def test_pdfs_of_a_folder_are_passed_over(tmp_path):
    """It may hold much that is no image."""
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.pdf").touch()
    assert read_lines(SCANNED, tmp_path) == [f"['{tmp_path}/a.jpg']"]


def test_a_pdf_that_is_the_source_is_refused(tmp_path):
    """Who names one wants it read: the refusal says what brings that."""
    path = tmp_path / "a.PDF"
    path.touch()
    assert read_lines(SCANNED, path) == [f"source '{path}' {NEEDED}"]


def test_a_pdf_in_a_bucket_is_refused_likewise(bucket):
    """A prefix that only ends like one is a folder."""
    bucket.put("in/a.pdf")
    bucket.put("in/b.pdf/a.png")
    first, second = (f"{bucket.url}/in/{name}.pdf" for name in "ab")
    assert read_lines(SCANNED, first, second) == [f"source '{first}' {NEEDED}", f"['{second}/a.png']"]


def test_a_pdf_that_is_called_an_image_is_rejected_until_the_extra_is_there(tmp_path):
    """The next run takes it again."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%PDF-1.4")
    assert read_lines(BILLED, path) == [f"not_an_image False {HOW}"]
