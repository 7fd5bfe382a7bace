"""A schema: a pydantic model loaded by name, the prompt, and the JSON schema that is sent.

| name                     | model                                                                                        |
|--------------------------|----------------------------------------------------------------------------------------------|
| `receipt`                | `Receipt` in `schemas/receipt.py` of the working folder, else of the shipped schemas         |
| `package.module:Model`   | `Model` in a module that can be imported from the working folder                             |
| `path/to/file.py:Model`  | `Model` in that file                                                                         |
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, TypeGuard

import orjson
import pydantic
from pydantic import AliasChoices, AliasPath, BaseModel, PydanticUserError

from extractors.core import schema_files
from extractors.core.annotations import find_models
from extractors.core.errors import ConfigurationError, first_line, suggest_name
from extractors.core.row_sums import RowSum, read_row_sums
from extractors.core.wire_schema import drop_unsupported, has_scalar_root, is_strict, to_wire

if TYPE_CHECKING:
    from types import ModuleType

# Published paths have hive partitions of these names, which would overwrite the field in every reader.
RESERVED_FIELDS = frozenset({"schema", "run_date"})

MAX_NAME_BYTES = 200  # of a published name, which is part of a folder's name

RULES = (
    "Read the image and answer only in JSON that follows the JSON schema below."
    " Copy what is printed; do not guess. Use null for what the image does not show."
)
ASK = "Read this document."


@dataclass(frozen=True, slots=True)
class Schema:
    """A kind of document: its published name, its model, the JSON schema and the prompt of its requests.

    `module` sets its `VERSION`, `agree_on`: the fields that make an answer sure when two rungs agree on them, and
    `row_sums`: the lists whose rows add up to a total.
    """

    name: str
    model: type[BaseModel]
    wire: dict[str, object]
    prompt: str
    module: str = ""
    version: int = 1
    agree_on: tuple[str, ...] = ()
    row_sums: tuple[RowSum, ...] = ()

    @property
    def next_name(self) -> str:
        """Its published name after the next `VERSION`."""
        base = self.name if self.version == 1 else self.name.removesuffix(f"_v{self.version}")
        return f"{base}_v{self.version + 1}"

    @property
    def hash(self) -> str:
        """A hash of the JSON schema that is sent, and of the sums by which answers are judged, if there are any."""
        sums = orjson.dumps(sorted(map(astuple, self.row_sums))) if self.row_sums else b""
        return digest(orjson.dumps(self.wire, option=orjson.OPT_SORT_KEYS) + sums)

    @property
    def instructions(self) -> str:
        """The prompt without the JSON schema at its end."""
        return self.prompt.removesuffix(orjson.dumps(self.wire).decode()).strip()

    @property
    def strict(self) -> bool:
        """Whether OpenAI's strict mode accepts the JSON schema."""
        return is_strict(self.wire)

    @property
    def constraint(self) -> dict[str, object]:
        """The JSON schema by which the server constrains the answer: in strict mode without what that does not know."""
        return drop_unsupported(self.wire) if self.strict else self.wire

    @property
    def prompt_bytes(self) -> int:
        """UTF-8 bytes of all text that a request carries."""
        return len(self.prompt.encode()) + len(ASK.encode())

    def prompt_hash(self, sampling: str) -> str:
        """A hash of the prompt and of the sampling options."""
        return digest(f"{self.prompt}\0{ASK}\0{sampling}".encode())


class _NoDocument(BaseModel):
    """The model of an estimate without a schema."""


NONE = Schema("", _NoDocument, {}, "")


def digest(data: bytes) -> str:
    """Sixteen hexadecimal digits of SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def list_shipped() -> list[str]:
    """The names of the shipped schemas, sorted."""
    return schema_files.list_shipped()


def list_known() -> list[str]:
    """The names of all schemas: the working folder's first."""
    return schema_files.list_known()


def load(name: str) -> Schema:
    """Load a schema: `name`, `package.module:Model` or `path/to/file.py:Model`. Raises ConfigurationError."""
    source, colon, class_name = name.rpartition(":")
    if colon:
        module = schema_files.import_source(source, name)
        published = _to_snake_case(class_name)
    else:
        module = schema_files.import_named(name)
        class_name = "".join(word.title() for word in name.split("_"))
        published = name
    model = getattr(module, class_name, None)
    if not _is_model(model):
        hint = suggest_name(class_name, [name for name, value in vars(module).items() if _is_model(value)])
        raise ConfigurationError(f"schema {name!r}: {module.__name__} has no pydantic model named {class_name!r}{hint}")
    return _build_schema(published, model, module)


def _is_model(value: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _build_wire(published: str, model: type[BaseModel], module: ModuleType) -> dict[str, object]:
    try:
        wire = to_wire(model.model_json_schema())
    except PydanticUserError as error:
        message = f"schema {published!r}: {module.__name__} has no JSON schema: {first_line(error)}"
        raise ConfigurationError(message) from error
    if has_scalar_root(wire):
        raise ConfigurationError(
            f"schema {published!r}: {model.__name__} is a single value: an answer must be an object or a list, so make"
            " the value a field of a model"
        )
    return wire


def _build_schema(published: str, model: type[BaseModel], module: ModuleType) -> Schema:
    _check_names(published, model)
    version, wire = _read_version(published, module), _build_wire(published, model, module)
    words = [(model.__doc__ or "").strip(), _read_instructions(published, module), RULES]
    prompt = "\n\n".join([*filter(None, words), orjson.dumps(wire).decode()])
    name = published if version == 1 else f"{published}_v{version}"
    agree_on, row_sums = _read_agree_on(published, model, module), read_row_sums(published, model, module)
    return Schema(name, model, wire, prompt, module.__name__, version, agree_on, row_sums)


def _read_instructions(published: str, module: ModuleType) -> str:
    """The module's `INSTRUCTIONS`; empty by default."""
    instructions = getattr(module, "INSTRUCTIONS", "")
    if not isinstance(instructions, str):
        raise ConfigurationError(f"schema {published!r}: INSTRUCTIONS in {module.__name__} must be text")
    return instructions.strip()


def _read_agree_on(published: str, model: type[BaseModel], module: ModuleType) -> tuple[str, ...]:
    """The module's `AGREE_ON`, fields of the model; none by default."""
    names = getattr(module, "AGREE_ON", ())
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"schema {published!r}: AGREE_ON in {module.__name__} must be a list of field names")
    for name in names:
        if name not in model.model_fields:
            hint = suggest_name(name, model.model_fields)
            raise ConfigurationError(
                f"schema {published!r}: AGREE_ON in {module.__name__} names {name!r}, which is no field of"
                f" {model.__name__}{hint}"
            )
    return tuple(names)


def _check_names(published: str, model: type[BaseModel]) -> None:
    """Raises ConfigurationError for field names that readers of the tables would confuse, and for unreadable aliases."""
    if len(published.encode()) > MAX_NAME_BYTES:
        raise ConfigurationError(
            f"schema {published[:40]!r}…: its name is too long for a folder of the output: shorten it"
        )
    if not model.model_fields:
        raise ConfigurationError(f"schema {published!r}: {model.__name__} has no fields: every answer would fit")
    for field in (*model.model_fields, *model.model_computed_fields):
        if field.casefold() in RESERVED_FIELDS:
            message = (
                f"schema {published!r}: a field may not be named {field!r}: the output is partitioned by that name"
            )
            raise ConfigurationError(message)
    for part in find_models(model):
        seen: dict[str, str] = {}
        for field in (*part.model_fields, *part.model_computed_fields):
            other = seen.setdefault(field.casefold(), field)
            if other != field:
                raise ConfigurationError(
                    f"schema {published!r}: {part.__name__} has the fields {other!r} and {field!r}, which readers of the"
                    " tables take for one name (DuckDB ignores case): rename one"
                )
        for field, info in part.model_fields.items():
            if _is_nested_alias(info.validation_alias):
                raise ConfigurationError(
                    f"schema {published!r}: field {field!r} of {part.__name__} is read from inside another field"
                    " (AliasPath), which its JSON schema cannot say: make the nested value a model"
                )


def _is_nested_alias(alias: object) -> bool:
    """Whether an alias names only values inside of other fields."""
    if isinstance(alias, AliasChoices):
        return all(_is_nested_alias(choice) for choice in alias.choices)
    return isinstance(alias, AliasPath) and len(alias.path) > 1


def _read_version(published: str, module: ModuleType) -> int:
    """The module's `VERSION`; 1 by default."""
    version = getattr(module, "VERSION", 1)
    if version is pydantic.VERSION:  # by `from pydantic import *`
        return 1
    if type(version) is not int or version < 1:
        raise ConfigurationError(
            f"schema {published!r}: VERSION {version!r} in {module.__name__} must be a whole number from 1 on"
        )
    return version


def _to_snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
