"""Imports: which package may import which, and that heavy libraries load only where they are needed."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import extractors

ROOT = Path(extractors.__file__).parents[1]
HEAVY = ("prefect", "polars", "sqlalchemy", "httpx", "PIL", "pydantic")
MODULES = sorted(module.name for module in pkgutil.walk_packages(extractors.__path__, "extractors."))


def list_loaded(code):
    """The names of all modules that a fresh interpreter has loaded after this code."""
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_import_of_extractors_does_not_load_prefect():
    assert "prefect" not in list_loaded("import extractors")


def test_no_module_of_extractors_loads_prefect():
    """Indirect imports count, too."""
    names = [name for name in MODULES if not name.endswith("__main__")]
    loaded = list_loaded("\n".join(f"import {name}" for name in names))
    assert set(names) <= loaded
    assert "prefect" not in loaded


@pytest.mark.parametrize("code", ["import flows", "import flows.cli"])
def test_import_of_the_command_loads_no_heavy_library(code):
    """`--help` waits for no library that only the work of a command needs."""
    assert list_loaded(code).isdisjoint(HEAVY)


def test_tables_and_ledger_do_not_load_each_others_library():
    """The ledger needs no polars, and the tables no SQLAlchemy."""
    assert "polars" not in list_loaded("import extractors.record.ledger")
    assert "sqlalchemy" not in list_loaded("import extractors.record.tables.writer")


def test_import_of_the_estimate_does_not_load_polars():
    assert "polars" not in list_loaded("import extractors.plan.estimate")


def test_import_of_the_scan_loads_no_library_for_manifests_and_buckets():
    """The scan imports polars and the clients of clouds when a source needs them."""
    assert list_loaded("import extractors.scan").isdisjoint({"polars", "obstore", "httpcore"})


def test_import_contracts_are_kept():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", "pyproject.toml"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout
