"""Images on disk: a folder walked in the order of its names, and the bytes of what was found there."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import features

from extractors.core import Found, Problem
from extractors.core.errors import ConfigurationError, DocumentError
from extractors.images import pdf
from extractors.images.open import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTENSIONS = (
    *("jpg", "jpeg", "png", "webp", "gif", "tif", "tiff", "bmp"),
    *(["avif"] if features.check("avif") else []),
    *(["pdf"] if pdf.is_installed() else []),
)
SUFFIXES = tuple(f".{extension}" for extension in EXTENSIONS)


def check_pdf(source: str) -> None:
    """Raises ConfigurationError for a PDF, by its name, where PDFs cannot be read: a folder's are passed over there."""
    if source.lower().endswith(".pdf") and ".pdf" not in SUFFIXES:
        raise ConfigurationError(f"source {source!r} is a PDF, which nothing here can read: {pdf.INSTALL}")


def scan_folder(root: Path) -> Iterator[Found]:
    """Every image under `root`, depth first, names sorted within a folder. Links are never followed out of `root`."""
    top = os.path.abspath(root)  # noqa: PTH100 - keeps links in the path, which resolve() would replace
    try:
        os.scandir(top).close()
    except OSError as error:
        raise ConfigurationError(f"source {str(root)!r} cannot be listed: {error.strerror}") from error
    return _walk(top, os.path.realpath(top))


def scan_file(path: Path) -> Iterator[Found]:
    """The one image at `path`."""
    yield find_file(os.path.abspath(path))  # noqa: PTH100 - as above


def find_file(uri: str) -> Found:
    """The file at an absolute path that somebody named; one that is not there, or is no file, is found with a flaw."""
    try:
        status = os.stat(uri)  # noqa: PTH116 - as os.scandir below
    except OSError as error:
        return Found(uri, problem=_problem_of(error, uri))
    except ValueError:  # as an empty byte in its name
        return Found(uri, problem=Problem("missing", "scan", f"{uri!r} is no file's name", final=False))
    if not stat.S_ISREG(status.st_mode):
        return Found(uri, problem=Problem("not_an_image", "scan", f"{uri} is not a file", final=False))
    return _make_found(uri, status)


def _walk(folder: str, root: str) -> Iterator[Found]:
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield Found(folder, problem=_problem_of(error, folder))
        return
    for entry in listed:
        if not _is_utf8(entry.path):
            if entry.is_dir(follow_symlinks=False) or entry.name.lower().endswith(SUFFIXES):
                yield _reject_name(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, root)
        elif entry.name.lower().endswith(SUFFIXES):
            yield from _find_entry(entry, root)


def _find_entry(entry: os.DirEntry[str], root: str) -> Iterator[Found]:
    if entry.is_symlink() and not os.path.realpath(entry.path).startswith(root + os.sep):
        return
    try:
        status = entry.stat()
    except OSError as error:
        yield Found(entry.path, problem=_problem_of(error, entry.path))
        return
    if stat.S_ISREG(status.st_mode):
        yield _make_found(entry.path, status)


def _is_utf8(path: str) -> bool:
    """Whether the path can be written into a table: a file system takes any bytes for a name, Parquet only UTF-8."""
    return path.isascii() or not any("\ud800" <= character <= "\udfff" for character in path)


def _reject_name(path: str) -> Found:
    shown = os.fsencode(path).decode("utf-8", errors="backslashreplace")
    return Found(shown, problem=Problem("unreadable", "scan", f"{shown}: the name is not UTF-8", final=False))


def _make_found(uri: str, status: os.stat_result) -> Found:
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return Found(uri, status.st_size, _version_of(status), modified)


def _version_of(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _problem_of(error: OSError, path: str) -> Problem:
    raised = _translate(error, path)
    return Problem(raised.kind, "scan", raised.message, final=False)


def _translate(error: OSError, path: str, stage: str = "scan") -> DocumentError:
    kind = {FileNotFoundError: "missing", PermissionError: "forbidden"}.get(type(error), "unreadable")
    message = f"{path} cannot be read: {error.strerror or error}"
    return DocumentError(message, kind=kind, stage=stage, final=False)


class FolderStore:
    """Reads files by path, and notices one that was written to since it was found."""

    readers = 1  # a warm disk answers sooner than a thread

    def look(self, found: Found) -> Found:
        """The file's size, version and time, where only its name is known."""
        if found.version or found.problem:
            return found
        (looked,) = scan_file(Path(found.uri))
        return replace(
            found, size=looked.size, version=looked.version, modified=looked.modified, problem=looked.problem
        )

    def link(self, found: Found) -> str:
        """Raises DocumentError: no server can read this disk."""
        message = f"{found.uri} is a file: only what has a URL can be passed on"
        raise DocumentError(message, kind="video_not_allowed" if found.video else "unreadable", stage="prepare")

    def open(self, found: Found) -> BinaryIO:
        """The open file, at its start. Raises DocumentError: missing, forbidden, changed, too_many_bytes."""
        try:
            stream = open(found.uri, "rb")  # noqa: PTH123, SIM115 - half the time of a Path's; the caller closes it
        except OSError as error:
            raise _translate(error, found.uri) from error
        version = _version_of(os.fstat(stream.fileno()))
        if found.version not in {None, version}:
            stream.close()
            message = f"{found.uri} changed since it was listed; the next run reads the new version"
            raise DocumentError(message, kind="changed", stage="scan", final=False)
        if (found.size or 0) > MAX_BYTES:
            stream.close()
            message = f"{found.size:,} bytes are over the limit of {MAX_BYTES:,}"
            raise DocumentError(message, kind="too_many_bytes", stage="scan")
        return stream

    def read(self, found: Found) -> bytes:
        """All bytes of the file. Raises DocumentError as `open` does."""
        with self.open(found) as stream:
            try:
                return stream.read()
            except OSError as error:
                raise _translate(error, found.uri) from error
