"""documents.py: what the nouns say of themselves."""

import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import BaseModel, SecretStr

from extractors.core import (
    Attempt,
    BilledPage,
    CallRequest,
    Document,
    Failed,
    Fingerprint,
    Found,
    Header,
    LadderStep,
    Planned,
    PlannedPage,
    Problem,
    Reply,
    RunInfo,
    version_of,
)
from extractors.core.money import Costs, Price, Usage, sum_known
from extractors.core.tiles import Size

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SMALL, LARGE = LadderStep(1601, Size(500, 400), 1601), LadderStep(6404, Size(2000, 1600), 6404)


class Doc(BaseModel):
    """A document."""

    value: int = 0


def attempt(usage=None, billed="yes", cost="0.5"):
    """An attempt about a small and a large page with 100 tokens of text."""
    return Attempt(
        request=CallRequest("a", "key", "asked", 9999, (SMALL, LARGE), 100, 9000, 300, 2048),
        started_at=NOW,
        seconds=1.0,
        outcome="accepted",
        billed=billed,
        reply=Reply(200, "", usage=usage) if usage else None,
        cost_usd=None if cost is None else Decimal(cost),
    )


def page(*ladder, problem=None):
    """A page with this ladder."""
    billed = BilledPage(Found("a.jpg"), None if problem else Header(Size(2000, 1600), "JPEG", 1, 1), problem=problem)
    return PlannedPage(
        billed, "reject" if problem else "resize", "x", ladder, Costs(Decimal(1), Decimal(2), Decimal(3))
    )


NOUNS = [Found("a.jpg"), SMALL, Price(Decimal(1), Decimal(2)), Costs(), Usage(), attempt(), page(SMALL, LARGE)]


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: type(noun).__name__)
def test_a_noun_survives_pickling(noun):
    """Values may travel between processes."""
    assert pickle.loads(pickle.dumps(noun)) == noun


def test_a_noun_does_not_change():
    """What one stage gave, the next cannot alter."""
    with pytest.raises(FrozenInstanceError):
        Found("a.jpg").uri = "b.jpg"


def test_an_order_does_not_print_its_body():
    """A request of megabytes is not put into a log."""
    assert "body of the request" not in repr(attempt())


def test_an_order_s_image_tokens_are_those_of_all_pages():
    """The estimate counts every picture of the request."""
    assert attempt().request.image_tokens == 1601 + 6404


@pytest.mark.parametrize(("prompt", "residual"), [(8105, 0), (8200, 95), (8000, -105)])
def test_a_residual_is_usage_minus_estimate(prompt, residual):
    """Above 0 the server counted more than was expected."""
    assert attempt(Usage(prompt=prompt)).residual == residual


def test_without_a_count_there_is_no_residual():
    """An attempt without usage proves nothing about the bill."""
    assert (attempt().usage, attempt().residual) == (None, None)


@pytest.mark.parametrize(("ladder", "scale"), [((SMALL, LARGE), 0.25), ((LARGE,), 1.0), ((), None)])
def test_a_page_s_scale_is_that_of_its_first_step(ladder, scale):
    """The sent picture's longest side as a share of the image's; a page that is not sent has none."""
    assert page(*ladder).scale == scale


def test_a_page_without_a_header_has_no_scale():
    """What could not be read has no size."""
    assert page(SMALL, problem=Problem("empty", "bill", "why")).scale is None


def test_the_first_page_speaks_for_its_document():
    """Its action, rung and sizes are those in the document's row."""
    first, second = page(SMALL), page(LARGE)
    assert Planned("a", (first, second)).first is first


@pytest.mark.parametrize(("rung", "steps"), [(0, (SMALL, LARGE)), (1, (LARGE, LARGE)), (7, (LARGE, LARGE))])
def test_pages_climb_together_as_far_as_each_can(rung, steps):
    """A page at the top of its ladder stays there."""
    assert Planned("a", (page(SMALL, LARGE), page(LARGE))).steps(rung) == steps


def test_a_document_has_as_many_rungs_as_its_longest_ladder():
    """It can climb while one of its pages can."""
    assert Planned("a", (page(LARGE), page(SMALL, LARGE))).rungs == 2


def test_a_document_costs_the_sum_of_its_pages():
    """Low, expected and high."""
    assert Planned("a", (page(SMALL), page(LARGE))).costs == Costs(Decimal(2), Decimal(4), Decimal(6))


def test_what_was_not_billed_is_no_part_of_the_cost():
    """Only attempts known to be billed count."""
    ended = Failed(
        Planned("a", ()), (attempt(), attempt(billed="unknown", cost="7")), None, NOW, Problem("x", "call", "")
    )
    assert ended.cost_usd == Decimal("0.5")


def test_a_billed_attempt_without_a_price_makes_the_cost_unknown():
    """None, never 0."""
    ended = Failed(Planned("a", ()), (attempt(), attempt(cost=None)), None, NOW, Problem("x", "call", ""))
    assert ended.cost_usd is None


@pytest.mark.parametrize(
    ("kind", "stage", "rejected"),
    [
        ("unreadable", "prepare", True),
        ("too_many_bytes", "bill", True),
        ("empty", "bill", True),
        ("empty", "validate", False),
        ("off_schema", "validate", False),
        ("refused", "validate", False),
    ],
)
def test_a_document_is_rejected_or_failed_by_its_flaw(kind, stage, rejected):
    """An image that cannot be sent is told from an answer that was not to be had: a file and an answer may be empty."""
    ended = Failed(Planned("a", ()), (), None, NOW, Problem(kind, stage, ""))
    assert ended.rejected is rejected


@pytest.mark.parametrize(
    ("amounts", "sum_"),
    [([], Decimal(0)), ([Decimal("0.1")] * 3, Decimal("0.3")), ([Decimal(1), None, Decimal(2)], None)],
)
def test_a_total_is_unknown_once_an_amount_is(amounts, sum_):
    """The sum of nothing is 0, which is known."""
    assert sum_known(amounts) == sum_


def test_a_run_s_partition_is_the_day_of_its_start():
    """All rows of a run lie in one partition, however long it takes."""
    terms = RunInfo("r", NOW, "s", "o", Fingerprint("e", "m", "receipt", "h", "p"), "balanced", "table")
    assert terms.run_date == "2026-01-01"


A, B = Found("/a.jpg", version="1"), Found("/b.jpg", version="1")


def test_a_document_of_one_file_has_that_files_version():
    """Also where the file has several pages."""
    assert Document("/a.jpg", (A,)).name == ("/a.jpg", "1")
    assert Document("/a.pdf", (replace(A, page=1), replace(A, page=2))).name == ("/a.pdf", "1")


@pytest.mark.parametrize("pages", [(B, A), (A, replace(B, version="2")), (A,), (A, B, B)])
def test_a_documents_version_changes_with_any_of_its_pages(pages):
    """Another order, another version of a page, one page more or less: it is another document's version."""
    assert version_of(pages) != version_of((A, B))


def test_a_document_was_modified_when_its_last_page_was():
    """What is not known of one page is not known of the document."""
    old, new = replace(A, modified=datetime(2026, 1, 1, tzinfo=UTC)), replace(B, modified=NOW)
    assert Document("d", (new, old)).modified == NOW
    assert Document("d", (new, B)).modified is None


def test_a_page_of_a_file_has_a_name_of_its_own():
    assert (A.name, replace(A, page=3).name) == ("/a.jpg", "/a.jpg#page=3")


def test_an_address_is_not_shown():
    """A signature stands in it."""
    assert "5e1f" not in repr(replace(A, address=SecretStr("https://store.example/a.jpg?sig=5e1f")))


def test_what_nobody_could_estimate_has_no_residual():
    """Of a video the bill is known when it comes, and compared with nothing."""
    known = attempt(Usage(prompt=9000))
    assert known.residual is not None
    assert replace(known, request=replace(known.request, worst_prompt_tokens=None)).residual is None


def in_pages(found, count):
    """A file as its pages."""
    return [replace(found, page=number) for number in range(1, count + 1)]


@pytest.mark.parametrize("counts", [(1, 1), (3, 1), (1, 3), (2, 5)])
def test_a_document_has_the_version_that_its_listing_had(counts):
    """However many pages its files turn out to have: else what was read would not be known again."""
    files = [Found("/in/d/1.pdf", version="a"), Found("/in/d/2.pdf", version="b")]
    seen = [page for file, count in zip(files, counts, strict=True) for page in in_pages(file, count)]
    planned = Planned("/in/d", tuple(PlannedPage(BilledPage(each), "send", "fits") for each in seen))
    assert planned.name == Document("/in/d", tuple(files)).name


def test_blame_names_the_page_once():
    """A message that names its file already is left as it is."""
    page = Found("/in/a.pdf", page=2)
    assert page.prefix_message("cannot be opened") == "/in/a.pdf#page=2: cannot be opened"
    assert page.prefix_message("/in/a.pdf cannot be read: gone") == "/in/a.pdf cannot be read: gone"
