"""approval.py: whether a person must approve a cost, and the one question that a run asks before any call."""

import dataclasses
from decimal import Decimal

import polars as pl
import pytest
from PIL import Image

from extractors.config.job import build_job
from extractors.config.run_config import resolve
from extractors.config.settings import Settings
from extractors.core.errors import ApprovalRequired, ConfigurationError
from extractors.core.money import Costs
from extractors.run import pipeline
from extractors.run.approval import approval_reason, require_approval
from extractors.run.hooks import RunHooks

pytestmark = pytest.mark.anyio
PRICES = '[models."maker/model"]\ninput = 0.30\noutput = 1.50\n'


@dataclasses.dataclass
class Person:
    """Gives every question the same answer, and records the questions."""

    answer: bool
    questions: list = dataclasses.field(default_factory=list)

    async def __call__(self, reason):
        """Records and answers a question."""
        self.questions.append(reason)
        return self.answer


@pytest.fixture
def settings(tmp_path, server):
    """Settings of a server that accepts every picture; every cost needs approval."""
    (tmp_path / "prices.toml").write_text(PRICES)
    return Settings(
        base_url=server.url,
        api_key="sk-test",
        model="maker/model",
        prices=tmp_path / "prices.toml",
        ledger=f"sqlite:///{tmp_path / 'ledger.db'}",
        output=str(tmp_path / "out"),
        ask_above=Decimal(0),
    )


@pytest.fixture
def server(serve, replies):
    """A server that accepts every picture."""
    return serve(replies.ok())


@pytest.fixture
def config(tmp_path, settings):
    """Makes the configuration of a job over two pictures."""
    (tmp_path / "in").mkdir()
    for number in range(2):
        Image.new("RGB", (300, 200), (20 * number, 90, 60)).save(tmp_path / "in" / f"{number}.png")

    def make(**fields):
        return resolve(
            build_job(source=str(tmp_path / "in"), schema_name="caption", bill="formula", **fields), settings
        )

    return make


def build_costs(amount):
    """Costs with this high estimate."""
    return Costs(Decimal(0), Decimal(0), None if amount is None else Decimal(amount))


@pytest.mark.parametrize("fields", [{"yes": True}, {"budget": "0.01"}, {"redo": "reparse"}])
def test_preapproved_jobs_need_no_approval(config, fields):
    """A job with --yes, with a budget, or without calls may have any cost."""
    assert approval_reason(config(**fields), build_costs(None)) is None


def test_reason_names_expected_and_highest_cost_documents_schema_and_model(config):
    costs = Costs(Decimal(0), Decimal("0.0041"), Decimal("0.0061"))
    reason = approval_reason(config(), costs, documents=1204)
    assert [
        word for word in ("$0.0061", "$0.0041", "1,204 documents", "caption", "maker/model") if word not in reason
    ] == []


@pytest.mark.parametrize(("high", "words"), [("0.02", "$0.02"), (None, "maker/model")])
def test_reason_names_the_cost_or_the_model_of_unknown_price(config, high, words):
    assert words in approval_reason(config(), build_costs(high))


def test_costs_up_to_the_limit_need_no_approval(config):
    assert approval_reason(config(), build_costs("0")) is None


def test_videos_of_unknown_cost_name_the_flag(config):
    assert "--video-tokens" in approval_reason(config(), build_costs(None), videos=True)


async def test_approval_is_required_where_no_person_can_be_asked(config):
    with pytest.raises(ApprovalRequired, match=r"\$0\.02"):
        await require_approval(config(), build_costs("0.02"), None)


async def test_run_asks_once_and_continues_after_a_yes(config, server):
    person = Person(answer=True)
    result = await pipeline.run(config(), RunHooks(confirm=person))
    assert (len(person.questions), result.counts.totals.accepted, len(server.documents)) == (1, 2, 2)


async def test_run_ends_before_any_call_after_a_no(config, server, tmp_path):
    """It publishes no table, and the next run can claim all documents."""
    person = Person(answer=False)
    with pytest.raises(ConfigurationError, match="not started"):
        await pipeline.run(config(), RunHooks(confirm=person))
    assert (len(person.questions), server.documents, (tmp_path / "out").exists()) == (1, [], False)
    result = await pipeline.run(config(yes=True))
    assert result.counts.totals.accepted == 2


async def test_approved_run_has_one_row_of_runs(config, tmp_path):
    await pipeline.run(config(), RunHooks(confirm=Person(answer=True)))
    runs = pl.read_parquet(list((tmp_path / "out" / "runs").rglob("*.parquet")), hive_partitioning=False)
    assert runs["status"].to_list() == ["completed"]
