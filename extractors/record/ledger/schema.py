"""The ledger's tables. Money is in whole nanodollars and times are UTC text: SQLite has no decimals and no time zones."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

METADATA = sa.MetaData()

# One row per run: its configuration, its process, and how far it is.
RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("flow", sa.String, nullable=False, server_default="run"),
    sa.Column("schema", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("output", sa.String, nullable=False),
    sa.Column("endpoint", sa.String, nullable=False, server_default=""),
    sa.Column("model", sa.String, nullable=False, server_default=""),
    sa.Column("schema_hash", sa.String, nullable=False, server_default=""),
    sa.Column("prompt_hash", sa.String, nullable=False, server_default=""),
    sa.Column("policy", sa.String, nullable=False, server_default=""),
    sa.Column("bill_rule", sa.String, nullable=False, server_default=""),
    sa.Column("price_input", sa.String),
    sa.Column("price_output", sa.String),
    sa.Column("price_cached", sa.String),
    sa.Column("price_as_of", sa.String),
    sa.Column("job", sa.Text, nullable=False, server_default="{}"),
    sa.Column("flow_run", sa.String),
    sa.Column("started_at", sa.String, nullable=False),
    # The lease: the process that works on the run, and when the lease expires without another heartbeat.
    sa.Column("host", sa.String, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("born", sa.String, nullable=False, server_default=""),
    sa.Column("lease_until", sa.Float, nullable=False, server_default="0"),
    sa.Column("held_nano", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("volumes", sa.Integer, nullable=False, server_default="0"),
    # The number of replies for unfinished documents that are kept for the next run.
    sa.Column("bequeathed", sa.Integer, key="orphaned_replies", nullable=False, server_default="0"),
    sa.Column("published_at", sa.String),
    # Whether its shards have to stop.
    sa.Column("stopping", sa.Boolean, nullable=False, server_default=sa.false()),
)

# One row per HTTP attempt. Several processes may write for one run; each numbers its own calls.
CALLS = sa.Table(
    "calls",
    METADATA,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("writer", sa.Integer, primary_key=True),
    sa.Column("call", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("document", sa.String, nullable=False),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("request", sa.String, nullable=False, server_default=""),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("schema", sa.String, nullable=False),
    sa.Column("endpoint", sa.String, nullable=False),
    sa.Column("model_requested", sa.String, nullable=False),
    sa.Column("bill_rule", sa.String, nullable=False),
    sa.Column("rung", sa.Integer),
    sa.Column("pages", sa.Integer, nullable=False, server_default="1"),
    sa.Column("payload_bytes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("sent_width", sa.Integer),
    sa.Column("sent_height", sa.Integer),
    sa.Column("sha256", sa.String, nullable=False, server_default=""),
    sa.Column("encoded", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("started_at", sa.String, nullable=False),
    sa.Column("estimated_image_tokens", sa.Integer, nullable=False),
    sa.Column("estimated_prompt_tokens", sa.Integer, nullable=False),
    sa.Column("reserved_nano", sa.BigInteger),
    # Set by the reply; null while the call is in flight.
    sa.Column("seconds", sa.Float),
    sa.Column("http_status", sa.Integer),
    sa.Column("outcome", sa.String),
    sa.Column("billed", sa.String),
    sa.Column("model_returned", sa.String),
    sa.Column("prompt_tokens", sa.BigInteger),
    sa.Column("cached_tokens", sa.BigInteger),
    sa.Column("completion_tokens", sa.BigInteger),
    sa.Column("reasoning_tokens", sa.BigInteger),
    sa.Column("cost_nano", sa.BigInteger),
    sa.Column("finish_reason", sa.String),
    sa.Column("request_id", sa.String),
    sa.Column("error", sa.String),
    sa.Column("reply", sa.Text),
    # The tokens of the reply and their log probabilities, each a list as JSON.
    sa.Column("tokens", sa.Text),
    sa.Column("token_logprobs", sa.Text),
    # The volume that published the call; null before.
    sa.Column("volume", sa.Integer),
)
# What a call keeps of its answer until the answer is published or erased.
NO_REPLY = {"reply": None, "tokens": None, "token_logprobs": None}
# The calls in flight, which an exhausted budget waits for.
# Both databases have this syntax; an `Index` with a condition would import the dialects of both.
OPEN_CALLS = sa.text("CREATE INDEX open_calls ON calls (run) WHERE outcome IS NULL")

# The cost of a UTC day's calls, or their reservation while the cost is unknown: compared with the daily budget.
DAYS = sa.Table(
    "days",
    METADATA,
    sa.Column("day", sa.String, primary_key=True),
    sa.Column("held_nano", sa.BigInteger, nullable=False),
)

# Which run has claimed a document, and its plan until the document is published.
MARKS = sa.Table(
    "marks",
    METADATA,
    sa.Column("mark", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run", sa.String, nullable=False),
    sa.Column("plan", sa.Text),
)
# A part of a run that another process works on: one row per attempt, with its own lease and writer number.
SHARDS = sa.Table(
    "shards",
    METADATA,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("writer", sa.Integer, nullable=False),
    sa.Column("host", sa.String, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("born", sa.String, nullable=False),
    sa.Column("lease_until", sa.Float, nullable=False),
    # How it ended; null before.
    sa.Column("status", sa.String),
    sa.Column("message", sa.String),
    sa.Column("warnings", sa.Text, nullable=False, server_default="[]"),
    sa.Column("accepted", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("skipped", sa.Integer, nullable=False, server_default="0"),
    # Its calls and failed documents so far, counted by kind, as JSON.
    sa.Column("progress", sa.Text, nullable=False, server_default="{}"),
)
# The process that replaces published files of an output.
OUTPUT_LEASES = sa.Table(
    "output_leases",
    METADATA,
    sa.Column("output", sa.String, primary_key=True),
    sa.Column("holder", sa.String, nullable=False),
    sa.Column("host", sa.String, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("born", sa.String, nullable=False),
    sa.Column("lease_until", sa.Float, nullable=False),
)
ONE_CALL = CALLS.update().where(
    CALLS.c.run == sa.bindparam("_run"),
    CALLS.c.writer == sa.bindparam("_writer"),
    CALLS.c.call == sa.bindparam("_call"),
)

# Facts about an endpoint, kept across runs.
SERVED_PRICES = sa.Table(
    "served_prices",
    METADATA,
    sa.Column("endpoint", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("input", sa.String, nullable=False),
    sa.Column("output", sa.String, nullable=False),
    sa.Column("cached_input", sa.String),
    sa.Column("as_of", sa.String, nullable=False),
)
RATES = sa.Table(
    "rates",
    METADATA,
    sa.Column("endpoint", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("calls_per_second", sa.Float, nullable=False),
    sa.Column("seen_at", sa.String, nullable=False),
)
ANSWERS = sa.Table(
    "answers",
    METADATA,
    sa.Column("endpoint", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("schema", sa.String, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
)
TEXTS = sa.Table(
    "texts",
    METADATA,
    sa.Column("endpoint", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("prompt_hash", sa.String, primary_key=True),
    sa.Column("tokens", sa.Integer, nullable=False),
    sa.Column("seen_at", sa.String, nullable=False),
)
CALIBRATIONS = sa.Table(
    "calibrations",
    METADATA,
    sa.Column("endpoint", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("rule", sa.String, nullable=False),
    sa.Column("explains", sa.Boolean, nullable=False),
    sa.Column("text_bytes", sa.Integer, nullable=False),
    sa.Column("text_tokens", sa.Integer, nullable=False),
    sa.Column("model_returned", sa.String),
    sa.Column("run", sa.String, nullable=False),
    sa.Column("measured_at", sa.String, nullable=False),
)
RETURNED_MODELS = sa.Table(
    "returned_models",
    METADATA,
    sa.Column("endpoint", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("returned", sa.String, primary_key=True),
)
# The ladder, thresholds and score that labelled images have shown to be best, as JSON.
TUNINGS = sa.Table(
    "tunings",
    METADATA,
    sa.Column("endpoint", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("schema", sa.String, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("run", sa.String, nullable=False),
    sa.Column("stored_at", sa.String, nullable=False),
)
# Endpoints that refused to give log probabilities, and their words.
LOGPROB_REFUSALS = sa.Table(
    "logprob_refusals",
    METADATA,
    sa.Column("endpoint", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("message", sa.String, nullable=False),
    sa.Column("seen_at", sa.String, nullable=False),
)


@sa.event.listens_for(CALLS, "after_create")
def _index_open_calls(_: sa.Table, connection: sa.Connection, **__: object) -> None:
    connection.execute(OPEN_CALLS)


class CallId(NamedTuple):
    """The key of a call in the ledger."""

    run: str
    writer: int
    call: int


def select_accepted_sums() -> sa.Select[tuple[object, ...]]:
    """The rows of `answers` for all calls: sums by endpoint, model and schema."""
    keys = (CALLS.c.endpoint, CALLS.c.model_requested, CALLS.c.schema)
    sums = (sa.func.count(), sa.func.sum(CALLS.c.completion_tokens), sa.func.sum(CALLS.c.seconds))
    counted = (CALLS.c.outcome == "accepted") & CALLS.c.completion_tokens.is_not(None)
    return sa.select(*keys, *sums).where(counted).group_by(*keys)
