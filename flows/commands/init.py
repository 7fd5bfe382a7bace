"""The command `init`: a working folder with settings, deployments, an example schema and a README."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.console import exit_on_error


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder; it is made if needed.")] = Path(),
) -> None:
    """Lay out a working folder; nothing in it is overwritten."""
    with exit_on_error():
        from flows.commands.templates import write_folder

        for name, new in write_folder(folder).items():
            typer.echo(f"{'wrote' if new else 'kept (it exists)':16} {folder / name}")
    typer.echo(f"next: {folder / 'README.md'} says in ten lines how to read your first image")
