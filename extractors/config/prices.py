"""The price of a model's tokens: from the user's price file, else the server's list, else the table shipped here."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extractors.core.errors import ConfigurationError
from extractors.core.money import FREE, Price

if TYPE_CHECKING:
    from extractors.config.run_config import RunConfig
    from extractors.core import RunInfo

OLD_PRICE_DAYS = 90
SHIPPED = Path(__file__).with_name("prices.toml")


class _Entry(BaseModel):
    """One model's line in a price file."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=False)

    input: Decimal = Field(ge=0, lt=1_000_000, allow_inf_nan=False)  # more does not fit into the tables
    output: Decimal = Field(ge=0, lt=1_000_000, allow_inf_nan=False)
    cached_input: Decimal | None = Field(None, ge=0, lt=1_000_000, allow_inf_nan=False)
    as_of: date | None = None


class _File(BaseModel):
    """A price file: `[models."<id>"]` tables."""

    model_config = ConfigDict(extra="forbid")

    models: dict[str, _Entry]


class Prices:
    """Prices by model id, from up to three places in order of trust."""

    def __init__(self, own: Path | None = None, served: dict[str, Price] | None = None) -> None:
        """`own` is the file that TILEWISE_PRICES names, `served` what the server last listed."""
        self._tables = [_read_price_file(own) if own else {}, served or {}, _read_price_file(SHIPPED)]

    def find(self, model: str) -> Price | None:
        """The price of this model; None, never 0, when it is unknown."""
        return next((place[model] for place in self._tables if model in place), None)


def find_price(config: RunConfig, served: dict[str, Price], *, free: bool) -> Price | None:
    """The price in force: from the user's file, else 0 for local OCR, else from the server's list, else as shipped."""
    own = config.settings.prices
    if free:
        return Prices(own, {config.model: FREE}).find(config.model)
    return Prices(own, served).find(config.model)


def warn_old_price(run_info: RunInfo) -> str | None:
    """The warning about an old price, None for a recent one."""
    as_of = run_info.price.as_of if run_info.price else None
    age = (run_info.started_at.date() - as_of).days if as_of else 0
    old = f"the price of {run_info.model} is of {as_of}, {age} days old: name today's in TILEWISE_PRICES"
    return old if age > OLD_PRICE_DAYS else None


def _read_price_file(path: Path) -> dict[str, Price]:
    """Reads the prices of one file. Raises ConfigurationError that names the file and what is wrong in it."""
    try:
        parsed = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal))
    except OSError as error:
        raise ConfigurationError(f"TILEWISE_PRICES={str(path)!r} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"TILEWISE_PRICES={str(path)!r} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"TILEWISE_PRICES={str(path)!r}: {where}: {first['msg']}") from None
    entries = parsed.models.items()
    return {model: Price(entry.input, entry.output, entry.cached_input, entry.as_of) for model, entry in entries}
