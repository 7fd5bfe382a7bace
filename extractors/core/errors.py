"""The error tree. Every stage raises from it, and errors of libraries are converted to it where they are caught.

- TilewiseError
    - ConfigurationError: before anything is read or spent (exit 2)
        - ApprovalRequired: the estimate is above the amount that may be spent without approval
    - DocumentError: one document failed; becomes a row
    - RunError: the whole run stops, completed documents are kept
        - OutputError: the tables cannot be written (exit 2)
        - LedgerError: the ledger cannot record calls, so none is sent (exit 2)
            - LeaseLost: another process has taken the run over
        - Refused: the key, the account, the URL or the model is not accepted (exit 2)
        - Failing: too many calls or documents fail (exit 2)
        - Incomplete: the source could not be listed to its end (exit 2)
        - Abandoned: the run's process ended early (exit 2)
        - Stopped: a person or a time limit stopped the run (exit 3)
            - BudgetSpent: the budget is spent or reserved

Every error takes a message and keyword extras with defaults, so it survives pickling between processes.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from extractors.core.calls import Refusal


def format_value(value: object) -> str:
    """Returns a value as an error shows it: quoted where it is text, with a URL's password and query masked."""
    return re.sub(r"(?<=[?#])[^'\"]*", "**********", re.sub(r"://[^/\s]*@", "://**********@", repr(value)))


def format_reason(message: object) -> str:
    """Returns why pydantic refuses a value, as it stands behind the value: `must be greater than 0`."""
    return str(message).removeprefix("Value error, ").replace("Input should be", "must be", 1)


def first_line(error: BaseException) -> str:
    """Returns the error's text on one line, cut to a length that a table can show."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Returns `, did you mean receipt?` where a known name is close to this one, else nothing."""
    names = {each.casefold(): each for each in known}
    close = get_close_matches(name.casefold(), names, n=1)
    return f", did you mean {names[close[0]]}?" if close else ""


class TilewiseError(Exception):
    """The base of all errors that tilewise raises on purpose; its text is one line."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class ConfigurationError(TilewiseError):
    """The job cannot start: the text names the setting, its value and what is allowed."""


class ApprovalRequired(ConfigurationError):  # noqa: N818 - named for what it needs
    """The estimate is above the amount that may be spent without approval: a person or `--yes` may approve it."""


class DocumentError(TilewiseError):
    """One document failed.

    `kind` is a reject reason or a call's outcome, `stage` where it failed; `final` says that another try cannot succeed.
    The message may quote a server or a model; `public` never does. `refusal` is set where the server refused the request
    and not this image.
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
        self.kind = kind
        self.stage = stage
        self.final = final
        self.public = public or kind
        self.refusal = refusal

    def __reduce__(self) -> tuple[object, ...]:
        """Keyword extras travel as state: `Exception` would pickle the message alone."""
        return (type(self), (self.message,), vars(self))


class RunError(TilewiseError):
    """The run stops; completed documents are kept and published. `status` is the run's in the table `runs`."""

    status = "failed"
    exit_code = 2


class LedgerError(RunError):
    """The ledger cannot be read or written, so no call is sent."""


class LeaseLost(LedgerError):  # noqa: N818 - named for what happened
    """Another process has taken the run over and publishes its documents."""


class OutputError(RunError):
    """The tables cannot be written."""


class Refused(RunError):  # noqa: N818 - named for its status
    """The key, the account, the URL, the model or the request is not accepted: no call can succeed until that is changed."""

    status = "refused"


class Failing(RunError):  # noqa: N818 - as above
    """Too much fails: the server does not answer, most answers are not accepted, or they cost too much."""

    status = "failing"


class Incomplete(RunError):  # noqa: N818 - as above
    """The source could not be listed to its end; what was listed is done."""

    status = "incomplete"


class Abandoned(RunError):  # noqa: N818 - as above
    """The run's process ended early; a later run has published its completed documents."""

    status = "abandoned"


class Stopped(RunError):  # noqa: N818 - as above
    """The run was stopped; the next run takes the remaining documents."""

    status = "stopped"
    exit_code = 3


class BudgetSpent(Stopped):
    """The budget is spent, or reserved for calls whose billing status is unknown."""

    status = "budget_spent"
