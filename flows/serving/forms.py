"""The forms of deployments, as both of Prefect's interfaces show them, apart from the schema that the server checks."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import cast

from pydantic import JsonValue

Schema = dict[str, JsonValue]

DEFINITIONS = "#/definitions/"
FORM = "properties/form"
NEEDED = {"schema_name"}  # its default works only for an estimate


def split_form(parameters: Schema, *, needs_schema: bool) -> Schema:
    """The schema of a flow's parameters, with every model described twice: for the check by the server, and for the form.

    The interfaces call each field optional that is not required, also one that has a default; and the server refuses a job
    without a required field, also if it has a default. So the form marks the fields with a default as required, and the
    check does not. An interface looks up the reference `#/definitions/Job/properties/form` as one key below `definitions`;
    the server follows it as a path. The path has only keys that both interfaces send back when they validate a form.
    """
    definitions = cast("dict[str, Schema]", parameters.get("definitions") or {})
    split = deepcopy(parameters)
    for each in cast("dict[str, Schema]", split["properties"]).values():
        reference = each.get("$ref")
        if isinstance(reference, str) and reference.startswith(DEFINITIONS):
            each["$ref"] = f"{reference}/{FORM}"
    described: Schema = {}
    for name, model in definitions.items():
        described[name] = {"type": "object", "properties": {"form": deepcopy(model)}, "required": ["form"]}
        described[f"{name}/{FORM}"] = _describe_form(model, NEEDED if needs_schema else set())
    return split | {"definitions": described}


def _describe_form(model: Schema, needed: set[str]) -> Schema:
    """The model as a form shows it: a field that has a default, or is needed, is not called optional."""
    form = deepcopy(model)
    fields = cast("dict[str, Schema]", form["properties"])
    for name, field in fields.items():
        ways = field.pop("anyOf", None)
        if isinstance(ways, list):
            field.update(cast("Schema", ways[0]))  # a form would ask for a choice of types first
        if name in needed:
            field.pop("default", None)
        # A form shows Markdown, in which the asterisks of a pattern are markup.
        field["description"] = re.sub(r"[^\s;,]*\*[^\s;,]*", r"`\g<0>`", str(field.get("description", "")))
    required = needed | set(cast("list[str]", model.get("required") or []))
    form["required"] = [
        name for name, field in fields.items() if name in required or field.get("default") not in (None, "", [])
    ]
    return form
