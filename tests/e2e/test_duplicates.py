"""Copies: the same bytes under another name or time are answered about once, within a run and from run to run."""

import os
import shutil
import signal
import subprocess
import threading
from base64 import b64encode
from collections import Counter
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extractors.core.money import dollars

BASE = ("run", "in", "--schema", "caption")
CHEAP = {"TILEWISE_REASKS": "0", "TILEWISE_ATTEMPTS": "1"}
COST = (1000 * Decimal("0.30") + 100 * Decimal("1.50")) / 1_000_000  # of one answer of the server
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
OWN = (
    *("_image", "_document", "_pages", "_version", "_modified", "_run", "_extracted_at", "_copied_from"),
    *("_attempts", "_image_tokens_estimated", "_prompt_tokens", "_completion_tokens", "_cost_usd"),
)


@pytest.fixture(autouse=True)
def connection(workspace, server):
    """A workspace before that server."""
    workspace.using(server)


@pytest.fixture
def equal(workspace):
    """Makes files of the same bytes under these names."""

    def made(*names):
        [first] = workspace.images(names[0])
        for name in names[1:]:
            (first.parent / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(first, first.parent / name)
        return [str(first.parent / name) for name in names]

    return made


def last(workspace):
    """The newest row of `runs`."""
    return workspace.table("runs").sort("started_at").to_dicts()[-1]


def counts(row):
    """What a row of `runs` counts, but for the ends that nothing came to."""
    names = ("found", "skipped", "duplicates", "rejected", "accepted", "failed", "remaining", "calls")
    return {name: row[name] for name in names if row[name]}


def list_sources(workspace):
    """Which document each copy names as its source."""
    rows = workspace.table("results").filter(pl.col("_copied_from").is_not_null())
    return dict(rows.select("_document", "_copied_from").rows())


def test_equal_files_of_one_run_are_answered_about_once(workspace, server, equal):
    """Both have a row, of which one says from where it is; the run's row counts it and the summary what it saved."""
    a, b = equal("a.png", "b.png")
    ended = workspace.run(*BASE)
    assert (ended.exit_code, len(server.asked)) == (0, 1)
    assert counts(last(workspace)) == {"found": 2, "duplicates": 1, "accepted": 1, "calls": 1}
    assert sorted(workspace.table("results")["_document"]) == [a, b]
    assert list_sources(workspace) in ({a: b}, {b: a})
    assert "1 of 2 documents accepted, 1 copied" in ended.stdout
    assert f"1, saving {dollars(COST)}" in ended.stdout


def test_a_copy_is_its_source_under_its_own_name(workspace, equal):
    """All that was read and how is the same; name, pages, version, times and run are its own; it cost nothing."""
    equal("a.png", "b.png")
    workspace.run(*BASE)
    [copy] = workspace.table("results").filter(pl.col("_copied_from").is_not_null()).to_dicts()
    [source] = workspace.table("results").filter(pl.col("_copied_from").is_null()).to_dicts()
    assert {name: cell for name, cell in copy.items() if name not in OWN} == {
        name: cell for name, cell in source.items() if name not in OWN
    }
    assert copy["_copied_from"] == source["_document"] != copy["_document"]
    assert copy["_image"] == copy["_document"] == copy["_pages"][0]
    assert copy["_version"] != source["_version"]
    assert [copy[name] for name in OWN[-5:]] == [0, 0, 0, 0, 0]
    assert (source["_attempts"], source["_cost_usd"]) == (1, COST)


def test_a_copy_has_images_and_no_calls(workspace, equal):
    """It was planned as any other, and nothing was sent; what was expected to be sent is of the other alone."""
    equal("a.png", "b.png")
    workspace.run(*BASE)
    assert [workspace.table(name).height for name in ("images", "calls", "replies", "failures")] == [2, 1, 1, 0]
    assert last(workspace)["estimated_high_usd"] == workspace.table("images")["cost_high_usd"][0]


@pytest.mark.parametrize("variable", ["TILEWISE_CHUNK", "TILEWISE_VOLUME"])
def test_equal_files_far_apart_are_answered_about_once(workspace, server, equal, variable):
    """Whether they are in one chunk and volume or not: the row is read back from where it lies."""
    names = equal(*(f"{number}.png" for number in range(0, 10, 2)))
    workspace.images(*(f"{number}.png" for number in range(1, 10, 2)))
    env = {variable: "1", "TILEWISE_CONCURRENCY": "1"}
    assert workspace.run(*BASE, env=env).exit_code == 0
    assert len(server.asked) == 6
    sources = {*list_sources(workspace).values()}
    assert len(sources) == 1
    assert {*list_sources(workspace), *sources} == {*names}
    rows = workspace.table("results").filter(pl.col("_document").is_in(names))
    assert (rows.height, rows["caption"].n_unique(), rows["_key"].n_unique()) == (5, 1, 1)
    runs = workspace.table("runs")
    assert (runs["duplicates"].sum(), runs["accepted"].sum(), runs["found"].sum()) == (4, 6, 10)


def test_a_row_is_found_where_its_volume_has_put_it(workspace, server, replies):
    """In a published file, behind rows of other chunks, copies and failures: each copy has its own source's answer."""
    server.script = lambda _: replies.ok({"caption": f"{len(server.asked)}", "alt_text": None, "tags": []})
    firsts = workspace.images(*(f"a{number}.png" for number in range(9)))
    for path in firsts:
        shutil.copyfile(path, path.with_name(f"b{path.name}"))
    env = {"TILEWISE_CHUNK": "2", "TILEWISE_VOLUME": "7"}
    assert workspace.run(*BASE, env=env).exit_code == 0
    assert len(server.asked) == 9
    captions = dict(workspace.table("results").select("_document", "caption").rows())
    sources = list_sources(workspace)
    assert sources == {str(path.with_name(f"b{path.name}")): str(path) for path in firsts}
    assert {copy: captions[copy] for copy in sources} == {copy: captions[first] for copy, first in sources.items()}


def test_a_renamed_file_is_copied_from_an_earlier_run(workspace, server):
    """Nothing is called, and the run is well."""
    [path] = workspace.images("a.png")
    workspace.run(*BASE)
    path.rename(path.with_name("b.png"))
    ended = workspace.run(*BASE)
    assert (ended.exit_code, len(server.asked)) == (0, 1)
    assert counts(last(workspace)) == {"found": 1, "duplicates": 1}
    assert list_sources(workspace) == {str(path.with_name("b.png")): str(path)}
    assert "0 of 1 documents accepted, 1 copied" in ended.stdout
    assert workspace.run(*BASE).exit_code == 0
    assert counts(last(workspace)) == {"found": 1, "skipped": 1}


def test_a_touched_file_is_copied_from_itself(workspace, server):
    """Another time makes another version; its source is the document of the same name."""
    [path] = workspace.images("a.png")
    workspace.run(*BASE)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert workspace.run(*BASE).exit_code == 0
    assert (len(server.asked), list_sources(workspace)) == (1, {str(path): str(path)})
    assert workspace.table("results")["_version"].n_unique() == 2


def test_a_copy_is_no_source(workspace):
    """Whatever is copied later names the document that was answered about."""
    [path] = workspace.images("a.png")
    for name in ("b.png", "c.png"):
        workspace.run(*BASE)
        shutil.copyfile(path, path.with_name(name))
    workspace.run(*BASE)
    assert {*list_sources(workspace).values()} == {str(path)}
    assert len(list_sources(workspace)) == 2


def test_fields_of_every_kind_are_copied(workspace, server, replies):
    """Money, days, lists and nested rows are read back as they were written."""
    name = workspace.module(
        "from datetime import date\nfrom decimal import Decimal\nfrom pydantic import BaseModel\n\n\n"
        "class Line(BaseModel):\n    name: str\n    price: Decimal | None = None\n\n\n"
        'class Bill(BaseModel):\n    """A bill."""\n\n    day: date\n    total: Decimal\n    lines: list[Line]\n'
        "    words: list[str]\n    more: dict[str, int]\n"
    )
    answer = {"day": "2026-11-20", "total": "8.20", "lines": [{"name": "tea", "price": "4.10"}], "words": ["a"]}
    server.script = [replies.ok(answer | {"more": {"x": 1}})]
    [path] = workspace.images("a.png")
    asked = ("run", "in", "--schema", f"{name}:Bill")
    assert workspace.run(*asked).exit_code == 0
    path.rename(path.with_name("b.png"))
    assert workspace.run(*asked).exit_code == 0
    fields = workspace.table("results").select("day", "total", "lines", "words", "more").to_dicts()
    assert len(fields) == 2
    assert fields[0] == fields[1]


def test_fifty_equal_files_are_answered_about_once(workspace, server, equal):
    """However many ask at the same time, and more of them than there are places."""
    equal(*(f"{number:02}.png" for number in range(50)))
    assert workspace.run(*BASE, env={"TILEWISE_CONCURRENCY": "8"}).exit_code == 0
    assert len(server.asked) == 1
    assert counts(last(workspace)) == {"found": 50, "duplicates": 49, "accepted": 1, "calls": 1}


def test_others_are_answered_about_while_equal_files_wait(workspace, server, replies, equal):
    """Waiting takes no call's place: with two at once, the other picture's call is on its way beside the first's."""
    equal("a.png", "b.png", "c.png")
    workspace.images("d.png")
    both = threading.Barrier(2, timeout=20)

    def script(asked):
        both.wait()
        return replies.ok()

    server.script = script
    assert workspace.run(*BASE, env={"TILEWISE_CONCURRENCY": "2"}).exit_code == 0
    assert counts(last(workspace)) == {"found": 4, "duplicates": 2, "accepted": 2, "calls": 2}


def test_copies_of_a_failure_fail_with_it(workspace, server, replies, equal):
    """They have its rows and its reasons, cost nothing, and count as failures; the next run asks about none of them."""
    names = equal("a.png", "b.png", "c.png")
    workspace.images("d.png")
    refused = b64encode(Path(names[0]).read_bytes()).decode()
    refuse = replies.error(422, "no", "invalid_image")
    server.script = lambda asked: refuse if refused in server.documents[-1] else replies.ok()
    ended = workspace.run(*BASE, "--fail-above", "0.7", env={"TILEWISE_CONCURRENCY": "1"})
    assert (ended.exit_code, len(server.asked)) == (1, 2)
    assert counts(last(workspace)) == {"found": 4, "duplicates": 2, "accepted": 1, "failed": 1, "calls": 2}
    rows = workspace.table("failures").sort("attempts")
    assert sorted(rows["document"]) == names
    assert rows["attempts"].to_list() == [0, 0, 1]
    assert rows.select("stage", "kind", "message", "final", "tries").n_unique() == 1
    assert rows["cost_usd"].to_list() == [0, 0, 0]
    assert "1 of 4 documents accepted; 3 not: see" in ended.stdout


def test_copies_of_a_failure_far_away_fail_with_it(workspace, server, replies, equal):
    """In a later volume the reason is read back from the published table."""
    equal("a.png", "b.png")
    server.script = [replies.error(422, "no", "invalid_image")]
    ended = workspace.run(*BASE, env={"TILEWISE_VOLUME": "1", "TILEWISE_CONCURRENCY": "1"})
    assert (ended.exit_code, len(server.asked)) == (1, 1)
    assert workspace.table("runs").sort("volume").select("failed", "duplicates").rows() == [(1, 0), (0, 1)]
    assert workspace.table("failures").select("kind", "message", "final").n_unique() == 1


def test_a_failure_of_another_run_is_not_copied(workspace, server, replies, equal):
    """What failed then may be had today, so a new name of it is asked about."""
    [a] = equal("a.png")
    server.script = [replies.error(422, "no", "invalid_image"), replies.ok()]
    assert workspace.run(*BASE).exit_code == 1
    shutil.copyfile(a, a.replace("a.png", "b.png"))
    assert workspace.run(*BASE).exit_code == 0
    assert counts(last(workspace)) == {"found": 2, "skipped": 1, "accepted": 1, "calls": 1}


def test_what_fails_for_now_is_taken_again_once(workspace, server, replies, equal):
    """Neither of two equal files is final: the next run takes both, with one call."""
    equal("a.png", "b.png")
    server.script = [replies.error(500), replies.ok()]
    assert workspace.run(*BASE, env=CHEAP).exit_code == 1
    assert workspace.table("failures").select("final", "tries").rows() == [(False, 1)] * 2
    assert workspace.run(*BASE).exit_code == 0
    assert counts(last(workspace)) == {"found": 2, "duplicates": 1, "accepted": 1, "calls": 1}


def test_a_first_that_is_answered_at_the_second_try_is_copied(workspace, server, replies, equal):
    """The second waits for the end, not for the first reply."""
    equal("a.png", "b.png")
    server.script = [replies.error(503, **{"Retry-After": "0"}), replies.ok()]
    assert workspace.run(*BASE).exit_code == 0
    assert counts(last(workspace)) == {"found": 2, "duplicates": 1, "accepted": 1, "calls": 2}


def test_a_budget_that_is_spent_leaves_both(workspace, server, equal):
    """A first that may not be sent leaves who waits for it, too."""
    equal("a.png", "b.png")
    ended = workspace.run(*BASE, "--budget", "0.0001")
    assert (ended.exit_code, server.asked) == (3, [])
    assert counts(last(workspace)) == {"found": 2, "remaining": 2}


@pytest.mark.slow
@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_leaves_nobody_waiting(workspace, server, replies, equal, wait, signals):
    """After one the first may finish, and is copied; a second cuts it, and both remain."""
    equal("a.png", "b.png")
    server.hold(replies.ok())
    with workspace.start(*BASE, **PIPES) as process:
        wait(lambda: server.asked)
        process.send_signal(signal.SIGINT)
        said = process.stderr.readline()
        if signals == 2:
            process.send_signal(signal.SIGINT)
        else:
            server.gate.set()
        stdout, _ = process.communicate(timeout=30)
    assert said.startswith("SIGINT")
    ends = {1: {"found": 2, "duplicates": 1, "accepted": 1, "calls": 1}, 2: {"found": 2, "remaining": 2, "calls": 1}}
    assert process.returncode == 3
    assert counts(last(workspace)) == ends[signals]
    assert ("1 accepted documents and 1 copies are kept" in stdout) == (signals == 1)


@pytest.mark.parametrize("redo", ["all", "changed"])
def test_what_is_read_anew_is_copied_within_the_run_alone(workspace, server, equal, redo):
    """One call for both, and no row of the runs before."""
    a, b = equal("a.png", "b.png")
    workspace.run(*BASE)
    assert workspace.run(*BASE, "--redo", redo, "--model", "maker/other", "--yes").exit_code == 0
    assert counts(last(workspace)) == {"found": 2, "duplicates": 1, "accepted": 1, "calls": 1}
    assert workspace.run(*BASE, "--redo", "all").exit_code == 0
    assert len(server.asked) == 3
    assert len(list_sources(workspace)) == 1 or {*list_sources(workspace)} == {a, b}


def test_failures_taken_again_are_copied_from_earlier_runs(workspace, server, replies, equal):
    """Under `--redo failed` a document that failed is given what its equal was answered meanwhile."""
    server.script = [replies.error(422, "no", "invalid_image"), replies.ok()]
    [a] = equal("a.png")
    workspace.run(*BASE)
    b = a.replace("a.png", "b.png")
    shutil.copyfile(a, b)
    workspace.run(*BASE)
    assert workspace.run(*BASE, "--redo", "failed").exit_code == 0
    assert len(server.asked) == 2
    assert list_sources(workspace) == {a: b}


@pytest.mark.parametrize("env", [{"TILEWISE_TEMPERATURE": "0.5"}, {"TILEWISE_REASONING": "on"}])
def test_what_is_asked_otherwise_is_paid_again(workspace, server, env):
    """Sampling is part of the key."""
    [path] = workspace.images("a.png")
    workspace.run(*BASE)
    path.rename(path.with_name("b.png"))
    assert workspace.run(*BASE, env=env).exit_code == 0
    assert (len(server.asked), list_sources(workspace)) == (2, {})


@pytest.mark.parametrize("other", [("--model", "maker/other"), ("--schema", "screenshot"), ("--output", "elsewhere")])
def test_another_model_schema_or_output_is_paid_again(workspace, server, replies, other):
    """A copy is of the same question, in the same output."""
    [path] = workspace.images("a.png")
    workspace.run(*BASE)
    path.rename(path.with_name("b.png"))
    workspace.run(*BASE, *other, "--yes", "--fail-above", "1", env={"TILEWISE_REASKS": "0"})
    assert len(server.asked) == 2
    assert list_sources(workspace) == {}


def test_what_was_read_offline_is_no_source_for_a_model(workspace, server, replies):
    """A row whose answer came from local OCR is not done online, under another name as under its own."""
    server.script = [replies.ok(model="offline/echo"), replies.ok()]
    [path] = workspace.images("a.png")
    workspace.run(*BASE)
    path.rename(path.with_name("b.png"))
    assert workspace.run(*BASE).exit_code == 0
    assert (len(server.asked), list_sources(workspace)) == (2, {})


FOLDERS = st.lists(st.integers(0, 3), min_size=1, max_size=9)


@pytest.mark.slow
@settings(max_examples=12, derandomize=True)
@given(contents=FOLDERS, failing=st.integers(0, 3), chunk=st.integers(1, 4), volume=st.integers(1, 5))
def test_the_counts_add_up(workspaces, serve_all, replies, contents, failing, chunk, volume):
    """Over any small folder with duplicates: one call a content, one row a document, and every row of `runs` whole."""
    workspace, server = workspaces(), serve_all(replies.ok())
    workspace.env |= {"TILEWISE_BASE_URL": server.url, "TILEWISE_CHUNK": str(chunk), "TILEWISE_VOLUME": str(volume)}
    firsts = [path.read_bytes() for path in workspace.images(*(f"{number}.png" for number in range(4)), folder="made")]
    shutil.rmtree(workspace.folder / "made")
    for number, content in enumerate(contents):
        (workspace.folder / "in" / f"{number}.png").write_bytes(firsts[content])
    server.script = lambda _: (
        replies.error(422, "no", "invalid_image") if len(server.asked) <= failing else replies.ok()
    )
    workspace.run(*BASE, env=CHEAP | {"TILEWISE_CONCURRENCY": "3"})
    runs, results, failures = workspace.table("runs"), workspace.table("results"), workspace.table("failures")
    ends = ("skipped", "duplicates", "rejected", "accepted", "failed", "remaining")
    assert runs["found"].to_list() == runs.select(pl.sum_horizontal(*ends)).to_series().to_list()
    total = Counter({name: runs[name].sum() for name in ("found", *ends, "calls")})
    assert total["found"] == len(contents)
    assert total["calls"] == len(server.asked) == len(set(contents)) == total["accepted"] + total["failed"]
    assert results.height + failures.height == len(contents)
    assert total["duplicates"] == len(contents) - len(set(contents))
