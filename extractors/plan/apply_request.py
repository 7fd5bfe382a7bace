"""ApplyRequest: which stored plan to run, by whose approval. The command line and the Prefect form share this model."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from extractors.config.job import DOLLARS, simplify_form, validate
from extractors.core.errors import ConfigurationError

if TYPE_CHECKING:
    from extractors.config.settings import Settings
    from extractors.plan.apply import ApprovedPlan


class ApplyRequest(BaseModel):
    """A stored plan that is to be run, by whose approval, and for how much at most."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        str_strip_whitespace=True,
        hide_input_in_errors=True,
        json_schema_extra=simplify_form,
    )

    plan: str | None = Field(
        None,
        min_length=1,
        title="Plan",
        description="The plan's path or URL, as the run that made it says. Left empty: the plans that wait are listed.",
    )
    approved_by: str | None = Field(None, title="Approved by", description="Who has approved the plan.")
    budget: Annotated[Decimal, Field(gt=0, allow_inf_nan=False), DOLLARS] | None = Field(
        None, title="Money: budget", description="The most that this run may spend, in dollars."
    )
    yes: bool = Field(
        default=False, title="Always: skip confirmation", description="Skip the cost confirmation. A form needs none."
    )

    @property
    def url(self) -> str:
        """The plan's URL or absolute path. Raises ConfigurationError if no plan is named."""
        if self.plan is None:
            raise ConfigurationError("no plan is named: `run --plan-only` stores one and prints its path")
        return self.plan if "://" in self.plan else str(Path(self.plan).expanduser().absolute())

    def resolve(self, settings: Settings) -> ApprovedPlan:
        """Reads the plan and resolves its job. Raises ConfigurationError where the job would be another one by now."""
        from extractors.plan.apply import ApprovedPlan, resolve_plan  # noqa: PLC0415 - polars, which an error need not wait for
        from extractors.plan.stored_plan import StoredPlan  # noqa: PLC0415 - as above

        stored_plan = StoredPlan(self.url)
        info = stored_plan.read_info()
        config = resolve_plan(self.url, info, settings, budget=self.budget, yes=self.yes)
        return ApprovedPlan(config, stored_plan, info, self.approved_by)


def build_request(**fields: object) -> ApplyRequest:
    """Builds a request. Raises ConfigurationError that names the field, its value and what is allowed."""
    return validate(ApplyRequest, fields)
