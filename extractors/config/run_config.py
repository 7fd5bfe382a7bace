"""RunConfig: a job resolved with the settings. Errors in either are raised here, before any cost."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from extractors.call.profiles import PROFILES, Endpoint, Profile, find_profile
from extractors.call.request import RequestOptions
from extractors.config.job import DEFAULT_POLICY, Job
from extractors.config.output_name import name_output
from extractors.config.settings import TOGETHER
from extractors.config.tuning import NO_TUNING, TUNED, StoredTuning, select_tuning
from extractors.core import Fingerprint, RunInfo, tiles
from extractors.core import schema as schemas
from extractors.core.errors import ConfigurationError
from extractors.core.money import NO_MEANS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from extractors.bill import Tariff
    from extractors.call.rate_limit import Limits
    from extractors.config.job import Policy
    from extractors.config.settings import Settings
    from extractors.core.money import Means, Price
    from extractors.core.schema import Schema
    from extractors.core.tuning import TuningProtocol
    from extractors.record.ledger.budget import Budget
    from extractors.record.ledger.memory import Calibration, EndpointMemory

OFFLINE = "offline"
CORES = os.cpu_count() or 1
STREAM_SILENCE = 60.0  # seconds without a piece of a streamed answer
OFFLINE_MODEL = "offline/rapidocr"


@dataclass(frozen=True, slots=True)
class PriorStats:
    """Statistics of earlier runs: the means of their answers, and the tokens of the prompt's text."""

    means: Means = NO_MEANS
    text_tokens: int | None = None


def prior_stats(memory: EndpointMemory, fingerprint: Fingerprint) -> PriorStats:
    """Reads what the ledger knows of earlier runs of this fingerprint."""
    return PriorStats(memory.means(fingerprint), memory.text_tokens(fingerprint))


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The configuration of a run, with every default filled in."""

    job: Job
    settings: Settings
    schema: Schema
    rule: tiles.Rule
    model: str
    base_url: str
    output: str  # an absolute folder, or a bucket's URL
    offline: bool
    calibration: Calibration | None = None
    tuning: StoredTuning = NO_TUNING

    def with_calibration(self, memory: EndpointMemory) -> RunConfig:
        """Returns it with the calibration of this endpoint and model: `auto` is the calibrated rule."""
        found = None if self.offline else memory.calibration(self.endpoint, self.model)
        if found is None:
            return self
        rule = tiles.parse_rule(found.rule) if self.job.bill == "auto" else self.rule
        return replace(self, rule=rule, calibration=found)

    def with_stored_tuning(self, memory: EndpointMemory) -> RunConfig:
        """Returns it with the tuning stored for this endpoint, model and schema, as far as it holds; after `calibrated`."""
        return self.with_tuning(memory.tuning(self.fingerprint) if self.job.schema_name else None)

    def with_tuning(self, body: str | None) -> RunConfig:
        """Returns it with this stored tuning, as far as it holds and no flag replaces it."""
        job = self.job
        if body is None:
            return replace(self, tuning=StoredTuning(climb_below_all=job.climb_below))
        used = select_tuning(
            body,
            self.protocol,
            self.rule.text,
            policy=job.policy,
            climb_below=job.climb_below,
            looks_at_all=job.witness == "all",
        )
        return replace(self, tuning=used)

    @property
    def protocol(self) -> TuningProtocol:
        """How answers are obtained: what a tuning holds for."""
        from extractors.core.tuning import TuningProtocol  # noqa: PLC0415 - models that few commands need

        mine = self.fingerprint
        return TuningProtocol(
            endpoint=mine.endpoint,
            model=mine.model,
            schema_name=mine.schema,
            schema_hash=mine.schema_hash,
            prompt_hash=mine.prompt_hash,
            mode=self.settings.mode,
        )

    @property
    def policy(self) -> Policy:
        """The policy where no stored ladder is used."""
        return self.job.policy or DEFAULT_POLICY

    @property
    def warnings(self) -> list[str]:
        """What of the configuration has no effect."""
        one_rung = self.policy == "faithful" and not self.tuning.ladder
        reason = "--policy faithful" if one_rung else f"the bill rule {self.rule.name}"
        if self.tuning.has_thresholds and (one_rung or self.rule.name.startswith("flat:")):
            return [*self.tuning.warnings, f"no document climbs: under {reason} every image has one rung"]
        return list(self.tuning.warnings)

    def reads_locally(self, listed: Iterable[str]) -> bool:
        """Whether local OCR answers, as the endpoint's list of models shows."""
        return self.offline or any(model.startswith(f"{OFFLINE}/") for model in listed)

    @property
    def endpoint(self) -> str:
        """The endpoint's name in every table: its address, or `offline`, whose port changes with every run."""
        return OFFLINE if self.offline else self.base_url

    @property
    def style(self) -> RequestOptions:
        """The options of every request."""
        settings = self.settings
        return RequestOptions(settings.mode, settings.stream, settings.temperature, settings.reasoning == "on")

    @property
    def confidence(self) -> bool:
        """Whether the server is asked for log probabilities, from which the confidence of values is computed."""
        is_set = "confidence" in self.settings.model_fields_set
        wanted = self.job.confidence or self.tuning.has_thresholds
        return wanted or (self.settings.confidence if is_set else self.offline)

    @property
    def limits(self) -> Limits:
        """The ceilings of the run's rate and concurrency."""
        from extractors.call.rate_limit import Limits  # noqa: PLC0415 - asyncio, which an error need not wait for

        return Limits(self.concurrency, self.settings.rpm, self.settings.tpm)

    @property
    def concurrency(self) -> int:
        """The maximum of calls in flight: local OCR gains nothing beyond the cores."""
        return min(self.settings.concurrency, CORES) if self.offline else self.settings.concurrency

    @property
    def profile(self) -> Profile:
        """The profile of the server."""
        named = self.settings.profile
        return PROFILES[named] if named else find_profile("" if self.offline else self.base_url)

    @property
    def budget(self) -> Budget:
        """The budgets of the run and of the day."""
        from extractors.record.ledger.budget import Budget  # noqa: PLC0415 - SQLAlchemy, which an error need not wait for

        return Budget(self.job.budget, self.settings.daily_budget)

    @property
    def passes_urls(self) -> bool:
        """Whether images at URLs are sent as URLs; for local OCR they are fetched and sent as bytes."""
        return self.job.send_urls and not self.offline

    @property
    def takes_videos(self) -> bool:
        """Whether the endpoint reads videos, which are sent as URLs only."""
        return self.settings.dedicated and not self.offline

    @property
    def secret(self) -> str:
        """The key, for code that must remove it from texts."""
        return self.settings.api_key.get_secret_value() if self.settings.api_key else ""

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The query of TILEWISE_BASE_URL, if calls go to that address: it may hold secrets, and is in no table."""
        parts = urlsplit(self.settings.base_url or "")
        own = parts._replace(query="").geturl() == self.base_url
        return tuple(parse_qsl(parts.query, keep_blank_values=True)) if own else ()

    @property
    def masked(self) -> list[str]:
        """The values of extra headers and of the base URL's query, which must be removed from every text."""
        headers = [value.get_secret_value() for value in self.settings.headers.values()]
        return [*headers, *(value for name, value in self.query if name != "api-version")]

    def endpoint_at(self, base_url: str) -> Endpoint:
        """The endpoint at this address; local OCR is sent neither the key nor the extra headers."""
        read_timeout = min(self.settings.timeout, STREAM_SILENCE) if self.settings.stream else self.settings.timeout
        if self.offline:
            return Endpoint(base_url, None, read_timeout, self.concurrency)
        return Endpoint(
            base_url,
            self.settings.api_key,
            read_timeout,
            self.concurrency,
            self.profile,
            self.settings.headers,
            self.query,
        ).for_model(self.model)

    def tariff(self, price: Price | None, prior: PriorStats) -> Tariff:
        """How this run's pages are billed: as measured if they were, else as documented."""
        from extractors.bill import Tariff, estimate_text_tokens  # noqa: PLC0415 - Pillow, which an error need not wait for

        text_bytes = self.schema.prompt_bytes
        found = self.calibration
        measured = found.estimate_text_tokens(text_bytes) if found else estimate_text_tokens(text_bytes)
        return Tariff(
            rule=self.rule,
            price=price,
            text_bytes=text_bytes,
            text_tokens=measured if prior.text_tokens is None else prior.text_tokens,
            output_tokens=prior.means.output_tokens or self.settings.max_tokens // 4,
            max_tokens=self.settings.max_tokens,
            trusted=self.job.bill != "auto" or self.offline,
            calibrated=bool(found and found.explains and found.rule == self.rule.text),
            video_tokens=self.job.video_tokens,
        )

    @property
    def fingerprint(self) -> Fingerprint:
        """What determines this run's answers beside the images."""
        return Fingerprint(
            endpoint=self.endpoint,
            model=self.model,
            schema=self.schema.name,
            schema_hash=self.schema.hash,
            prompt_hash=self.schema.prompt_hash(f"{self.style.temperature} {self.style.reasoning}"),
        )

    def run_info(self, price: Price | None, flow_run: str | None = None) -> RunInfo:
        """Identifies a run that starts now."""
        started_at = datetime.now(UTC)
        source = self.job.source if "://" in self.job.source else str(Path(self.job.source).expanduser().absolute())
        return RunInfo(
            run=f"{started_at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
            started_at=started_at,
            source=source,
            output=self.output,
            fingerprint=self.fingerprint,
            policy=TUNED if self.tuning.ladder else self.policy,
            bill_rule=self.rule.name,
            price=price,
            job=self.job.model_dump_json(),
            flow_run=flow_run,
            review_below=self.tuning.doubtful_below,
        )


def resolve(job: Job, settings: Settings, *, sends: bool = True, reads: bool = True) -> RunConfig:
    """Resolves a job. `sends`: it calls the endpoint, so it needs a key and a model; `reads`: it needs a schema.

    Raises ConfigurationError that says what is missing or wrong, and what is allowed.
    """
    base_url = job.base_url or settings.base_url
    offline = job.offline or base_url == OFFLINE
    stored = job.redo == "reparse"  # nothing is sent: what was answered is read again
    if (sends or stored) and reads and not job.schema_name:
        raise ConfigurationError(f"no schema: add --schema with one of {', '.join(schemas.list_known())}")
    schema = schemas.load(job.schema_name) if job.schema_name else schemas.NONE
    sends = sends and not stored
    if sends and not offline and base_url is None and settings.api_key is None:
        raise ConfigurationError(f"no key: set {settings.key_places}, or add --offline to try it with local OCR")
    model = job.model or settings.model or (OFFLINE_MODEL if offline else "")
    if sends and not model:
        raise ConfigurationError(
            "no model: name one with --model or TILEWISE_MODEL, as the endpoint lists it (`/v1/models`),"
            " for example Qwen/Qwen3.5-9B"
        )
    if job.witness is not None:
        _check_witness()
    if job.schema_name:
        from extractors.record.tables.fields import Fields  # noqa: PLC0415 - polars, which the errors above do not wait for

        Fields(schema.model)  # a field that cannot be a column is refused here, before anything is read
    return RunConfig(
        job=job,
        settings=settings,
        schema=schema,
        rule=_rule(job.bill, offline=offline),
        model=model,
        base_url=urlsplit(base_url or TOGETHER)._replace(query="").geturl(),
        output=name_output(job.output or settings.output),
        offline=offline,
        tuning=StoredTuning(climb_below_all=job.climb_below),
    )


def _check_witness() -> None:
    """Raises ConfigurationError where the packages that read pages are not installed."""
    from extractors.endpoint.extra import EndpointError, check_extra  # noqa: PLC0415 - only runs with a witness need it

    try:
        check_extra("witness")
    except EndpointError as error:
        raise ConfigurationError(str(error)) from None


def resolve_probes(settings: Settings, model: str | None, *, yes: bool = False) -> RunConfig:
    """Resolves a calibration, which reads no source. Raises ConfigurationError as `resolve` does."""
    return resolve(Job(source="probes", model=model, yes=yes), settings, reads=False)


def _rule(name: str, *, offline: bool) -> tiles.Rule:
    """The rule by name; `auto` is the rule of the offline endpoint, or the larger of the two that Together documents."""
    if name == "auto":
        return tiles.get_rule("formula" if offline else "table")
    return tiles.get_rule(name)
