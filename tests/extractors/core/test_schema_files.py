"""schema_files.py: where a schema's module is found, and which files a job from a form or the API may name."""

import sys
from contextvars import copy_context

import pytest

from extractors.core.errors import ConfigurationError
from extractors.core.schema import load
from extractors.core.schema_files import allow_own_files_only, check_location, list_own

MODEL = "from pydantic import BaseModel\nclass {0}(BaseModel):\n    '''A document.'''\n    {1}: str\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Writes files into an empty working folder; imported modules and paths are removed after the test."""
    modules, path = set(sys.modules), list(sys.path)
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def write(name, text):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    yield write
    for name in set(sys.modules) - modules:
        if name.startswith(("schemas.", "bill", "sub", "flows.own")):
            del sys.modules[name]
    sys.path[:] = path


def test_schema_of_the_working_folder_replaces_the_shipped_one(project):
    project("schemas/invoice.py", MODEL.format("Invoice", "own_field"))
    assert list(load("invoice").model.model_fields) == ["own_field"]
    assert list_own() == ["invoice"]


def test_shipped_schema_is_found_from_another_folder(project, tmp_path, monkeypatch):
    """It is found even after a schema of the same name was loaded from the first folder."""
    project("schemas/caption.py", MODEL.format("Caption", "own_field"))
    load("caption")
    monkeypatch.chdir(tmp_path)
    assert "own_field" not in load("caption").model.model_fields


def test_module_of_the_users_schemas_folder_is_imported_by_name(project):
    """The shipped package is named `schemas`, too."""
    project("schemas/bill.py", MODEL.format("Bill", "shop"))
    assert load("schemas.bill:Bill").name == "bill"


def test_users_schemas_import_each_other_and_the_shipped_helpers(project):
    project("schemas/base.py", MODEL.format("Base", "shop"))
    text = "from schemas.base import Base\nfrom schemas._amounts import CODES\nclass Bill(Base):\n    total: int = len(CODES)\n"
    project("schemas/bill.py", text)
    assert list(load("bill").model.model_fields) == ["shop", "total"]


@pytest.mark.parametrize("folder", ["flows", "extractors"])
def test_folder_named_like_a_tilewise_package_is_not_imported(project, folder):
    project(f"{folder}/__init__.py", "raise RuntimeError('imported')\n")
    project("bill.py", MODEL.format("Bill", "shop"))
    assert load("bill:Bill").name == "bill"


@pytest.mark.parametrize("name", ["sub/models.py:Bill", "./sub/models.py:Bill"])
def test_file_path_is_loaded_as_a_schema(project, name):
    """It can import modules of its own folder, as with `python sub/models.py`."""
    project("sub/subnames.py", "FIELD = str\n")
    project(
        "sub/models.py",
        "from pydantic import BaseModel\nfrom subnames import FIELD\nclass Bill(BaseModel):\n    shop: FIELD\n",
    )
    assert list(load(name).model.model_fields) == ["shop"]


def test_two_files_of_one_name_are_two_schemas(project):
    """Each path is a separate module."""
    project("a/models.py", MODEL.format("Bill", "one"))
    project("b/models.py", MODEL.format("Bill", "two"))
    fields = [list(load(f"{folder}/models.py:Bill").model.model_fields) for folder in ("a", "b")]
    assert fields == [["one"], ["two"]]


@pytest.mark.parametrize("name", ["missing.py:Bill", "sub:dir/missing.py:Bill", "sub/:Bill", "a-b:Bill", ":Bill"])
def test_error_names_a_missing_source(project, name):
    project("sub/other.py", "")
    with pytest.raises(ConfigurationError) as raised:
        load(name)
    assert repr(name) in raised.value.message


def test_file_that_failed_to_import_is_read_again(project):
    file = project("bill.py", "raise OSError('not now')\n")
    with pytest.raises(ConfigurationError, match="OSError: not now"):
        load("bill.py:Bill")
    file.write_text(MODEL.format("Bill", "shop"), encoding="utf-8")
    assert load("bill.py:Bill").name == "bill"


@pytest.mark.parametrize("name", ["invoice", "package.module:Model", "schemas/bill.py:Bill", "./schemas/bill.py:Bill"])
def test_check_location_accepts_schemas_modules_and_files_of_the_schemas_folder(project, name):
    """The check imports nothing."""
    project("schemas/bill.py", "raise RuntimeError('imported')\n")
    check_location(name)


@pytest.mark.parametrize("name", ["bill.py:Bill", "schemas/../bill.py:Bill", "/etc/passwd.py:Bill", "schemas2/b.py:B"])
def test_check_location_refuses_other_files(project, name):
    """The sender of a job must not choose which files of the machine are executed."""
    project("bill.py", MODEL.format("Bill", "shop"))
    with pytest.raises(ConfigurationError, match="form or the API"):
        check_location(name)


def test_check_location_refuses_a_link_out_of_the_schemas_folder(project):
    """It resolves links first."""
    outside = project("outside.py", MODEL.format("Bill", "shop"))
    folder = outside.parent / "schemas"
    folder.mkdir()
    (folder / "bill.py").symlink_to(outside)
    with pytest.raises(ConfigurationError, match="form or the API"):
        check_location("schemas/bill.py:Bill")


def test_allow_own_files_only_restricts_load_in_its_context(project):
    project("bill.py", MODEL.format("Bill", "shop"))

    def load_restricted():
        allow_own_files_only()
        load("bill.py:Bill")

    with pytest.raises(ConfigurationError, match="form or the API"):
        copy_context().run(load_restricted)
    assert load("bill.py:Bill").name == "bill"
