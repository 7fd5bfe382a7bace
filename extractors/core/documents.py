"""The values from a found image to the bytes that are sent of it, page by page, and the store that reads images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

from extractors.core.money import Costs
from extractors.core.tiles import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pydantic import SecretStr

    from extractors.core.evidence import Quality

    # Reads a header by a function that reads so many bytes at an offset, and one that gives the length of the file.
    ParseHeader = Callable[[Callable[[int, int], bytes], Callable[[], int]], "Header | None"]

Name = tuple[str, str | None]  # a document and its version
Stage = Literal["scan", "bill", "prepare", "call", "validate"]
Action = Literal["send", "shrink", "resize", "url", "reject"]
REJECT_REASONS = frozenset(
    {
        "empty",
        "unreadable",
        "not_an_image",
        "too_many_pixels",
        "too_many_bytes",
        "too_many_pages",
        "missing",
        "forbidden",
        "blocked_address",
        "changed",
        "video_not_allowed",
        "password",
        "unsupported",
        "viewer_only",
    }
)
# What a setting rejected: changing the setting cures that, so it is never final, and it is not counted as a try.
SETTING_KINDS = frozenset(
    {"too_many_pages", "too_many_bytes", "too_many_pixels", "video_not_allowed", "blocked_address", "password"}
)
UNSEEN = Size(0, 0)  # of a video: no rule bills it
UNSENT = frozenset({"scan", "bill", "prepare"})  # the stages that reject: an answer, too, can be `empty`


# --- scan


@dataclass(frozen=True, slots=True)
class Problem:
    """Why one image cannot be sent: the reject reason, the stage that found it, a sentence; `final` as in DocumentError."""

    kind: str
    stage: Stage
    message: str
    final: bool = True

    def __post_init__(self) -> None:
        """Makes what a setting rejected not final, wherever it was noticed."""
        if self.is_setting:
            object.__setattr__(self, "final", False)

    @property
    def is_setting(self) -> bool:
        """Whether a setting rejected the image."""
        return self.kind in SETTING_KINDS


@dataclass(frozen=True, slots=True)
class Found:
    """An image that exists: its URI, its size in bytes, and a version that changes when its bytes may have changed.

    `page` counts from 1 in a file of several pages. `address` is where it is fetched from, when that is more than `uri`
    may tell (a signature); `passwords` may open it, tried in turn. Both are kept in memory only.
    """

    uri: str
    size: int | None = None
    version: str | None = None
    modified: datetime | None = None
    problem: Problem | None = None
    page: int | None = None
    address: SecretStr | None = None
    video: bool = False
    passwords: tuple[SecretStr, ...] = ()

    @property
    def name(self) -> str:
        """The image's name in every table; a page of a file is written as in RFC 8118."""
        return self.uri if self.page is None else f"{self.uri}#page={self.page}"

    def prefix_message(self, message: str) -> str:
        """A message about a document, with the name of this page."""
        return message if self.uri in message else f"{self.name}: {message}"


@dataclass(frozen=True, slots=True)
class Document:
    """The images that make one document, in order; `manifest` has the manifest's other columns as JSON."""

    document: str
    pages: tuple[Found, ...]
    manifest: str | None = None

    @property
    def name(self) -> Name:
        """The document's id and version."""
        return self.document, version_of(self.pages)

    @property
    def modified(self) -> datetime | None:
        """The latest modification time of its pages."""
        return modified_of(self.pages)


def version_of(pages: Sequence[Found]) -> str | None:
    """A version that changes when any page or the order may have changed: that of the one file, else a digest of all."""
    first = pages[0]
    if all(page.uri == first.uri for page in pages):
        return first.version
    opening = {page.uri: page.page for page in reversed(pages)}  # each file counts once, however many pages it has
    files = (page for page in pages if page.page == opening[page.uri])
    text = "\0".join(f"{file.uri}\0{file.version or ''}" for file in files)
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def modified_of(pages: Sequence[Found]) -> datetime | None:
    """The latest modification time of these images; None when one is unknown."""
    times = [page.modified for page in pages if page.modified is not None]
    return max(times) if len(times) == len(pages) else None


class Store(Protocol):
    """Reads found images; raises DocumentError for what it cannot read: missing, forbidden, changed, and the like.

    `readers` is how many reads at once are worth a thread each; all methods may be called from any.
    """

    @property
    def readers(self) -> int:
        """1 where reading does not wait."""

    def stat(self, found: Found) -> Found:
        """Returns it with size, version and time if scan did not know them, or with the problem that hides them."""

    def open(self, found: Found) -> BinaryIO:
        """Opens a seekable stream, for readers that need a header only."""

    def read_header(self, found: Found, parse: ParseHeader) -> Header | None:
        """Gives the header that `parse` reads of a local file, the fastest way; None for a file elsewhere."""

    def read(self, found: Found) -> bytes:
        """Reads all bytes of the version that was found."""

    def link(self, found: Found) -> str:
        """Returns the URL at which a server can fetch it, signed if needed: use it in a request only."""


# --- bill


@dataclass(frozen=True, slots=True)
class Header:
    """An image's header; `size` is upright, so sides are swapped for orientations 5 to 8."""

    size: Size
    format: str
    frames: int
    orientation: int


@dataclass(frozen=True, slots=True)
class BilledPage:
    """An image with its header and both documented bills of it as it is, or the problem that hides them."""

    found: Found
    header: Header | None = None
    tokens_formula: int | None = None
    tokens_table: int | None = None
    problem: Problem | None = None
    note: str | None = None


# --- plan


@dataclass(frozen=True, slots=True)
class LadderStep:
    """One rung for one page: its budget of image tokens, the size of the picture that is sent, and its bill."""

    rung: int
    size: Size
    tokens: int


@dataclass(frozen=True, slots=True)
class PlannedPage:
    """One page, the action chosen for it, and the ladder from that choice upwards (`ladder[0]` is sent first).

    `rescue`: the last step, the whole image, is above a stored ladder: it is sent after a refused answer only.
    """

    billed: BilledPage
    action: Action
    reason: str
    ladder: tuple[LadderStep, ...] = ()
    costs: Costs = field(default_factory=Costs)
    rescue: bool = False

    @property
    def faithful_tokens(self) -> int:
        """The image tokens with every pixel that the model sees; 0 for a page that is not sent."""
        return self.ladder[-1].tokens if self.ladder else 0

    @property
    def scale(self) -> float | None:
        """The sent picture's longest side as a share of the image's; None for a video."""
        if not self.ladder or self.billed.header is None:
            return None
        return self.ladder[0].size.longest / self.billed.header.size.longest


@dataclass(frozen=True, slots=True)
class Planned:
    """A document as it will be sent: its pages in order; the unit of every count."""

    document: str
    pages: tuple[PlannedPage, ...]
    tries: int = 0
    manifest: str | None = None

    @property
    def first(self) -> PlannedPage:
        """The page that stands for the document in its row."""
        return self.pages[0]

    @property
    def name(self) -> Name:
        """The document's id and version."""
        return self.document, version_of(self._found)

    @property
    def modified(self) -> datetime | None:
        """The latest modification time of its pages."""
        return modified_of(self._found)

    @property
    def _found(self) -> list[Found]:
        return [page.billed.found for page in self.pages]

    @property
    def problem(self) -> Problem | None:
        """The first problem of a page, which rejects the whole document."""
        return next((page.billed.problem for page in self.pages if page.billed.problem), None)

    @property
    def rungs(self) -> int:
        """The number of rungs of the document."""
        return max(len(page.ladder) for page in self.pages)

    @property
    def doubt_rungs(self) -> int:
        """The number of rungs to which an accepted answer that is not sure may climb."""
        return max(len(page.ladder) - page.rescue for page in self.pages)

    def steps(self, rung: int) -> tuple[LadderStep, ...]:
        """The pages' steps when the document is on this rung of its ladder, 0 the cheapest."""
        return tuple(page.ladder[min(rung, len(page.ladder) - 1)] for page in self.pages)

    @property
    def faithful_tokens(self) -> int:
        """The image tokens of all pages with every pixel that the model sees."""
        return sum(page.faithful_tokens for page in self.pages)

    @property
    def costs(self) -> Costs:
        """The document's estimate: the sum of its pages'."""
        return sum((page.costs for page in self.pages), Costs())


# --- prepare


@dataclass(frozen=True, slots=True)
class Prepared:
    """The image block of a request as bytes; `encoded`: they are not the original's bytes.

    `sha256` is of the original bytes: '' where none were read, as of an image that is passed on by its `link`. `quality` is
    None where it was not measured.
    """

    block: bytes = field(repr=False)
    size: Size
    encoded: bool
    sha256: str
    link: SecretStr | None = None
    quality: Quality | None = None
