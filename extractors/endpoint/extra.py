"""The optional half of the room: what the offline extra brings, and the error that says it is missing."""

from __future__ import annotations

import importlib.util

_NEEDS = {"ocr": ("uvicorn", "rapidocr", "onnxruntime"), "echo": ("uvicorn",)}


class EndpointError(Exception):
    """The offline endpoint could not be started; the message says what to do."""


def check_extra(reader: str) -> None:
    """Raise EndpointError, naming the command that installs it, when a package for this reader is missing.

    Ask before importing `serve`, which needs them. Nothing is imported to find out.
    """
    missing = [name for name in _NEEDS.get(reader, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise EndpointError(f'offline reading needs {" and ".join(missing)}: pip install "tilewise[offline]"')
