"""Images on disk: walk a folder in the order of its names, and read the files that were found."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from extractors.core import Found, Problem
from extractors.core.errors import ConfigurationError, DocumentError
from extractors.images.limits import MAX_BYTES
from extractors.scan.formats import SUFFIXES
from extractors.scan.listing import Listing
from extractors.scan.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extractors.core import Header
    from extractors.core.documents import ParseHeader

_LIST_ATTEMPTS = 3


def scan_folder(root: Path, selection: Selection | None = None, listing: Listing | None = None) -> Iterator[Found]:
    """Yield every selected image under `root`, depth first, names sorted within a folder.

    Links that lead out of `root` are not followed. `listing` notes what is passed over or cannot be listed. Raises
    ConfigurationError at once when `root` itself cannot be listed.
    """
    top = os.path.abspath(root)  # noqa: PTH100 - keeps links in the path, which resolve() would replace
    try:
        os.scandir(top).close()
    except OSError as error:
        raise ConfigurationError(f"source {str(root)!r} cannot be listed: {error.strerror}") from error
    return _Walk(top, os.path.realpath(top), selection or Selection(), listing or Listing()).images()


def may_hold_images(root: str) -> bool:
    """Tell whether there is a file with the extension of an image, or a folder that cannot be listed; the first one ends it."""
    folders = [root]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.name.lower().endswith(SUFFIXES):
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError:
            return True
    return False


def scan_file(path: Path) -> Iterator[Found]:
    """Yield the one image at `path`."""
    yield find_file(os.path.abspath(path))  # noqa: PTH100 - as above


def find_file(uri: str) -> Found:
    """Return the file at an absolute path; a missing one, or one that is not a file, has a problem."""
    try:
        status = os.stat(uri)  # noqa: PTH116 - as os.scandir below
    except OSError as error:
        return Found(uri, problem=_problem_of(error, uri))
    except ValueError:  # a null byte in the name
        return Found(uri, problem=Problem("missing", "scan", f"{uri!r} is not a file name", final=False))
    if not stat.S_ISREG(status.st_mode):
        return Found(uri, problem=Problem("not_an_image", "scan", f"{uri} is not a file", final=False))
    return _make_found(uri, status)


@dataclass(frozen=True, slots=True)
class _Walk:
    """One walk of a folder, without recursion: folders nest deeper than Python's stack."""

    top: str
    root: str  # the same with links resolved
    selection: Selection
    listing: Listing

    def images(self) -> Iterator[Found]:
        """Yield the images of all folders."""
        pending = [self._list_folder(self.top)]
        while pending:
            item = next(pending[-1], None)
            if item is None:
                pending.pop()
            elif isinstance(item, Found):
                yield item
            else:
                pending.append(self._list_folder(item))

    def _list_folder(self, folder: str) -> Iterator[Found | str]:
        """Yield the images of one folder, and the paths of its folders, in the order of names."""
        names, others, error = _read_folder(folder)
        prefix = os.path.join(folder, "")  # noqa: PTH118 - keeps a folder named /
        inside = prefix[len(self.top) :].lstrip(os.sep)
        while names:
            name = names.pop()
            uri, path, entry = prefix + name, inside + name, others.get(name)
            is_folder = entry is not None and _is_folder(entry)
            kind = self.selection.judge_folder(path) if is_folder else self.selection.judge_file(path)
            if kind:
                self.listing.pass_over(kind)
            elif is_folder:
                yield uri
            elif found := self._find_entry(uri, entry):
                yield found
        if error:
            problem = _problem_of(error, folder)
            self.listing.unread.append(problem.message)
            yield Found(_printable(folder), problem=problem)

    def _find_entry(self, uri: str, entry: os.DirEntry[str] | None) -> Found | None:
        """Return the file; None for what is passed over."""
        if not _is_utf8(uri):
            return _reject_name(uri)
        if entry is not None and entry.is_symlink() and self._leads_out(uri):
            return None
        try:
            status = os.stat(uri)  # noqa: PTH116 - as os.scandir below
        except OSError as error:
            return Found(uri, problem=_problem_of(error, uri))
        if stat.S_ISREG(status.st_mode):
            return _make_found(uri, status)
        self.listing.pass_over("folder link" if stat.S_ISDIR(status.st_mode) else "not a file")
        return None

    def _leads_out(self, path: str) -> bool:
        target = os.path.realpath(path)
        inside = target.startswith(self.root.rstrip(os.sep) + os.sep)
        if not inside:
            self.listing.pass_link(path, _printable(target))
        return not inside


def _read_folder(folder: str) -> tuple[list[str], dict[str, os.DirEntry[str]], OSError | None]:
    """Return the names in a folder, the last first, and the error that ended the listing early, after retries.

    Only for what is not a plain file its entry is returned, too: an entry keeps 1 KB, with the status of its file.
    """
    names: list[str] = []
    others: dict[str, os.DirEntry[str]] = {}
    failure: OSError | None = None
    for _ in range(_LIST_ATTEMPTS):
        listed: list[str] = []
        unlike: dict[str, os.DirEntry[str]] = {}
        failure = None
        try:
            with os.scandir(folder) as stream:
                for entry in stream:
                    listed.append(entry.name)
                    if not _is_plain(entry):
                        unlike[entry.name] = entry
        except OSError as error:
            failure = error
        if len(listed) >= len(names):
            names, others = listed, unlike
        if failure is None or isinstance(failure, PermissionError | FileNotFoundError):
            break
    names.sort(reverse=True)
    return names, others, failure


def _is_plain(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a file and no link, where the listing tells; one that is gone is looked at again."""
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:  # a file system without entry types
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:  # as above
        return False


def _is_utf8(path: str) -> bool:
    """Return whether a table can hold the path: file systems take any bytes as names, Parquet only UTF-8."""
    return path.isascii() or not any("\ud800" <= character <= "\udfff" for character in path)


def _printable(path: str) -> str:
    return path if _is_utf8(path) else os.fsencode(path).decode("utf-8", errors="backslashreplace")


def _reject_name(path: str) -> Found:
    shown = _printable(path)
    return Found(shown, problem=Problem("unreadable", "scan", f"{shown}: the name is not UTF-8", final=False))


def _make_found(uri: str, status: os.stat_result) -> Found:
    return Found(uri, status.st_size, _version_of(status), _time_of(status))


def _time_of(status: os.stat_result) -> datetime | None:
    """Return the time of modification; None where it is outside the years 1 to 9999."""
    try:
        return datetime.fromtimestamp(status.st_mtime, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _version_of(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _problem_of(error: OSError, path: str) -> Problem:
    raised = _translate(error, _printable(path))
    return Problem(raised.kind, "scan", raised.message, final=False)


def _translate(error: OSError, path: str, stage: str = "scan") -> DocumentError:
    kind = {FileNotFoundError: "missing", PermissionError: "forbidden"}.get(type(error), "unreadable")
    message = f"{path} cannot be read: {error.strerror or error}"
    return DocumentError(message, kind=kind, stage=stage, final=False)


def _check_unchanged(found: Found, status: os.stat_result) -> None:
    """Raises DocumentError for a file that was written to since it was found, and for one that is too large."""
    if found.version is not None and found.version != _version_of(status):
        message = f"{found.uri} changed since it was listed; the next run reads the new version"
        raise DocumentError(message, kind="changed", stage="scan", final=False)
    if (found.size or 0) > MAX_BYTES:
        message = f"{found.size:,} bytes are over the limit of {MAX_BYTES:,}"
        raise DocumentError(message, kind="too_many_bytes", stage="scan")


class FolderStore:
    """Reads files by path, and notices one that was written to since it was found."""

    readers = 1  # a warm disk answers sooner than a thread

    def stat(self, found: Found) -> Found:
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
        try:
            _check_unchanged(found, os.fstat(stream.fileno()))
        except DocumentError:
            stream.close()
            raise
        return stream

    def read_header(self, found: Found, parse: ParseHeader) -> Header | None:
        """What `parse` makes of the file, read without a stream: half the time. Raises DocumentError as `open` does."""
        try:
            descriptor = os.open(found.uri, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _translate(error, found.uri) from error
        try:
            _check_unchanged(found, os.fstat(descriptor))
            return parse(partial(os.pread, descriptor), partial(os.lseek, descriptor, 0, os.SEEK_END))
        finally:
            os.close(descriptor)

    def read(self, found: Found) -> bytes:
        """All bytes of the file. Raises DocumentError as `open` does."""
        with self.open(found) as stream:
            try:
                return stream.read()
            except OSError as error:
                raise _translate(error, found.uri) from error
