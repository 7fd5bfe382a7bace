"""Import the module of a schema: from the working folder's `schemas/`, the shipped ones, a module or a file.

The working folder's `schemas/` come first. Its modules are imported as `schemas.<name>`, so they can import each other and
the shipped helpers. Folders named `flows` or `extractors` there are never imported in place of tilewise's own.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import sysconfig
import traceback
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.core.errors import ConfigurationError, first_line, suggest_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

PACKAGE = "schemas"
# Where code is that is not the user's: Python's, installed packages and tilewise.
_FOREIGN = (
    "<",
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    str(Path(__file__).parents[1]),
)
_OWN_FILES_ONLY: ContextVar[bool] = ContextVar("own_files_only", default=False)


def list_shipped() -> list[str]:
    """The names of the shipped schemas, sorted."""
    return _list_names(_shipped_folder())


def list_own() -> list[str]:
    """The names of the schemas in the working folder's `schemas/`, sorted."""
    folder = _own_folder()
    return _list_names(folder) if folder else []


def list_known() -> list[str]:
    """The names of all schemas: the working folder's first."""
    return [*list_own(), *(name for name in list_shipped() if name not in list_own())]


def import_named(name: str) -> ModuleType:
    """The module of a schema's name. Raises ConfigurationError with the names that exist."""
    folder = _own_folder()
    if folder and name in list_own():
        return _import_file(folder / f"{name}.py", f"{PACKAGE}.{name}", name)
    if name in list_shipped():
        return _import_shipped(name)
    known = list_known()
    hint = suggest_name(name, known)
    raise ConfigurationError(
        f"unknown schema {name!r}{f'{hint} Use' if hint else ': use'} {', '.join(known)}, package.module:Model or"
        " path/to/file.py:Model"
    )


def import_source(source: str, name: str) -> ModuleType:
    """The module of `package.module` or `path/to/file.py`, the part of a schema's name before the colon."""
    if source.endswith(".py"):
        return _import_path(Path(source), name)
    parts = source.split(".")
    if not all(part.isidentifier() for part in parts):
        raise ConfigurationError(f"schema {name!r}: write it as package.module:Model or path/to/file.py:Model")
    folder = _own_folder()
    if folder and len(parts) == 2 and parts[0] == PACKAGE and (folder / f"{parts[1]}.py").is_file():
        return _import_file(folder / f"{parts[1]}.py", source, name)
    return _import_module(source, name)


def _import_path(path: Path, name: str) -> ModuleType:
    if _OWN_FILES_ONLY.get():
        check_location(name)
    if not path.is_file():
        raise ConfigurationError(f"schema {name!r}: there is no file {str(path)!r} below {str(Path.cwd())!r}")
    return _import_file(path, _module_name(path), name)


def allow_own_files_only() -> None:
    """From here on refuse, in this context, files outside of the working folder's `schemas/`: see `check_location`."""
    _OWN_FILES_ONLY.set(True)


def check_location(name: str) -> None:
    """Raises ConfigurationError for a file outside of the working folder's `schemas/`, after links are resolved.

    For jobs that come from a form or the API: their sender may not choose which files of the machine are executed.
    """
    source, _, _ = name.rpartition(":")
    if not source.endswith(".py"):
        return
    allowed = Path(PACKAGE).resolve()
    if not Path(source).resolve().is_relative_to(allowed):
        raise ConfigurationError(
            f"schema {name!r}: a job from a form or the API may name only files in {str(allowed)!r};"
            " move the file there, or use package.module:Model"
        )


def _list_names(folder: Path) -> list[str]:
    return sorted(each.name for each in pkgutil.iter_modules([str(folder)]) if not each.name.startswith("_"))


def _shipped_folder() -> Path:
    file = importlib.import_module(PACKAGE).__file__
    assert file is not None
    return Path(file).parent


def _own_folder() -> Path | None:
    """The working folder's `schemas/`, unless it is the shipped one."""
    folder = Path(PACKAGE).resolve()
    return folder if folder.is_dir() and folder != _shipped_folder().resolve() else None


def _module_name(path: Path) -> str:
    """`schemas.<name>` for a file of the working folder's `schemas/`, else a name of its own for each path."""
    whole = path.resolve()
    if whole.parent == _own_folder():
        return f"{PACKAGE}.{path.stem}"
    return f"{path.stem}_{hashlib.sha256(str(whole).encode(errors='surrogatepass')).hexdigest()[:8]}"


def _import_file(path: Path, module_name: str, name: str) -> ModuleType:
    """The module in a file; its folder, and the working folder's `schemas/`, can be imported from."""
    whole = path.resolve()
    known = sys.modules.get(module_name)
    if known is not None and known.__file__ and Path(known.__file__).resolve() == whole:
        return known
    _prefer_own_folder()
    folder = str(whole.parent)
    if not module_name.startswith(f"{PACKAGE}.") and folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(module_name, whole)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # pydantic resolves annotations through it
    try:
        _run_module(lambda: spec.loader.exec_module(module), name, str(path))  # type: ignore[union-attr]
    except ConfigurationError:
        del sys.modules[module_name]
        raise
    return module


def _import_shipped(name: str) -> ModuleType:
    """The shipped module, also where one of the same name was imported from another working folder before."""
    module_name = f"{PACKAGE}.{name}"
    return _import_file(_shipped_folder() / f"{name}.py", module_name, name)


def _import_module(module_name: str, name: str) -> ModuleType:
    """A module that can be imported from the working folder, as by `python -m`."""
    importlib.import_module(PACKAGE)  # before the working folder is on the path: it may have a package of that name
    if "" not in sys.path:
        sys.path.insert(0, "")
    _prefer_own_folder()
    module: list[ModuleType] = []
    _run_module(lambda: module.append(importlib.import_module(module_name)), name, module_name)
    return module[0]


def _prefer_own_folder() -> None:
    """Let `import schemas.<name>` find the working folder's modules before the shipped ones."""
    package, folder = importlib.import_module(PACKAGE), _own_folder()
    package.__path__ = [*([str(folder)] if folder else []), str(_shipped_folder())]


def _run_module(run: Callable[[], object], name: str, source: str) -> None:
    """Run the code of a user's module. Raises ConfigurationError for any error in it."""
    try:
        run()
    except ModuleNotFoundError as error:
        place = f"{place}: " if (place := _locate_error(error)) else ""
        raise ConfigurationError(
            f"schema {name!r}: {place}no module named {error.name!r} can be imported from here"
        ) from error
    except (Exception, SystemExit) as error:  # only the module's own code runs here, which may raise anything
        place = _locate_error(error) or f"module {source}"
        words = error.msg if isinstance(error, SyntaxError) else first_line(error)
        raise ConfigurationError(
            f"schema {name!r}: {place}: cannot be imported: {type(error).__name__}: {words}"
        ) from error


def _locate_error(error: BaseException) -> str:
    """The file and line of the user's code that raised this error; empty if no such code was run."""
    if isinstance(error, SyntaxError) and error.filename:
        return _format_place(error.filename, error.lineno or 1)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_FOREIGN)]
    return _format_place(frames[-1].filename, frames[-1].lineno or 1) if frames else ""


def _format_place(file: str, line: int) -> str:
    path = Path(file).resolve()
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}, line {line}"
