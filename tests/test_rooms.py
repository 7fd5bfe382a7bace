"""The rooms: who may import whom, and that nobody waits for what is heavy before it is needed."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import extractors

ROOT = Path(extractors.__file__).parents[1]
HEAVY = ("prefect", "polars", "sqlalchemy", "httpx", "PIL", "pydantic")
MODULES = sorted(each.name for each in pkgutil.walk_packages(extractors.__path__, "extractors."))


def list_loaded(code):
    """Every module that a fresh interpreter has loaded after this code."""
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.split())


def test_the_engine_does_not_load_the_orchestrator():
    """`import extractors` works without prefect."""
    assert "prefect" not in list_loaded("import extractors")


def test_no_part_of_the_engine_loads_the_orchestrator():
    """No module of the engine loads prefect, by whatever way round."""
    names = [name for name in MODULES if not name.endswith("__main__")]
    loaded = list_loaded("\n".join(f"import {name}" for name in names))
    assert set(names) <= loaded
    assert "prefect" not in loaded


@pytest.mark.parametrize("code", ["import flows", "import flows.cli"])
def test_the_command_starts_without_what_is_heavy(code):
    """`--help` waits for none of the libraries that only a command's work needs."""
    assert list_loaded(code).isdisjoint(HEAVY)


def test_tables_and_ledger_do_not_load_each_others_library():
    """Who opens the ledger waits for no polars, who writes tables for no SQLAlchemy."""
    assert "polars" not in list_loaded("import extractors.record.ledger")
    assert "sqlalchemy" not in list_loaded("import extractors.record.tables.writer")


def test_an_estimate_does_not_wait_for_what_writes_tables():
    """What is asked before a run, of a folder, starts without polars."""
    assert "polars" not in list_loaded("import extractors.plan.estimate")


def test_a_folder_does_not_wait_for_what_reads_manifests_and_buckets():
    """Scanning loads neither polars nor a client of clouds before a source needs it."""
    assert list_loaded("import extractors.scan").isdisjoint({"polars", "obstore", "httpcore"})


def test_the_arrows_between_the_rooms_hold():
    """Every import contract is kept."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", "pyproject.toml"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 broken" in ended.stdout
