"""Apply: a stored plan is resolved, and its documents are fed to a run as far as they have not changed since."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from extractors.config.job import Job
from extractors.config.run_config import RunConfig, resolve
from extractors.core import tiles
from extractors.core.errors import ConfigurationError, format_value
from extractors.plan.feed import map_items
from extractors.scan import Listing, is_manifest, open_source

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from decimal import Decimal

    from pydantic import SecretStr

    from extractors.config.settings import Settings
    from extractors.core import Found, Name, Planned, PlannedPage
    from extractors.plan.estimate import EstimateInputs
    from extractors.plan.stored_plan import PlanInfo, StoredPlan

SETTING_OF = {"endpoint": "TILEWISE_BASE_URL", "model": "TILEWISE_MODEL"}


def resolve_plan(
    url: str, info: PlanInfo, settings: Settings, *, budget: Decimal | None, yes: bool = True
) -> RunConfig:
    """Resolves the job of the plan at this URL as it was planned. Raises ConfigurationError where that is impossible."""
    try:
        job = Job.model_validate_json(info.job)
    except ValidationError:
        raise ConfigurationError(
            f"plan {format_value(url)} is of another version of tilewise: make a new plan"
        ) from None
    changes = {"source": info.source, "budget": budget, "yes": yes, "plan_only": False}
    config = resolve(job.model_copy(update=changes), settings)
    output, found, _ = url.rpartition("/plans/")
    config = replace(config, rule=tiles.parse_rule(info.bill_rule), output=output if found else config.output)
    config = config.with_tuning(info.tuning)
    for name in ("endpoint", "model", "schema_hash", "prompt_hash"):
        planned, now = getattr(info, name), getattr(config.fingerprint, name)
        if now != planned:
            what = name.removesuffix("_hash")
            cure = f"set {SETTING_OF[name]} to that value, or " if name in SETTING_OF else ""
            raise ConfigurationError(
                f"plan {format_value(url)}: its {what} was {planned}, is {now} here: {cure}make a new plan"
            )
    return config


@dataclass(frozen=True, slots=True)
class ApprovedPlan:
    """A plan that is to be run, and who approved it."""

    config: RunConfig
    stored_plan: StoredPlan
    info: PlanInfo
    approved_by: str | None


@dataclass(frozen=True, slots=True)
class PlanRange:
    """Consecutive documents of a plan, without those in `done`."""

    first: int
    count: int
    done: Collection[Name] = ()


class PlanFeed:
    """The documents of a stored plan that have not changed since; a `DocumentFeed`.

    `waiting` counts those that have changed: they need another plan.
    """

    videos = False  # the budget was checked when the plan was made

    def __init__(
        self, inputs: EstimateInputs, stored_plan: StoredPlan, info: PlanInfo, plan_range: PlanRange | None = None
    ) -> None:
        """`plan_range`: only these documents. Raises ConfigurationError when the source cannot be listed."""
        job, settings = inputs.config.job, inputs.config.settings
        self._job, self._history, self.tariff, self._info = job, inputs.history, inputs.tariff, info
        self._passwords = settings.pdf_passwords
        self._source = open_source(job.source, job.document_by, settings.allow_hosts, job.selection)
        self.listing = Listing()  # empty: the plan was made of a whole one
        self._source.documents(Listing())  # else every document of an unreachable source would seem to have changed
        self.store = self._source.store
        self._range = plan_range or PlanRange(0, info.documents)
        self._batches = stored_plan.iter_documents(self._range.first, self._range.count, batch=settings.chunk)
        self._addresses = self._signed_addresses()
        self.skipped = self.waiting = self._read = 0
        self.skipped_failed = Counter[str]()

    def take(self, count: int | None = None) -> list[Planned]:
        """Takes the next batch of documents that are to be done; empty only at the end. Blocks."""
        del count  # the plan is read in batches of its own
        while (batch := next(self._batches, None)) is not None:
            self._read += len(batch)
            pending = self._drop_done(batch)
            checked = map_items(self._check_unchanged, pending, self.store.readers)
            unchanged = [each for each in checked if each is not None]
            self.waiting += len(pending) - len(unchanged)
            if unchanged:
                return unchanged
        return []

    def _drop_done(self, batch: Sequence[Planned]) -> list[Planned]:
        """Counts the documents that are done, by kind if they have failed; returns the others."""
        pending: list[Planned] = []
        for planned in batch:
            if not self._is_done(planned):
                pending.append(planned)
            elif self._history is not None and (kind := self._history.failed_kind(planned.name)):
                self.skipped_failed[kind] += 1
        self.skipped += len(batch) - len(pending)
        return pending

    def skip(self, count: int) -> None:
        """Counts documents that were taken and turned out to be done."""
        self.skipped += count

    def rest(self) -> int:
        """Counts the documents that were not taken, and ends the feed."""
        remaining, self._read = self._range.count - self._read, self._range.count
        return remaining

    def count(self) -> int:
        """Counts the documents of the plan."""
        return self._range.count

    def complete(self, planned: Planned) -> Planned:
        """The document with its signed addresses and passwords, which a plan does not store."""
        return replace(planned, pages=tuple(self._with_address(page) for page in planned.pages))

    def close(self) -> None:
        """Closes the source."""
        self._source.close()

    def _check_unchanged(self, planned: Planned) -> Planned | None:
        """Returns the document with its signed addresses; None when it is not as it was planned."""
        complete = self.complete(planned)
        files = {page.billed.found.uri: page.billed.found for page in complete.pages}
        return complete if all(self._is_unchanged(found) for found in files.values()) else None

    def _is_unchanged(self, found: Found) -> bool:
        if found.problem is not None and found.version is None:
            return True  # it could not be read when it was planned: it is recorded as it was planned
        current = self.store.stat(replace(found, size=None, version=None, modified=None, problem=None))
        if current.problem is not None and current.problem.kind != "missing":
            return True  # it cannot be read now: reading it gives the reason
        return current.version == found.version

    def _with_address(self, page: PlannedPage) -> PlannedPage:
        found = page.billed.found
        address = self._addresses.get(found.uri)
        if not address and not self._passwords:
            return page
        return replace(
            page, billed=replace(page.billed, found=replace(found, address=address, passwords=self._passwords))
        )

    def _signed_addresses(self) -> dict[str, SecretStr]:
        """The signed URLs of a manifest, by name: a plan does not store them."""
        if not is_manifest(self._job.source):
            return {}
        pages = (found for each in self._source.documents(Listing()) for found in each.pages)
        return {found.uri: found.address for found in pages if found.address is not None}

    def _is_done(self, planned: Planned) -> bool:
        """Whether it is done by the plan's job, or since the plan was made."""
        if planned.name in self._range.done:
            return True
        history = self._history
        return history is not None and (
            history.skips(planned.name, self._job.redo) or history.has_ended(planned.name, self._info.planned_at)
        )
