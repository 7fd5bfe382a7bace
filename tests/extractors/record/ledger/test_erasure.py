"""erasure.py: names of forgotten documents leave the ledger, amounts stay, and a live run keeps what it reads."""

from datetime import UTC, datetime

import pytest
from support.runs import vary

from extractors.core.errors import ConfigurationError
from extractors.record.ledger.erasure import Forgotten
from extractors.record.ledger.schema import CALLS

A, B, PAGE = "/in/a.jpg", "/in/b.jpg", "/in/a.jpg#page=2"
FORGOTTEN = Forgotten("/out", frozenset({A}))


@pytest.fixture
def begun(ledger, terms, make):
    """Begins a run that has claimed and called two documents, and a page of a file; gives it."""

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


def test_names_are_blanked_and_amounts_stay(ledger, begun, sql):
    """Of the document and of the pages of its file; other documents and outputs keep theirs."""
    run, other = begun(), begun("two", output="/elsewhere")
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
    assert [each.document for each in ledger.claims.load_plans(run.run)] == [B]


def test_a_document_in_flight_in_a_live_run_is_not_erased(ledger, begun, sql):
    """The message names the run; nothing is changed."""
    run = begun()
    before = sql("select document, reply from calls")
    for act in (ledger.erasure.check, ledger.erasure.erase):
        with pytest.raises(ConfigurationError, match=f"run {run.run} is reading {A} now: nothing was forgotten"):
            act(FORGOTTEN)
    assert sql("select document, reply from calls") == before


def test_a_live_run_of_other_documents_does_not_hinder(ledger, begun):
    begun()
    assert ledger.erasure.erase(Forgotten("/out", frozenset({"/in/c.jpg"}))) == 0


def test_a_document_in_a_published_volume_of_a_live_run_is_not_erased(ledger, begun):
    """That run may still copy its row."""
    run = begun()
    with pytest.raises(ConfigurationError, match=run.run):
        ledger.erasure.erase(Forgotten("/out", frozenset({"/in/c.jpg"}), frozenset({run.run})))


def test_a_document_of_a_plan_that_is_being_applied_is_not_erased(ledger, begun):
    run = begun(flow="apply")
    with pytest.raises(ConfigurationError, match=run.run):
        ledger.erasure.erase(Forgotten("/out", frozenset({"/in/c.jpg"}), planned=True))


def test_the_source_of_a_run_over_one_image_is_blanked(ledger, begun, sql):
    run = begun(source=A, job='{"source": "a.jpg"}')
    ledger.runs.release(run.run)
    ledger.erasure.erase(FORGOTTEN)
    assert sql("select source, job from runs") == [("", "{}")]


def test_nothing_of_a_name_is_left_in_the_file_of_the_ledger(url, ledger, begun, tmp_path):
    """Not in free pages either; PostgreSQL removes those by itself."""
    if not url.startswith("sqlite"):
        pytest.skip("of a file only")
    ledger.runs.release(begun().run)
    ledger.erasure.erase(FORGOTTEN)
    files = [path for path in (tmp_path / "state").iterdir() if path.is_file()]
    assert files
    assert [path.name for path in files if A.encode() in path.read_bytes()] == []
