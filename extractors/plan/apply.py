"""Agreed: the documents of a stored plan that are still as they were when it was made, pulled a few at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extractors.config.job import DOLLARS, Job, simplify_form, validate
from extractors.config.run_config import RunConfig, resolve
from extractors.core import tiles
from extractors.core.errors import ConfigurationError, format_value
from extractors.plan.feed import each_of
from extractors.scan import is_manifest, open_source

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic import SecretStr

    from extractors.bill import Tariff
    from extractors.config.settings import Settings
    from extractors.core import Found, Name, Planned, PlannedPage
    from extractors.plan.stored_plan import PlanInfo, StoredPlan
    from extractors.record.tables.history import RunHistory


SET = {"endpoint": "TILEWISE_BASE_URL", "model": "TILEWISE_MODEL"}  # what says so where a plan is run


class ApplyRequest(BaseModel):
    """What is asked of a stored plan: to be run, by whose leave, for how much at most."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        str_strip_whitespace=True,
        hide_input_in_errors=True,
        json_schema_extra=simplify_form,
    )

    plan: str = Field(min_length=1, title="Plan", description="The plan's path or URL, as the run that made it says.")
    approved_by: str | None = Field(None, title="Approved by", description="Who has approved the plan.")
    budget: Annotated[Decimal, Field(gt=0, allow_inf_nan=False), DOLLARS] | None = Field(
        None, title="Budget", description="The most that this run may spend, in dollars."
    )
    yes: bool = Field(default=False, title="Yes", description="Go on whatever the plan may cost.")

    @property
    def url(self) -> str:
        """Where the plan is, wherever that was said from."""
        return self.plan if "://" in self.plan else str(Path(self.plan).expanduser().absolute())

    def brief(self, plan_info: PlanInfo, settings: Settings) -> RunConfig:
        """The plan's job as it was resolved then. Raises ConfigurationError where that is another one by now."""
        told = {"source": plan_info.source, "budget": self.budget, "yes": self.yes, "plan_only": None}
        try:
            job = Job.model_validate_json(plan_info.job)
        except ValidationError:
            raise ConfigurationError(
                f"plan {format_value(self.plan)} is of another version of tilewise: make a new plan"
            ) from None
        config = resolve(job.model_copy(update=told), settings)
        output, within, _ = self.url.rpartition("/plans/")
        config = replace(config, rule=tiles.parse_rule(plan_info.bill_rule), output=output if within else config.output)
        now = config.run_info(None)
        for name in ("endpoint", "model", "schema_hash", "prompt_hash"):
            then, today = getattr(plan_info, name), getattr(now, name)
            if today != then:
                what, cure = name.removesuffix("_hash"), f"set {SET[name]} as it was, or " if name in SET else ""
                raise ConfigurationError(
                    f"plan {format_value(self.plan)}: its {what} was {then}, is {today} here: {cure}make a new plan"
                )
        return config


def order(**fields: object) -> ApplyRequest:
    """An Order from these fields. Raises ConfigurationError that names the field, its value and what is allowed."""
    return validate(ApplyRequest, fields)


@dataclass(frozen=True, slots=True)
class ApprovedPlan:
    """A plan that may be run, and who said so."""

    stored_plan: StoredPlan
    plan_info: PlanInfo
    by: str | None

    def feed(self, config: RunConfig, tariff: Tariff, history: RunHistory) -> PlanFeed:
        """Its documents."""
        return PlanFeed(config, tariff, history, self.stored_plan, self.plan_info)


@dataclass(frozen=True, slots=True)
class PlanRange:
    """Some documents of a plan, one after the other, of which those in `done` are done."""

    first: int
    count: int
    done: Collection[Name] = ()


class PlanFeed:
    """A `Feed` whose documents come from a plan. `waiting` counts those that have changed since: another plan is theirs."""

    videos = False  # a budget was asked for when the plan was made

    def __init__(
        self,
        config: RunConfig,
        tariff: Tariff,
        history: RunHistory,
        stored_plan: StoredPlan,
        plan_info: PlanInfo,
        piece: PlanRange | None = None,
    ) -> None:
        """`agreed` is what `book` says of itself, `piece` which documents of it are meant, else all.

        Raises ConfigurationError when the source is no longer there, or may not be listed.
        """
        self._asked, self._history, self.tariff, self._plan_info = config, history, tariff, plan_info
        self._source = open_source(config.job.source, config.job.document_by, config.settings.allow_hosts)
        self._source.documents()  # else, where the source is out of reach, every document would seem to have changed
        self.store = self._source.store
        self._piece = piece or PlanRange(0, plan_info.documents)
        self._batches = stored_plan.planned(self._piece.first, self._piece.count, batch=config.settings.chunk)
        self._addresses = self._signed()
        self.skipped = self.waiting = self._seen = 0

    def take(self, count: int) -> list[Planned]:
        """The next documents that are to be done, none only at the end; `count` is how many the plan is read by."""
        del count
        while (batch := next(self._batches, None)) is not None:
            self._seen += len(batch)
            new = [each for each in batch if not self._done(each)]
            same = [each for each in each_of(self._now, new, self.store.readers) if each is not None]
            self.skipped += len(batch) - len(new)
            self.waiting += len(new) - len(same)
            if same:
                return same
        return []

    def skip(self, count: int) -> None:
        """So many of the documents taken turned out to be done."""
        self.skipped += count

    def rest(self) -> int:
        """How many documents of the plan were not pulled. Ends the feed."""
        left, self._seen = self._piece.count - self._seen, self._piece.count
        return left

    def count(self) -> int:
        """How many documents there are to do."""
        return self._piece.count

    def close(self) -> None:
        """Nothing is read any more."""
        self._source.close()

    def _now(self, planned: Planned) -> Planned | None:
        """The document with the addresses that were not written down; None when it is not what was planned any more."""
        pages = [self._addressed(page) for page in planned.pages]
        files = {page.billed.found.uri: page.billed.found for page in pages}
        same = all(self._as_planned(found) for found in files.values())
        return replace(planned, pages=tuple(pages)) if same else None

    def _as_planned(self, found: Found) -> bool:
        if found.problem is not None and found.version is None:
            return True  # it could not be had then: it is recorded as it was planned
        looked = self.store.look(replace(found, size=None, version=None, modified=None, problem=None))
        if looked.problem is not None and looked.problem.kind != "missing":
            return True  # it cannot be had now: reading it says why
        return looked.version == found.version

    def _addressed(self, page: PlannedPage) -> PlannedPage:
        found = page.billed.found
        address = self._addresses.get(found.uri)
        return replace(page, billed=replace(page.billed, found=replace(found, address=address))) if address else page

    def _signed(self) -> dict[str, SecretStr]:
        """The full addresses of what a manifest names with a signature, by name."""
        if not is_manifest(self._asked.job.source):
            return {}
        pages = (found for each in self._source.documents() for found in each.pages)
        return {found.uri: found.address for found in pages if found.address is not None}

    def _done(self, planned: Planned) -> bool:
        """Whether it was done meanwhile: as the plan's job counts, or since the plan was made."""
        redo = self._asked.job.redo
        return (
            planned.name in self._piece.done
            or self._history.skips(planned.name, redo)
            or self._history.has_ended(planned.name, self._plan_info.planned_at)
        )
