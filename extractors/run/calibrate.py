"""Calibrate: sends probes of known size and identifies the bill rule from the tokens that the server counts.

The calls are a run of their own: reserved in the ledger and published in the tables, with a probe's name as document.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING

import orjson
from PIL import Image
from pydantic import BaseModel

from extractors.bill import estimate_text_tokens
from extractors.call.rate_limit import RateLimiter
from extractors.call.request import RequestTemplate
from extractors.config.prices import warn_old_price
from extractors.config.run_config import RunConfig, resolve_probes
from extractors.core import CallRequest, LadderStep, Verdict
from extractors.core.document_totals import usage_of
from extractors.core.errors import DocumentError, Failing, RunError
from extractors.core.money import Costs, Usage, dollars
from extractors.core.schema import ASK, NONE, load
from extractors.core.tiles import Size, worst_tokens
from extractors.record.ledger import Ledger
from extractors.record.ledger.memory import Calibration
from extractors.record.ledger.writer import LedgerWriter
from extractors.record.output import open_output
from extractors.record.tables.writer import Tables
from extractors.run.approval import require_approval
from extractors.run.context import open_client
from extractors.run.journal import DocumentJournal
from extractors.run.probes import PROBES, ProbeFinding, identify
from extractors.run.recovery import recover_abandoned
from extractors.run.result import RunCounts, RunRecord
from extractors.run.session import Lease, price_in_force
from extractors.run.shutdown import Shutdown

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from extractors.config.settings import Settings
    from extractors.core import Attempt, Reply, RunInfo
    from extractors.record.output.base import Output
    from extractors.run.hooks import RunHooks

TEXT = "receipt"  # whose prompt is the text of the probes: as long as texts usually are
MAX_TOKENS = 1


class _NoDocument(BaseModel):
    """Probes have no results."""


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """What the probes showed, and what they cost."""

    model: str
    returned_model: str | None
    finding: ProbeFinding
    cost_usd: Decimal | None

    def lines(self) -> list[str]:
        """The lines that a person reads."""
        rule, residuals = self.finding.rule, self.finding.residuals
        lines = [
            f"{_name(size):>9}  {tokens:>7,} image tokens, {residuals[size]:+,} beyond {rule.name}"
            for size, tokens in self.finding.image_tokens.items()
        ]
        if self.finding.exact:
            lines.append(f"{self.model} bills images by the rule {rule.name}: `--bill auto` uses it from now on")
        elif self.finding.explains:
            lines.append(
                f"no shipped rule explains this; fitted by tiles: {rule.text}; `--bill auto` uses it from now on"
            )
        else:
            lines.append(
                f"no shipped rule explains this, and tiles do not either; the nearest is {rule.text}: `--bill auto` uses"
                " it from now on, with the dearest of all rules as the most that an image may cost"
            )
        return [*lines, f"the probes cost {dollars(self.cost_usd)}"]

    def as_json(self) -> dict[str, object]:
        """The object that `--json` prints."""
        tokens = self.finding.image_tokens
        return {
            "bill_rule": self.finding.rule.name,
            "model": self.model,
            "returned_model": self.returned_model,
            "text_tokens": self.finding.text_tokens,
            "probes": [{"size": _name(size), "image_tokens": tokens[size]} for size in PROBES],
            "cost_usd": self.cost_usd,
        }


async def calibrate(settings: Settings, model: str | None, hooks: RunHooks, *, yes: bool) -> CalibrationResult:
    """Sends a text alone and with each probe, and stores the rule that explains the server's counts.

    Raises ConfigurationError when it cannot begin or no rule can be found, and RunError when it is stopped.
    """
    config = replace(resolve_probes(settings, model, yes=yes), schema=load(TEXT))
    with Ledger(settings.ledger) as ledger:
        price, _ = await price_in_force(config, ledger)
        job = {"model": config.model, "yes": yes}
        run_info = replace(
            config.run_info(price),
            fingerprint=replace(config.fingerprint, schema=""),
            flow="calibrate",
            source="",
            policy="",
            job=orjson.dumps(job).decode(),
        )
        requests = [_build_request(config, run_info, size) for size in (None, *PROBES)]
        await _approve(config, requests, run_info, hooks)
        if warning := warn_old_price(run_info):
            hooks.notify(f"warning: {warning}")
        await asyncio.to_thread(recover_abandoned, ledger, run_info, NONE, settings.keep_replies, hooks.notify)
        async with Lease(ledger, run_info) as lease:
            output = open_output(config.output)
            return await _Calibration(config, output, run_info, ledger, lease, hooks.notify).run(requests)


@dataclass(slots=True)
class _Calibration:
    """A calibration that has begun."""

    config: RunConfig
    output: Output
    run_info: RunInfo
    ledger: Ledger
    lease: Lease
    notify: Callable[[str], None]

    async def run(self, requests: list[CallRequest]) -> CalibrationResult:
        """Sends the probes and publishes every call; then identifies and stores the rule."""
        writer = LedgerWriter(self.ledger.calls, self.run_info, self.config.budget)
        journals = [DocumentJournal(writer) for _ in requests]
        error: RunError | None = None
        with Tables(self.output, self.run_info, _NoDocument, self.config.settings.keep_replies) as tables:
            try:
                await self._send_until_stopped(requests, journals)
            except RunError as stopped:
                error = stopped
            except DocumentError as failed:
                error = Failing(f"a probe was not answered: {failed.public}")
            attempts = [attempt for journal in journals for attempt in journal.attempts]
            await self.lease.renew()
            await asyncio.to_thread(self._publish, tables, attempts, error)
        if error:
            kept = f"no rule is stored, and the calls are in {self.output.full_name('calls')}"
            raise type(error)(f"{error.message}; {kept}")
        return await asyncio.to_thread(self._store_rule, [journal.attempts[-1] for journal in journals], attempts)

    async def _send_until_stopped(self, requests: list[CallRequest], journals: list[DocumentJournal]) -> None:
        """Sends all probes; as in a run, a stop lets the call in flight finish. Raises the error that stopped it."""
        limiter = RateLimiter(self.config.limits)
        with Shutdown(limiter, drain=self.config.settings.drain, max_time=None, say=self.notify) as shutdown:
            self.lease.begin_calls(shutdown)
            sending = asyncio.ensure_future(self._send(requests, journals, limiter))
            shutdown.track(sending)
            try:
                await sending
            except asyncio.CancelledError:
                if shutdown.error is None or not shutdown.cancelling:
                    raise
                raise shutdown.error from None

    async def _send(self, requests: list[CallRequest], journals: list[DocumentJournal], limiter: RateLimiter) -> None:
        """Sends one call after the other."""
        style = replace(self.config.style, mode="prompt", stream=False, reasoning=False)
        template = RequestTemplate(
            self.config.schema, ask=ASK, model=self.config.model, profile=self.config.profile, style=style
        )
        async with AsyncExitStack() as stack:
            client = await open_client(self.config, limiter, stack)
            for request, journal in zip(requests, journals, strict=True):
                body = template.body([_image_block(step.size) for step in request.steps], MAX_TOKENS)
                await client.call(replace(request, payload_bytes=body.size), body, journal, _judge)
                if journal.attempts[-1].usage is None:
                    raise Failing("the server's replies have no `usage`: the bill rule cannot be identified")

    def _publish(self, tables: Tables, attempts: list[Attempt], error: RunError | None) -> None:
        """Publishes the probes' calls, and the row of their run, which has no documents."""
        totals, warning = usage_of(attempts), warn_old_price(self.run_info)
        warnings = (warning,) if warning else ()
        tables.volume.stage_calls(
            self.ledger.calls.iter_unpublished(self.run_info.run), self.config.settings.keep_replies
        )
        row = RunRecord(self.run_info, error=error, warnings=warnings).row(RunCounts(0, totals), 1)
        with self.ledger.output_leases.hold(str(tables.output)):
            tables.publish(row)
        self.ledger.runs.mark_volume_published(self.run_info.run, 1, ())
        self.ledger.runs.finish(self.run_info.run)

    def _store_rule(self, answers: list[Attempt], attempts: list[Attempt]) -> CalibrationResult:
        """Identifies the rule and stores it in the ledger."""
        text, *prompts = [answer.usage.prompt for answer in answers if answer.usage]
        finding = identify(text, dict(zip(PROBES, prompts, strict=True)))
        returned = next((answer.reply.model for answer in answers if answer.reply and answer.reply.model), None)
        text_bytes = self.config.schema.prompt_bytes
        calibration = Calibration(finding.rule.text, finding.explains, text_bytes, text, returned, datetime.now(UTC))
        self.ledger.memory.keep_calibration(self.run_info.fingerprint, self.run_info.run, calibration)
        return CalibrationResult(self.config.model, returned, finding, usage_of(attempts).cost_usd)


async def _approve(config: RunConfig, requests: list[CallRequest], run_info: RunInfo, hooks: RunHooks) -> None:
    """Has the maximum cost of the probes approved, and reports it. Raises as `require_approval`."""
    price = run_info.price
    tokens = sum(request.worst_prompt_tokens or 0 for request in requests)  # known for every probe
    high = price.cost(Usage(tokens, len(requests) * MAX_TOKENS)) if price else None
    await require_approval(config, Costs(high, high, high), hooks.confirm)
    cost = "at an unknown price" if high is None else f"at most {dollars(high)}"
    hooks.notify(f"calibrating {config.model} at {config.endpoint}: {len(requests)} calls, {cost}")


def _build_request(config: RunConfig, run_info: RunInfo, size: Size | None) -> CallRequest:
    """Builds the request of one probe, or of the text alone."""
    steps = () if size is None else (LadderStep(config.rule.tokens(size), size, config.rule.tokens(size)),)
    text_bytes = config.schema.prompt_bytes
    name = f"probe {_name(size)}" if size else "probe text"
    key = hashlib.sha256(f"{name}\0{run_info.prompt_hash}\0{run_info.model}".encode()).hexdigest()
    return CallRequest(
        document=name,
        key=key,
        request="",
        payload_bytes=0,
        steps=steps,
        text_tokens=estimate_text_tokens(text_bytes),
        worst_prompt_tokens=text_bytes + sum(worst_tokens(step.size) for step in steps),
        output_tokens=MAX_TOKENS,
        max_tokens=MAX_TOKENS,
    )


def _image_block(size: Size) -> bytes:
    """The image block of a probe: a gradient, which no server treats as an empty picture."""
    picture = Image.linear_gradient("L").resize(size).convert("RGB")
    stream = BytesIO()
    picture.save(stream, "PNG")
    url = b"data:image/png;base64," + base64.b64encode(stream.getvalue())
    return b'{"type":"image_url","image_url":{"url":"' + url + b'"}}'


def _judge(reply: Reply) -> Verdict:
    """Accepts every answer with a usage: a probe needs the token count alone."""
    return Verdict("accepted" if reply.usage else "empty", errors="" if reply.usage else "the reply has no usage")


def _name(size: Size) -> str:
    return f"{size.width}x{size.height}"
