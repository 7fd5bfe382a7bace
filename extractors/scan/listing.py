"""What a walk of a source notices beside its images: entries that it passes over, and folders and pages left unread."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

LINK_OUTSIDE = "link out of the source"
OTHER = "other"  # extensions beyond the first MAX_KINDS
MAX_KINDS = 40


@dataclass(slots=True)
class Listing:
    """One walk's record. `passed_over` counts entries by kind; `unread` names what could not be listed.

    A folder that is passed over counts once, with any content.
    """

    passed_over: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)
    link: tuple[str, str] | None = None  # the first link that leads out, and its target

    def pass_over(self, kind: str) -> None:
        """Count an entry that is not read."""
        known = kind in self.passed_over or len(self.passed_over) < MAX_KINDS
        self.passed_over[kind if known else OTHER] += 1

    def pass_link(self, path: str, target: str) -> None:
        """Count a link that leads out of the source."""
        self.pass_over(LINK_OUTSIDE)
        self.link = self.link or (path, target)

    @property
    def incomplete(self) -> str | None:
        """The sentence for a listing that did not reach its end; None for a whole one."""
        if not self.unread:
            return None
        more = f" and {len(self.unread) - 1:,} more" if len(self.unread) > 1 else ""
        return (
            f"the source could not be listed to its end: {self.unread[0]}{more}; repair access and run again,"
            " or choose a source or an --exclude pattern without it"
        )

    @property
    def warnings(self) -> list[str]:
        """What a person should know about passed over entries."""
        if self.link is None:
            return []
        path, target = self.link
        count = self.passed_over[LINK_OUTSIDE]
        links = "1 link leads" if count == 1 else f"{count:,} links lead"
        words = (
            f"{links} out of the source and {'was' if count == 1 else 'were'} not followed, for example {path}"
            f" to {target}: choose a source that holds both, or list the files in a manifest"
        )
        return [words]

    @property
    def summary(self) -> str:
        """The counts in one line, the largest first; empty without any."""
        return ", ".join(f"{count:,} {kind}" for kind, count in self.passed_over.most_common())
