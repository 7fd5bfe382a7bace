"""The commands `schemas`, `schemas show` and `schemas new`: the documents that tilewise knows, one of them, a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from extractors.core.errors import ConfigurationError
from flows.console import exit_on_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.core.schema import Schema

app = typer.Typer(rich_markup_mode=None, add_completion=False)
Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.callback(invoke_without_command=True)
def schemas(context: typer.Context) -> None:
    """List the schemas with their fields; show or begin one."""
    if context.invoked_subcommand is None:
        with exit_on_error():
            _print_list()


@app.command()
def show(name: Name) -> None:
    """Show the fields, columns, prompt and JSON schema of a schema."""
    with exit_on_error():
        from extractors.core.schema import load
        from flows.console import divert_stdout, print_lines

        with divert_stdout():
            schema = load(name)

        from extractors.record.tables.columns import format_type
        from extractors.record.tables.fields import Fields
        from extractors.report.terminal import terminal

        with divert_stdout():
            columns = Fields(schema.model).columns
        console = terminal()
        console.print(f"schema {schema.name}, {schema.model.__name__} in {schema.module}\n", soft_wrap=True)
        console.print(_fields_table(schema, {field: format_type(dtype) for field, dtype in columns.items()}))
        print_lines(_describe_request(schema))


@app.command()
def new(name: Name) -> None:
    """Write schemas/NAME.py, an example to change."""
    with exit_on_error():
        from extractors.core.schema_files import list_shipped
        from flows.commands.templates import write_schema

        path = Path("schemas", f"{name}.py")
        if not write_schema(name, path):
            raise ConfigurationError(f"{path} exists: choose another name, or change that file")
        if name in list_shipped():
            typer.echo(f"tilewise: in this folder {path} is used instead of the shipped schema {name}", err=True)
        typer.echo(f"{path}: change its fields, then see what is asked for: tilewise schemas show {name}")


def _print_list() -> None:
    """Prints a line for each schema; a file that cannot be loaded is named below the table."""
    from rich.table import Table

    from extractors.core.schema import load
    from extractors.core.schema_files import list_known
    from extractors.report.terminal import terminal

    table = Table("schema", "description", "fields")
    errors = []
    for name in list_known():
        try:
            model = load(name).model
        except ConfigurationError as error:
            errors.append(error.message)
            continue
        first_line = (model.__doc__ or "").strip().partition("\n")[0]
        table.add_row(name, first_line, " ".join([*model.model_fields, *model.model_computed_fields]))
    terminal().print(table)
    for message in errors:
        typer.echo(f"tilewise: {message}", err=True)


def _fields_table(schema: Schema, columns: dict[str, str]) -> object:
    """The fields with the types of their columns, which may be empty, and the words of the prompt."""
    from rich.table import Table

    table = Table("field", "column", "required", "description", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for field, dtype in columns.items():
        info = schema.model.model_fields.get(field)
        required = "computed" if info is None else "yes" if info.is_required() else ""
        table.add_row(field, dtype, required, info.description if info else "")
    return table


def _describe_request(schema: Schema) -> Iterator[str]:
    """What a request says: the prompt, and the JSON schema that is appended to it and sent beside it."""
    import orjson

    for row_sum in schema.row_sums:
        yield f"\n{row_sum.field} adds up to {row_sum.total}: an answer whose rows do not is refused"
    yield f"\nprompt ({schema.prompt_bytes:,} bytes with the JSON schema)\n"
    yield schema.instructions
    yield f"\nJSON schema ({'strict' if schema.strict else 'not strict'}, hash {schema.hash})\n"
    yield orjson.dumps(schema.wire, option=orjson.OPT_INDENT_2).decode()
