"""What the doctor says when `serve` starts: whether the scheduled deployments can run, and where older ones are left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.config.doctor import examine
from extractors.config.settings import read_settings
from extractors.core.errors import TilewiseError
from flows.adapters.checks import check_server

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import JsonValue

    from extractors.config.settings import Settings
    from flows.serving.deployment_file import DeploymentSpec

CHECKED = {"key", "endpoint", "model", "source"}  # findings that decide whether a scheduled run begins
TIMEOUT_SECONDS = 60.0


async def check_schedules(deployments: Iterable[DeploymentSpec]) -> list[str]:
    """One line for each scheduled deployment: whether its run would begin now, or why it would fail."""
    settings = read_settings()
    if not settings.api_key and (key := (await check_server(settings)).key):
        settings = settings.with_key(key)
    return [await _check(each, settings) for each in deployments if each.schedules]


async def _check(deployment: DeploymentSpec, settings: Settings) -> str:
    sent = deployment.parameters.get("job")
    job = sent if isinstance(sent, dict) else {}
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            findings = await examine(_settings_of(job, settings), str(job.get("source") or "."))
    except TimeoutError:
        return f"WARNING: {deployment.name} could not be checked in {TIMEOUT_SECONDS:.0f} s: run `tilewise doctor`"
    except TilewiseError as error:
        return f"WARNING: {deployment.name} would fail: {error.message}"
    failing = [f"{each.name}: {each.words}" for each in findings if each.verdict == "fails"]
    if failing:
        return f"WARNING: {deployment.name} would fail: {'; '.join(failing)} (`tilewise doctor` tells more)"
    checked = "; ".join(f"{each.name}: {each.words}" for each in findings if each.name in CHECKED)
    return f"{deployment.name} is ready: {checked}"


def _settings_of(job: Mapping[str, JsonValue], settings: Settings) -> Settings:
    """The settings as a run of this job has them."""
    changes: dict[str, JsonValue] = {name: job[name] for name in ("base_url", "model") if job.get(name)}
    if job.get("offline"):
        changes["base_url"] = "offline"
    return settings.model_copy(update=changes)


def find_older_deployments() -> str | None:
    """A line about deployments in the database that all folders once shared; None if there are none."""
    path = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser() / "prefect.db"
    count = _count_deployments(path) if path.is_file() else 0
    if not count:
        return None
    return (
        f"{count} deployments of tilewise are in {path}, where earlier versions kept them: they are not served;"
        f" to use them, set PREFECT_SERVER_DATABASE_CONNECTION_URL=sqlite+aiosqlite:///{path}"
    )


def _count_deployments(path: Path) -> int:
    """Counts the deployments of these flows in a Prefect database; returns 0 if the file cannot be read as one."""
    query = "select count(*) from deployment where entrypoint like 'flows.%'"
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database,
    ):
        return int(database.execute(query).fetchone()[0])
    return 0
