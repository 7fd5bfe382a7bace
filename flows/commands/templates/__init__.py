"""The files that `init` and `schemas new` write."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from extractors.core.errors import ConfigurationError

HERE = Path(__file__).parent
EXAMPLE = "example"  # the schema of a new folder


def write_schema(name: str, path: Path) -> bool:
    """Write an example schema of this name; False if the file exists. Raises ConfigurationError for an unfit name."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise ConfigurationError(
            f"schema {name!r}: a name has lower-case letters, digits and single _, such as delivery_note"
        )
    model = "".join(word.title() for word in name.split("_"))
    return write_new(path, Template(_read("schema.txt")).substitute(name=name, model=model))


def write_folder(folder: Path) -> dict[str, bool]:
    """Write the files of a working folder; returns which of them were written, by name: others existed.

    Raises ConfigurationError for what cannot be written.
    """
    written = {"data/in/": _make_folder(folder / "data" / "in")}
    texts = {"tilewise.toml": "tilewise.txt", ".env.example": "env.txt", "README.md": "readme.txt"}
    written |= {name: write_new(folder / name, _read(text)) for name, text in texts.items()}
    written["prefect.yaml"] = write_new(folder / "prefect.yaml", _read_deployments())
    example = f"schemas/{EXAMPLE}.py"
    return written | {example: write_schema(EXAMPLE, folder / example)}


def _make_folder(path: Path) -> bool:
    """Make a folder; False if it exists. Raises ConfigurationError."""
    new = not path.is_dir()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be made: {error.strerror}") from error
    return new


def write_new(path: Path, text: str) -> bool:
    """Write a file that does not exist, with its folders; False if it exists. Raises ConfigurationError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        if not path.exists() or path.parent.is_file():
            raise ConfigurationError(f"{path} cannot be written: {path.parent} is no folder") from None
        return False
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
    return True


def _read_deployments() -> str:
    """The shipped prefect.yaml: beside the packages in a repository, in `flows` in an installation."""
    package = HERE.parents[1]
    shipped = next(each for each in (package / "prefect.yaml", package.parent / "prefect.yaml") if each.is_file())
    return shipped.read_text(encoding="utf-8").replace("schema_name: receipt", f"schema_name: {EXAMPLE}")


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
