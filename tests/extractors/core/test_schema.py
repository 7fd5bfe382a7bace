"""schema.py: a document's model is loaded by name; its JSON schema, prompt and hashes follow from it."""

import re
import sys

import pytest
from pydantic import BaseModel, Field

from extractors.core.errors import ConfigurationError
from extractors.core.schema import ASK, NONE, RULES, list_shipped, load
from extractors.core.wire_schema import to_wire

SHIPPED = ["caption", "comparison", "invoice", "receipt", "screenshot", "table"]


class Line(BaseModel):
    """One line."""

    text: str = ""
    amount: int | None = None


class Paper(BaseModel):
    """A paper with lines, and one line that matters most."""

    title: str = Field("none", title="The paper's title")
    default: int = 3
    lines: list[Line] = []
    best: Line | None = None


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a user's module into a folder of `sys.path`; imported modules are removed after the test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, text):
        (tmp_path / f"{name}.py").write_text("from pydantic import BaseModel, Field\n" + text, encoding="utf-8")

    yield write
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def list_objects(node):
    """Every object in a JSON schema that has properties."""
    if isinstance(node, list):
        return [found for child in node for found in list_objects(child)]
    if not isinstance(node, dict):
        return []
    below = [found for child in node.values() for found in list_objects(child)]
    return [node, *below] if node.get("type") == "object" and "properties" in node else below


def list_keywords(node):
    """Every keyword used in a JSON schema; names of properties and definitions are not keywords."""
    if isinstance(node, list):
        return {keyword for child in node for keyword in list_keywords(child)}
    if not isinstance(node, dict):
        return set()
    subschemas = [child for key in ("properties", "$defs") for child in node.get(key, {}).values()]
    others = [child for key, child in node.items() if key not in {"properties", "$defs"}]
    return set(node) | list_keywords(subschemas) | list_keywords(others)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_schema_is_loaded_by_its_name(name):
    schema = load(name)
    assert schema.name == name
    assert schema.model.__module__ == f"schemas.{name}"


def test_list_shipped_returns_the_shipped_schemas_sorted():
    """Modules whose name begins with an underscore are not schemas."""
    assert list_shipped() == SHIPPED


@pytest.mark.parametrize("name", ["recipt", "Receipt", "_values", "receipt.py", "schemas.receipt", ""])
def test_unknown_schema_is_refused(name):
    """The error names the unknown schema, the shipped ones, and the form `package.module:Model`."""
    with pytest.raises(ConfigurationError, match=", ".join(SHIPPED)) as raised:
        load(name)
    assert repr(name) in str(raised.value)
    assert "package.module:Model" in str(raised.value)


def test_users_model_is_loaded_by_module_and_class(module):
    """Its name is the class name in snake case."""
    module("own_one", "class PartsList(BaseModel):\n    'A list of parts.'\n    parts: list[str] = []\n")
    schema = load("own_one:PartsList")
    assert schema.name == "parts_list"
    assert list(schema.model.model_fields) == ["parts"]


def test_users_module_is_found_in_the_working_directory(tmp_path, monkeypatch, module):
    """`python -m` does the same."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "own_here.py").write_text(
        "from pydantic import BaseModel\nclass Doc(BaseModel):\n    a: int\n"
    )
    monkeypatch.chdir(tmp_path / "work")
    assert load("own_here:Doc").name == "doc"


@pytest.mark.parametrize("text", ["", "Model = 3\n", "class Model:\n    pass\n", "Model = Field\n"])
def test_module_without_the_model_is_refused(module, text):
    """The named object must be a pydantic model."""
    module("own_two", text)
    with pytest.raises(ConfigurationError, match="own_two has no pydantic model named 'Model'"):
        load("own_two:Model")


def test_missing_module_is_refused():
    """The error names the module."""
    with pytest.raises(ConfigurationError, match="no module named 'nowhere_at_all'"):
        load("nowhere_at_all:Model")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0\n", "2: cannot be imported: ZeroDivisionError: division by zero"),
        ("\nraise ValueError('two\\nlines')\n", "3: cannot be imported: ValueError: two lines"),
        ("raise RuntimeError\n", "2: cannot be imported: RuntimeError: RuntimeError"),
        ("raise SystemExit(3)\n", "2: cannot be imported: SystemExit: 3"),
        ("class Model(BaseModel):\n    _ = a: int\n", "3: cannot be imported: SyntaxError: "),
        ("class Model(BaseModel):\n    a: Nothing\n", "3: cannot be imported: NameError: "),
        ("\n\nimport nowhere_at_all\n", "4: no module named 'nowhere_at_all' can be imported from here"),
    ],
)
def test_module_that_fails_to_import_is_refused_in_one_line(module, text, message):
    """The line names schema, file, line number and error."""
    module("own_eleven", text)
    with pytest.raises(ConfigurationError) as raised:
        load("own_eleven:Model")
    assert re.fullmatch(
        rf"schema 'own_eleven:Model': \S*own_eleven\.py, line {re.escape(message)}.*", str(raised.value)
    )
    assert "\n" not in str(raised.value)


def test_model_without_a_json_schema_is_refused(module):
    module("own_twelve", "from typing import Callable\nclass Model(BaseModel):\n    a: Callable[[], int]\n")
    with pytest.raises(ConfigurationError, match=r"^schema 'model': own_twelve has no JSON schema: Cannot generate"):
        load("own_twelve:Model")


def test_module_with_a_missing_import_is_refused(module):
    """The error names the missing module, not the importing one."""
    module("own_three", "import nowhere_at_all\n")
    with pytest.raises(ConfigurationError, match="no module named 'nowhere_at_all'"):
        load("own_three:Model")


@pytest.mark.parametrize("field", ["schema", "run_date", "Schema", "RUN_DATE"])
@pytest.mark.filterwarnings("ignore:Field name:UserWarning")  # pydantic warns about a field named `schema`
def test_field_named_like_a_partition_is_refused(module, field):
    """A partition column would overwrite it in every reader, in any case of letters."""
    module("own_four", f"class Model(BaseModel):\n    {field}: str\n")
    with pytest.raises(ConfigurationError, match=f"may not be named '{field}'"):
        load("own_four:Model")


@pytest.mark.parametrize(
    ("text", "name", "pattern"),
    [
        ("INSTRUCTIONS = 5\nclass Model(BaseModel):\n    a: int\n", "Model", "INSTRUCTIONS in own_six must be text"),
        ("AGREE_ON = 'a'\nclass Model(BaseModel):\n    a: int\n", "Model", "must be a list of field names"),
        ("AGREE_ON = ['totl']\nclass Model(BaseModel):\n    total: int\n", "Model", "'totl'.*did you mean total"),
        ("class Model(BaseModel):\n    pass\n", "Model", "Model has no fields"),
        (f"class {'A' * 201}(BaseModel):\n    a: int\n", "A" * 201, "its name is too long"),
    ],
    ids=["instructions", "agree_on", "agree_on_unknown", "fields", "name"],
)
def test_model_that_cannot_be_published_is_refused(module, text, name, pattern):
    """The check runs before any request is sent."""
    module("own_six", text)
    with pytest.raises(ConfigurationError, match=pattern):
        load(f"own_six:{name}")


@pytest.mark.parametrize(
    ("line", "name"),
    [("VERSION = 2", "model_v2"), ("VERSION = 1", "model"), ("", "model"), ("from pydantic import *", "model")],
)
def test_schema_name_has_the_version_as_suffix(module, line, name):
    """`VERSION = 2` adds `_v2` in every column and path; the first version has no suffix."""
    module("own_five", f"{line}\nclass Model(BaseModel):\n    a: int\n")
    assert load("own_five:Model").name == name


def test_wire_objects_are_closed_and_require_all_properties():
    """Strict structured output requires it, in nested definitions, too."""
    wire = to_wire(Paper.model_json_schema())
    assert len(list_objects(wire)) == 2
    assert [node["additionalProperties"] for node in list_objects(wire)] == [False, False]
    assert [node["required"] for node in list_objects(wire)] == [
        list(node["properties"]) for node in list_objects(wire)
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_schema_is_closed_and_requires_all_properties(name):
    nodes = list_objects(load(name).wire)
    assert [node["additionalProperties"] for node in nodes] == [False] * len(nodes)
    assert [node["required"] for node in nodes] == [list(node["properties"]) for node in nodes]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_schema_has_no_titles_or_defaults(name):
    """Servers refuse or ignore them."""
    assert list_keywords(load(name).wire) & {"title", "default"} == set()


def test_to_wire_removes_titles_and_defaults():
    """It removes them from the model, its fields and nested definitions."""
    assert list_keywords(to_wire(Paper.model_json_schema())) & {"title", "default"} == set()


def test_to_wire_keeps_fields_named_title_and_default():
    """A field's name is not a keyword."""
    properties = to_wire(Paper.model_json_schema())["properties"]
    assert list(properties) == ["title", "default", "lines", "best"]
    assert properties["title"] == {"type": "string"}
    assert properties["default"] == {"type": "integer"}


def test_to_wire_keeps_a_field_named_properties():
    class Estate(BaseModel):
        properties: list[Line]

    wire = to_wire(Estate.model_json_schema())
    assert list(wire["properties"]) == ["properties"]
    assert wire["required"] == ["properties"]


def test_to_wire_keeps_nested_definitions():
    """References still resolve."""
    wire = to_wire(Paper.model_json_schema())
    assert list(wire["$defs"]) == ["Line"]
    assert wire["properties"]["lines"]["items"] == {"$ref": "#/$defs/Line"}


def test_to_wire_keeps_optional_fields_nullable():
    """They are required on the wire, and null if the image does not show them."""
    wire = to_wire(Paper.model_json_schema())
    assert {"type": "null"} in wire["properties"]["best"]["anyOf"]


def test_to_wire_keeps_descriptions():
    """They are part of the prompt."""
    assert to_wire(Paper.model_json_schema())["description"] == Paper.__doc__


def test_to_wire_raises_type_error_for_a_list():
    with pytest.raises(TypeError):
        to_wire([])


def test_prompt_has_docstring_instructions_rules_and_json_schema(module):
    """They are in this order."""
    module("own_six", "INSTRUCTIONS = 'Look closely.'\nclass Model(BaseModel):\n    'A letter.'\n    sender: str\n")
    parts = load("own_six:Model").prompt.split("\n\n")
    assert parts[:3] == ["A letter.", "Look closely.", RULES]
    assert '"sender"' in parts[3]


def test_prompt_bytes_counts_utf8_with_the_question(module):
    """Text tokens are estimated from UTF-8 bytes."""
    module("own_seven", "class Model(BaseModel):\n    'Ein Brief über Öl.'\n    a: int\n")
    schema = load("own_seven:Model")
    assert schema.prompt_bytes == len(schema.prompt.encode()) + len(ASK.encode())
    assert schema.prompt_bytes > len(schema.prompt) + len(ASK)


def test_schema_hash_changes_with_a_field(module):
    """A document with an additional field is read again under `--redo changed`."""
    module("own_eight", "class Model(BaseModel):\n    a: int\n")
    module("own_nine", "class Model(BaseModel):\n    a: int\n    b: int\n")
    assert load("own_eight:Model").hash != load("own_nine:Model").hash


def test_schema_hash_does_not_depend_on_the_module(module):
    module("own_eight", "class Model(BaseModel):\n    a: int\n")
    module("own_ten", "class Model(BaseModel):\n    a: int\n")
    assert load("own_eight:Model").hash == load("own_ten:Model").hash


def test_prompt_hash_changes_with_the_sampling():
    schema = load("receipt")
    assert schema.prompt_hash("temperature 0") == schema.prompt_hash("temperature 0")
    assert schema.prompt_hash("temperature 0") != schema.prompt_hash("temperature 1")


def test_prompt_hash_changes_with_the_instructions(module):
    """The schema's own hash does not change."""
    module("own_eight", "INSTRUCTIONS = 'One.'\nclass Model(BaseModel):\n    a: int\n")
    module("own_nine", "INSTRUCTIONS = 'Two.'\nclass Model(BaseModel):\n    a: int\n")
    first, second = load("own_eight:Model"), load("own_nine:Model")
    assert first.prompt_hash("") != second.prompt_hash("")
    assert first.hash == second.hash


def test_none_schema_has_neither_name_nor_prompt():
    """An estimate without a schema uses it."""
    assert (NONE.name, NONE.prompt) == ("", "")


@pytest.mark.parametrize(
    "fields",
    [
        "    Total: int\n    total: int\n",
        "    straße: str\n    STRASSE: str\n",
        "    total: int\n    @computed_field\n    @property\n    def Total(self) -> int:\n        return 1\n",
    ],
)
def test_fields_that_differ_only_in_case_are_refused(module, fields):
    """DuckDB reads them as one column; a computed field is a column, too."""
    module("own_case", f"from pydantic import computed_field\nclass Model(BaseModel):\n{fields}")
    with pytest.raises(ConfigurationError, match="rename one"):
        load("own_case:Model")


def test_nested_fields_that_differ_only_in_case_are_refused(module):
    """Readers name the fields of a struct, too."""
    text = "class Line(BaseModel):\n    A: int\n    a: int\nclass Model(BaseModel):\n    lines: list[Line]\n"
    module("own_nested_case", text)
    with pytest.raises(ConfigurationError, match="Line has the fields 'A' and 'a'"):
        load("own_nested_case:Model")


@pytest.mark.parametrize("root", ["str", "int | None", "Decimal"])
def test_root_model_of_a_single_value_is_refused(module, root):
    """An answer is an object or a list."""
    text = f"from decimal import Decimal\nfrom pydantic import RootModel\nclass Model(RootModel[{root}]):\n    pass\n"
    module("own_scalar", text)
    with pytest.raises(ConfigurationError, match="single value"):
        load("own_scalar:Model")


def test_list_document_is_not_strict(module):
    """OpenAI's strict mode requires an object at the root."""
    module("own_list", "from pydantic import RootModel\nclass Model(RootModel[list[str]]):\n    pass\n")
    assert not load("own_list:Model").strict


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_schema_is_sent_in_strict_mode(name):
    assert load(name).strict


def test_alias_path_is_refused(module):
    """The JSON schema would request a field that the model does not read."""
    text = "from pydantic import AliasPath, Field\nclass Model(BaseModel):\n"
    module("own_path", text + "    city: str = Field(validation_alias=AliasPath('address', 'city'))\n")
    with pytest.raises(ConfigurationError, match="'city'"):
        load("own_path:Model")
