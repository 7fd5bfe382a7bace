"""Links to pages of Prefect's interface."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.utilities.urls import url_for

DEPLOYMENT = "apply/apply"


async def link_to_apply(plan: str) -> str | None:
    """The form of the deployment `apply`, filled in with this plan; None if it has no deployment or page."""
    try:
        async with get_client() as client:
            deployment = await client.read_deployment_by_name(DEPLOYMENT)
    except (httpx.HTTPError, PrefectException, OSError):
        return None
    page = url_for("deployment", deployment.id)
    # One of Prefect's interfaces decodes the parameters twice, so a percent sign is written as JSON escapes it.
    parameters = json.dumps({"order": {"plan": plan}}).replace("%", "\\u0025")
    return page and f"{page}/run?parameters={quote(parameters, safe='')}"
