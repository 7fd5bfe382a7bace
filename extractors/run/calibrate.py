"""calibrate: probes of known size are sent, and what the server counts for them tells by which rule it bills.

The calls are a run of their own: reserved, in the ledger, published in the tables, with a probe's name as document.
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
from extractors.config.job import Job
from extractors.config.prices import warn_old_price
from extractors.config.run_config import RunConfig, resolve
from extractors.core import CallRequest, Step, Verdict
from extractors.core.errors import ApprovalRequired, DocumentError, Failing, RunError
from extractors.core.money import Usage, dollars
from extractors.core.schema import ASK, NONE, load
from extractors.core.tiles import Size, worst_tokens
from extractors.core.totals import usage_of
from extractors.record.ledger import Ledger
from extractors.record.ledger.memory import Calibration
from extractors.record.ledger.writer import LedgerWriter
from extractors.record.output import open_output
from extractors.record.tables.writer import Tables
from extractors.run.context import open_client
from extractors.run.journal import DocumentJournal
from extractors.run.probes import PROBES, Finding, identify
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

TEXT = "receipt"  # whose prompt is the text of the probes: as long as texts usually are
MAX_TOKENS = 1


class _NoDocument(BaseModel):
    """Probes have no results."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What the probes have shown, and what they cost."""

    model: str
    returned_model: str | None
    finding: Finding
    cost_usd: Decimal | None

    def lines(self) -> list[str]:
        """What a person reads of it."""
        rule, residuals = self.finding.rule, self.finding.residuals
        said = [
            f"{_name(size):>9}  {tokens:>7,} image tokens, {residuals[size]:+,} beyond {rule.name}"
            for size, tokens in self.finding.image_tokens.items()
        ]
        if self.finding.exact:
            said.append(f"{self.model} bills images by the rule {rule.name}: `--bill auto` uses it from now on")
        elif self.finding.explains:
            said.append(
                f"no shipped rule explains this; fitted by tiles: {rule.text}; `--bill auto` uses it from now on"
            )
        else:
            said.append(
                f"no shipped rule explains this, and tiles do not either; the nearest is {rule.text}: `--bill auto` uses"
                " it from now on, with the dearest of all rules as the most that an image may cost"
            )
        return [*said, f"the probes cost {dollars(self.cost_usd)}"]

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


async def calibrate(settings: Settings, model: str | None, *, yes: bool, say: Callable[[str], None]) -> Calibrated:
    """Sends a text alone and with each probe, and has the ledger remember the rule that explains what was counted.

    Raises ConfigurationError when it cannot begin, or the server's count says nothing, and RunError when it is stopped.
    """
    config = resolve(Job(source="probes", model=model, yes=yes), settings, reads=False)
    config = replace(config, schema=load(TEXT))
    with Ledger(settings.ledger) as ledger:
        price, _ = await price_in_force(config, ledger)
        job = {"model": config.model, "yes": yes}
        terms = replace(
            config.run_info(price), flow="calibrate", source="", schema="", policy="", job=orjson.dumps(job).decode()
        )
        orders = [_order(config, terms, size) for size in (None, *PROBES)]
        _ask(config, orders, terms, say)
        if old := warn_old_price(terms):
            say(f"warning: {old}")
        await asyncio.to_thread(recover_abandoned, ledger, terms, NONE, settings.keep_replies, say)
        async with Lease(ledger, terms) as lease:
            return await _Probing(config, open_output(config.output), terms, ledger, lease, say).all(orders)


@dataclass(slots=True)
class _Probing:
    """A calibration that has begun."""

    config: RunConfig
    output: Output
    run_info: RunInfo
    ledger: Ledger
    lease: Lease
    say: Callable[[str], None]

    async def all(self, orders: list[CallRequest]) -> Calibrated:
        """Every probe, whatever became of it, is in the tables before the rule is looked for."""
        writer = LedgerWriter(self.ledger.calls, self.run_info, self.config.budget)
        dossiers = [DocumentJournal(writer) for _ in orders]
        error: RunError | None = None
        with Tables(self.output, self.run_info, _NoDocument, self.config.settings.keep_replies) as tables:
            try:
                await self._braked(orders, dossiers)
            except RunError as stopped:
                error = stopped
            except DocumentError as failed:
                error = Failing(f"a probe was not answered: {failed.public}")
            attempts = [each for dossier in dossiers for each in dossier.attempts]
            await self.lease.renew()
            await asyncio.to_thread(self._publish, tables, attempts, error)
        if error:
            kept = f"no rule is remembered, and what was sent is in {self.output.full_name('calls')}"
            raise type(error)(f"{error.message}; {kept}")
        return await asyncio.to_thread(self._keep, [dossier.attempts[-1] for dossier in dossiers], attempts)

    async def _braked(self, orders: list[CallRequest], dossiers: list[DocumentJournal]) -> None:
        """Sends until it is told to stop; as in a run, the call on its way may finish. Raises what has stopped it."""
        limiter = RateLimiter(self.config.limits)
        with Shutdown(limiter, drain=self.config.settings.drain, max_time=None, say=self.say) as brake:
            self.lease.begin_calls(brake)
            sending = asyncio.ensure_future(self._send(orders, dossiers, limiter))
            brake.track(sending)
            try:
                await sending
            except asyncio.CancelledError:
                if brake.error is None or not brake.cutting:
                    raise
                raise brake.error from None

    async def _send(self, orders: list[CallRequest], dossiers: list[DocumentJournal], limiter: RateLimiter) -> None:
        """One call after the other: five are not worth a rate."""
        style = replace(self.config.style, mode="prompt", stream=False, reasoning=False)
        template = RequestTemplate(
            self.config.schema, ask=ASK, model=self.config.model, profile=self.config.profile, style=style
        )
        async with AsyncExitStack() as stack:
            way = await open_client(self.config, limiter, stack)
            for order, dossier in zip(orders, dossiers, strict=True):
                body = template.body([_block(step.size) for step in order.steps], MAX_TOKENS)
                await way.call(replace(order, payload_bytes=len(body)), body, dossier, _judged)
                if dossier.attempts[-1].usage is None:
                    raise Failing("the server's replies have no `usage`: no bill can be known from it")

    def _publish(self, tables: Tables, attempts: list[Attempt], error: RunError | None) -> None:
        """The probes' calls, and the row of their run, which has no documents."""
        tally, old = usage_of(attempts), warn_old_price(self.run_info)
        warnings = (old,) if old else ()
        tables.volume.stage_calls(
            self.ledger.calls.iter_unpublished(self.run_info.run), self.config.settings.keep_replies
        )
        tables.publish(RunRecord(self.run_info, error=error, warnings=warnings).row(RunCounts(0, tally), 1))
        self.ledger.runs.mark_volume_published(self.run_info.run, 1, ())
        self.ledger.runs.finish(self.run_info.run)

    def _keep(self, answers: list[Attempt], attempts: list[Attempt]) -> Calibrated:
        """What the answers say, kept in the ledger."""
        text, *prompts = [each.usage.prompt for each in answers if each.usage]
        finding = identify(text, dict(zip(PROBES, prompts, strict=True)))
        returned = next((each.reply.model for each in answers if each.reply and each.reply.model), None)
        text_bytes = self.config.schema.prompt_bytes
        at = datetime.now(UTC)
        found = Calibration(finding.rule.text, finding.explains, text_bytes, text, returned, at)
        self.ledger.memory.keep_calibration(self.run_info, found)
        return Calibrated(self.config.model, returned, finding, usage_of(attempts).cost_usd)


def _ask(config: RunConfig, orders: list[CallRequest], run_info: RunInfo, say: Callable[[str], None]) -> None:
    """Says what the probes may cost. Raises NeedsYes when that is above what may be spent without being asked."""
    price, limit = run_info.price, config.settings.ask_above
    if price is None:
        if not config.job.yes:
            raise ApprovalRequired(
                f"nobody knows the price of {config.model}: name it in TILEWISE_PRICES, or go on with --yes"
            )
        say(f"calibrating {config.model} at {config.endpoint}: {len(orders)} calls, at a price that nobody knows")
        return
    most = sum(order.worst_prompt_tokens or 0 for order in orders)  # probes are pictures: always known
    worst_cost = price.cost(Usage(most, len(orders) * MAX_TOKENS))
    if worst_cost > limit and not config.job.yes:
        raise ApprovalRequired(
            f"the probes may cost up to ${worst_cost:.2f}, above TILEWISE_ASK_ABOVE={limit}: go on with --yes"
        )
    say(f"calibrating {config.model} at {config.endpoint}: {len(orders)} calls, at most ${worst_cost:.4f}")


def _order(config: RunConfig, run_info: RunInfo, size: Size | None) -> CallRequest:
    """The request of one probe, or of the text alone."""
    steps = () if size is None else (Step(config.rule.tokens(size), size, config.rule.tokens(size)),)
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


def _block(size: Size) -> bytes:
    """The image block of a probe: a gradient, which no server takes for an empty picture."""
    picture = Image.linear_gradient("L").resize(size).convert("RGB")
    stream = BytesIO()
    picture.save(stream, "PNG")
    url = b"data:image/png;base64," + base64.b64encode(stream.getvalue())
    return b'{"type":"image_url","image_url":{"url":"' + url + b'"}}'


def _judged(reply: Reply) -> Verdict:
    """A probe asks for the count alone, whatever the one token of its answer is."""
    return Verdict("accepted" if reply.usage else "empty", errors="" if reply.usage else "the reply has no usage")


def _name(size: Size) -> str:
    return f"{size.width}x{size.height}"
