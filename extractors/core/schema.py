"""A schema as the engine sees it: a pydantic model by name, the prompt's words, the JSON schema on the wire. A leaf.

A schema is loaded by name, so the engine imports no schema: `receipt` is the model `Receipt` of `schemas/receipt.py`,
and `package.module:Model` is a user's own.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from pydantic import BaseModel, PydanticUserError

from extractors.core.errors import ConfigurationError, first_line

if TYPE_CHECKING:
    from types import ModuleType

# A hive partition of these names stands in every published path and would overwrite the field in every reader.
RESERVED_FIELDS = frozenset({"schema", "run_date"})

RULES = (
    "Read the image and answer only in JSON that follows the JSON schema below."
    " Copy what is printed; do not guess. Use null for what the image does not show."
)
ASK = "Read this document."


@dataclass(frozen=True, slots=True)
class Schema:
    """What a document is: its published name, its model, and what the vision model is told about it.

    `module` is where its `VERSION` is set.
    """

    name: str
    model: type[BaseModel]
    wire: dict[str, object]
    prompt: str
    module: str = ""
    version: int = 1

    @property
    def next_name(self) -> str:
        """What it is published as when its module sets the next `VERSION`."""
        base = self.name if self.version == 1 else self.name.removesuffix(f"_v{self.version}")
        return f"{base}_v{self.version + 1}"

    @property
    def hash(self) -> str:
        """Identifies the wire's JSON schema."""
        return digest(orjson.dumps(self.wire, option=orjson.OPT_SORT_KEYS))

    @property
    def prompt_bytes(self) -> int:
        """UTF-8 bytes of all text that a request carries."""
        return len(self.prompt.encode()) + len(ASK.encode())

    def prompt_hash(self, sampling: str) -> str:
        """Identifies the words of the prompt and the sampling that they are asked with."""
        return digest(f"{self.prompt}\0{ASK}\0{sampling}".encode())


class _NoDocument(BaseModel):
    """Stands in where an estimate is asked for without a schema."""


NONE = Schema("", _NoDocument, {}, "")


def digest(data: bytes) -> str:
    """Sixteen hexadecimal digits of SHA-256: enough to tell a billion apart."""
    return hashlib.sha256(data).hexdigest()[:16]


def shipped() -> list[str]:
    """The names of the documents in `schemas/`, sorted."""
    package = importlib.import_module("schemas")
    return sorted(each.name for each in pkgutil.iter_modules(package.__path__) if not each.name.startswith("_"))


def load(name: str) -> Schema:
    """The schema of this name, or of `package.module:Model`. Raises ConfigurationError that says what is allowed."""
    module_name, colon, class_name = name.partition(":")
    if colon:
        if not all(part.isidentifier() for part in module_name.split(".")):
            raise ConfigurationError(f"schema {name!r}: write it as package.module:Model")
        module = _import(module_name, name)
        published = _snake(class_name)
    elif name in shipped():
        module = importlib.import_module(f"schemas.{name}")
        class_name = "".join(word.title() for word in name.split("_"))
        published = name
    else:
        raise ConfigurationError(f"unknown schema {name!r}: use {', '.join(shipped())}, or package.module:Model")
    model = getattr(module, class_name, None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ConfigurationError(f"schema {name!r}: {module.__name__} has no pydantic model named {class_name!r}")
    return _schema(published, model, module)


def _schema(published: str, model: type[BaseModel], module: ModuleType) -> Schema:
    for field in model.model_fields:
        if field.casefold() in RESERVED_FIELDS:
            message = (
                f"schema {published!r}: a field may not be named {field!r}: the output is partitioned by that name"
            )
            raise ConfigurationError(message)
    version = _version(published, module)
    try:
        wire = strict(model.model_json_schema())
    except PydanticUserError as error:
        message = f"schema {published!r}: {module.__name__} has no JSON schema: {first_line(error)}"
        raise ConfigurationError(message) from error
    words = [(model.__doc__ or "").strip(), getattr(module, "INSTRUCTIONS", "").strip(), RULES]
    prompt = "\n\n".join([*filter(None, words), orjson.dumps(wire).decode()])
    name = published if version == 1 else f"{published}_v{version}"
    return Schema(name, model, wire, prompt, module.__name__, version)


def _version(published: str, module: ModuleType) -> int:
    """The module's `VERSION`, 1 where it sets none."""
    version = getattr(module, "VERSION", 1)
    if type(version) is not int or version < 1:
        raise ConfigurationError(
            f"schema {published!r}: VERSION {version!r} in {module.__name__} must be a whole number from 1 on"
        )
    return version


def strict(node: object) -> dict[str, object]:
    """The JSON schema in the form that strict structured output asks for.

    Every object names all its properties as required and allows no others; titles and defaults, which the servers
    refuse or ignore, are left out. What may be missing stays nullable.
    """
    result = _strict(node)
    if not isinstance(result, dict):
        raise TypeError("a JSON schema is an object")
    return result


def _strict(node: object) -> object:
    if isinstance(node, list):
        return [_strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    result: dict[str, object] = {}
    for key, value in node.items():
        if key in {"properties", "$defs"}:  # here the keys are names that somebody chose
            result[key] = {name: _strict(each) for name, each in value.items()}
        elif key not in {"title", "default"}:
            result[key] = _strict(value)
    if "properties" in node:
        result |= {"required": list(node["properties"]), "additionalProperties": False}
    return result


def _import(module_name: str, name: str) -> ModuleType:
    """The user's module; the working directory counts as a place to find it, as for `python -m`."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"schema {name!r}: no module named {error.name!r} can be imported from here"
        ) from error
    # The module's own code runs here and nothing of ours, so whatever is raised is a matter of its author.
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigurationError(f"schema {name!r}: module {module_name} cannot be imported: {said}") from error


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
