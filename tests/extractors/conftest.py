"""Ledgers, and builders of pages, calls, documents and rows with defaults for every field."""

import asyncio
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
import sqlalchemy as sa
from pydantic import BaseModel
from support.runs import vary

from extractors.core import (
    Accepted,
    Attempt,
    BilledPage,
    CallRequest,
    Failed,
    Fingerprint,
    Found,
    Header,
    LadderStep,
    Planned,
    PlannedPage,
    Problem,
    Reply,
    RunInfo,
    Unfinished,
)
from extractors.core.calls import TokenLogprobs
from extractors.core.money import Costs, Price, Usage
from extractors.core.tiles import Size
from extractors.record.ledger import Ledger
from extractors.record.ledger.budget import Budget
from extractors.record.ledger.schema import CALLS, CallId
from extractors.record.ledger.writer import LedgerWriter, intent_row, settlement_row
from extractors.run.result import RunCounts, RunRecord

ENDLESS = Budget()
NOW = datetime(2026, 11, 20, 2, 15, 0, tzinfo=UTC)
MODIFIED = datetime(2026, 11, 19, 8, 30, 0, tzinfo=UTC)


class Slip(BaseModel):
    """A document of two fields."""

    shop: str
    total: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Make:
    """Builders with defaults for every field; a test passes only the fields that it is about."""

    run_info: RunInfo

    def build_found(self, uri="/in/a.jpg", **changes):
        """Build an image on disk."""
        return replace(Found(uri, size=2048, version="1-2048", modified=MODIFIED), **changes)

    def page(self, uri="/in/a.jpg", **changes):
        """Build a page resized to one tile, with a ladder of two steps."""
        billed = BilledPage(self.build_found(uri), Header(Size(1000, 800), "JPEG", 1, 6), 1601, 6404, note="odd")
        ladder = (LadderStep(1, Size(560, 448), 1601), LadderStep(3, Size(1000, 800), 6404))
        costs = Costs(Decimal("0.001"), Decimal("0.002"), Decimal("0.01"))
        return replace(PlannedPage(billed, "resize", "cheaper", ladder, costs), **changes)

    def build_rejected_page(self, uri="/in/a.jpg", problem=None):
        """Build a page whose header could not be read."""
        problem = problem or Problem("not_an_image", "bill", "not an image that can be read here")
        return PlannedPage(BilledPage(self.build_found(uri), problem=problem), "reject", problem.kind)

    def plan(self, uri="/in/a.jpg", pages=None, tries=0):
        """Build a document of one page, or of these pages."""
        return Planned(uri, pages or (self.page(uri),), tries)

    def request(self, uri="/in/a.jpg", **changes):
        """Build a request of one image."""
        steps = (LadderStep(1, Size(560, 448), 1601),)
        return replace(CallRequest(uri, f"key-{uri}", f"request-{uri}", 300, steps, 100, 2000, 128, 512), **changes)

    def reply(self, **changes):
        """Build an answer with its usage."""
        usage = Usage(prompt=1750, completion=40, cached=64, reasoning=8)
        reply = Reply(200, '{"raw": 1}', '{"shop": "Inn"}', "stop", "maker/model-2", usage, "req-1")
        return replace(reply, **changes)

    def logprobs(self):
        """Build the tokens of an answer: one without a log probability, and one that is a part of a character."""
        return TokenLogprobs(('{"', "shop", '":"', "<0xC3>", '"}\0'), (-0.5, -0.0, None, -2.25, -9999.0))

    def attempt(self, **changes):
        """Build an attempt that was answered and billed."""
        attempt = Attempt(
            self.request(), NOW, 1.5, "accepted", "yes", self.reply(), Decimal("0.000935"), Decimal("0.002512")
        )
        return replace(attempt, **changes)

    def build_unanswered(self, **changes):
        """Build an attempt whose billing status is unknown."""
        lost = self.attempt(outcome="timeout", billed="unknown", reply=None, cost_usd=None, error="read timeout")
        return replace(lost, **changes)

    def accept(self, uri="/in/a.jpg", **changes):
        """Build a document accepted at its first attempt."""
        attempts = (self.attempt(request=self.request(uri)),)
        document = Accepted(
            self.plan(uri),
            attempts,
            f"key-{uri}",
            NOW,
            Slip(shop="Inn", total=Decimal("8.20")),
            self.reply(),
            attempts[0].request.steps[0],
            encoded=True,
            sha256="5ha",
        )
        return replace(document, **changes)

    def fail(self, uri="/in/a.jpg", **changes):
        """Build a document whose answer was refused on the top rung."""
        attempts = (self.attempt(request=self.request(uri), outcome="refused"),)
        problem = Problem("refused", "validate", "total: never negative")
        return replace(Failed(self.plan(uri), attempts, f"key-{uri}", NOW, problem), **changes)

    def reject(self, uri="/in/a.jpg", problem=None, pages=None):
        """Build a document with a valid header that prepare could not decode."""
        problem = problem or Problem("unreadable", "prepare", "cannot be decoded: broken data stream")
        return Failed(self.plan(uri, pages), (), None, NOW, problem)

    def end(self, outcome, *args, **changes):
        """Build a document that is `accepted`, `failed` or `rejected`."""
        builders = {"accepted": self.accept, "failed": self.fail, "rejected": self.reject}
        return builders[outcome](*args, **changes)

    def leave(self, uri="/in/a.jpg", attempts=()):
        """Build a document that the run did not finish."""
        return Unfinished(self.plan(uri), attempts)

    def intent(self, uri="/in/a.jpg", number=1, **changes):
        """Build the ledger's row of a call in flight."""
        blank = dict.fromkeys(CALLS.columns.keys())
        row = intent_row(self.call_id, self.run_info, self.request(uri, **changes), number, Decimal("0.002512"))
        return blank | row | {"started_at": NOW.isoformat()}

    def call(self, attempt, number=1):
        """Build the ledger's row of a settled call."""
        row = self.intent() | intent_row(self.call_id, self.run_info, attempt.request, number, attempt.reserved_usd)
        row |= settlement_row(self.call_id, attempt) | {"started_at": NOW.isoformat()}
        return {name: cell for name, cell in row.items() if not name.startswith("_")}

    @property
    def call_id(self):
        """The first call of the first writer of this run."""
        return CallId(self.run_info.run, 1, 0)

    def calls(self, *documents):
        """Build the ledger's rows of all attempts of these documents."""
        return [
            self.call(attempt, number) for document in documents for number, attempt in enumerate(document.attempts, 1)
        ]

    def row(self, **cells):
        """Build the row of `runs`."""
        return RunRecord(self.run_info).row(RunCounts(), 1) | cells


@dataclass(frozen=True, slots=True)
class LedgerCalls:
    """Reserves and settles the calls of one run through its writer, one after the other, outside an event loop."""

    writer: LedgerWriter
    make: Make

    def reserve(self, reserved="0.01", document="/in/a.jpg", number=1, **changes):
        """Reserve a call; return its handle, or None if the budget has no room for it."""
        dollars, request = None if reserved is None else Decimal(reserved), self.make.request(document, **changes)
        return _run_in_loop(lambda: self.writer.reserve(request, number, dollars))

    def settle(self, handle, **changes):
        """Settle a call, by default as accepted and billed."""
        _run_in_loop(lambda: self.writer.settle(handle, self.make.attempt(**changes)))

    def lose(self, handle):
        """Settle a call with an unknown outcome."""
        _run_in_loop(lambda: self.writer.settle(handle, self.make.build_unanswered()))


def _run_in_loop(start):
    """Start a future inside an event loop and return its result."""

    async def run():
        return await start()

    return asyncio.run(run())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    """The URL of a ledger that does not exist yet: in a file, and in a database of a server."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres")()
    return f"sqlite:///{tmp_path / 'state' / 'ledger.db'}"


@pytest.fixture
def ledger(url):
    """An open ledger."""
    with Ledger(url) as ledger:
        yield ledger


@pytest.fixture
def sql(ledger, url):
    """Run SQL on the ledger's database over a connection of its own."""
    engine = sa.create_engine(url)

    def run(statement, **values):
        with engine.begin() as connection:
            result = connection.execute(sa.text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    yield run
    engine.dispose()


@pytest.fixture
def ledger_writer(ledger, make, terms):
    """Create the writer of a run's calls: by default without a budget, in the fixture's ledger."""

    def create(run=terms.run, budget=ENDLESS, calls=ledger.calls):
        return LedgerCalls(LedgerWriter(calls, vary(terms, run=run), budget), make)

    return create


@pytest.fixture
def spawn():
    """Start a Python process that runs this code; it is killed at the end of the test."""
    with ExitStack() as stack:

        def start(code, *words):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code, *words],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
            )
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def model():
    """The schema's model of these runs."""
    return Slip


@pytest.fixture
def terms():
    """The values that all rows of one run share."""
    return RunInfo(
        run="20261120T021500Z-3f9a",
        started_at=NOW,
        source="/in",
        output="/out",
        fingerprint=Fingerprint("https://api.example/v1", "maker/model", "slip", "5c4e", "9a0b"),
        policy="balanced",
        bill_rule="table",
        price=Price(Decimal("0.50"), Decimal("2.80"), Decimal("0.10"), date(2026, 8, 1)),
    )


@pytest.fixture
def make(terms):
    """Builders for one run."""
    return Make(terms)
