"""Witness: which documents it looks at, what it leaves, and that it keeps every answer."""

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


class Pages:
    """Stands for the processes that read: gives these lines, or raises, and keeps the sizes of the pictures."""

    def __init__(self, outcome=WORDS):
        self.outcome, self.sizes = outcome, []

    @asynccontextmanager
    async def slot(self):
        """There is always one."""
        yield

    async def read(self, picture, scale):
        """As the reader."""
        self.sizes.append((picture.size, scale))
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


class Shutdown:
    """That of a run that goes on, or was stopped."""

    error, cancelling = None, False


@pytest.fixture
def witness():
    """Looks at doubtful documents."""
    with ThreadPoolExecutor(1) as threads:
        store = FetchedStore(save(Image.new("RGB", (60, 80), "white"), "PNG"))
        yield Witness("doubtful", 0.9, store, threads, Shutdown(), Pages())


def plan_page(uri="/in/a.png", size=Size(60, 80), action="send", kind="PNG", orientation=1):  # noqa: B008 - a frozen value
    page = PlannedPage(BilledPage(Found(uri), Header(size, kind, 1, orientation)), action, "fits")
    return Planned(uri, (page,))


def answer(make, confidence, **changes):
    evidence = Evidence((FieldEvidence("shop", confidence=confidence),))
    return make.accept(planned=plan_page(**changes), evidence=evidence)


async def test_witness_places_the_values_of_a_doubtful_document(witness, make):
    examined = await witness.examine(answer(make, 0.5))
    assert {sighting.field: sighting.box for sighting in examined.sightings.values} == {
        "shop": Box(1, 2, 3, 4),
        "total": Box(5, 6, 7, 8),
    }


@pytest.mark.parametrize(
    ("mode", "confidence", "looks"),
    [("doubtful", 0.89, True), ("doubtful", 0.9, False), ("doubtful", None, True), ("all", 0.99, True)],
)
async def test_doubtful_is_below_the_threshold_or_unknown(witness, make, mode, confidence, looks):
    witness.mode = mode
    assert ((await witness.examine(answer(make, confidence))).sightings is not None) is looks
    assert witness.warning() is None


async def test_audited_document_is_looked_at_though_it_is_sure(witness, make):
    """A document that is read again at the top rung is one to compare."""
    sure = answer(make, 0.99)
    assert (await witness.examine(sure, audited=True)).sightings is not None
    assert await witness.examine(sure) is sure


async def test_answer_of_a_page_that_cannot_be_read_is_kept(witness, make):
    """It has no sightings, and is counted in the warning."""
    witness.reader = Pages(ReaderFailed("no"))
    result = answer(make, 0.5)
    assert await witness.examine(result) is result
    assert "1 documents" in witness.warning()


async def test_missing_file_is_no_failure_of_the_document(witness, make):
    """It was accepted, and is gone before the witness comes to it."""

    class Gone:
        def read(self, found):
            raise DocumentError("gone", kind="missing", stage="scan")

    witness.store = Gone()
    result = answer(make, 0.5)
    assert await witness.examine(result) is result
    assert witness.left_out.total() == 1


async def test_stopped_run_reads_no_further_page(witness, make):
    """The time after a stop is for calls in flight."""
    witness.shutdown.error = Stopped("SIGINT was received")
    result = answer(make, 0.5)
    assert await witness.examine(result) is result
    assert witness.reader.sizes == []
    witness.shutdown.error = None


async def test_cancelled_witness_keeps_the_answer_that_was_paid_for(witness, make):
    """When the run's calls are cancelled; any other cancellation goes on."""
    witness.reader = Pages(asyncio.CancelledError())
    result = answer(make, 0.5)
    with pytest.raises(asyncio.CancelledError):
        await witness.examine(result)
    witness.shutdown.cancelling = True
    assert await witness.examine(result) is result
    witness.shutdown.cancelling = False


@pytest.mark.parametrize("changes", [{"action": "url"}, {"kind": "PNG", "pages": 51}])
async def test_page_passed_by_url_and_very_long_document_are_left_out(witness, make, changes):
    pages = changes.pop("pages", 1)
    result = answer(make, 0.5, **changes)
    result = replace(result, planned=Planned("x", result.planned.pages * pages))
    assert await witness.examine(result) is result
    assert witness.left_out.total() == 1


@pytest.mark.slow
def test_original_of_100_megapixels_is_read_within_the_limits():
    """Upright, and at the scale that the boxes are divided by."""
    store = FetchedStore(save(Image.new("L", (10_000, 10_000), "white"), "JPEG", quality=30))
    picture = load_original(store, plan_page(size=Size(10_000, 10_000), kind="JPEG").first)
    assert picture.size == (2240, 2240)


def test_original_is_turned_upright_by_its_orientation():
    store = FetchedStore(save(Image.new("L", (80, 60), "white"), "JPEG"))
    assert load_original(store, plan_page(kind="JPEG", orientation=6).first).size == (60, 80)


@pytest.mark.parametrize(("size", "looks"), [(1, True), (0, False)])
async def test_values_of_the_sample_of_an_audit_are_looked_for(witness, make, size, looks):
    """As long as a document is in the sample; the result is held while the witness looks, as it may be copied."""
    low, top = LadderStep(100, Size(30, 40), 100), LadderStep(200, Size(60, 80), 200)
    page = replace(plan_page().first, ladder=(low, top))
    sure = replace(answer(make, 0.99), planned=Planned("/in/a.png", (page,)), step=low, attempts=())
    auditor, noted = Auditor(1, "seed"), []
    if size:
        auditor.observe(sure)

    def hold(result, examining):
        noted.append(result)
        return examining

    deduplicator = SimpleNamespace(hold_examined=hold)
    context = SimpleNamespace(
        services=SimpleNamespace(witness=witness),
        answers=SimpleNamespace(auditor=auditor),
        reuse=SimpleNamespace(deduplicator=deduplicator),
    )
    examined = await find_values(sure, context)
    assert ((examined.sightings is not None), noted) == (looks, [sure])
