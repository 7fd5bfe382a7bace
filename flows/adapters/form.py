"""Forms: the parameters that a form sends are validated here, and messages name the fields of the form, never flags."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from prefect.runtime import deployment
from pydantic import BaseModel, ValidationError

from extractors.config.job import Job
from extractors.core.errors import ConfigurationError, format_reason, format_value

if TYPE_CHECKING:
    from collections.abc import Mapping

ModelT = TypeVar("ModelT", bound=BaseModel)

_FLAG = re.compile(
    r"`(?:tilewise )?(?:run )?--(?P<quoted>[a-z-]+)`|(?<![\w-])--(?P<bare>[a-z][a-z-]*[a-z])(?: (?P<value>[\w.]+))?"
)
# Commands that a message tells to run, in the words of forms.
_COMMANDS = (
    (re.compile(r"tilewise run .*--redo-before (\S+).*"), r'the same form and "Again: redo before" set to \1'),
    (re.compile(r"run `tilewise (apply|calibrate|estimate)`"), r"start the deployment \1"),
)
_NAMES = {"schema": "schema_name"}  # flags that are not named like their field
_APPROVAL = '"Money: when expensive" set to run'


def read_parameters(model: type[ModelT], sent: object) -> ModelT:
    """The validated parameters of a flow run. Raises ConfigurationError that names every wrong field on one line."""
    if isinstance(sent, model):
        return sent
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_format_error(model, each) for each in error.errors())) from None


def _format_error(model: type[BaseModel], error: Mapping[str, object]) -> str:
    place = error["loc"]
    assert isinstance(place, tuple)
    field = model.model_fields.get(str(place[0])) if place else None
    title = f'"{field.title}"' if field else ".".join(map(str, place)) or "the parameters"
    reason = format_reason(error["msg"])
    return f"{title} {format_value(error['input'])}: {use_titles(reason)}"


def describe(text: str) -> str:
    """The text for a person who started the flow run: with the words of the form if it came from a deployment."""
    return use_titles(text) if deployment.id else text


def use_titles(text: str) -> str:
    """The text with the titles of form fields in place of the flags of the command."""
    for command, words in _COMMANDS:
        text = command.sub(words, text)
    return _FLAG.sub(_replace_flag, text)


def _replace_flag(flag: re.Match[str]) -> str:
    name, value = flag["quoted"] or flag["bare"], flag["value"]
    if name == "yes":
        return _APPROVAL + (f" {value}" if value else "")
    field = _NAMES.get(name, name.replace("-", "_"))
    if field not in Job.model_fields:
        return flag[0]
    title = f'"{Job.model_fields[field].title}"'
    if value is None:
        return title
    return f"{title} set to {value}" if _is_value(field, value) else f"{title} {value}"


def _is_value(field: str, word: str) -> bool:
    """Whether the word after a flag is its value: a number, or one of the choices."""
    choices = Job.model_json_schema()["properties"][field].get("enum", ())
    return word.replace(".", "").isdigit() or word in choices
