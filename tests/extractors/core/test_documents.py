"""documents.py and calls.py: the properties of documents, pages, requests and attempts."""

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
    Prepared,
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
    """An attempt with a small and a large page and 100 text tokens."""
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


VALUES = [Found("a.jpg"), SMALL, Price(Decimal(1), Decimal(2)), Costs(), Usage(), attempt(), page(SMALL, LARGE)]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_value_survives_pickling(value):
    """Values are sent between processes."""
    assert pickle.loads(pickle.dumps(value)) == value


def test_found_is_immutable():
    with pytest.raises(FrozenInstanceError):
        Found("a.jpg").uri = "b.jpg"


def test_repr_of_a_prepared_page_omits_its_picture():
    """The picture has megabytes and must not be logged."""
    assert "iVBORw0KGgo" not in repr(Prepared(b"iVBORw0KGgo", Size(1, 1), encoded=False, sha256="ab"))


def test_image_tokens_of_a_request_include_all_pages():
    assert attempt().request.image_tokens == 1601 + 6404


@pytest.mark.parametrize(("prompt", "residual"), [(8105, 0), (8200, 95), (8000, -105)])
def test_residual_is_usage_minus_estimate(prompt, residual):
    """A positive residual means that the server counted more than expected."""
    assert attempt(Usage(prompt=prompt)).residual == residual


def test_attempt_without_usage_has_no_residual():
    assert (attempt().usage, attempt().residual) == (None, None)


@pytest.mark.parametrize(("ladder", "scale"), [((SMALL, LARGE), 0.25), ((LARGE,), 1.0), ((), None)])
def test_page_scale_is_that_of_the_first_step(ladder, scale):
    """The scale is the ratio of the longest sides; a page that is not sent has none."""
    assert page(*ladder).scale == scale


def test_page_without_a_header_has_no_scale():
    assert page(SMALL, problem=Problem("empty", "bill", "why")).scale is None


def test_first_page_of_a_plan_is_returned():
    """The document's row has its action, rung and sizes."""
    first, second = page(SMALL), page(LARGE)
    assert Planned("a", (first, second)).first is first


@pytest.mark.parametrize(("rung", "steps"), [(0, (SMALL, LARGE)), (1, (LARGE, LARGE)), (7, (LARGE, LARGE))])
def test_pages_climb_together_up_to_their_own_top_rung(rung, steps):
    assert Planned("a", (page(SMALL, LARGE), page(LARGE))).steps(rung) == steps


def test_document_has_as_many_rungs_as_its_longest_ladder():
    assert Planned("a", (page(LARGE), page(SMALL, LARGE))).rungs == 2


def test_document_costs_are_the_sum_of_its_pages():
    """Low, expected and high costs are added separately."""
    assert Planned("a", (page(SMALL), page(LARGE))).costs == Costs(Decimal(2), Decimal(4), Decimal(6))


def test_cost_includes_billed_attempts_only():
    failed = Failed(
        Planned("a", ()), (attempt(), attempt(billed="unknown", cost="7")), None, NOW, Problem("x", "call", "")
    )
    assert failed.cost_usd == Decimal("0.5")


def test_billed_attempt_without_a_price_makes_the_cost_unknown():
    failed = Failed(Planned("a", ()), (attempt(), attempt(cost=None)), None, NOW, Problem("x", "call", ""))
    assert failed.cost_usd is None


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
def test_problem_decides_whether_a_document_is_rejected_or_failed(kind, stage, rejected):
    """A rejected image was not sent; a failed answer was. The kind `empty` may be either."""
    failed = Failed(Planned("a", ()), (), None, NOW, Problem(kind, stage, ""))
    assert failed.rejected is rejected


@pytest.mark.parametrize(
    ("amounts", "sum_"),
    [([], Decimal(0)), ([Decimal("0.1")] * 3, Decimal("0.3")), ([Decimal(1), None, Decimal(2)], None)],
)
def test_sum_known_is_unknown_with_an_unknown_amount(amounts, sum_):
    """The sum of no amounts is 0."""
    assert sum_known(amounts) == sum_


def test_run_date_is_the_day_of_the_start():
    """All rows of a run are in one partition, at any duration."""
    run_info = RunInfo("r", NOW, "s", "o", Fingerprint("e", "m", "receipt", "h", "p"), "balanced", "table")
    assert run_info.run_date == "2026-01-01"


A, B = Found("/a.jpg", version="1"), Found("/b.jpg", version="1")


def test_document_of_one_file_has_the_files_version():
    """This includes a file with several pages."""
    assert Document("/a.jpg", (A,)).name == ("/a.jpg", "1")
    assert Document("/a.pdf", (replace(A, page=1), replace(A, page=2))).name == ("/a.pdf", "1")


@pytest.mark.parametrize("pages", [(B, A), (A, replace(B, version="2")), (A,), (A, B, B)])
def test_document_version_changes_with_any_page(pages):
    """The order, the version and the number of the pages each change it."""
    assert version_of(pages) != version_of((A, B))


def test_document_modification_time_is_that_of_its_newest_page():
    """If the time of one page is unknown, the document's is unknown."""
    older, newer = replace(A, modified=datetime(2026, 1, 1, tzinfo=UTC)), replace(B, modified=NOW)
    assert Document("d", (newer, older)).modified == NOW
    assert Document("d", (newer, B)).modified is None


def test_page_name_has_the_page_number():
    assert (A.name, replace(A, page=3).name) == ("/a.jpg", "/a.jpg#page=3")


def test_repr_of_a_found_image_hides_its_address():
    """The address may contain a signature."""
    assert "5e1f" not in repr(replace(A, address=SecretStr("https://store.example/a.jpg?sig=5e1f")))


def test_attempt_without_an_estimate_has_no_residual():
    """The tokens of a video cannot be estimated."""
    estimated = attempt(Usage(prompt=9000))
    assert estimated.residual is not None
    assert replace(estimated, request=replace(estimated.request, worst_prompt_tokens=None)).residual is None


def split_into_pages(found, count):
    """One value for each page of this file."""
    return [replace(found, page=number) for number in range(1, count + 1)]


@pytest.mark.parametrize("counts", [(1, 1), (3, 1), (1, 3), (2, 5)])
def test_planned_document_keeps_the_version_of_its_listing(counts):
    """The number of pages in its files does not change it; otherwise finished documents would not be recognised."""
    files = [Found("/in/d/1.pdf", version="a"), Found("/in/d/2.pdf", version="b")]
    pages = [page for file, count in zip(files, counts, strict=True) for page in split_into_pages(file, count)]
    planned = Planned("/in/d", tuple(PlannedPage(BilledPage(page), "send", "fits") for page in pages))
    assert planned.name == Document("/in/d", tuple(files)).name


def test_prefix_message_names_the_page_once():
    """A message that already names the file is unchanged."""
    page = Found("/in/a.pdf", page=2)
    assert page.prefix_message("cannot be opened") == "/in/a.pdf#page=2: cannot be opened"
    assert page.prefix_message("/in/a.pdf cannot be read: gone") == "/in/a.pdf cannot be read: gone"
