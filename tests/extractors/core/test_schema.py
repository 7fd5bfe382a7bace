"""schema.py: a document's model by name, its JSON schema on the wire, and the hashes that tell two apart."""

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
    """Writes a user's module where Python finds it, for one test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, text):
        (tmp_path / f"{name}.py").write_text("from pydantic import BaseModel, Field\n" + text, encoding="utf-8")

    yield write
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def objects(node):
    """Every object in a JSON schema that names its properties."""
    if isinstance(node, list):
        return [each for child in node for each in objects(child)]
    if not isinstance(node, dict):
        return []
    below = [each for child in node.values() for each in objects(child)]
    return [node, *below] if node.get("type") == "object" and "properties" in node else below


def keywords(node):
    """Every keyword used in a JSON schema; the names of properties and definitions are no keywords."""
    if isinstance(node, list):
        return {each for child in node for each in keywords(child)}
    if not isinstance(node, dict):
        return set()
    named = [child for key in ("properties", "$defs") for child in node.get(key, {}).values()]
    others = [child for key, child in node.items() if key not in {"properties", "$defs"}]
    return set(node) | keywords(named) | keywords(others)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_schema_loads(name):
    """A shipped document is loaded by its name and published under it."""
    schema = load(name)
    assert schema.name == name
    assert schema.model.__module__ == f"schemas.{name}"


def test_the_shipped_schemas_are_listed_in_order():
    """What lies in `schemas/` and does not begin with an underscore is a document."""
    assert list_shipped() == SHIPPED


@pytest.mark.parametrize("name", ["recipt", "Receipt", "_values", "receipt.py", "schemas.receipt", ""])
def test_an_unknown_schema_is_refused_with_those_that_are_known(name):
    """The refusal names what was asked for, every shipped document, and how to name one's own."""
    with pytest.raises(ConfigurationError, match=", ".join(SHIPPED)) as raised:
        load(name)
    assert repr(name) in str(raised.value)
    assert "package.module:Model" in str(raised.value)


def test_a_user_s_own_model_is_loaded(module):
    """`package.module:Model` is a document like a shipped one, published in snake case."""
    module("own_one", "class PartsList(BaseModel):\n    'A list of parts.'\n    parts: list[str] = []\n")
    schema = load("own_one:PartsList")
    assert schema.name == "parts_list"
    assert list(schema.model.model_fields) == ["parts"]


def test_a_user_s_model_is_found_in_the_working_directory(tmp_path, monkeypatch, module):
    """As for `python -m`, the folder that one stands in counts."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "own_here.py").write_text(
        "from pydantic import BaseModel\nclass Doc(BaseModel):\n    a: int\n"
    )
    monkeypatch.chdir(tmp_path / "work")
    assert load("own_here:Doc").name == "doc"


@pytest.mark.parametrize("text", ["", "Model = 3\n", "class Model:\n    pass\n", "Model = Field\n"])
def test_a_module_without_the_model_is_refused(module, text):
    """What is no pydantic model is no document."""
    module("own_two", text)
    with pytest.raises(ConfigurationError, match="own_two has no pydantic model named 'Model'"):
        load("own_two:Model")


def test_a_module_that_cannot_be_found_is_refused():
    """The refusal names the module that is missing."""
    with pytest.raises(ConfigurationError, match="no module named 'nowhere_at_all'"):
        load("nowhere_at_all:Model")


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_a_module_that_cannot_be_imported_is_refused_in_one_line(module, text, said):
    """Schema, file, line and error are named, whatever the user's own code raises."""
    module("own_eleven", text)
    with pytest.raises(ConfigurationError) as raised:
        load("own_eleven:Model")
    assert re.fullmatch(rf"schema 'own_eleven:Model': \S*own_eleven\.py, line {re.escape(said)}.*", str(raised.value))
    assert "\n" not in str(raised.value)


def test_a_model_without_a_json_schema_is_refused(module):
    """What cannot be asked for cannot be read."""
    module("own_twelve", "from typing import Callable\nclass Model(BaseModel):\n    a: Callable[[], int]\n")
    with pytest.raises(ConfigurationError, match=r"^schema 'model': own_twelve has no JSON schema: Cannot generate"):
        load("own_twelve:Model")


def test_a_module_whose_import_is_missing_is_refused(module):
    """It is the missing one that is named, not the one that was asked for."""
    module("own_three", "import nowhere_at_all\n")
    with pytest.raises(ConfigurationError, match="no module named 'nowhere_at_all'"):
        load("own_three:Model")


@pytest.mark.parametrize("field", ["schema", "run_date", "Schema", "RUN_DATE"])
@pytest.mark.filterwarnings("ignore:Field name:UserWarning")  # pydantic's own word on a field named `schema`
def test_a_field_named_like_a_partition_is_refused(module, field):
    """A partition would overwrite it in every reader, in any case of letters."""
    module("own_four", f"class Model(BaseModel):\n    {field}: str\n")
    with pytest.raises(ConfigurationError, match=f"may not be named '{field}'"):
        load("own_four:Model")


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("INSTRUCTIONS = 5\nclass Model(BaseModel):\n    a: int\n", "Model", "INSTRUCTIONS in own_six must be text"),
        ("AGREE_ON = 'a'\nclass Model(BaseModel):\n    a: int\n", "Model", "must be a list of field names"),
        ("AGREE_ON = ['totl']\nclass Model(BaseModel):\n    total: int\n", "Model", "'totl'.*did you mean total"),
        ("class Model(BaseModel):\n    pass\n", "Model", "Model has no fields"),
        (f"class {'A' * 201}(BaseModel):\n    a: int\n", "A" * 201, "its name is too long"),
    ],
    ids=["instructions", "agree_on", "agree_on_unknown", "fields", "name"],
)
def test_a_model_that_cannot_be_published_is_refused(module, text, name, words):
    """Before anything is sent."""
    module("own_six", text)
    with pytest.raises(ConfigurationError, match=words):
        load(f"own_six:{name}")


@pytest.mark.parametrize(
    ("line", "name"),
    [("VERSION = 2", "model_v2"), ("VERSION = 1", "model"), ("", "model"), ("from pydantic import *", "model")],
)
def test_a_later_version_is_published_apart(module, line, name):
    """`VERSION = 2` is `_v2` in every column and path; the first version has no suffix."""
    module("own_five", f"{line}\nclass Model(BaseModel):\n    a: int\n")
    assert load("own_five:Model").name == name


def test_every_object_is_closed_and_requires_all_it_has():
    """Strict structured output allows no other form, in nested definitions too."""
    wire = to_wire(Paper.model_json_schema())
    assert len(objects(wire)) == 2
    assert [each["additionalProperties"] for each in objects(wire)] == [False, False]
    assert [each["required"] for each in objects(wire)] == [list(each["properties"]) for each in objects(wire)]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_schema_is_strict(name):
    """Each object of a shipped document is closed, and requires all it has."""
    found = objects(load(name).wire)
    assert [each["additionalProperties"] for each in found] == [False] * len(found)
    assert [each["required"] for each in found] == [list(each["properties"]) for each in found]


@pytest.mark.parametrize("name", SHIPPED)
def test_no_shipped_schema_carries_titles_or_defaults(name):
    """The servers refuse them or ignore them."""
    assert keywords(load(name).wire) & {"title", "default"} == set()


def test_titles_and_defaults_are_left_out():
    """Of the model and of its fields, in nested definitions too."""
    assert keywords(to_wire(Paper.model_json_schema())) & {"title", "default"} == set()


def test_fields_named_title_and_default_survive():
    """What a field is called is no keyword."""
    properties = to_wire(Paper.model_json_schema())["properties"]
    assert list(properties) == ["title", "default", "lines", "best"]
    assert properties["title"] == {"type": "string"}
    assert properties["default"] == {"type": "integer"}


def test_a_field_named_properties_survives():
    """Nor is that one a keyword."""

    class Estate(BaseModel):
        properties: list[Line]

    wire = to_wire(Estate.model_json_schema())
    assert list(wire["properties"]) == ["properties"]
    assert wire["required"] == ["properties"]


def test_nested_definitions_are_kept():
    """References still lead somewhere."""
    wire = to_wire(Paper.model_json_schema())
    assert list(wire["$defs"]) == ["Line"]
    assert wire["properties"]["lines"]["items"] == {"$ref": "#/$defs/Line"}


def test_what_may_be_missing_stays_nullable():
    """Required on the wire, null where the image does not show it."""
    wire = to_wire(Paper.model_json_schema())
    assert {"type": "null"} in wire["properties"]["best"]["anyOf"]


def test_descriptions_are_kept():
    """They are the prompt's words."""
    assert to_wire(Paper.model_json_schema())["description"] == Paper.__doc__


def test_a_schema_that_is_no_object_is_a_bug():
    """Only a JSON object can be a JSON schema."""
    with pytest.raises(TypeError):
        to_wire([])


def test_the_prompt_holds_all_the_words(module):
    """The model's docstring, the module's instructions, the rules and the JSON schema, in this order."""
    module("own_six", "INSTRUCTIONS = 'Look closely.'\nclass Model(BaseModel):\n    'A letter.'\n    sender: str\n")
    parts = load("own_six:Model").prompt.split("\n\n")
    assert parts[:3] == ["A letter.", "Look closely.", RULES]
    assert '"sender"' in parts[3]


def test_the_prompt_s_size_counts_bytes(module):
    """Text is estimated from UTF-8 bytes, the closing question included."""
    module("own_seven", "class Model(BaseModel):\n    'Ein Brief über Öl.'\n    a: int\n")
    schema = load("own_seven:Model")
    assert schema.prompt_bytes == len(schema.prompt.encode()) + len(ASK.encode())
    assert schema.prompt_bytes > len(schema.prompt) + len(ASK)


def test_the_hash_changes_with_a_field(module):
    """A document that has one field more is read anew under `--redo changed`."""
    module("own_eight", "class Model(BaseModel):\n    a: int\n")
    module("own_nine", "class Model(BaseModel):\n    a: int\n    b: int\n")
    assert load("own_eight:Model").hash != load("own_nine:Model").hash


def test_the_hash_does_not_depend_on_the_module(module):
    """The same document is the same wherever it is written down."""
    module("own_eight", "class Model(BaseModel):\n    a: int\n")
    module("own_ten", "class Model(BaseModel):\n    a: int\n")
    assert load("own_eight:Model").hash == load("own_ten:Model").hash


def test_the_prompt_s_hash_changes_with_the_sampling():
    """Another temperature is another question."""
    schema = load("receipt")
    assert schema.prompt_hash("temperature 0") == schema.prompt_hash("temperature 0")
    assert schema.prompt_hash("temperature 0") != schema.prompt_hash("temperature 1")


def test_the_prompt_s_hash_changes_with_the_instructions(module):
    """Other words are another question, though the document stays the same."""
    module("own_eight", "INSTRUCTIONS = 'One.'\nclass Model(BaseModel):\n    a: int\n")
    module("own_nine", "INSTRUCTIONS = 'Two.'\nclass Model(BaseModel):\n    a: int\n")
    one, two = load("own_eight:Model"), load("own_nine:Model")
    assert one.prompt_hash("") != two.prompt_hash("")
    assert one.hash == two.hash


def test_no_schema_says_nothing():
    """An estimate without a schema has no name and no prompt."""
    assert (NONE.name, NONE.prompt) == ("", "")


@pytest.mark.parametrize(
    "fields",
    [
        "    Total: int\n    total: int\n",
        "    straße: str\n    STRASSE: str\n",
        "    total: int\n    @computed_field\n    @property\n    def Total(self) -> int:\n        return 1\n",
    ],
)
def test_fields_that_differ_by_case_alone_are_refused(module, fields):
    """DuckDB takes them for one column; a computed field is a column as well."""
    module("own_case", f"from pydantic import computed_field\nclass Model(BaseModel):\n{fields}")
    with pytest.raises(ConfigurationError, match="rename one"):
        load("own_case:Model")


def test_nested_fields_that_differ_by_case_alone_are_refused(module):
    """A struct's fields are names in a reader, too."""
    text = "class Line(BaseModel):\n    A: int\n    a: int\nclass Model(BaseModel):\n    lines: list[Line]\n"
    module("own_nested_case", text)
    with pytest.raises(ConfigurationError, match="Line has the fields 'A' and 'a'"):
        load("own_nested_case:Model")


@pytest.mark.parametrize("root", ["str", "int | None", "Decimal"])
def test_a_single_value_is_no_document(module, root):
    """No answer to it begins with a bracket."""
    text = f"from decimal import Decimal\nfrom pydantic import RootModel\nclass Model(RootModel[{root}]):\n    pass\n"
    module("own_scalar", text)
    with pytest.raises(ConfigurationError, match="single value"):
        load("own_scalar:Model")


def test_a_list_is_a_document_without_strict_mode(module):
    """OpenAI's strict mode wants an object at the root."""
    module("own_list", "from pydantic import RootModel\nclass Model(RootModel[list[str]]):\n    pass\n")
    assert not load("own_list:Model").strict


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_schema_is_sent_in_strict_mode(name):
    """The shipped documents use nothing that it refuses."""
    assert load(name).strict


def test_an_alias_into_another_field_is_refused(module):
    """The JSON schema would ask for a field that the model does not read."""
    text = "from pydantic import AliasPath, Field\nclass Model(BaseModel):\n"
    module("own_path", text + "    city: str = Field(validation_alias=AliasPath('address', 'city'))\n")
    with pytest.raises(ConfigurationError, match="'city'"):
        load("own_path:Model")
