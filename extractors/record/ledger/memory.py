"""What the ledger stores about an endpoint across runs: prices, rate, answers, text, bill rule, models, tunings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import sqlalchemy as sa

from extractors.core.money import Means, Price
from extractors.record.ledger.schema import (
    ANSWERS,
    CALIBRATIONS,
    LOGPROB_REFUSALS,
    RATES,
    RETURNED_MODELS,
    SERVED_PRICES,
    TEXTS,
    TUNINGS,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from extractors.core import Fingerprint
    from extractors.record.ledger.database import Database

REFUSAL_DAYS = 30  # how long a server that refused log probabilities is not asked for them


@dataclass(frozen=True, slots=True)
class Calibration:
    """The result of a calibration: the bill rule as text, the tokens of the prompt's text, the model returned, the time.

    `explains`: the rule is close to every probe; a rule fitted to a model of another kind may not be.
    """

    rule: str
    explains: bool
    text_bytes: int
    text_tokens: int
    model_returned: str | None
    measured_at: datetime

    def estimate_text_tokens(self, text_bytes: int) -> int:
        """The tokens expected for this number of UTF-8 bytes of text."""
        return round(text_bytes * self.text_tokens / self.text_bytes)


@dataclass(frozen=True, slots=True)
class EndpointMemory:
    """The latest facts by endpoint and model."""

    database: Database

    def means(self, fingerprint: Fingerprint) -> Means:
        """The averages of earlier accepted answers of this model for this schema."""
        query = sa.select(ANSWERS).filter_by(
            endpoint=fingerprint.endpoint, model=fingerprint.model, schema=fingerprint.schema
        )
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return Means(round(row.completion_tokens / row.count), row.seconds / row.count) if row else Means()

    def keep_rate(self, fingerprint: Fingerprint, calls_per_second: float) -> None:
        """Store the rate that this endpoint sustained for this model."""
        self._upsert(RATES, _endpoint_key(fingerprint), calls_per_second=calls_per_second, seen_at=_now())

    def rate(self, fingerprint: Fingerprint) -> float | None:
        """The calls per second that this endpoint last sustained for this model."""
        query = sa.select(RATES.c.calls_per_second).filter_by(**_endpoint_key(fingerprint))
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def keep_text_tokens(self, fingerprint: Fingerprint, tokens: int) -> None:
        """Store the tokens counted for this prompt without its images."""
        key = _endpoint_key(fingerprint) | {"prompt_hash": fingerprint.prompt_hash}
        self._upsert(TEXTS, key, tokens=tokens, seen_at=_now())

    def text_tokens(self, fingerprint: Fingerprint) -> int | None:
        """The tokens last counted for this prompt."""
        query = sa.select(TEXTS.c.tokens).filter_by(**_endpoint_key(fingerprint), prompt_hash=fingerprint.prompt_hash)
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def keep_calibration(self, fingerprint: Fingerprint, run: str, calibration: Calibration) -> None:
        """Stores what the probes of this run showed."""
        self._upsert(
            CALIBRATIONS,
            _endpoint_key(fingerprint),
            rule=calibration.rule,
            explains=calibration.explains,
            text_bytes=calibration.text_bytes,
            text_tokens=calibration.text_tokens,
            model_returned=calibration.model_returned,
            run=run,
            measured_at=calibration.measured_at.isoformat(),
        )

    def calibration(self, endpoint: str, model: str) -> Calibration | None:
        """The latest calibration of this model."""
        query = sa.select(CALIBRATIONS).filter_by(endpoint=endpoint, model=model)
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        at = datetime.fromisoformat(row.measured_at)
        return Calibration(row.rule, row.explains, row.text_bytes, row.text_tokens, row.model_returned, at)

    def keep_returned_models(self, fingerprint: Fingerprint, models: Collection[str]) -> None:
        """Store the model names returned in a run."""
        key = _endpoint_key(fingerprint)
        with self.database.writing() as connection:
            connection.execute(RETURNED_MODELS.delete().filter_by(**key))
            if models:
                connection.execute(RETURNED_MODELS.insert(), [key | {"returned": name} for name in sorted(models)])

    def returned_models(self, fingerprint: Fingerprint) -> frozenset[str]:
        """The model names returned in the last run; empty before the first."""
        query = sa.select(RETURNED_MODELS.c.returned).filter_by(**_endpoint_key(fingerprint))
        with self.database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def keep_prices(self, endpoint: str, prices: dict[str, Price]) -> None:
        """Replace the prices that the server lists."""
        today = datetime.now(UTC).date().isoformat()
        key = {"endpoint": endpoint, "as_of": today}
        rows = [{**key, "model": model, **_price_row(price)} for model, price in prices.items()]
        with self.database.writing() as connection:
            connection.execute(SERVED_PRICES.delete().where(SERVED_PRICES.c.endpoint == endpoint))
            if rows:
                connection.execute(SERVED_PRICES.insert(), rows)

    def prices(self, endpoint: str) -> dict[str, Price]:
        """The prices that the server listed last, with the day of the listing."""
        with self.database.reading() as connection:
            rows = connection.execute(sa.select(SERVED_PRICES).where(SERVED_PRICES.c.endpoint == endpoint)).all()
        return {
            row.model: Price(
                Decimal(row.input),
                Decimal(row.output),
                None if row.cached_input is None else Decimal(row.cached_input),
                date.fromisoformat(row.as_of),
            )
            for row in rows
        }

    def keep_tuning(self, fingerprint: Fingerprint, run: str, body: str) -> None:
        """Store what this run recommends for the schema, as JSON text, in place of an earlier recommendation."""
        key = _endpoint_key(fingerprint) | {"schema": fingerprint.schema}
        self._upsert(TUNINGS, key, body=body, run=run, stored_at=_now())

    def tuning(self, fingerprint: Fingerprint) -> str | None:
        """The recommendation stored last for this endpoint, model and schema."""
        query = sa.select(TUNINGS.c.body).filter_by(**_endpoint_key(fingerprint), schema=fingerprint.schema)
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def tunings(self, endpoint: str, model: str) -> dict[str, str]:
        """The recommendations stored for this endpoint and model, by schema."""
        query = sa.select(TUNINGS.c.schema, TUNINGS.c.body).filter_by(endpoint=endpoint, model=model)
        with self.database.reading() as connection:
            return {row.schema: row.body for row in connection.execute(query.order_by(TUNINGS.c.schema))}

    def keep_logprob_refusal(self, fingerprint: Fingerprint, message: str) -> None:
        """Store that this endpoint refused to give log probabilities for this model, with its words."""
        self._upsert(LOGPROB_REFUSALS, _endpoint_key(fingerprint), message=message, seen_at=_now())

    def logprob_refusal(self, fingerprint: Fingerprint) -> str | None:
        """The words of a refusal in the last REFUSAL_DAYS days: after that the endpoint is asked again."""
        since = (datetime.now(UTC) - timedelta(days=REFUSAL_DAYS)).isoformat()
        query = sa.select(LOGPROB_REFUSALS.c.message).filter_by(**_endpoint_key(fingerprint))
        with self.database.reading() as connection:
            return connection.execute(query.where(LOGPROB_REFUSALS.c.seen_at >= since)).scalar_one_or_none()

    def _upsert(self, table: sa.Table, key: dict[str, str], **values: object) -> None:
        insert = self.database.insert(table).values(**key, **values)
        with self.database.writing() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=list(key), set_=values))


def _price_row(price: Price) -> dict[str, str | None]:
    cached = None if price.cached is None else str(price.cached)
    return {"input": str(price.input), "output": str(price.output), "cached_input": cached}


def _endpoint_key(fingerprint: Fingerprint) -> dict[str, str]:
    return {"endpoint": fingerprint.endpoint, "model": fingerprint.model}


def _now() -> str:
    return datetime.now(UTC).isoformat()
