"""Calibrate: identifies the rule by which the endpoint bills images of a model, as a flow with an artifact."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from extractors.core.errors import TilewiseError
from extractors.run import calibrate as engine
from extractors.run.hooks import RunHooks
from flows.adapters.artifacts import show_calibration
from flows.adapters.form import describe
from flows.adapters.naming import flow_run_name
from flows.adapters.secrets import load_flow_settings


@flow(name="calibrate", flow_run_name=flow_run_name, retries=0, persist_result=False)
async def calibrate(model: str | None = None, *, yes: bool = False) -> State:
    """Sends one text and four probe images, and stores the rule by which the endpoint bills images of the model.

    Args:
        model: Model id, as the endpoint lists it. Default: TILEWISE_MODEL.
        yes: Skip the cost confirmation.
    """
    log = get_run_logger()
    try:
        calibration = await engine.calibrate(await load_flow_settings(), model, RunHooks(notify=log.info), yes=yes)
    except TilewiseError as error:
        return Failed(message=describe(error.message), data=error)
    await show_calibration(calibration)
    return Completed(message=calibration.lines()[-2], data=calibration)
