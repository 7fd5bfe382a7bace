"""The calibration as a flow: by which rule the endpoint bills a model's images, shown as an artifact."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from extractors.core.errors import TilewiseError
from extractors.run import calibrate as engine
from extractors.run.hooks import RunHooks
from flows.adapters.artifacts import show_calibration
from flows.adapters.naming import flow_run_name
from flows.adapters.secrets import load_flow_settings


@flow(name="calibrate", flow_run_name=flow_run_name, persist_result=False)
async def calibrate(model: str | None = None, *, yes: bool = False) -> State:
    """Sends a text and four probe pictures, and remembers by which rule the endpoint bills this model's images.

    Args:
        model: The model's id at the endpoint; where it is left out, that of TILEWISE_MODEL.
        yes: Go on whatever the probes may cost.
    """
    log = get_run_logger()
    try:
        found = await engine.calibrate(await load_flow_settings(), model, RunHooks(notify=log.info), yes=yes)
    except TilewiseError as error:
        return Failed(message=error.message, data=error)
    await show_calibration(found)
    return Completed(message=found.lines()[-2], data=found)
