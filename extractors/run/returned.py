"""Returned: which model answered. Ids are redirected at short notice, so a run says when the answers come from another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extractors.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from extractors.core import Attempt
    from extractors.core.errors import RunError


@dataclass(slots=True)
class ModelGuard:
    """Told of every document's attempts. `before` are the names by which the last run was answered, none if it is the first."""

    requested: str
    before: frozenset[str]
    stops: bool = False
    names: set[str] = field(default_factory=set)

    def observe(self, attempts: Iterable[Attempt]) -> RunError | None:
        """One more document has ended; the error that stops the run, if another model is to stop it."""
        self.names.update(each.reply.model for each in attempts if each.reply and each.reply.model)
        if not self.stops or not self._new:
            return None
        return Refused(f"{self._sentence}: set TILEWISE_ON_MODEL_CHANGE=warn to go on with it, or name another model")

    def warning(self) -> str | None:
        """What a person should know of who answered."""
        return f"{self._sentence}: see whether its answers and its bill are the same" if self._new else None

    @property
    def _new(self) -> set[str]:
        return self.names - self.before if self.before else set()

    @property
    def _sentence(self) -> str:
        now, before = ", ".join(sorted(self._new)), ", ".join(sorted(self.before))
        return f"{self.requested} was answered by {now}, in the last run by {before}"
