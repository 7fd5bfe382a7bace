"""The packages of the extra `tune`, imported where they are used: a run needs none of them."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

from extractors.core.errors import ConfigurationError

if TYPE_CHECKING:
    from types import ModuleType

INSTALL = "pip install 'tilewise[tune]'"
_PACKAGES = {"rapidfuzz": "rapidfuzz", "sklearn": "scikit-learn", "scipy": "scipy"}


def check_extra() -> None:
    """Raises ConfigurationError with the install command when a package is missing. It imports nothing."""
    missing = [package for name, package in _PACKAGES.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"measuring accuracy needs {' and '.join(missing)}: {INSTALL}")


def import_module(name: str) -> ModuleType:
    """Imports a module of these packages. Raises ConfigurationError as `check_extra`."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = _PACKAGES.get((error.name or name).partition(".")[0], error.name)
        raise ConfigurationError(f"measuring accuracy needs {package}: {INSTALL}") from None
