"""Decides by its path below the source whether an entry is read: the one place for extensions, hidden folders and patterns."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate
from functools import cached_property

from extractors.scan.formats import SUFFIXES, suffix_of

_SET = re.compile(r"\(\?s:(.*)\)\\[Zz]", re.DOTALL)  # what fnmatch puts around a set
EXCLUDED, NOT_INCLUDED = "excluded", "not included"
_TRASH = frozenset(
    {"#recycle", "@recycle", "$recycle.bin", "recycler", ".trash", ".trashes", ".recycle", "network trash folder"}
)
_THUMBNAILS = frozenset({".@__thumb", ".thumbnails", ".thumbs", ".thumb", ".sh_thumbnails"})
_SYSTEM = frozenset(
    {
        *("@eadir", "@tmp", "@sharebin", "@recently-snapshot", "#snapshot", "~snapshot", ".snapshot", ".snapshots"),
        *(
            "system volume information",
            "lost+found",
            "__macosx",
            "$extend",
            "@synoresource",
            "thevolumesettingsfolder",
            "found.000",
        ),
        *(".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", ".localized"),
        *(".appledouble", ".spotlight-v100", ".fseventsd", ".temporaryitems", ".documentrevisions-v100"),
    }
)


def system_kind(name: str) -> str | None:
    """Return why a file or folder of this name is passed over by default; None for an ordinary one."""
    lower = name.lower()
    if lower.startswith("._"):
        return "AppleDouble"
    if lower in _TRASH or lower.startswith(".trash-"):
        return "trash"
    if lower in _THUMBNAILS:
        return "thumbnails"
    if lower in _SYSTEM:
        return "system"
    return "hidden" if lower.startswith(".") and lower not in {".", ".."} else None


@dataclass(frozen=True)
class Selection:
    """The patterns of `--include` and `--exclude`.

    | pattern      | matches                                                             |
    |--------------|---------------------------------------------------------------------|
    | `*.png`      | the name of a file, at any depth                                    |
    | `2026/*.png` | the whole path below the source; `*` and `?` stay within a folder   |
    | `a/**`       | everything below `a`, also `a/`; `**/b.png` also `b.png` at the top |

    Case counts; exclude wins. An include with a segment that spells the start of a hidden or system name (`.scans/**`,
    `**/@eaDir/*`) lifts the default for that name.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def judge_folder(self, path: str) -> str | None:
        """Return why nothing below this folder is read; None where something may be."""
        path = _normalize(path)
        name = path.rpartition("/")[2]
        kind = system_kind(name)
        if kind and not self._names(name):
            return kind
        return EXCLUDED if any(whole.match(path) for whole in self._excluded_folders) else None

    def judge_file(self, path: str) -> str | None:
        """Return why this file is not read; None for an image that is. Its folders are judged apart."""
        path = _normalize(path)
        name = path.rpartition("/")[2]
        image = name.lower().endswith(SUFFIXES)
        if not image or name.startswith("."):  # no other name of a system file ends like an image
            kind = system_kind(name)
            if kind and not self._names(name):
                return kind
            if not image:
                return suffix_of(name)
        if self.exclude and any(pattern.match(path) for pattern in self._excludes):
            return EXCLUDED
        if self.include and not any(pattern.match(path) for pattern in self._includes):
            return NOT_INCLUDED
        return None

    def judge_key(self, path: str) -> tuple[str | None, str]:
        """Return why this object is not read, or None, and the path that counts for it: its own or a folder's."""
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if kind := self.judge_folder(folder):
                return kind, folder
        return self.judge_file(path), path

    def _names(self, name: str) -> bool:
        return any(fnmatchcase(name, segment) for segment in self._lifted)

    @cached_property
    def _includes(self) -> list[re.Pattern[str]]:
        return [compile_pattern(each) for each in self.include]

    @cached_property
    def _excludes(self) -> list[re.Pattern[str]]:
        return [compile_pattern(each) for each in self.exclude]

    @cached_property
    def _excluded_folders(self) -> list[re.Pattern[str]]:
        """Patterns of folders that are excluded with everything in them, which saves listing them."""
        wholes = (each.removesuffix("/").removesuffix("/**") for each in self.exclude if each.endswith(("/**", "/")))
        return [compile_pattern(f"/{each}") for each in wholes if each.strip("/")]

    @cached_property
    def _lifted(self) -> list[str]:
        """Segments of includes that spell the start of a name: a wildcard never stands for a leading dot."""
        segments = (segment for each in self.include for segment in _normalize(each).split("/"))
        return [segment for segment in segments if segment and segment[0] not in "*?["]


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern to one that matches whole paths below the source."""
    anchored = "/" in pattern
    text = _normalize(pattern).removeprefix("./").removeprefix("/")
    text = f"{text}**" if text.endswith("/") else text
    return re.compile(f"(?s:{'' if anchored else '(?:.*/)?'}{_translate(text)})\\Z")


def _normalize(path: str) -> str:
    """Return the path in the composed form of Unicode: macOS decomposes names."""
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def _translate(text: str) -> str:
    parts, at = [], 0
    for match in re.finditer(r"(?:(?<=/)|^)\*\*/|\*{2,}|\*|\?|\[(?:!(?:\]|[^]/])|\]|[^]!/])[^]/]*\]", text):
        parts += [re.escape(text[at : match.start()]), _translate_wildcard(match[0])]
        at = match.end()
    return "".join([*parts, re.escape(text[at:])])


def _translate_wildcard(wildcard: str) -> str:
    if wildcard == "**/":
        return "(?:.*/)?"
    if wildcard.startswith("["):
        return "(?!/)" + _SET.sub(r"\1", translate(wildcard))
    return {"*": "[^/]*", "?": "[^/]"}.get(wildcard, ".*")
