"""What a command does not need at its start, or to keep: searches for garbage, unused modules and certificates, freed memory."""

from __future__ import annotations

import gc
import os
import ssl
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

# jemalloc keeps what Polars freed for later queries, of which a run has few. Polars adds this variable to its defaults.
_FREED_MEMORY = "narenas:2,dirty_decay_ms:0,muzzy_decay_ms:0"


def release_freed_memory() -> None:
    """Polars returns freed memory to the system at once: a run of 1,000 images peaks 13 MiB lower. Call it before its import.

    The user's own setting wins.
    """
    os.environ.setdefault("_RJEM_MALLOC_CONF", _FREED_MEMORY)


@contextmanager
def without_collection() -> Iterator[None]:
    """Imports create no garbage: to look for cycles meanwhile would take up to a quarter of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what was imported stays, so later searches leave it out, too
        gc.enable()


@contextmanager
def without_httpx_command() -> Iterator[None]:
    """An import of httpx meanwhile leaves out its command line, which nothing calls.

    With it, it imports click and Pygments where they are installed: 22 ms and 3 MiB.
    """
    main, modules = "httpx._main", cast("dict[str, ModuleType | None]", sys.modules)
    modules.setdefault(main, None)  # None makes an import of it fail, and httpx does without
    try:
        yield
    finally:
        if modules[main] is None:
            del modules[main]


@contextmanager
def without_certificates() -> Iterator[None]:
    """TLS contexts that are made meanwhile read the system's certificates when a connection first uses them.

    aiohttp makes two while it is imported, which takes 50 ms; a run makes its own.
    """
    # Replaced in the class, since aiohttp has no setting for this; mypy refuses to assign to a method.
    load = ssl.SSLContext.load_default_certs
    setattr(ssl.SSLContext, "load_default_certs", _defer)  # noqa: B010 - see above
    setattr(ssl.SSLContext, "set_default_verify_paths", _defer)  # noqa: B010 - see above
    try:
        yield
    finally:
        setattr(ssl.SSLContext, "load_default_certs", load)  # noqa: B010 - see above
        del ssl.SSLContext.set_default_verify_paths  # the one of the C class shows again


def _defer(context: ssl.SSLContext, _purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH) -> None:
    context.__class__ = _UnreadContext


class _UnreadContext(ssl.SSLContext):
    """A client's TLS context that has not read the system's certificates yet."""

    __slots__ = ()

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - asyncio and uvloop call it with the parameters of `ssl`
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As in `ssl`; it is how event loops use a context."""
        self.__class__ = ssl.SSLContext  # type: ignore[assignment]  # from now on an ordinary context
        self.load_default_certs()
        return self.wrap_bio(incoming, outgoing, server_side, server_hostname, session)
