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
    """Writes files into an empty working folder; modules and paths that tests import are forgotten afterwards."""
    before, path = set(sys.modules), list(sys.path)
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def write(name, text):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    yield write
    for name in set(sys.modules) - before:
        if name.startswith(("schemas.", "bill", "sub", "flows.own")):
            del sys.modules[name]
    sys.path[:] = path


def test_the_working_folders_schema_comes_before_the_shipped_one(project):
    """A file of the same name replaces it."""
    project("schemas/invoice.py", MODEL.format("Invoice", "own_field"))
    assert list(load("invoice").model.model_fields) == ["own_field"]
    assert list_own() == ["invoice"]


def test_the_shipped_schema_is_found_from_any_other_folder(project, tmp_path, monkeypatch):
    """Also after a schema of the same name was loaded elsewhere."""
    project("schemas/caption.py", MODEL.format("Caption", "own_field"))
    load("caption")
    monkeypatch.chdir(tmp_path)
    assert "own_field" not in load("caption").model.model_fields


def test_a_module_of_the_own_schemas_is_imported_by_its_reference(project):
    """`schemas` is the name of the shipped package as well."""
    project("schemas/bill.py", MODEL.format("Bill", "shop"))
    assert load("schemas.bill:Bill").name == "bill"


def test_own_schemas_import_each_other_and_the_shipped_helpers(project):
    """As modules of one package."""
    project("schemas/base.py", MODEL.format("Base", "shop"))
    text = "from schemas.base import Base\nfrom schemas._amounts import CODES\nclass Bill(Base):\n    total: int = len(CODES)\n"
    project("schemas/bill.py", text)
    assert list(load("bill").model.model_fields) == ["shop", "total"]


@pytest.mark.parametrize("folder", ["flows", "extractors"])
def test_other_own_folders_disturb_nothing(project, folder):
    """A package of tilewise's name in the working folder is not imported in its place."""
    project(f"{folder}/__init__.py", "raise RuntimeError('imported')\n")
    project("bill.py", MODEL.format("Bill", "shop"))
    assert load("bill:Bill").name == "bill"


@pytest.mark.parametrize("name", ["sub/models.py:Bill", "./sub/models.py:Bill"])
def test_a_file_is_a_schema(project, name):
    """Its neighbours can be imported as for `python sub/models.py`."""
    project("sub/subnames.py", "FIELD = str\n")
    project(
        "sub/models.py",
        "from pydantic import BaseModel\nfrom subnames import FIELD\nclass Bill(BaseModel):\n    shop: FIELD\n",
    )
    assert list(load(name).model.model_fields) == ["shop"]


def test_two_files_of_one_name_are_two_schemas(project):
    """Each path is a module of its own."""
    project("a/models.py", MODEL.format("Bill", "one"))
    project("b/models.py", MODEL.format("Bill", "two"))
    loaded = [list(load(f"{folder}/models.py:Bill").model.model_fields) for folder in ("a", "b")]
    assert loaded == [["one"], ["two"]]


@pytest.mark.parametrize("name", ["missing.py:Bill", "sub:dir/missing.py:Bill", "sub/:Bill", "a-b:Bill", ":Bill"])
def test_a_source_that_cannot_be_found_is_named(project, name):
    """One line that holds the schema's name."""
    project("sub/other.py", "")
    with pytest.raises(ConfigurationError) as raised:
        load(name)
    assert repr(name) in raised.value.message


def test_a_file_that_fails_is_not_kept(project):
    """After the mistake is mended the file is read again."""
    file = project("bill.py", "raise OSError('not now')\n")
    with pytest.raises(ConfigurationError, match="OSError: not now"):
        load("bill.py:Bill")
    file.write_text(MODEL.format("Bill", "shop"), encoding="utf-8")
    assert load("bill.py:Bill").name == "bill"


@pytest.mark.parametrize("name", ["invoice", "package.module:Model", "schemas/bill.py:Bill", "./schemas/bill.py:Bill"])
def test_a_form_may_name_schemas_modules_and_files_of_the_schemas_folder(project, name):
    """Nothing is imported for the check."""
    project("schemas/bill.py", "raise RuntimeError('imported')\n")
    check_location(name)


@pytest.mark.parametrize("name", ["bill.py:Bill", "schemas/../bill.py:Bill", "/etc/passwd.py:Bill", "schemas2/b.py:B"])
def test_a_form_may_name_no_other_file(project, name):
    """The sender of a job does not choose which files of the machine run."""
    project("bill.py", MODEL.format("Bill", "shop"))
    with pytest.raises(ConfigurationError, match="form or the API"):
        check_location(name)


def test_a_link_out_of_the_schemas_folder_is_another_file(project):
    """Links are resolved first."""
    outside = project("outside.py", MODEL.format("Bill", "shop"))
    folder = outside.parent / "schemas"
    folder.mkdir()
    (folder / "bill.py").symlink_to(outside)
    with pytest.raises(ConfigurationError, match="form or the API"):
        check_location("schemas/bill.py:Bill")


def test_a_flow_of_a_deployment_loads_own_files_only(project):
    """From the first call on, in that context alone."""
    project("bill.py", MODEL.format("Bill", "shop"))

    def load_restricted():
        allow_own_files_only()
        load("bill.py:Bill")

    with pytest.raises(ConfigurationError, match="form or the API"):
        copy_context().run(load_restricted)
    assert load("bill.py:Bill").name == "bill"
