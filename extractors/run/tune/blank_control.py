"""Blank control: pictures on which nothing can be read are sent like documents: what is answered there was not looked at.

Two are blank; the third is foreign: it shows shapes and no text. Fields that are answered on a blank picture are `unlooked`.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Literal, NamedTuple

import orjson
from PIL import Image, ImageDraw

from extractors.core import CallRequest, LadderStep
from extractors.core.errors import DocumentError
from extractors.core.plain_values import is_null
from extractors.core.tiles import Size
from extractors.run.chunk import judge_reply
from extractors.run.journal import DocumentJournal
from extractors.run.keys import request_key
from extractors.run.tune.labels import FieldReader
from extractors.validate import read_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from extractors.bill import Tariff
    from extractors.core import Attempt, Reply, RunInfo
    from extractors.run.context import RunContext

SIZE = Size(420, 560)  # one tile by every rule that counts tiles
Control = Literal["white", "grey", "foreign"]
CONTROLS: tuple[Control, ...] = ("white", "grey", "foreign")


class ControlRequest(NamedTuple):
    """The request with one control picture, and the picture's block."""

    control: Control
    call: CallRequest
    block: bytes


@dataclass(frozen=True, slots=True)
class ControlResult:
    """The fields that were answered on blank pictures, and on the foreign one; the calls that this took.

    `answers` counts the pictures that got an answer of any kind: without one, nothing is known.
    """

    blank: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    answers: int = 0
    attempts: tuple[Attempt, ...] = ()


def build_controls(tariff: Tariff, run_info: RunInfo) -> list[ControlRequest]:
    """The requests of the control; their keys name the pictures, so that their replies are reused."""
    tokens = tariff.rule.tokens(SIZE)
    step = LadderStep(tokens, SIZE, tokens)
    requests = []
    for control in CONTROLS:
        block, parts = (
            _image_block(control),
            (run_info.schema, run_info.schema_hash, run_info.prompt_hash, run_info.model),
        )
        key = hashlib.sha256("\0".join((hashlib.sha256(block).hexdigest(), *parts)).encode()).hexdigest()
        call = CallRequest(
            document=f"control {control}",
            key=key,
            request=request_key(key, (step,), tariff.max_tokens),
            payload_bytes=0,
            steps=(step,),
            text_tokens=tariff.expect_text_tokens(),
            worst_prompt_tokens=tariff.high_tokens(step) + tariff.limit_text_tokens(),
            output_tokens=tariff.output_tokens,
            max_tokens=tariff.max_tokens,
        )
        requests.append(ControlRequest(control, call, block))
    return requests


async def run_controls(
    requests: Sequence[ControlRequest], paid: Mapping[str, Reply], context: RunContext
) -> ControlResult:
    """Sends the control pictures, except those whose replies are paid for. Raises RunError."""
    answered: dict[Control, list[str]] = {}
    attempts: list[Attempt] = []
    for request in requests:
        reply = paid.get(request.call.request)
        if reply is None:
            journal = DocumentJournal(context.services.writer)
            reply = await _ask(request, journal, context)
            attempts += journal.attempts
        if reply is not None:
            answered[request.control] = list_answered_fields(reply, context.schema.model)
    blank = dict.fromkeys([*answered.get("white", ()), *answered.get("grey", ())])
    return ControlResult(tuple(blank), tuple(answered.get("foreign", ())), len(answered), tuple(attempts))


def list_answered_fields(reply: Reply, model: type[BaseModel]) -> list[str]:
    """The fields with a value in this answer, whether or not the document was accepted."""
    reader = FieldReader(model)
    values = read_values(reply, model)
    return [name for name in model.model_fields if name in values and _is_answered(reader, name, values[name])]


def _is_answered(reader: FieldReader, name: str, value: object) -> bool:
    if is_null(value):
        return False
    try:
        return not is_null(reader.read(name, value))  # the schema may read `n/a` as null
    except (ValueError, ArithmeticError):
        return True  # it is no value of the field, and it was invented


async def _ask(request: ControlRequest, journal: DocumentJournal, context: RunContext) -> Reply | None:
    services, call = context.services, request.call
    body = services.template.body([request.block], call.max_tokens)
    try:
        reply, _ = await services.client.call(call, body, journal, lambda reply: judge_reply(context, reply))
    except DocumentError:
        return None
    return reply


@cache
def _image_block(control: Control) -> bytes:
    picture = Image.new("RGB", SIZE, "white" if control == "white" else (150, 150, 150))
    if control == "foreign":
        picture = Image.linear_gradient("L").resize(SIZE).convert("RGB")
        draw = ImageDraw.Draw(picture)
        draw.ellipse((60, 75, 210, 225), fill=(190, 60, 40))
        draw.polygon([(150, 450), (280, 240), (390, 450)], fill=(40, 110, 60))
    stream = BytesIO()
    picture.save(stream, "PNG")
    url = b"data:image/png;base64," + base64.b64encode(stream.getvalue())
    return b'{"type":"image_url","image_url":{"url":%s}}' % orjson.dumps(url.decode())
