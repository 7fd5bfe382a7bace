"""erasure.py: names of forgotten documents are erased, amounts stay, and documents of live runs are refused."""

from datetime import UTC, datetime

import pytest
from support.runs import vary

from extractors.core.errors import ConfigurationError
from extractors.record.ledger.erasure import Forgotten
from extractors.record.ledger.schema import CALLS

A, B, PAGE = "/in/a.jpg", "/in/b.jpg", "/in/a.jpg#page=2"
FORGOTTEN = Forgotten("/out", frozenset({A}))


@pytest.fixture
def begin_run(ledger, terms, make):
    """Returns a function that begins a run with two claims and three calls: of both documents and of a page."""

    def begin(run="one", **changes):
        info = vary(terms, run=run, started_at=datetime.now(UTC), **changes)
        ledger.runs.begin(info)
        ledger.claims.claim(info, [make.plan(A), make.plan(B)])
        reply = make.reply(logprobs=make.logprobs())
        rows = [
            make.call(make.attempt(request=make.request(uri, request=f"r-{uri}"), reply=reply)) for uri in (A, B, PAGE)
        ]
        with ledger._database.writing() as connection:
            connection.execute(CALLS.insert(), [row | {"run": run, "call": number} for number, row in enumerate(rows)])
        return info

    return begin


def test_erase_blanks_names_and_keeps_amounts(ledger, begin_run, sql):
    """Pages of the forgotten file are erased too; other documents and other outputs are not."""
    run, other = begin_run(), begin_run("two", output="/elsewhere")
    ledger.runs.release(run.run)
    before = sql("select sum(cost_nano), sum(prompt_tokens), count(*) from calls")
    assert ledger.erasure.erase(FORGOTTEN) == 2
    names = "select document, key, request, sha256, error, reply, tokens, token_logprobs from calls"
    names += " where run = :run order by call"
    blank = ("", "", "", "", None, None, None, None)
    first, second, third = sql(names, run=run.run)
    assert (first, third, second[0]) == (blank, blank, B)
    assert [row[0] for row in sql(names, run=other.run)] == [A, B, PAGE]
    assert sql("select sum(cost_nano), sum(prompt_tokens), count(*) from calls") == before
    assert [plan.document for plan in ledger.claims.load_plans(run.run)] == [B]


def test_erase_refuses_a_document_claimed_by_a_live_run(ledger, begin_run, sql):
    """The message names the run, and nothing is changed."""
    run = begin_run()
    before = sql("select document, reply from calls")
    for method in (ledger.erasure.check, ledger.erasure.erase):
        with pytest.raises(ConfigurationError, match=f"run {run.run} is reading {A} now: nothing was forgotten"):
            method(FORGOTTEN)
    assert sql("select document, reply from calls") == before


def test_erase_ignores_a_live_run_of_other_documents(ledger, begin_run):
    begin_run()
    assert ledger.erasure.erase(Forgotten("/out", frozenset({"/in/c.jpg"}))) == 0


def test_erase_refuses_a_document_in_a_volume_of_a_live_run(ledger, begin_run):
    """The live run may still copy the document's row."""
    run = begin_run()
    with pytest.raises(ConfigurationError, match=run.run):
        ledger.erasure.erase(Forgotten("/out", frozenset({"/in/c.jpg"}), frozenset({run.run})))


def test_erase_refuses_a_document_of_a_plan_in_progress(ledger, begin_run):
    run = begin_run(flow="apply")
    with pytest.raises(ConfigurationError, match=run.run):
        ledger.erasure.erase(Forgotten("/out", frozenset({"/in/c.jpg"}), planned=True))


def test_erase_blanks_the_source_of_a_run_of_one_image(ledger, begin_run, sql):
    run = begin_run(source=A, job='{"source": "a.jpg"}')
    ledger.runs.release(run.run)
    ledger.erasure.erase(FORGOTTEN)
    assert sql("select source, job from runs") == [("", "{}")]


def test_erase_removes_names_from_free_pages_of_the_file(url, ledger, begin_run, tmp_path):
    """PostgreSQL vacuums its tables by itself."""
    if not url.startswith("sqlite"):
        pytest.skip("SQLite only")
    ledger.runs.release(begin_run().run)
    ledger.erasure.erase(FORGOTTEN)
    files = [path for path in (tmp_path / "state").iterdir() if path.is_file()]
    assert files
    assert [path.name for path in files if A.encode() in path.read_bytes()] == []
