"""run/keys.py: answers are found again by content, and by request."""

from itertools import combinations

from support.runs import vary

from extractors.call.request import Feedback
from extractors.core import BilledPage, Found, Header, LadderStep, Planned, PlannedPage
from extractors.core.tiles import Size
from extractors.run.keys import content_key, request_key

STEP = LadderStep(0, Size(500, 400), 100)


def plan(*pages):
    """A document of these files."""
    header = Header(Size(500, 400), "JPEG", 1, 1)
    return Planned("a", tuple(PlannedPage(BilledPage(found, header), "send", "fits") for found in pages))


def test_a_key_names_the_content_and_the_question(make):
    """The same bytes asked in the same way have one key under any name; other bytes, pages, words or models another."""
    one, run_info = plan(Found("a.jpg")), make.run_info
    assert content_key(one, ["00"], run_info) == content_key(plan(Found("b.jpg")), ["00"], run_info)
    two, page = plan(Found("a.jpg"), Found("b.jpg")), plan(Found("a.pdf", page=2))
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


def test_a_link_is_known_by_its_name_and_version(make):
    """No bytes are read of an image that is passed on: its name and version stand for them."""
    run_info = make.run_info
    first, second = (plan(Found("https://host/a.jpg", version=version)) for version in ("1", "2"))
    assert content_key(first, [""], run_info) != content_key(second, [""], run_info)
    assert content_key(first, [""], run_info) == content_key(first, [""], run_info)


def test_a_request_differs_by_size_limit_and_words():
    """A reply answers only a request with the same pictures, the same limit of tokens and the same words before it."""
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
