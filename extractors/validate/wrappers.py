r"""Opens what servers and models put around a whole answer.

| answer | read as |
|---|---|
| `"{\"total\": 5}"`, JSON text that was encoded twice | the JSON in the text |
| `{"name": "receipt", "arguments": {…}}`, a tool's call as text | its arguments |
"""

from __future__ import annotations

import json
import re

import orjson
from pydantic import BaseModel, RootModel

from extractors.validate.written import list_aliases

_ARGUMENTS = frozenset({"arguments", "parameters"})
_CALL = frozenset({"name", "id", "type", "function"}) | _ARGUMENTS
_BLANKS = r"(?:\s|\\[nrt])*"
_ENCODED = re.compile(rf'(?:```\w*\s*)?"{_BLANKS}(?:\\+"{_BLANKS})?[{{\[](?:{_BLANKS}[{{\[])*{_BLANKS}\\')
_MAX_TIMES = 3  # that JSON is encoded
_ARGUMENTS_KEY = re.compile(r'"(?:arguments|parameters)"\s*:\s*')


def unwrap_text(content: str) -> str:
    """The text of an answer that is a JSON string with an object or a list in it; else the answer as it is.

    Of a string that is cut off, the text up to there: no bracket in it is one of the answer's own.
    """
    for _ in range(_MAX_TIMES):
        if not _ENCODED.match(content):
            break
        start = content.index('"')
        try:
            text, end = json.JSONDecoder().raw_decode(content, start)
            content = content[:start] + str(text) + content[end:]
        except ValueError:
            text = _parse(content[start:].rstrip("\\") + '"')
            content = text if isinstance(text, str) else "{"
    return content


def unwrap_call(candidate: str, model: type[BaseModel]) -> str:
    """The arguments of a tool's call; else the candidate as it is.

    A call is an object with a name, arguments and nothing else: its name would pass for a field of the document. Where
    the model has such fields itself, nothing is unwrapped.
    """
    key = _ARGUMENTS_KEY.search(candidate)
    if key is None or _takes_arguments(model):
        return candidate
    value = _parse(candidate)
    call = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(call, dict) or not {*value, *call} <= _CALL:
        return candidate
    present = _ARGUMENTS & call.keys()
    if not isinstance(call.get("name"), str) or len(present) != 1:
        return candidate
    arguments = call[min(present)]
    if isinstance(arguments, str):
        return arguments
    return _cut_value(candidate, key.end()) if isinstance(arguments, dict) else candidate


def _takes_arguments(model: type[BaseModel]) -> bool:
    """Whether the model reads the names of a tool's call itself."""
    if issubclass(model, RootModel) or model.model_config.get("extra") == "allow":
        return True
    return any(_ARGUMENTS & {name, *list_aliases(field)} for name, field in model.model_fields.items())


def _cut_value(text: str, start: int) -> str:
    """The JSON value that begins here, as it is written: to read and to write it anew would round its numbers."""
    try:
        return text[start : json.JSONDecoder().raw_decode(text, start)[1]]
    except (ValueError, RecursionError):
        return text


def _parse(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
