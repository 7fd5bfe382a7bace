"""witness.py: which documents the witness examines, and that it keeps every answer."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image
from support.pictures import save

from extractors.core import BilledPage, Evidence, FieldEvidence, Found, Header, LadderStep, Planned, PlannedPage
from extractors.core.errors import DocumentError, Stopped
from extractors.core.evidence import Box
from extractors.core.tiles import Size
from extractors.run.audit import Auditor
from extractors.run.witness.reader import ReaderFailed
from extractors.run.witness.witness import Witness, find_values, load_original
from extractors.scan.stores import FetchedStore
from extractors.validate.witness.words import PageLine, PageWord

pytestmark = pytest.mark.anyio
WORDS = (PageLine((PageWord("Inn", Box(1, 2, 3, 4)), PageWord("8.20", Box(5, 6, 7, 8)))),)


class StubReader:
    """Returns these lines or raises, and records the sizes of the pictures."""

    def __init__(self, outcome=WORDS):
        self.outcome, self.sizes = outcome, []

    @asynccontextmanager
    async def slot(self):
        """A slot that is always free."""
        yield

    async def read(self, picture, scale):
        """Records a picture and returns the lines."""
        self.sizes.append((picture.size, scale))
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


class StubShutdown:
    """The shutdown of a run, which a test may stop."""

    error, cancelling = None, False


@pytest.fixture
def witness():
    """A witness that examines doubtful documents."""
    with ThreadPoolExecutor(1) as threads:
        store = FetchedStore(save(Image.new("RGB", (60, 80), "white"), "PNG"))
        yield Witness("doubtful", 0.9, store, threads, StubShutdown(), StubReader())


def plan_page(uri="/in/a.png", size=Size(60, 80), action="send", kind="PNG", orientation=1):  # noqa: B008 - a frozen value
    """A document of one page."""
    page = PlannedPage(BilledPage(Found(uri), Header(size, kind, 1, orientation)), action, "fits")
    return Planned(uri, (page,))


def make_answer(make, confidence, **changes):
    evidence = Evidence((FieldEvidence("shop", confidence=confidence),))
    return make.accept(planned=plan_page(**changes), evidence=evidence)


async def test_witness_places_the_values_of_a_doubtful_document(witness, make):
    examined = await witness.examine(make_answer(make, 0.5))
    assert {sighting.field: sighting.box for sighting in examined.sightings.values} == {
        "shop": Box(1, 2, 3, 4),
        "total": Box(5, 6, 7, 8),
    }


@pytest.mark.parametrize(
    ("mode", "confidence", "looks"),
    [("doubtful", 0.89, True), ("doubtful", 0.9, False), ("doubtful", None, True), ("all", 0.99, True)],
)
async def test_document_below_the_threshold_or_of_unknown_confidence_is_doubtful(
    witness, make, mode, confidence, looks
):
    witness.mode = mode
    assert ((await witness.examine(make_answer(make, confidence))).sightings is not None) is looks
    assert witness.warning() is None


async def test_audited_document_is_examined_though_it_is_sure(witness, make):
    sure = make_answer(make, 0.99)
    assert (await witness.examine(sure, audited=True)).sightings is not None
    assert await witness.examine(sure) is sure


async def test_answer_of_a_page_that_cannot_be_read_is_kept(witness, make):
    """It has no sightings, and the warning counts it."""
    witness.reader = StubReader(ReaderFailed("no"))
    result = make_answer(make, 0.5)
    assert await witness.examine(result) is result
    assert "1 documents" in witness.warning()


async def test_missing_file_is_no_failure_of_the_document(witness, make):
    """It was accepted before its file was deleted."""

    class EmptyStore:
        def read(self, found):
            raise DocumentError("gone", kind="missing", stage="scan")

    witness.store = EmptyStore()
    result = make_answer(make, 0.5)
    assert await witness.examine(result) is result
    assert witness.left_out.total() == 1


async def test_stopped_run_reads_no_further_page(witness, make):
    """The time after a stop is for calls in flight."""
    witness.shutdown.error = Stopped("SIGINT was received")
    result = make_answer(make, 0.5)
    assert await witness.examine(result) is result
    assert witness.reader.sizes == []
    witness.shutdown.error = None


async def test_cancelled_witness_keeps_the_answer_that_was_paid_for(witness, make):
    """It keeps the answer when the run cancels its calls; any other cancellation is raised."""
    witness.reader = StubReader(asyncio.CancelledError())
    result = make_answer(make, 0.5)
    with pytest.raises(asyncio.CancelledError):
        await witness.examine(result)
    witness.shutdown.cancelling = True
    assert await witness.examine(result) is result
    witness.shutdown.cancelling = False


@pytest.mark.parametrize("changes", [{"action": "url"}, {"kind": "PNG", "pages": 51}])
async def test_page_passed_by_url_and_very_long_document_are_left_out(witness, make, changes):
    pages = changes.pop("pages", 1)
    result = make_answer(make, 0.5, **changes)
    result = replace(result, planned=Planned("x", result.planned.pages * pages))
    assert await witness.examine(result) is result
    assert witness.left_out.total() == 1


@pytest.mark.slow
def test_original_of_100_megapixels_is_read_within_the_limits():
    """It is at the scale by which the boxes are divided."""
    store = FetchedStore(save(Image.new("L", (10_000, 10_000), "white"), "JPEG", quality=30))
    picture = load_original(store, plan_page(size=Size(10_000, 10_000), kind="JPEG").first)
    assert picture.size == (2240, 2240)


def test_original_is_turned_upright_by_its_orientation():
    store = FetchedStore(save(Image.new("L", (80, 60), "white"), "JPEG"))
    assert load_original(store, plan_page(kind="JPEG", orientation=6).first).size == (60, 80)


@pytest.mark.parametrize(("size", "looks"), [(1, True), (0, False)])
async def test_document_in_the_sample_of_an_audit_is_examined(witness, make, size, looks):
    """Its result is held meanwhile, as it may be copied."""
    low, top = LadderStep(100, Size(30, 40), 100), LadderStep(200, Size(60, 80), 200)
    page = replace(plan_page().first, ladder=(low, top))
    sure = replace(make_answer(make, 0.99), planned=Planned("/in/a.png", (page,)), step=low, attempts=())
    auditor, held_results = Auditor(1, "seed"), []
    if size:
        auditor.observe(sure)

    def hold(result, examining):
        held_results.append(result)
        return examining

    deduplicator = SimpleNamespace(hold_examined=hold)
    context = SimpleNamespace(
        services=SimpleNamespace(witness=witness),
        answers=SimpleNamespace(auditor=auditor),
        reuse=SimpleNamespace(deduplicator=deduplicator),
    )
    examined = await find_values(sure, context)
    assert ((examined.sightings is not None), held_results) == (looks, [sure])
