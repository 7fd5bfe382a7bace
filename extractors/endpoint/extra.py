"""The packages of the offline extra, and the error for missing ones."""

from __future__ import annotations

import importlib.util

_NEEDS = {
    "ocr": ("uvicorn", "rapidocr", "onnxruntime"),
    "echo": ("uvicorn",),
    "witness": ("rapidocr", "onnxruntime"),
}


class EndpointError(Exception):
    """The offline endpoint cannot be started; the message says what to do."""


def check_extra(reader: str) -> None:
    """Raise EndpointError with the install command when a package for this reader is missing.

    Call it before importing `serve`, which needs them. It imports nothing.
    """
    missing = [name for name in _NEEDS.get(reader, ()) if importlib.util.find_spec(name) is None]
    if missing:
        what = "--witness" if reader == "witness" else "offline reading"
        raise EndpointError(f'{what} needs {" and ".join(missing)}: pip install "tilewise[offline]"')
