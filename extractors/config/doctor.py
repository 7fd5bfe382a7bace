"""Doctor: checks the requirements of a run, and says how to meet missing ones, without spending anything."""

from __future__ import annotations

import secrets
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx

from extractors.call.model_list import MODELS_SECONDS, parse_models
from extractors.call.transport import build_client
from extractors.config.job import Job
from extractors.config.prices import OLD_PRICE_DAYS, find_price
from extractors.config.run_config import resolve
from extractors.config.settings import SQLITE
from extractors.config.tuning import describe_certainty, describe_ladder, describe_thresholds
from extractors.core.errors import ConfigurationError, TilewiseError, first_line
from extractors.core.money import dollars
from extractors.core.tuning import parse_tuning
from extractors.endpoint.extra import EndpointError, check_extra
from extractors.record.ledger import Ledger
from extractors.record.output import open_output
from extractors.scan import Listing, scan_documents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extractors.config.run_config import RunConfig
    from extractors.config.settings import Settings
    from extractors.core import Document
    from extractors.core.money import Price
    from extractors.record.ledger.memory import EndpointMemory

Verdict = Literal["ok", "note", "fails"]
FONT_FOLDERS = tuple(map(Path, ("/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/X11/fonts")))
FONT_SUFFIXES = {".ttf", ".ttc", ".otf", ".pfb"}
LISTED = 1000  # documents of a source that are listed to show what it holds


@dataclass(frozen=True, slots=True)
class Finding:
    """The check of one requirement: its verdict, and what was found or what to do."""

    name: str
    verdict: Verdict
    words: str


@dataclass(frozen=True, slots=True)
class _ModelList:
    """The finding on the endpoint, and the models that it lists: None if it lists none."""

    key: Finding
    models: dict[str, Price | None] | None = None


async def examine(settings: Settings, source: str | None) -> list[Finding]:
    """Checks key, model, price, bill rule, source, output and ledger. Raises ConfigurationError for bad settings."""
    config = resolve(Job(source=source or "."), settings, sends=False)
    served = _check_offline() if config.offline else await _check_endpoint(config)
    with ExitStack() as stack:
        ledger, memory = _check_ledger(settings, stack)
        findings = [served.key, _check_model(config, served), _check_price(config, served, memory)]
        findings += [_check_rule(config, memory), *list_tunings(config, memory)]
    if source:
        findings += _check_source(source)
    return [*findings, _check_output(config), ledger]


def _check_offline() -> _ModelList:
    try:
        check_extra("ocr")
    except EndpointError as error:
        return _ModelList(Finding("endpoint", "fails", str(error)))
    return _ModelList(Finding("endpoint", "ok", "offline: local OCR, no key needed"), {})


async def _check_endpoint(config: RunConfig) -> _ModelList:
    """Requests the list of models, which is free of charge and needs the key."""
    if config.settings.api_key is None and config.settings.base_url is None:
        return _ModelList(
            Finding("key", "fails", "not set: set TOGETHER_API_KEY, or TILEWISE_BASE_URL=offline to try local OCR")
        )
    try:
        async with build_client(config.endpoint_at(config.base_url)) as http:
            response = await http.get("models", timeout=MODELS_SECONDS)
    except (httpx.HTTPError, OSError) as error:
        words = f"{config.base_url} does not answer: {first_line(error)}: correct TILEWISE_BASE_URL"
        return _ModelList(Finding("endpoint", "fails", words))
    if response.status_code in {401, 403}:
        words = f"refused by {config.base_url} (HTTP {response.status_code}): set TILEWISE_API_KEY or TOGETHER_API_KEY"
        return _ModelList(Finding("key", "fails", words))
    models = parse_models(response, config.profile)
    if not models:
        words = (
            f"{config.base_url} answers HTTP {response.status_code} and lists no models: the first call tests the key"
        )
        return _ModelList(Finding("key", "note", words))
    accepted = "accepted" if config.settings.api_key else "not set and not required"
    return _ModelList(
        Finding("key", "ok", f"{accepted} by {config.base_url}, which lists {len(models):,} models"), models
    )


def _check_model(config: RunConfig, served: _ModelList) -> Finding:
    if not config.model:
        return Finding(
            "model", "fails", "not set: set TILEWISE_MODEL, or model in tilewise.toml, to an id that the endpoint lists"
        )
    if config.offline:
        return Finding("model", "ok", config.model)
    if served.models is None:
        return Finding("model", "note", f"{config.model}: not checked, because the endpoint lists no models")
    if config.model in served.models:
        return Finding("model", "ok", f"{config.model} is served")
    near = [each for each in served.models if config.model.rpartition("/")[2].lower() in each.lower()]
    hint = f"; similar ids: {', '.join(near[:3])}" if near else ""
    return Finding("model", "fails", f"{config.model} is not listed by the endpoint: correct TILEWISE_MODEL{hint}")


def _check_price(config: RunConfig, served: _ModelList, memory: EndpointMemory | None) -> Finding:
    known = {model: price for model, price in (served.models or {}).items() if price}
    if not known and memory:
        known = memory.prices(config.endpoint)
    try:
        price = find_price(config, known, free=config.reads_locally(served.models or ()))
    except ConfigurationError as error:
        return Finding("price", "fails", error.message)
    if price is None:
        return Finding(
            "price", "fails", f"unknown for {config.model or 'an unset model'}: add it to the file of TILEWISE_PRICES"
        )
    amounts = f"{dollars(price.input)} in, {dollars(price.output)} out per million tokens"
    if price.as_of is None:
        return Finding("price", "ok", amounts)
    age = (datetime.now(UTC).date() - price.as_of).days
    words = f"{amounts}, as of {price.as_of} ({age} days old)"
    old = age > OLD_PRICE_DAYS
    return Finding(
        "price",
        "note" if old else "ok",
        words + (": add the current price to the file of TILEWISE_PRICES" if old else ""),
    )


def _check_rule(config: RunConfig, memory: EndpointMemory | None) -> Finding:
    calibration = memory.calibration(config.endpoint, config.model) if memory and not config.offline else None
    if config.offline:
        return Finding("bill rule", "ok", f"{config.rule.name}, used by the offline endpoint")
    if calibration is None:
        words = f"{config.rule.name}, the larger of two documented rules: run `tilewise calibrate` to identify the right one"
        return Finding("bill rule", "note", words)
    words = f"{calibration.rule.partition(':')[0]}, calibrated on {calibration.measured_at:%Y-%m-%d}"
    return Finding(
        "bill rule", "ok" if calibration.explains else "note", words + ("" if calibration.explains else ", not exact")
    )


def list_tunings(config: RunConfig, memory: EndpointMemory | None) -> list[Finding]:
    """The stored tunings of the endpoint and model, one for each schema."""
    stored = memory.tunings(config.endpoint, config.model) if memory else {}
    return [_describe_tuning(schema, body) for schema, body in stored.items()]


def _describe_tuning(schema: str, body: str) -> Finding:
    name = f"tuning {schema}"
    try:
        tuning = parse_tuning(body)
    except ValueError as error:
        return Finding(name, "note", f"cannot be read ({error}): run `tilewise tune --apply` again")
    parts = [
        f"measured on {tuning.measured_at:%Y-%m-%d}",
        f"ladder {describe_ladder(tuning.ladder)}" if tuning.ladder else "",
        describe_thresholds(tuning.climb_below, tuning.climb_below_all),
        describe_certainty(tuning),
        f"with --witness all {describe_certainty(tuning.witnessed) or 'another score'}" if tuning.witnessed else "",
        "this model's confidence cannot rank" if tuning.ranks is False else "",
    ]
    return Finding(name, "note" if tuning.ranks is False else "ok", ", ".join(filter(None, parts)))


def _check_source(source: str) -> list[Finding]:
    listing = Listing()
    try:
        documents = list(islice(scan_documents(source, listing=listing), LISTED))
    except ConfigurationError as error:
        return [Finding("source", "fails", error.message)]
    holds_pdf = any(page.uri.lower().endswith(".pdf") for document in documents for page in document.pages)
    fonts = check_fonts() if holds_pdf and sys.platform == "linux" else None
    return [_describe_source(source, documents, listing), *([fonts] if fonts else [])]


def check_fonts(folders: Sequence[Path] = FONT_FOLDERS) -> Finding | None:
    """A note where PDFium, which draws PDFs, finds no font in these folders: text without an embedded font is lost."""
    files = (path for folder in folders for path in folder.rglob("*"))
    if any(path.suffix.lower() in FONT_SUFFIXES for path in files):
        return None
    words = (
        "none installed: PDF text whose font is not embedded may not be drawn: install fonts-dejavu or another package"
    )
    return Finding("fonts", "note", words)


def _describe_source(source: str, documents: Sequence[Document], listing: Listing) -> Finding:
    passed = [f"passed over: {listing.summary}"] if listing.passed_over else []
    if not documents:
        return Finding("source", "fails", "; ".join([f"{source!r} contains no images", *passed, *listing.warnings]))
    problem = documents[0].pages[0].problem
    if listing.incomplete or problem:
        return Finding("source", "fails", listing.incomplete or (problem.message if problem else ""))
    more = "at least " if len(documents) == LISTED else ""
    words = f"listed: {more}{len(documents):,} documents, the first is {documents[0].document}"
    return Finding("source", "note" if listing.warnings else "ok", "; ".join([words, *passed, *listing.warnings]))


def _check_ledger(settings: Settings, stack: ExitStack) -> tuple[Finding, EndpointMemory | None]:
    """The finding, and the memory of the ledger, open as long as the stack."""
    if not settings.has_ledger:
        return _check_new_ledger(Path(settings.ledger.removeprefix(SQLITE))), None
    try:
        ledger = stack.enter_context(Ledger(settings.ledger))
    except TilewiseError as error:
        return Finding("ledger", "fails", error.message), None
    return Finding("ledger", "ok", "readable"), ledger.memory


def _check_new_ledger(path: Path) -> Finding:
    """Whether the first run can create the ledger: its folder, or the nearest existing one, is writable."""
    try:
        if path.exists():
            return Finding("ledger", "fails", f"{str(path)!r} is not a file: correct TILEWISE_LEDGER")
        folder = next((each for each in path.parents if each.exists()), path.parent)
        with tempfile.TemporaryFile(dir=folder):  # permissions do not tell: a file system may be read-only
            pass
    except OSError as error:
        words = f"{str(path)!r} cannot be created ({error.strerror}): correct TILEWISE_LEDGER"
        return Finding("ledger", "fails", words)
    return Finding("ledger", "ok", "does not exist yet: the first run creates it")


def _check_output(config: RunConfig) -> Finding:
    tried = f"staging/doctor-{secrets.token_hex(4)}"  # created and removed; no run has such a name
    try:
        output = open_output(config.output)
        output.create_staging(tried, ())
        output.remove_empty(tried)
    except ConfigurationError as error:
        return Finding("output", "fails", f"{error.message}: correct TILEWISE_OUTPUT")
    return Finding("output", "ok", f"{config.output} is writable")
