"""feed.py: which documents need work, how they are pulled, and how many were found and skipped."""

import os
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

import polars as pl
import pytest
from PIL import Image

from extractors.bill import Tariff
from extractors.config.job import Job
from extractors.config.run_config import resolve
from extractors.config.settings import Settings
from extractors.core.errors import ConfigurationError
from extractors.core.money import FREE, Price
from extractors.core.tiles import get_rule
from extractors.plan.feed import Feed
from extractors.record.tables.history import FAILURE_COLUMNS, OUTCOME_COLUMNS, RunHistory, document_key
from extractors.scan import scan

TARIFF = Tariff(get_rule("formula"), FREE, 400, 100, 300, 2048)


@pytest.fixture
def pictures(tmp_path):
    """A folder with three pictures: a.png, b.png and c.png."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in "abc":
        Image.new("L", (30, 20)).save(folder / f"{name}.png")
    return folder


def make_feed(source, make_history=None, tariff=TARIFF, **fields):
    """The feed of a job on this source."""
    return Feed(resolve(Job(source=str(source), **fields), Settings(), sends=False), tariff, make_history)


def list_names(planned):
    """The file names of planned documents."""
    return [document.document.rpartition("/")[2] for document in planned]


def make_history(folder, accepted=(), final=(), tries=()):
    """A history in which these files of the folder were accepted, failed finally, or failed in this many runs."""
    files = {found.uri.rpartition("/")[2]: document_key(found.uri, found.version) for found in scan(str(folder))}
    failed = [{"key": files[name], "final": True, "tries": 1} for name in final]
    failed += [{"key": files[name], "final": False, "tries": count} for name, count in tries]
    rows = [{"key": files[name]} for name in accepted]
    return RunHistory(pl.DataFrame(rows, schema=OUTCOME_COLUMNS), pl.DataFrame(failed, schema=FAILURE_COLUMNS))


def test_feed_takes_documents_in_the_order_of_the_scan(pictures):
    """Each image is a document with the name of its path."""
    assert [document.document for document in make_feed(pictures).take(10)] == [
        f"{pictures}/{name}.png" for name in "abc"
    ]


def test_feed_takes_at_most_the_requested_number_until_none_is_left(pictures):
    pull = partial(make_feed(pictures).take, 2)
    assert [list_names(pull()) for _ in range(3)] == [["a.png", "b.png"], ["c.png"], []]


def test_take_alike_groups_pictures_that_are_planned_alike(pictures):
    """A group is its first picture and a count; a picture of another size and a broken one are groups of one."""
    Image.new("L", (20, 30)).save(pictures / "b1.png")
    (pictures / "b2.png").write_bytes(b"broken")
    documents = make_feed(pictures)
    groups = [documents.take_alike(4), documents.take_alike(4), documents.take_alike(4)]
    assert [[(*list_names([planned]), count) for planned, count in group] for group in groups] == [
        [("a.png", 2), ("b1.png", 1), ("b2.png", 1)],
        [("c.png", 1)],
        [],
    ]


def test_feed_reads_no_image_before_it_is_taken(pictures):
    """The first image of a large source is available at once."""
    documents = make_feed(pictures)
    assert documents.found == 0
    documents.take(1)
    assert documents.found == 1


@pytest.mark.parametrize(
    ("limit", "names"), [(1, ["a.png"]), (2, ["a.png", "b.png"]), (9, ["a.png", "b.png", "c.png"])]
)
def test_limit_stops_the_scan(pictures, limit, names):
    """The images after the limit are not found."""
    documents = make_feed(pictures, limit=limit)
    assert list_names(documents.take(10)) == names
    assert documents.take(10) == []
    assert documents.found == len(names)


@pytest.mark.parametrize("kind", ["accepted", "final"])
def test_done_document_is_found_and_skipped(pictures, kind):
    """A document with a row in results or a final failure is done."""
    documents = make_feed(pictures, make_history(pictures, **{kind: ["b.png"]}))
    assert list_names(documents.take(10)) == ["a.png", "c.png"]
    assert (documents.found, documents.skipped) == (3, 1)


def test_skipped_documents_do_not_count_against_the_limit(pictures):
    documents = make_feed(pictures, make_history(pictures, ["a.png"]), limit=1)
    assert list_names(documents.take(10)) == ["b.png"]
    assert (documents.found, documents.skipped) == (2, 1)


def test_source_with_all_documents_done_is_not_refused_as_empty(pictures):
    documents = make_feed(pictures, make_history(pictures, ["a.png", "b.png", "c.png"]))
    assert documents.take(10) == []
    assert (documents.found, documents.skipped) == (3, 3)


def test_changed_image_is_not_skipped(pictures):
    """Another version of it was done."""
    history = make_history(pictures, ["a.png", "b.png", "c.png"])
    Image.new("L", (50, 50)).save(pictures / "b.png")
    assert list_names(make_feed(pictures, history).take(10)) == ["b.png"]


@pytest.mark.parametrize(
    ("redo", "names"), [("failed", ["b.png", "c.png"]), ("all", ["a.png", "b.png", "c.png"]), (None, ["c.png"])]
)
def test_redo_takes_done_documents_by_cause(pictures, redo, names):
    """`failed` takes the final failure, `all` also the accepted document."""
    history = make_history(pictures, ["a.png"], final=["b.png"])
    assert list_names(make_feed(pictures, history, redo=redo).take(10)) == names


def test_planned_document_has_the_number_of_its_earlier_failures(pictures):
    documents = make_feed(pictures, make_history(pictures, tries=[("b.png", 3)]))
    assert [document.tries for document in documents.take(10)] == [0, 3, 0]


@pytest.mark.parametrize(("tries", "count"), [(4, 3), (5, 2)])
def test_failed_document_is_retried_in_at_most_five_runs(pictures, tries, count):
    assert len(make_feed(pictures, make_history(pictures, tries=[("b.png", tries)])).take(10)) == count


def test_empty_folder_is_refused(tmp_path):
    """A mistyped source must not look like one that is done."""
    with pytest.raises(ConfigurationError, match="holds no images: looked for jpg, jpeg, png"):
        make_feed(tmp_path).take(10)


def test_missing_source_is_refused_when_the_feed_is_made(tmp_path):
    with pytest.raises(ConfigurationError, match="does not exist"):
        make_feed(tmp_path / "nowhere")


def test_broken_image_is_planned_as_rejected_in_its_place(pictures):
    (pictures / "b.png").write_bytes(b"")
    planned = make_feed(pictures).take(10)
    assert [document.first.action for document in planned] == ["send", "reject", "send"]
    assert planned[1].problem.kind == "empty"


def test_document_has_the_action_of_its_policy_and_the_costs_of_its_tariff(pictures):
    Image.new("L", (1280, 720)).save(pictures / "a.png")
    price = Price(Decimal(1_000_000), Decimal(0))
    tariff = Tariff(get_rule("formula"), price, 400, 100, 300, 2048)
    (first,) = make_feed(pictures, tariff=tariff, limit=1).take(1)
    assert (first.first.action, first.costs.expected) == ("resize", 1601 + 100)
    (whole,) = make_feed(pictures, tariff=tariff, limit=1, policy="faithful").take(1)
    assert (whole.first.action, whole.costs.expected) == ("send", 3202 + 100)


@pytest.mark.parametrize(("limit", "count"), [(None, 3), (2, 2), (9, 3)])
def test_count_takes_no_document_from_the_feed(pictures, limit, count):
    """It scans the source separately, up to the limit."""
    documents = make_feed(pictures, limit=limit)
    assert documents.count() == count
    assert len(documents.take(10)) == count


def test_document_skipped_later_does_not_count_against_the_limit(pictures):
    """Another run may have ended it since it was taken."""
    documents = make_feed(pictures, limit=2)
    assert list_names(documents.take(10)) == ["a.png", "b.png"]
    assert documents.take(10) == []
    documents.skip(1)
    assert (list_names(documents.take(10)), documents.skipped) == (["c.png"], 1)


@pytest.fixture
def manifest_and_history(bucket, pictures, tmp_path):
    """A manifest of a file and 70 objects, and a history in which the file and two of the objects were accepted."""
    bucket.fill([f"{number:02}.png" for number in range(70)], (pictures / "a.png").read_bytes())
    manifest = tmp_path / "list.txt"
    manifest.write_text("pictures/a.png\n" + "".join(f"{bucket.url}/{number:02}.png\n" for number in range(70)))
    keys = {found.uri: document_key(found.uri, found.version) for found in (*scan(bucket.url), *scan(str(pictures)))}
    uris = [f"{pictures}/a.png", f"{bucket.url}/00.png", f"{bucket.url}/69.png"]
    accepted = pl.DataFrame([{"key": keys[uri]} for uri in uris], schema=OUTCOME_COLUMNS)
    bucket.front.asked.clear()
    return manifest, RunHistory(accepted, pl.DataFrame(schema=FAILURE_COLUMNS))


def count_heads(bucket):
    """The number of HEAD requests."""
    return [method for method, _, _ in bucket.front.asked].count("HEAD")


def test_each_object_is_requested_once_and_taken_in_the_order_of_the_manifest(bucket, manifest_and_history):
    """No object is lost between two calls of take."""
    documents = make_feed(manifest_and_history[0], manifest_and_history[1])
    taken_names = [name for _ in range(30) for name in list_names(documents.take(3))]
    assert taken_names == [f"{number:02}.png" for number in range(1, 69)]
    assert (documents.found, documents.skipped, count_heads(bucket)) == (71, 3, 70)


def test_count_and_rest_send_no_request(bucket, manifest_and_history):
    """An object of unknown version counts as not done; a file on disk has a known version."""
    documents = make_feed(manifest_and_history[0], manifest_and_history[1])
    assert (documents.count(), count_heads(bucket)) == (70, 0)
    assert (documents.rest(), count_heads(bucket)) == (70, 0)


def test_limit_requests_one_batch_of_objects_only(bucket, manifest_and_history):
    """The objects after the limit are not found."""
    documents = make_feed(manifest_and_history[0], manifest_and_history[1], limit=2)
    assert list_names(documents.take(10)) == ["01.png", "02.png"]
    assert (documents.found, count_heads(bucket)) == (4, 63)


def test_rest_counts_requested_objects_that_were_not_taken(manifest_and_history):
    documents = make_feed(manifest_and_history[0], manifest_and_history[1])
    documents.take(10)
    assert (documents.rest(), documents.found) == (58, 71)


def test_feed_without_a_history_sends_no_request_for_versions(bucket, manifest_and_history):
    """It only lists and reads the headers of the images that it takes."""
    make_feed(manifest_and_history[0]).take(5)
    assert len(bucket.front.asked) == 2 * 4


@pytest.fixture
def dated_pictures(pictures):
    """The pictures, modified on the 18th, the 19th and the 20th."""
    for name, day in zip("abc", (18, 19, 20), strict=True):
        timestamp = datetime(2026, 11, day, 12, 0, tzinfo=UTC).timestamp()
        os.utime(pictures / f"{name}.png", (timestamp, timestamp))
    return pictures


@pytest.mark.parametrize(
    ("window", "names"),
    [
        ({"modified_since": "2026-11-19"}, ["b.png", "c.png"]),
        ({"modified_until": "2026-11-19"}, ["a.png", "b.png"]),
        ({"modified_since": "2026-11-19T12:00", "modified_until": "2026-11-19T12:00"}, ["b.png"]),
        ({"modified_since": "2026-11-19T12:00:01", "modified_until": "2026-11-20T11:59:59"}, []),
    ],
)
def test_image_modified_outside_the_window_is_not_found(dated_pictures, window, names):
    """It is neither taken nor counted, and an empty window is not an empty source."""
    documents = make_feed(dated_pictures, make_history(dated_pictures, accepted=["a.png"]), redo="all", **window)
    assert (list_names(documents.take(10)), documents.found, documents.skipped) == (names, len(names), 0)
    assert make_feed(dated_pictures, **window).count() == len(names)


def test_done_image_outside_the_window_is_neither_found_nor_skipped(dated_pictures):
    documents = make_feed(
        dated_pictures, make_history(dated_pictures, accepted=["a.png", "c.png"]), modified_since="2026-11-19"
    )
    assert (list_names(documents.take(10)), documents.found, documents.skipped) == (["b.png"], 2, 1)


def test_empty_source_is_refused_with_a_window(tmp_path):
    with pytest.raises(ConfigurationError, match="holds no images"):
        make_feed(tmp_path, modified_since="2026-11-19").take(1)
