"""run/keys.py: the keys by which answers are found again: of content and of requests."""

from itertools import combinations

from support.runs import vary

from extractors.call.request import Feedback
from extractors.core import BilledPage, Found, Header, LadderStep, Planned, PlannedPage
from extractors.core.tiles import Size
from extractors.run.keys import content_key, request_key

STEP = LadderStep(0, Size(500, 400), 100)


def build_document(*pages):
    """A document of these files."""
    header = Header(Size(500, 400), "JPEG", 1, 1)
    return Planned("a", tuple(PlannedPage(BilledPage(found, header), "send", "fits") for found in pages))


def test_content_key_depends_on_bytes_pages_prompt_schema_and_model(make):
    """It does not depend on the document's name."""
    one, run_info = build_document(Found("a.jpg")), make.run_info
    assert content_key(one, ["00"], run_info) == content_key(build_document(Found("b.jpg")), ["00"], run_info)
    two, page = build_document(Found("a.jpg"), Found("b.jpg")), build_document(Found("a.pdf", page=2))
    keys = [
        content_key(one, ["00"], run_info),
        content_key(one, ["01"], run_info),
        content_key(two, ["00", "01"], run_info),
        content_key(two, ["01", "00"], run_info),
        content_key(page, ["00"], run_info),
        content_key(one, ["00"], vary(run_info, model="maker/other")),
        content_key(one, ["00"], vary(run_info, prompt_hash="other")),
        content_key(one, ["00"], vary(run_info, schema_hash="other")),
    ]
    assert len(set(keys)) == len(keys)


def test_content_key_of_a_link_depends_on_its_name_and_version(make):
    """The bytes of an image that is sent by URL are not read."""
    run_info = make.run_info
    first, second = (build_document(Found("https://host/a.jpg", version=version)) for version in ("1", "2"))
    assert content_key(first, [""], run_info) != content_key(second, [""], run_info)
    assert content_key(first, [""], run_info) == content_key(first, [""], run_info)


def test_request_key_depends_on_content_sizes_token_limit_and_feedback():
    larger = LadderStep(1, Size(1000, 800), 400)
    requests = [
        request_key("key", (STEP,), 512),
        request_key("other", (STEP,), 512),
        request_key("key", (larger,), 512),
        request_key("key", (STEP, STEP), 512),
        request_key("key", (STEP,), 1024),
        request_key("key", (STEP,), 512, Feedback("{}", "total: missing")),
        request_key("key", (STEP,), 512, Feedback('{"total": 1}', "total: missing")),
    ]
    assert all(one != other for one, other in combinations(requests, 2))
