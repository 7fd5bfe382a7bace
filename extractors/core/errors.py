"""The error tree. A leaf: every stage raises from it, and foreign errors are translated into it at the border.

- TilewiseError
    - ConfigurationError: before anything is read or spent (exit 2)
        - NeedsYes: the estimate is above what may be spent without being asked
    - DocumentError: one document cannot be done; becomes a row
    - RunError: the whole run stops, what is done is kept
        - OutputError: the tables cannot be written (exit 2)
        - LedgerError: nothing may be sent that the ledger would not know of (exit 2)
        - Refused: key, account, URL or model are not accepted (exit 2)
        - Failing: too much fails to go on (exit 2)
        - Incomplete: the source could not be listed to its end (exit 2)
        - Stopped: a person or a time limit said so (exit 3)

Every error takes a message and keyword extras with defaults, so it survives pickling between processes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extractors.core.calls import Refusal


def format_value(value: object) -> str:
    """A value as an error shows it: quoted where it is text, and without the password or query that a URL may hold."""
    return re.sub(r"(?<=[?#])[^'\"]*", "**********", re.sub(r"://[^/\s]*@", "://**********@", repr(value)))


def first_line(error: BaseException) -> str:
    """The error's text on one line, cut to a length that a table can show."""
    return " ".join(str(error).split())[:200] or type(error).__name__


class TilewiseError(Exception):
    """Whatever tilewise raises on purpose; its text is one line for a person."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class ConfigurationError(TilewiseError):
    """What was asked for cannot be begun: the text names the thing, its value and what is allowed."""


class ApprovalRequired(ConfigurationError):  # noqa: N818 - what it needs is its name
    """The estimate is above what may be spent without being asked: a person may answer, `--yes` answers for one."""


class DocumentError(TilewiseError):
    """One document cannot be done.

    `kind` is a reject reason or a call's outcome, `stage` where it came up; `final` says that another try cannot
    cure it. The message may quote what a server or a model said; `public` never does.
    `refusal` is set where the server refused the request rather than this image.
    """

    def __init__(
        self,
        message: str = "",
        *,
        kind: str = "unreadable",
        stage: str = "bill",
        final: bool = True,
        public: str = "",
        refusal: Refusal | None = None,
    ) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.kind = kind
        self.stage = stage
        self.final = final
        self.public = public or kind

    def __reduce__(self) -> tuple[object, ...]:
        """Keyword extras travel as state: `Exception` would pickle the message alone."""
        return (type(self), (self.message,), vars(self))


class RunError(TilewiseError):
    """The run stops here; what was answered is kept and published. `status` is the run's in the table `runs`."""

    status = "failed"
    exit_code = 2


class LedgerError(RunError):
    """The ledger cannot be read or written: nothing may be sent that it would not know of."""


class LeaseLost(LedgerError):  # noqa: N818 - what it is is its name
    """Another process has taken the run over: it publishes what is there."""


class OutputError(RunError):
    """The tables cannot be written."""


class Refused(RunError):  # noqa: N818 - it is what the server did, and the status's own word
    """Key, account, URL or model are not accepted: no call can succeed until a person changes something."""

    status = "refused"


class Failing(RunError):  # noqa: N818 - as above
    """Too much fails to go on: the server answers nothing, or most answers are not accepted, or cost too much."""

    status = "failing"


class Incomplete(RunError):  # noqa: N818 - as above
    """The source could not be listed to its end; what was listed is done."""

    status = "incomplete"


class Abandoned(RunError):  # noqa: N818 - as above
    """The run's process ended before it was done; a later run has published what was left of it."""

    status = "abandoned"


class Stopped(RunError):  # noqa: N818 - as above
    """The run was told to stop; the rest waits for the next run."""

    status = "stopped"
    exit_code = 3


class BudgetSpent(Stopped):
    """What may be spent is spent, or reserved for calls of which nobody knows whether they were billed."""

    status = "budget_spent"
