"""Duplicates: the same bytes under another name or time are read once, within a run and from run to run."""

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
def workspace_with_server(workspace, server):
    """A workspace that uses the server."""
    workspace.using(server)


@pytest.fixture
def write_duplicates(workspace):
    """Writes files of the same bytes under these names."""

    def write(*names):
        [first] = workspace.images(names[0])
        for name in names[1:]:
            (first.parent / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(first, first.parent / name)
        return [str(first.parent / name) for name in names]

    return write


def last_run(workspace):
    """The newest row of `runs`."""
    return workspace.table("runs").sort("started_at").to_dicts()[-1]


def counts(row):
    """The counts of a row of `runs` that are not 0."""
    names = ("found", "skipped", "duplicates", "rejected", "accepted", "failed", "remaining", "calls")
    return {name: row[name] for name in names if row[name]}


def list_sources(workspace):
    """The source of each copy, by document."""
    rows = workspace.table("results").filter(pl.col("_copied_from").is_not_null())
    return dict(rows.select("_document", "_copied_from").rows())


def test_duplicates_in_one_run_are_sent_once(workspace, server, write_duplicates):
    """Both have a row, the copy names its source, and the summary names what it saved."""
    a, b = write_duplicates("a.png", "b.png")
    result = workspace.run(*BASE)
    assert (result.exit_code, len(server.asked)) == (0, 1)
    assert counts(last_run(workspace)) == {"found": 2, "duplicates": 1, "accepted": 1, "calls": 1}
    assert sorted(workspace.table("results")["_document"]) == [a, b]
    assert list_sources(workspace) in ({a: b}, {b: a})
    assert "1 of 2 documents accepted, 1 copied" in result.stdout
    assert f"1, saving {dollars(COST)}" in result.stdout


def test_copy_has_the_values_of_its_source(workspace, write_duplicates):
    """Its name, pages, version, times and run are its own, and its cost is 0."""
    write_duplicates("a.png", "b.png")
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


def test_copy_has_a_row_in_images_and_none_in_calls(workspace, write_duplicates):
    """The estimate of the run is that of its source alone."""
    write_duplicates("a.png", "b.png")
    workspace.run(*BASE)
    assert [workspace.table(name).height for name in ("images", "calls", "replies", "failures")] == [2, 1, 1, 0]
    assert last_run(workspace)["estimated_high_usd"] == workspace.table("images")["cost_high_usd"][0]


@pytest.mark.parametrize("variable", ["TILEWISE_CHUNK", "TILEWISE_VOLUME"])
def test_duplicates_across_chunks_and_volumes_are_sent_once(workspace, server, write_duplicates, variable):
    """The source's row is read back from its volume."""
    names = write_duplicates(*(f"{number}.png" for number in range(0, 10, 2)))
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


def test_copy_reads_its_source_from_a_published_volume(workspace, server, replies):
    """Among rows of other chunks and other copies, each copy gets the answer of its own source."""
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


def test_renamed_file_is_copied_from_an_earlier_run(workspace, server):
    """Nothing is called, and the run exits with 0."""
    [path] = workspace.images("a.png")
    workspace.run(*BASE)
    path.rename(path.with_name("b.png"))
    result = workspace.run(*BASE)
    assert (result.exit_code, len(server.asked)) == (0, 1)
    assert counts(last_run(workspace)) == {"found": 1, "duplicates": 1}
    assert list_sources(workspace) == {str(path.with_name("b.png")): str(path)}
    assert "0 of 1 documents accepted, 1 copied" in result.stdout
    assert workspace.run(*BASE).exit_code == 0
    assert counts(last_run(workspace)) == {"found": 1, "skipped": 1}


def test_touched_file_is_copied_from_its_own_row(workspace, server):
    """A new modification time makes a new version of the same document."""
    [path] = workspace.images("a.png")
    workspace.run(*BASE)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert workspace.run(*BASE).exit_code == 0
    assert (len(server.asked), list_sources(workspace)) == (1, {str(path): str(path)})
    assert workspace.table("results")["_version"].n_unique() == 2


def test_copies_name_the_original_as_source(workspace):
    """Never another copy."""
    [path] = workspace.images("a.png")
    for name in ("b.png", "c.png"):
        workspace.run(*BASE)
        shutil.copyfile(path, path.with_name(name))
    workspace.run(*BASE)
    assert {*list_sources(workspace).values()} == {str(path)}
    assert len(list_sources(workspace)) == 2


def test_copy_preserves_fields_of_every_type(workspace, server, replies):
    """Decimals, dates, lists and nested rows are read back as they were written."""
    name = workspace.module(
        "from datetime import date\nfrom decimal import Decimal\nfrom pydantic import BaseModel\n\n\n"
        "class Line(BaseModel):\n    name: str\n    price: Decimal | None = None\n\n\n"
        'class Bill(BaseModel):\n    """A bill."""\n\n    day: date\n    total: Decimal\n    lines: list[Line]\n'
        "    words: list[str]\n    more: dict[str, int]\n"
    )
    answer = {"day": "2026-11-20", "total": "8.20", "lines": [{"name": "tea", "price": "4.10"}], "words": ["a"]}
    server.script = [replies.ok(answer | {"more": {"x": 1}})]
    [path] = workspace.images("a.png")
    command = ("run", "in", "--schema", f"{name}:Bill")
    assert workspace.run(*command).exit_code == 0
    path.rename(path.with_name("b.png"))
    assert workspace.run(*command).exit_code == 0
    fields = workspace.table("results").select("day", "total", "lines", "words", "more").to_dicts()
    assert len(fields) == 2
    assert fields[0] == fields[1]


def test_fifty_duplicates_are_sent_once(workspace, server, write_duplicates):
    """There are more of them than concurrent calls."""
    write_duplicates(*(f"{number:02}.png" for number in range(50)))
    assert workspace.run(*BASE, env={"TILEWISE_CONCURRENCY": "8"}).exit_code == 0
    assert len(server.asked) == 1
    assert counts(last_run(workspace)) == {"found": 50, "duplicates": 49, "accepted": 1, "calls": 1}


def test_waiting_duplicates_take_no_call_slot(workspace, server, replies, write_duplicates):
    """With two slots, the call of another image is in flight beside the first's."""
    write_duplicates("a.png", "b.png", "c.png")
    workspace.images("d.png")
    barrier = threading.Barrier(2, timeout=20)

    def script(asked):
        barrier.wait()
        return replies.ok()

    server.script = script
    assert workspace.run(*BASE, env={"TILEWISE_CONCURRENCY": "2"}).exit_code == 0
    assert counts(last_run(workspace)) == {"found": 4, "duplicates": 2, "accepted": 2, "calls": 2}


def test_duplicates_of_a_failed_document_fail_without_calls(workspace, server, replies, write_duplicates):
    """Each has a row with its reason, costs nothing, and counts as a failure."""
    names = write_duplicates("a.png", "b.png", "c.png")
    workspace.images("d.png")
    refused = b64encode(Path(names[0]).read_bytes()).decode()
    refuse = replies.error(422, "no", "invalid_image")
    server.script = lambda asked: refuse if refused in server.documents[-1] else replies.ok()
    result = workspace.run(*BASE, "--fail-above", "0.7", env={"TILEWISE_CONCURRENCY": "1"})
    assert (result.exit_code, len(server.asked)) == (1, 2)
    assert counts(last_run(workspace)) == {"found": 4, "duplicates": 2, "accepted": 1, "failed": 1, "calls": 2}
    rows = workspace.table("failures").sort("attempts")
    assert sorted(rows["document"]) == names
    assert rows["attempts"].to_list() == [0, 0, 1]
    assert rows.select("stage", "kind", "message", "final", "tries").n_unique() == 1
    assert rows["cost_usd"].to_list() == [0, 0, 0]
    assert "1 of 4 documents accepted; 3 not: see" in result.stdout


def test_duplicates_in_later_volume_get_the_published_failure(workspace, server, replies, write_duplicates):
    write_duplicates("a.png", "b.png")
    server.script = [replies.error(422, "no", "invalid_image")]
    result = workspace.run(*BASE, env={"TILEWISE_VOLUME": "1", "TILEWISE_CONCURRENCY": "1"})
    assert (result.exit_code, len(server.asked)) == (1, 1)
    assert workspace.table("runs").sort("volume").select("failed", "duplicates").rows() == [(1, 0), (0, 1)]
    assert workspace.table("failures").select("kind", "message", "final").n_unique() == 1


def test_failure_of_an_earlier_run_is_not_copied(workspace, server, replies, write_duplicates):
    """A new name of the same bytes is sent, as it may succeed today."""
    [a] = write_duplicates("a.png")
    server.script = [replies.error(422, "no", "invalid_image"), replies.ok()]
    assert workspace.run(*BASE).exit_code == 1
    shutil.copyfile(a, a.replace("a.png", "b.png"))
    assert workspace.run(*BASE).exit_code == 0
    assert counts(last_run(workspace)) == {"found": 2, "skipped": 1, "accepted": 1, "calls": 1}


def test_duplicates_of_a_transient_failure_are_retried_with_one_call(workspace, server, replies, write_duplicates):
    write_duplicates("a.png", "b.png")
    server.script = [replies.error(500), replies.ok()]
    assert workspace.run(*BASE, env=CHEAP).exit_code == 1
    assert workspace.table("failures").select("final", "tries").rows() == [(False, 1)] * 2
    assert workspace.run(*BASE).exit_code == 0
    assert counts(last_run(workspace)) == {"found": 2, "duplicates": 1, "accepted": 1, "calls": 1}


def test_duplicates_wait_for_the_retried_call(workspace, server, replies, write_duplicates):
    """The copy is made from the final result, not from the first reply."""
    write_duplicates("a.png", "b.png")
    server.script = [replies.error(503, **{"Retry-After": "0"}), replies.ok()]
    assert workspace.run(*BASE).exit_code == 0
    assert counts(last_run(workspace)) == {"found": 2, "duplicates": 1, "accepted": 1, "calls": 2}


def test_spent_budget_leaves_duplicates_remaining(workspace, server, write_duplicates):
    write_duplicates("a.png", "b.png")
    result = workspace.run(*BASE, "--budget", "0.0001")
    assert (result.exit_code, server.asked) == (3, [])
    assert counts(last_run(workspace)) == {"found": 2, "remaining": 2}


@pytest.mark.slow
@pytest.mark.parametrize("signals", [1, 2])
def test_signal_releases_waiting_duplicates(workspace, server, replies, write_duplicates, wait, signals):
    """After one signal the first document finishes and is copied; a second signal cancels it, and both remain."""
    write_duplicates("a.png", "b.png")
    server.hold(replies.ok())
    with workspace.start(*BASE, **PIPES) as process:
        wait(lambda: server.asked)
        process.send_signal(signal.SIGINT)
        notice = process.stderr.readline()
        if signals == 2:
            process.send_signal(signal.SIGINT)
        else:
            server.gate.set()
        stdout, _ = process.communicate(timeout=30)
    assert notice.startswith("SIGINT")
    expected = {
        1: {"found": 2, "duplicates": 1, "accepted": 1, "calls": 1},
        2: {"found": 2, "remaining": 2, "calls": 1},
    }
    assert process.returncode == 3
    assert counts(last_run(workspace)) == expected[signals]
    assert ("1 accepted documents and 1 copies are kept" in stdout) == (signals == 1)


@pytest.mark.parametrize("redo", ["all", "changed"])
def test_redo_copies_only_within_its_run(workspace, server, write_duplicates, redo):
    """One call for both, and no row of earlier runs is copied."""
    a, b = write_duplicates("a.png", "b.png")
    workspace.run(*BASE)
    assert workspace.run(*BASE, "--redo", redo, "--model", "maker/other", "--yes").exit_code == 0
    assert counts(last_run(workspace)) == {"found": 2, "duplicates": 1, "accepted": 1, "calls": 1}
    assert workspace.run(*BASE, "--redo", "all").exit_code == 0
    assert len(server.asked) == 3
    assert len(list_sources(workspace)) == 1 or {*list_sources(workspace)} == {a, b}


def test_redo_failed_copies_from_earlier_runs(workspace, server, replies, write_duplicates):
    """A failed document gets the answer that its duplicate has received meanwhile."""
    server.script = [replies.error(422, "no", "invalid_image"), replies.ok()]
    [a] = write_duplicates("a.png")
    workspace.run(*BASE)
    b = a.replace("a.png", "b.png")
    shutil.copyfile(a, b)
    workspace.run(*BASE)
    assert workspace.run(*BASE, "--redo", "failed").exit_code == 0
    assert len(server.asked) == 2
    assert list_sources(workspace) == {a: b}


@pytest.mark.parametrize("env", [{"TILEWISE_TEMPERATURE": "0.5"}, {"TILEWISE_REASONING": "on"}])
def test_other_sampling_is_not_copied(workspace, server, env):
    """Temperature and reasoning are part of the key."""
    [path] = workspace.images("a.png")
    workspace.run(*BASE)
    path.rename(path.with_name("b.png"))
    assert workspace.run(*BASE, env=env).exit_code == 0
    assert (len(server.asked), list_sources(workspace)) == (2, {})


@pytest.mark.parametrize("other", [("--model", "maker/other"), ("--schema", "screenshot"), ("--output", "elsewhere")])
def test_other_model_schema_or_output_is_not_copied(workspace, server, replies, other):
    [path] = workspace.images("a.png")
    workspace.run(*BASE)
    path.rename(path.with_name("b.png"))
    workspace.run(*BASE, *other, "--yes", "--fail-above", "1", env={"TILEWISE_REASKS": "0"})
    assert len(server.asked) == 2
    assert list_sources(workspace) == {}


def test_offline_result_is_not_copied_for_a_model(workspace, server, replies):
    """A result of local OCR is not a result for a remote model, under any name."""
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
def test_counts_of_a_folder_with_duplicates_add_up(workspaces, serve_all, replies, contents, failing, chunk, volume):
    """For any small folder: one call a content, one row a document, and the counts of every row of `runs` add up."""
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
    outcomes = ("skipped", "duplicates", "rejected", "accepted", "failed", "remaining")
    assert runs["found"].to_list() == runs.select(pl.sum_horizontal(*outcomes)).to_series().to_list()
    total = Counter({name: runs[name].sum() for name in ("found", *outcomes, "calls")})
    assert total["found"] == len(contents)
    assert total["calls"] == len(server.asked) == len(set(contents)) == total["accepted"] + total["failed"]
    assert results.height + failures.height == len(contents)
    assert total["duplicates"] == len(contents) - len(set(contents))
