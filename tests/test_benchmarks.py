"""The benchmarks run on today's code, with a few images and no time asserted."""

import ast
import asyncio
import json
import sys
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from schemas.receipt import Receipt

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "benchmarks").glob("*.py"))


@pytest.fixture(autouse=True)
def _benchmarks_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture
def picture():
    """A receipt of 1 megapixel, as a JPEG."""
    import pictures

    return pictures.encode("medium", 0)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_benchmark_names_its_command(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert path.stem == "measure" or f"benchmarks/{path.name}" in docstring


def test_make_bench_runs_files_that_exist():
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    questions = next(line for line in recipe.splitlines() if line.startswith("QUESTIONS :=")).split()[2:]
    assert set(questions) <= {path.stem for path in FILES}


def test_report_prints_a_table_and_one_json_line(capsys):
    import measure

    used = measure.run_process([sys.executable, "-c", "print('done')"])
    measure.report("name", "title", ("way", "CPU s"), [("python", used.cpu)], versions={"python": "3"})
    *table, line = capsys.readouterr().out.strip().splitlines()
    assert (used.output, table[2]) == ("done\n", "| way | CPU s |")
    assert json.loads(line)["rows"] == [{"way": "python", "CPU s": used.cpu}]


def test_process_that_fails_ends_the_benchmark():
    import measure

    with pytest.raises(SystemExit, match="no such thing"):
        measure.run_process([sys.executable, "-c", "import sys; sys.exit('no such thing')"])


def test_call_path_runs_against_the_server_that_costs_nothing(tmp_path, picture):
    """The client of a run, with and without a ledger, and a plain client get a receipt from the same server."""
    import call_path
    import null_server

    with null_server.serve_asyncio(0) as url:
        for ledger in (True, False):
            folder = tmp_path / str(ledger)
            folder.mkdir()
            work = call_path.call_path(folder, url, [call_path.image_block(picture)], count=20, ledger=ledger)
            assert asyncio.run(work) > 0
        reply = httpx.post(f"{url}/chat/completions", content=picture, trust_env=False).json()
        missing = httpx.get(f"{url}/models", trust_env=False).status_code
    content = Receipt.model_validate_json(reply["choices"][0]["message"]["content"])
    assert (content.company, missing) == ("KEDAI KOPI HUP LIM SDN BHD", 404)


@pytest.mark.parametrize("way", ["tilewise", "libvips", "OpenCV", "Pillow, thumbnail"])
def test_every_way_to_prepare_makes_a_picture_of_the_same_size(way, picture):
    import prepare

    image = Image.open(BytesIO(prepare.decode_block(prepare.WAYS[way](picture, 600))))
    assert max(image.size) == 600


def test_pictures_differ_in_content_and_show_the_same(picture):
    import pictures

    first, second = (pictures.with_comment(picture, number) for number in (1, 2))
    assert first != second
    assert Image.open(BytesIO(first)).tobytes() == Image.open(BytesIO(picture)).tobytes()


def test_skip_decision_leaves_the_new_documents(tmp_path):
    """One document in fifty is new; the rows of one in ten of the others are copied."""
    import skip_decision

    skip_decision.publish(tmp_path, 200, 2)
    decision = skip_decision.decide(tmp_path, 200, None, skip_decision.TERMS)
    assert decision["skipped"] == 196
    assert skip_decision.decide(tmp_path, 200, "changed", skip_decision.OTHER)["skipped"] < 196
    assert skip_decision.copy(tmp_path, 200)["copied"] == 16


def test_printed_tables_replace_those_of_a_page(capsys):
    """The table of a benchmark that was not run stays, and an empty place gets one."""
    import measure
    import tables

    measure.report("new", "title", ("way", "CPU s"), [("python", 2.0)])
    printed = tables.read_tables(capsys.readouterr().out)
    page = "<!-- new -->\n\nText\n\n<!-- new -->\nOld:\n\n| old |\n|---|\n\n<!-- kept -->\nKept:\n\n| kept |\n"
    replaced = tables.BLOCK.sub(lambda block: printed.get(block[1], block[0]), page)
    assert replaced.count("| python | 2.00 |") == 2
    assert replaced.endswith("Text\n\n" + printed["new"] + "\n<!-- kept -->\nKept:\n\n| kept |\n")
