"""Forget documents: their rows, answers and names leave tables, ledger and reports; what they cost stays."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.core import Found
from extractors.core.buckets import is_bucket_url
from extractors.core.errors import OutputError
from extractors.core.redact import redact_url
from extractors.record.ledger.erasure import Forgotten
from extractors.record.output.base import OUTPUT_ERRORS, reading
from extractors.record.tables.erasure import erase_rows, find_rows
from extractors.record.tables.views import write_views
from extractors.scan.stores import MixedStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from extractors.record.ledger import Ledger
    from extractors.record.output.base import Output
    from extractors.record.tables.erasure import FoundRows


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """The documents to forget under one output, by name: `uris` as given, made absolute."""

    output: Output
    uris: tuple[str, ...]

    @classmethod
    def build(cls, output: Output, values: Iterable[str]) -> ForgetRequest:
        """Name documents as tables do: files by absolute paths, URLs without signatures."""
        names = (name for value in values for name in _names_of(value))
        return cls(output, tuple(dict.fromkeys(names)))

    def find(self, ledger: Ledger | None) -> FoundRows:
        """Find what is stored of the documents. Raises ConfigurationError when a live run has one in flight."""
        with reading(self.output):
            found = find_rows(self.output, self.uris)
        if ledger is not None:
            ledger.erasure.check(self._forgotten(found))
        return found

    def erase(self, ledger: Ledger) -> FoundRows:
        """Erase the documents from ledger and tables, under a lease on the output; returns what was found.

        Raises ConfigurationError when a live run has one in flight: then nothing is changed. Raises OutputError when a file
        cannot be replaced: started again, it goes on with the rest.
        """
        with ledger.output_leases.hold(str(self.output)):
            with reading(self.output):
                found = find_rows(self.output, self.uris)
            ledger.erasure.erase(self._forgotten(found))
            with self._writing():
                erase_rows(self.output, found)
                write_views(self.output)
        return found

    def warn_of_sources(self) -> list[str]:
        """A warning for each image that is still in its source, or of which that is unknown: a run may read it again."""
        store = MixedStore()
        try:
            known = {uri: _exists(uri, store) for uri in self.uris}
        finally:
            store.close()
        words = {True: "is still in its source", None: "may still be in its source, which was not checked"}
        return [
            f"warning: {uri} {words[there]}: a run over it would read it again"
            for uri, there in known.items()
            if there in words
        ]

    def _forgotten(self, found: FoundRows) -> Forgotten:
        return Forgotten(str(self.output), found.names, frozenset(found.runs), planned=found.rows["plans"] > 0)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OUTPUT_ERRORS as error:
            reason = self.output.describe_error(error, "written")
            raise OutputError(
                f"output {str(self.output)!r} {reason}; a part of it is forgotten: run forget again for the rest"
            ) from error


def describe_found(found: FoundRows, warnings: Sequence[str], *, done: bool) -> list[str]:
    """What goes or is gone, what stays, and what a person has to do beside it."""
    verb = "removed" if done else "to be removed"
    counts = [f"{table} ({count:,})" for table, count in found.rows.items() if count and table != "calls"]
    lines = [f"{verb}: rows of {', '.join(counts)}" if counts else f"{verb}: no row; names are as in `_document`"]
    if found.rows["calls"]:
        lines.append(f"{'blanked' if done else 'to be blanked'}: {found.rows['calls']:,} calls keep their amounts")
    if found.reports:
        names = ", ".join(key.rpartition("/")[2] for key in found.reports)
        lines.append(f"{verb}: {len(found.reports)} reports ({names}); `tilewise report RUN` writes one anew")
    lines += [f"kept: {name} has the same bytes; name it, too, to forget it" for name in sorted(found.copies)]
    return [*lines, *warnings]


def _names_of(value: str) -> Iterator[str]:
    if "://" in value:
        yield redact_url(value)
        return
    path = str(Path(value).expanduser().absolute())
    yield path
    if (plain := os.path.normpath(path)) != path:
        yield plain


def _exists(uri: str, store: MixedStore) -> bool | None:
    """Whether the image, or the file of a page, is there; None for a URL of the web or a bucket that cannot be read."""
    name = uri.rpartition("#page=")[0] or uri
    if "://" not in name:
        return Path(name).exists()
    if not is_bucket_url(name):
        return None
    problem = store.stat(Found(name)).problem
    return True if problem is None else False if problem.kind == "missing" else None
