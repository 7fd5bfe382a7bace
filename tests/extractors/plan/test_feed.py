"""feed.py: the documents that need work, how many are pulled, and how many were seen."""

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
    """Three pictures in a folder: a.png, b.png and c.png."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in "abc":
        Image.new("L", (30, 20)).save(folder / f"{name}.png")
    return folder


def feed(source, past=None, tariff=TARIFF, **fields):
    """The feed of a job on this source."""
    return Feed(resolve(Job(source=str(source), **fields), Settings(), sends=False), tariff, past)


def names(planned):
    """The file names of planned documents."""
    return [each.document.rpartition("/")[2] for each in planned]


def past(folder, accepted=(), final=(), tries=()):
    """A past in which these files of the folder have been accepted, or failed for good or so many times."""
    files = {found.uri.rpartition("/")[2]: document_key(found.uri, found.version) for found in scan(str(folder))}
    failed = [{"key": files[name], "final": True, "tries": 1} for name in final]
    failed += [{"key": files[name], "final": False, "tries": count} for name, count in tries]
    done = [{"key": files[name]} for name in accepted]
    return RunHistory(pl.DataFrame(done, schema=OUTCOME_COLUMNS), pl.DataFrame(failed, schema=FAILURE_COLUMNS))


def test_documents_come_in_the_order_of_the_scan(pictures):
    """Each image is a document of its own, named by its path."""
    assert [each.document for each in feed(pictures).take(10)] == [f"{pictures}/{name}.png" for name in "abc"]


def test_documents_are_pulled_a_few_at_a_time(pictures):
    """Fewer than asked for come at the end only, then none."""
    pull = partial(feed(pictures).take, 2)
    assert [names(pull()) for _ in range(3)] == [["a.png", "b.png"], ["c.png"], []]


def test_pictures_that_are_planned_alike_are_taken_as_the_first_of_them(pictures):
    """With their number; a picture of another size and a broken one stand for themselves."""
    Image.new("L", (20, 30)).save(pictures / "b1.png")
    (pictures / "b2.png").write_bytes(b"broken")
    documents = feed(pictures)
    groups = [documents.take_alike(4), documents.take_alike(4), documents.take_alike(4)]
    assert [[(*names([planned]), count) for planned, count in group] for group in groups] == [
        [("a.png", 2), ("b1.png", 1), ("b2.png", 1)],
        [("c.png", 1)],
        [],
    ]


def test_nothing_is_looked_at_before_it_is_pulled(pictures):
    """A source of a million images does not keep the first one waiting."""
    documents = feed(pictures)
    assert documents.found == 0
    documents.take(1)
    assert documents.found == 1


@pytest.mark.parametrize(
    ("limit", "wanted"), [(1, ["a.png"]), (2, ["a.png", "b.png"]), (9, ["a.png", "b.png", "c.png"])]
)
def test_the_limit_stops_the_scan(pictures, limit, wanted):
    """The rest is not found."""
    documents = feed(pictures, limit=limit)
    assert names(documents.take(10)) == wanted
    assert documents.take(10) == []
    assert documents.found == len(wanted)


@pytest.mark.parametrize("kind", ["accepted", "final"])
def test_what_is_done_is_skipped(pictures, kind):
    """A document with a row in results or a final failure needs no call; it is found and counted."""
    documents = feed(pictures, past(pictures, **{kind: ["b.png"]}))
    assert names(documents.take(10)) == ["a.png", "c.png"]
    assert (documents.found, documents.skipped) == (3, 1)


def test_what_is_skipped_does_not_use_up_the_limit(pictures):
    """`--limit 1` takes one document that is not done."""
    documents = feed(pictures, past(pictures, ["a.png"]), limit=1)
    assert names(documents.take(10)) == ["b.png"]
    assert (documents.found, documents.skipped) == (2, 1)


def test_everything_done_is_nothing_to_do(pictures):
    """A source that is wholly done is not an empty one."""
    documents = feed(pictures, past(pictures, ["a.png", "b.png", "c.png"]))
    assert documents.take(10) == []
    assert (documents.found, documents.skipped) == (3, 3)


def test_a_changed_image_is_not_skipped(pictures):
    """What was done is another version of it."""
    done = past(pictures, ["a.png", "b.png", "c.png"])
    Image.new("L", (50, 50)).save(pictures / "b.png")
    assert names(feed(pictures, done).take(10)) == ["b.png"]


@pytest.mark.parametrize(
    ("redo", "wanted"), [("failed", ["b.png", "c.png"]), ("all", ["a.png", "b.png", "c.png"]), (None, ["c.png"])]
)
def test_what_is_done_can_be_taken_again(pictures, redo, wanted):
    """By cause: of one accepted and one failed for good, `failed` takes one, `all` both."""
    done = past(pictures, ["a.png"], final=["b.png"])
    assert names(feed(pictures, done, redo=redo).take(10)) == wanted


def test_earlier_tries_are_handed_on(pictures):
    """A failure's row counts in how many runs it was taken."""
    documents = feed(pictures, past(pictures, tries=[("b.png", 3)]))
    assert [each.tries for each in documents.take(10)] == [0, 3, 0]


@pytest.mark.parametrize(("tries", "taken"), [(4, 3), (5, 2)])
def test_a_failure_is_taken_again_in_five_runs(pictures, tries, taken):
    """Then it has had its chances."""
    assert len(feed(pictures, past(pictures, tries=[("b.png", tries)])).take(10)) == taken


def test_an_empty_folder_is_refused(tmp_path):
    """A mistyped source must not look like one that is done."""
    with pytest.raises(ConfigurationError, match="holds no images: looked for jpg, jpeg, png"):
        feed(tmp_path).take(10)


def test_a_missing_source_is_refused_before_anything_is_pulled(tmp_path):
    """The refusal comes with the feed."""
    with pytest.raises(ConfigurationError, match="does not exist"):
        feed(tmp_path / "nowhere")


def test_a_broken_image_is_a_document_too(pictures):
    """It is planned as rejected, in its place."""
    (pictures / "b.png").write_bytes(b"")
    planned = feed(pictures).take(10)
    assert [each.first.action for each in planned] == ["send", "reject", "send"]
    assert planned[1].problem.kind == "empty"


def test_a_document_is_planned_by_the_policy_and_priced_by_the_tariff(pictures):
    """What is planned first is what the estimate bills: picture, text, answer."""
    Image.new("L", (1280, 720)).save(pictures / "a.png")
    price = Price(Decimal(1_000_000), Decimal(0))
    tariff = Tariff(get_rule("formula"), price, 400, 100, 300, 2048)
    (first,) = feed(pictures, tariff=tariff, limit=1).take(1)
    assert (first.first.action, first.costs.expected) == ("resize", 1601 + 100)
    (whole,) = feed(pictures, tariff=tariff, limit=1, policy="faithful").take(1)
    assert (whole.first.action, whole.costs.expected) == ("send", 3202 + 100)


@pytest.mark.parametrize(("limit", "count"), [(None, 3), (2, 2), (9, 3)])
def test_the_source_can_be_counted_beforehand(pictures, limit, count):
    """Counting walks the source once more and takes nothing from the feed."""
    documents = feed(pictures, limit=limit)
    assert documents.count() == count
    assert len(documents.take(10)) == count


def test_what_turns_out_to_be_done_makes_room_below_a_limit(pictures):
    """A limit is of documents that need work: one that another run has ended with meanwhile takes no place."""
    pulled = feed(pictures, limit=2)
    assert names(pulled.take(10)) == ["a.png", "b.png"]
    assert pulled.take(10) == []
    pulled.skip(1)
    assert (names(pulled.take(10)), pulled.skipped) == (["c.png"], 1)


@pytest.fixture
def elsewhere(bucket, pictures, tmp_path):
    """A manifest of a file and 70 objects; and the past in which the file and two objects have been accepted."""
    bucket.fill([f"{number:02}.png" for number in range(70)], (pictures / "a.png").read_bytes())
    listed = tmp_path / "list.txt"
    listed.write_text("pictures/a.png\n" + "".join(f"{bucket.url}/{number:02}.png\n" for number in range(70)))
    found = {each.uri: document_key(each.uri, each.version) for each in (*scan(bucket.url), *scan(str(pictures)))}
    done = [f"{pictures}/a.png", f"{bucket.url}/00.png", f"{bucket.url}/69.png"]
    ended = pl.DataFrame([{"key": found[each]} for each in done], schema=OUTCOME_COLUMNS)
    bucket.front.asked.clear()
    return listed, RunHistory(ended, pl.DataFrame(schema=FAILURE_COLUMNS))


def heads(bucket):
    """How many objects were looked at."""
    return [method for method, _, _ in bucket.front.asked].count("HEAD")


def test_what_lies_elsewhere_is_looked_at_once_before_it_is_skipped(bucket, elsewhere):
    """Pulled a few at a time, none is lost between two pulls, in the manifest's order."""
    documents = feed(elsewhere[0], elsewhere[1])
    pulled = [each for _ in range(30) for each in names(documents.take(3))]
    assert pulled == [f"{number:02}.png" for number in range(1, 69)]
    assert (documents.found, documents.skipped, heads(bucket)) == (71, 3, 70)


def test_what_is_only_counted_is_not_looked_at(bucket, elsewhere):
    """What cannot be told counts as to be done; what is on disk can be told."""
    documents = feed(elsewhere[0], elsewhere[1])
    assert (documents.count(), heads(bucket)) == (70, 0)
    assert (documents.rest(), heads(bucket)) == (70, 0)


def test_a_limit_looks_at_a_few_only(bucket, elsewhere):
    """As many as are read at once, not a thousand; the rest is not found."""
    documents = feed(elsewhere[0], elsewhere[1], limit=2)
    assert names(documents.take(10)) == ["01.png", "02.png"]
    assert (documents.found, heads(bucket)) == (4, 63)


def test_what_was_looked_at_and_not_taken_is_rest(elsewhere):
    """A run that is stopped counts all that it leaves."""
    documents = feed(elsewhere[0], elsewhere[1])
    documents.take(10)
    assert (documents.rest(), documents.found) == (58, 71)


def test_without_a_past_headers_alone_are_fetched(bucket, elsewhere):
    """What nobody has done before need not be looked at to know."""
    feed(elsewhere[0]).take(5)
    assert len(bucket.front.asked) == 2 * 4


@pytest.fixture
def dated(pictures):
    """The same pictures, each a day older than the next: a.png of the 18th, c.png of the 20th."""
    for name, day in zip("abc", (18, 19, 20), strict=True):
        at = datetime(2026, 11, day, 12, 0, tzinfo=UTC).timestamp()
        os.utime(pictures / f"{name}.png", (at, at))
    return pictures


@pytest.mark.parametrize(
    ("window", "found"),
    [
        ({"modified_since": "2026-11-19"}, ["b.png", "c.png"]),
        ({"modified_until": "2026-11-19"}, ["a.png", "b.png"]),
        ({"modified_since": "2026-11-19T12:00", "modified_until": "2026-11-19T12:00"}, ["b.png"]),
        ({"modified_since": "2026-11-19T12:00:01", "modified_until": "2026-11-20T11:59:59"}, []),
    ],
)
def test_what_was_not_modified_in_the_window_is_not_found(dated, window, found):
    """Neither taken nor counted; an empty window is no empty source."""
    pulled = feed(dated, past(dated, accepted=["a.png"]), redo="all", **window)
    assert (names(pulled.take(10)), pulled.found, pulled.skipped) == (found, len(found), 0)
    assert feed(dated, **window).count() == len(found)


def test_what_is_done_outside_the_window_is_not_skipped(dated):
    """It is not there at all."""
    pulled = feed(dated, past(dated, accepted=["a.png", "c.png"]), modified_since="2026-11-19")
    assert (names(pulled.take(10)), pulled.found, pulled.skipped) == (["b.png"], 2, 1)


def test_an_empty_source_is_refused_in_a_window_too(tmp_path):
    """Nothing is there whenever it was modified."""
    with pytest.raises(ConfigurationError, match="holds no images"):
        feed(tmp_path, modified_since="2026-11-19").take(1)
