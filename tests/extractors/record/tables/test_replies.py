"""replies.py: which documents have a stored answer, and what the answers are, the later first."""

from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest
from support.runs import vary

from extractors.core import Quality, RedoScope
from extractors.core.errors import ConfigurationError
from extractors.core.tiles import Size
from extractors.record.output.folder import FolderOutput
from extractors.record.tables import columns
from extractors.record.tables.history import document_key
from extractors.record.tables.replies import load_history_with_replies, load_replies
from extractors.record.tables.volume import PartId
from extractors.record.tables.writer import Tables

LATER = datetime(2026, 11, 21, 2, 15, 0, tzinfo=UTC)


@pytest.fixture
def publish(tmp_path, model, make, terms):
    """Publishes one run with these ends and all their calls."""

    def publish_run(*ends, by=terms, keep="all"):
        with Tables(FolderOutput(tmp_path), by, model, keep) as tables:
            tables.stage(PartId(0), ends)
            tables.stage_calls_and_fields([make.calls(*ends)])
            tables.publish(dict.fromkeys(columns.RUNS) | {"run": by.run, "volume": 1})

    return publish_run


@pytest.fixture
def answers(tmp_path, make, terms):
    """The bodies of the answers that are stored for these images."""

    def read(*uris, offline=False, today=terms):
        names = {(uri, make.build_found(uri).version) for uri in uris}
        return [each.body for each in load_replies(FolderOutput(tmp_path), today, offline=offline).find_answers(names)]

    return read


def build_end(make, end, uri="/in/a.jpg", bodies=("one",), **changes):
    """A document with these answers, of which the last is its end."""
    outcomes = [*["off_schema"] * (len(bodies) - 1), "accepted" if end == "accepted" else "refused"]
    attempts = tuple(
        make.attempt(request=make.request(uri), outcome=outcome, reply=make.reply(body=body))
        for outcome, body in zip(outcomes, bodies, strict=True)
    )
    return make.end(end, uri, attempts=attempts, **changes)


def test_answer_has_the_quality_of_its_first_page(publish, make, terms, tmp_path):
    """None where it was not measured."""
    pages = (make.page("/in/a.jpg"), make.page("/in/a2.jpg"))
    measured = build_end(make, "accepted", qualities=(Quality(9.5, 0.25), Quality(1, 1)))
    measured = replace(measured, planned=make.plan("/in/a.jpg", pages=pages))
    publish(measured, build_end(make, "failed", "/in/b.jpg"))
    names = {measured.planned.name, make.plan("/in/b.jpg").name}
    stored = load_replies(FolderOutput(tmp_path), terms, offline=False).find_answers(names)
    assert {each.name[0]: each.quality for each in stored} == {"/in/a.jpg": Quality(9.5, 0.25), "/in/b.jpg": None}


@pytest.mark.parametrize("end", ["accepted", "failed"])
def test_an_end_has_its_answers(publish, answers, make, end):
    """The last attempt first, whether it was accepted or not."""
    publish(build_end(make, end, bodies=("one", "two")))
    assert answers("/in/a.jpg") == ["two", "one"]


@pytest.mark.parametrize("published", [True, False])
def test_answer_to_an_audit_is_not_one_of_the_document(publish, answers, make, published):
    """Not the first one beside the published answer, and none where that one is not stored."""
    end = build_end(make, "accepted", bodies=("one", "top"))
    again = replace(end.attempts[1].request, steps=(replace(end.attempts[1].request.steps[0], rung=0),))
    first = replace(end.attempts[0], outcome="accepted" if published else "timeout")
    publish(
        replace(end, attempts=(first, replace(end.attempts[1], request=again))), build_end(make, "failed", "/in/b.jpg")
    )
    assert answers("/in/a.jpg", "/in/b.jpg") == ["one"] * (1 + published)


def test_a_later_run_comes_first(publish, answers, make, terms):
    """By the time of its answers: runs may be named in one second."""
    publish(build_end(make, "accepted", bodies=("late",), ended_at=LATER), by=vary(terms, run="a"))
    publish(build_end(make, "failed", bodies=("early",)), by=vary(terms, run="b"))
    assert answers("/in/a.jpg") == ["late", "early"]


def test_what_was_taken_is_not_looked_for_any_more(publish, tmp_path, make, terms):
    """Older files are not read for a document that has its answer."""
    publish(build_end(make, "accepted", bodies=("late",), ended_at=LATER), by=vary(terms, run="a"))
    publish(build_end(make, "accepted", bodies=("early",)), by=vary(terms, run="b"))
    wanted, seen = {("/in/a.jpg", make.build_found().version)}, []
    for answer in load_replies(FolderOutput(tmp_path), terms, offline=False).find_answers(wanted):
        seen.append(answer.body)
        wanted.discard(answer.name)
    assert seen == ["late"]


def test_an_answer_has_its_tokens(publish, tmp_path, make, terms):
    """A file of a version without them has none."""
    with_tokens = make.attempt(reply=make.reply(logprobs=make.logprobs()))
    publish(make.accept(attempts=(with_tokens,)))
    publish(build_end(make, "accepted", uri="/in/b.jpg"), by=vary(terms, run="b"))
    (file,) = tmp_path.glob("replies/*/*/b.parquet")
    pl.read_parquet(file).drop("tokens", "token_logprobs").write_parquet(file)
    stored = load_replies(FolderOutput(tmp_path), terms, offline=False)
    found = {uri: next(stored.find_answers({(uri, "1-2048")})).logprobs for uri in ("/in/a.jpg", "/in/b.jpg")}
    assert found == {"/in/a.jpg": make.logprobs(), "/in/b.jpg": None}


def test_an_accepted_answer_is_described_by_its_row(publish, tmp_path, make, terms):
    """What was sent, and how it was asked for."""
    publish(build_end(make, "accepted"))
    [answer] = load_replies(FolderOutput(tmp_path), terms, offline=False).find_answers({("/in/a.jpg", "1-2048")})
    assert (answer.key, answer.model, answer.prompt_hash) == ("key-/in/a.jpg", terms.model, terms.prompt_hash)
    assert (answer.rung, answer.sent, answer.sha256, answer.encoded) == (1, Size(560, 448), "5ha", True)
    assert answer.action == "resize"


def test_another_answer_is_described_by_its_call(publish, tmp_path, make, terms):
    """The picture that it was about; nothing is known of the bytes."""
    publish(build_end(make, "failed"))
    [answer] = load_replies(FolderOutput(tmp_path), terms, offline=False).find_answers({("/in/a.jpg", "1-2048")})
    assert (answer.rung, answer.sent) == (1, Size(560, 448))
    assert (answer.sha256, answer.encoded, answer.action) == (None, None, None)


def test_who_has_an_answer_is_known_by_its_version(publish, tmp_path, make, terms):
    """Other bytes under the same name were never read."""
    publish(build_end(make, "accepted"))
    stored = load_replies(FolderOutput(tmp_path), terms, offline=False)
    assert document_key("/in/a.jpg", "1-2048") in stored
    assert document_key("/in/a.jpg", "2-4096") not in stored
    assert document_key("/in/b.jpg", "1-2048") not in stored


def test_calls_without_an_answer_are_none(publish, tmp_path, make, terms):
    """A timeout has nothing to read."""
    publish(build_end(make, "accepted"), make.fail("/in/b.jpg", attempts=(make.build_unanswered(),)))
    assert document_key("/in/b.jpg", "1-2048") not in load_replies(FolderOutput(tmp_path), terms, offline=False)


def test_answers_that_were_not_kept_are_not_there(publish, answers, make, terms):
    """`failed` keeps those that were not accepted."""
    publish(build_end(make, "accepted", bodies=("one", "two")), keep="failed")
    assert answers("/in/a.jpg") == ["one"]


def test_answers_of_local_reading_are_for_offline_runs(publish, answers, make, terms):
    """Of accepted documents and of failed ones."""
    local = vary(terms, run="local", model="offline/rapidocr")
    reply = make.reply(model="offline/rapidocr")
    publish(build_end(make, "accepted", reply=reply), build_end(make, "failed", "/in/b.jpg"), by=local)
    publish(build_end(make, "accepted", "/in/c.jpg"))
    assert answers("/in/a.jpg", "/in/b.jpg") == []
    assert len(answers("/in/a.jpg", "/in/b.jpg", offline=True)) == 2


@pytest.mark.parametrize("schema", ["slip_v2", "caption"])
def test_another_schema_has_answers_of_its_own(publish, answers, make, terms, schema):
    """And none of this one."""
    publish(build_end(make, "accepted"))
    with pytest.raises(ConfigurationError, match=f"no stored answers of schema '{schema}'"):
        answers("/in/a.jpg", today=vary(terms, schema=schema))


def test_a_file_that_is_no_table_is_refused(publish, answers, make, tmp_path):
    """Before anything is begun."""
    publish(build_end(make, "accepted"))
    [path] = (tmp_path / "replies").rglob("*.parquet")
    path.write_bytes(b"no table")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        answers("/in/a.jpg")


def test_a_past_among_answers_skips_and_waits(publish, tmp_path, make, terms):
    """Taken is what has an answer; else what is done is skipped, and what is not done waits."""
    publish(build_end(make, "accepted"), build_end(make, "failed", "/in/b.jpg"))
    publish(make.accept("/in/c.jpg"), by=vary(terms, run="kept none"), keep="none")
    past, _ = load_history_with_replies(FolderOutput(tmp_path), terms, RedoScope("reparse"), offline=False)
    names = [(f"/in/{each}.jpg", "1-2048") for each in "abcd"]
    assert [past.skips(name, "reparse") for name in names] == [False, False, True, False]
    assert [past.lacks_reply(name, "reparse") for name in names] == [False, False, False, True]
    assert [past.reason(name, "reparse") for name in names[:2]] == ["done", "refused"]


def test_any_other_past_waits_for_nothing(publish, tmp_path, make, terms):
    """Whatever is not done is taken."""
    publish(build_end(make, "accepted"))
    past, stored = load_history_with_replies(FolderOutput(tmp_path), terms, RedoScope("all"), offline=False)
    assert stored is None
    assert not past.lacks_reply(("/in/new.jpg", None), "all")


def test_one_file_is_kept(publish, tmp_path, make, terms):
    """Documents in the order of publishing read each file once."""
    publish(*(build_end(make, "accepted", f"/in/{number}.jpg") for number in range(5)))
    stored = load_replies(FolderOutput(tmp_path), terms, offline=False)
    assert len(list(stored.find_answers({("/in/0.jpg", "1-2048")}))) == 1
    for path in (tmp_path / "replies").rglob("*.parquet"):
        path.unlink()
    assert len(list(stored.find_answers({(f"/in/{number}.jpg", "1-2048") for number in range(5)}))) == 5
    assert isinstance(stored._open[1], pl.DataFrame)
