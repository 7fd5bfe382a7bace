"""replies.py: stored replies are found by document, the latest first."""

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
    """Returns a function that publishes a run with these documents and all their calls."""

    def publish_run(*ends, by=terms, keep="all"):
        with Tables(FolderOutput(tmp_path), by, model, keep) as tables:
            tables.stage(PartId(0), ends)
            tables.stage_calls_and_fields([make.calls(*ends)])
            tables.publish(dict.fromkeys(columns.RUNS) | {"run": by.run, "volume": 1})

    return publish_run


@pytest.fixture
def read_bodies(tmp_path, make, terms):
    """Returns a function that reads the bodies of the stored replies of these images."""

    def read(*uris, offline=False, today=terms):
        names = {(uri, make.build_found(uri).version) for uri in uris}
        return [
            reply.body for reply in load_replies(FolderOutput(tmp_path), today, offline=offline).find_answers(names)
        ]

    return read


def build_end(make, end, uri="/in/a.jpg", bodies=("one",), **changes):
    """A document with these replies, of which the last one ended it."""
    outcomes = [*["off_schema"] * (len(bodies) - 1), "accepted" if end == "accepted" else "refused"]
    attempts = tuple(
        make.attempt(request=make.request(uri), outcome=outcome, reply=make.reply(body=body))
        for outcome, body in zip(outcomes, bodies, strict=True)
    )
    return make.end(end, uri, attempts=attempts, **changes)


def test_reply_has_the_quality_of_the_first_page(publish, make, terms, tmp_path):
    """It is None if it was not measured."""
    pages = (make.page("/in/a.jpg"), make.page("/in/a2.jpg"))
    end_of_two_pages = build_end(make, "accepted", qualities=(Quality(9.5, 0.25), Quality(1, 1)))
    end_of_two_pages = replace(end_of_two_pages, planned=make.plan("/in/a.jpg", pages=pages))
    publish(end_of_two_pages, build_end(make, "failed", "/in/b.jpg"))
    names = {end_of_two_pages.planned.name, make.plan("/in/b.jpg").name}
    stored = load_replies(FolderOutput(tmp_path), terms, offline=False).find_answers(names)
    assert {reply.name[0]: reply.quality for reply in stored} == {"/in/a.jpg": Quality(9.5, 0.25), "/in/b.jpg": None}


@pytest.mark.parametrize("end", ["accepted", "failed"])
def test_replies_of_a_document_are_found_last_attempt_first(publish, read_bodies, make, end):
    publish(build_end(make, end, bodies=("one", "two")))
    assert read_bodies("/in/a.jpg") == ["two", "one"]


@pytest.mark.parametrize("published", [True, False])
def test_reply_to_an_audit_call_is_ignored(publish, read_bodies, make, published):
    """This holds whether the published reply is stored or not."""
    end = build_end(make, "accepted", bodies=("one", "top"))
    audit_request = replace(end.attempts[1].request, steps=(replace(end.attempts[1].request.steps[0], rung=0),))
    first = replace(end.attempts[0], outcome="accepted" if published else "timeout")
    publish(
        replace(end, attempts=(first, replace(end.attempts[1], request=audit_request))),
        build_end(make, "failed", "/in/b.jpg"),
    )
    assert read_bodies("/in/a.jpg", "/in/b.jpg") == ["one"] * (1 + published)


def test_replies_of_a_later_run_are_found_first(publish, read_bodies, make, terms):
    """The order is by time, because run ids of one second do not sort by time."""
    publish(build_end(make, "accepted", bodies=("late",), ended_at=LATER), by=vary(terms, run="a"))
    publish(build_end(make, "failed", bodies=("early",)), by=vary(terms, run="b"))
    assert read_bodies("/in/a.jpg") == ["late", "early"]


def test_find_answers_skips_names_removed_while_it_runs(publish, tmp_path, make, terms):
    """Older files are not read for a document that has its reply."""
    publish(build_end(make, "accepted", bodies=("late",), ended_at=LATER), by=vary(terms, run="a"))
    publish(build_end(make, "accepted", bodies=("early",)), by=vary(terms, run="b"))
    names, bodies = {("/in/a.jpg", make.build_found().version)}, []
    for reply in load_replies(FolderOutput(tmp_path), terms, offline=False).find_answers(names):
        bodies.append(reply.body)
        names.discard(reply.name)
    assert bodies == ["late"]


def test_reply_has_its_tokens(publish, tmp_path, make, terms):
    """A file of an older version has none."""
    with_tokens = make.attempt(reply=make.reply(logprobs=make.logprobs()))
    publish(make.accept(attempts=(with_tokens,)))
    publish(build_end(make, "accepted", uri="/in/b.jpg"), by=vary(terms, run="b"))
    (file,) = tmp_path.glob("replies/*/*/b.parquet")
    pl.read_parquet(file).drop("tokens", "token_logprobs").write_parquet(file)
    stored = load_replies(FolderOutput(tmp_path), terms, offline=False)
    logprobs = {uri: next(stored.find_answers({(uri, "1-2048")})).logprobs for uri in ("/in/a.jpg", "/in/b.jpg")}
    assert logprobs == {"/in/a.jpg": make.logprobs(), "/in/b.jpg": None}


def test_accepted_reply_has_the_cells_of_its_result(publish, tmp_path, make, terms):
    """They include the size sent, the bytes' hash and the action."""
    publish(build_end(make, "accepted"))
    [reply] = load_replies(FolderOutput(tmp_path), terms, offline=False).find_answers({("/in/a.jpg", "1-2048")})
    assert (reply.key, reply.model, reply.prompt_hash) == ("key-/in/a.jpg", terms.model, terms.prompt_hash)
    assert (reply.rung, reply.sent, reply.sha256, reply.encoded) == (1, Size(560, 448), "5ha", True)
    assert reply.action == "resize"


def test_refused_reply_has_the_cells_of_its_call(publish, tmp_path, make, terms):
    """The hash of the bytes and the action are unknown."""
    publish(build_end(make, "failed"))
    [reply] = load_replies(FolderOutput(tmp_path), terms, offline=False).find_answers({("/in/a.jpg", "1-2048")})
    assert (reply.rung, reply.sent) == (1, Size(560, 448))
    assert (reply.sha256, reply.encoded, reply.action) == (None, None, None)


def test_replies_contain_documents_by_name_and_version(publish, tmp_path, make, terms):
    publish(build_end(make, "accepted"))
    stored = load_replies(FolderOutput(tmp_path), terms, offline=False)
    assert document_key("/in/a.jpg", "1-2048") in stored
    assert document_key("/in/a.jpg", "2-4096") not in stored
    assert document_key("/in/b.jpg", "1-2048") not in stored


def test_timeout_is_not_a_stored_reply(publish, tmp_path, make, terms):
    publish(build_end(make, "accepted"), make.fail("/in/b.jpg", attempts=(make.build_unanswered(),)))
    assert document_key("/in/b.jpg", "1-2048") not in load_replies(FolderOutput(tmp_path), terms, offline=False)


def test_replies_that_were_not_kept_are_not_found(publish, read_bodies, make, terms):
    """With `keep="failed"` only replies that were not accepted are stored."""
    publish(build_end(make, "accepted", bodies=("one", "two")), keep="failed")
    assert read_bodies("/in/a.jpg") == ["one"]


def test_offline_replies_are_found_by_offline_runs_only(publish, read_bodies, make, terms):
    """This holds for accepted and for failed documents."""
    local = vary(terms, run="local", model="offline/rapidocr")
    reply = make.reply(model="offline/rapidocr")
    publish(build_end(make, "accepted", reply=reply), build_end(make, "failed", "/in/b.jpg"), by=local)
    publish(build_end(make, "accepted", "/in/c.jpg"))
    assert read_bodies("/in/a.jpg", "/in/b.jpg") == []
    assert len(read_bodies("/in/a.jpg", "/in/b.jpg", offline=True)) == 2


@pytest.mark.parametrize("schema", ["slip_v2", "caption"])
def test_replies_of_another_schema_are_not_found(publish, read_bodies, make, terms, schema):
    publish(build_end(make, "accepted"))
    with pytest.raises(ConfigurationError, match=f"no stored answers of schema '{schema}'"):
        read_bodies("/in/a.jpg", today=vary(terms, schema=schema))


def test_unreadable_replies_file_is_refused(publish, read_bodies, make, tmp_path):
    publish(build_end(make, "accepted"))
    [path] = (tmp_path / "replies").rglob("*.parquet")
    path.write_bytes(b"no table")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_bodies("/in/a.jpg")


def test_history_for_reparse_takes_documents_with_replies(publish, tmp_path, make, terms):
    """Documents without a stored reply are skipped if they have ended, and otherwise lack a reply."""
    publish(build_end(make, "accepted"), build_end(make, "failed", "/in/b.jpg"))
    publish(make.accept("/in/c.jpg"), by=vary(terms, run="kept none"), keep="none")
    history, _ = load_history_with_replies(FolderOutput(tmp_path), terms, RedoScope("reparse"), offline=False)
    names = [(f"/in/{letter}.jpg", "1-2048") for letter in "abcd"]
    assert [history.skips(name, "reparse") for name in names] == [False, False, True, False]
    assert [history.lacks_reply(name, "reparse") for name in names] == [False, False, False, True]
    assert [history.reason(name, "reparse") for name in names[:2]] == ["done", "refused"]


def test_history_for_redo_all_loads_no_replies(publish, tmp_path, make, terms):
    """No document lacks a reply."""
    publish(build_end(make, "accepted"))
    history, replies = load_history_with_replies(FolderOutput(tmp_path), terms, RedoScope("all"), offline=False)
    assert replies is None
    assert not history.lacks_reply(("/in/new.jpg", None), "all")


def test_find_answers_caches_the_last_file(publish, tmp_path, make, terms):
    """Documents in the order of publishing read each file once."""
    publish(*(build_end(make, "accepted", f"/in/{number}.jpg") for number in range(5)))
    stored = load_replies(FolderOutput(tmp_path), terms, offline=False)
    assert len(list(stored.find_answers({("/in/0.jpg", "1-2048")}))) == 1
    for path in (tmp_path / "replies").rglob("*.parquet"):
        path.unlink()
    assert len(list(stored.find_answers({(f"/in/{number}.jpg", "1-2048") for number in range(5)}))) == 5
    assert isinstance(stored._open[1], pl.DataFrame)
