"""choose.py: the choice for one page and its reason, by policy and bill rule, and the rules of every ladder."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from extractors.core import REJECT_REASONS, UNSEEN, BilledPage, Found, Header, LadderStep, Planned, PlannedPage, Problem
from extractors.core.money import Costs
from extractors.core.tiles import NAMES, Size, get_rule
from extractors.core.tuning import Ladder
from extractors.plan.choose import FLOORS, Plan

PATCH_RULES = ["qwen2", "qwen3", "kimi", "openai"]
RESIZING = ["balanced", "thrifty"]
sizes = st.builds(Size, st.integers(1, 6000), st.integers(1, 6000))
names = st.sampled_from([*NAMES, "flat:280"])


def price_per_token(step, *, first):
    """Costs of one dollar a token."""
    return Costs(Decimal(0), Decimal(step.tokens), Decimal(0))


def choose_page(size, policy="balanced", name="formula"):
    """The choice for a page of this size."""
    return Plan(policy, get_rule(name), price_per_token).page(
        BilledPage(Found("a.jpg"), Header(Size(*size), "JPEG", 1, 1))
    )


# policy, rule, size -> action, reason, rung, sent size, tokens
CHOICES = [
    # Within one tile or one budget a smaller image saves nothing.
    ("balanced", "formula", (500, 400), "send", "fits", 1601, (500, 400), 1601),
    ("balanced", "formula", (1119, 1119), "send", "fits", 1601, (1119, 1119), 1601),
    ("thrifty", "table", (560, 560), "send", "fits", 1601, (560, 560), 1601),
    ("balanced", "flat:280", (4032, 3024), "send", "fits", 280, (4032, 3024), 280),
    # A cheaper rung would fall below the floor.
    ("balanced", "table", (800, 600), "send", "floor", 6404, (800, 600), 6404),
    ("balanced", "table", (1280, 720), "send", "floor", 6404, (1280, 720), 6404),
    ("balanced", "table", (561, 561), "send", "floor", 6404, (561, 561), 6404),
    ("balanced", "qwen3", (1000, 1000), "send", "floor", 963, (1000, 1000), 963),
    # Fewer tokens above the floor.
    ("balanced", "formula", (2480, 3508), "resize", "cheaper", 1601, (791, 1119), 1601),
    ("balanced", "formula", (1280, 720), "resize", "cheaper", 1601, (1119, 629), 1601),
    ("balanced", "formula", (1120, 1120), "resize", "cheaper", 1601, (1119, 1119), 1601),
    ("balanced", "table", (900, 2100), "resize", "cheaper", 3202, (560, 1307), 3202),
    ("thrifty", "table", (1280, 720), "resize", "cheaper", 3202, (996, 560), 3202),
    ("thrifty", "table", (4032, 3024), "resize", "cheaper", 3202, (747, 560), 3202),
    ("balanced", "qwen3", (4032, 3024), "resize", "cheaper", 2961, (2000, 1500), 2916),
    ("balanced", "kimi", (4032, 3024), "resize", "cheaper", 1036, (1036, 777), 1036),
    # One tile would be too narrow (1119 px of 3000 leave 261 of 700); two are what the model sees.
    ("balanced", "formula", (700, 3000), "shrink", "native", 3202, (523, 2240), 3202),
    # Larger than what the model sees: shrunk under every policy, as that costs nothing.
    ("balanced", "table", (4032, 3024), "shrink", "native", 6404, (2240, 1680), 6404),
    ("balanced", "mllama", (2480, 3508), "shrink", "native", 6404, (791, 1120), 6404),
    ("balanced", "openai", (4032, 3024), "shrink", "native", 765, (1024, 768), 765),
    ("faithful", "formula", (4032, 3024), "shrink", "native", 6404, (2240, 1680), 6404),
    ("faithful", "table", (2241, 2241), "shrink", "native", 6404, (2240, 2240), 6404),
    ("faithful", "kimi", (4032, 3024), "shrink", "native", 4144, (2069, 1551), 4144),
    # Faithful pays for every pixel that the model sees.
    ("faithful", "formula", (1280, 720), "send", "fits", 3202, (1280, 720), 3202),
    ("faithful", "table", (1280, 720), "send", "fits", 6404, (1280, 720), 6404),
    ("faithful", "qwen3", (4032, 3024), "send", "fits", 11846, (4032, 3024), 11846),
    ("faithful", "flat:280", (9000, 9000), "send", "fits", 280, (9000, 9000), 280),
]


@pytest.mark.parametrize(("policy", "name", "size", "action", "reason", "rung", "sent_size", "tokens"), CHOICES)
def test_choice_has_action_reason_rung_size_and_tokens(policy, name, size, action, reason, rung, sent_size, tokens):
    choice = choose_page(size, policy, name)
    assert (choice.action, choice.reason) == (action, reason)
    assert choice.ladder[0] == LadderStep(rung, Size(*sent_size), tokens)


@pytest.mark.parametrize(
    ("policy", "size", "first"),
    [
        ("balanced", (1000, 561), (1000, 561)),  # one tile less high, it would be 999 px long
        ("balanced", (1001, 561), (1000, 560)),
        ("thrifty", (700, 561), (700, 561)),
        ("thrifty", (701, 561), (700, 560)),
    ],
)
def test_longest_side_is_resized_to_no_less_than_its_floor(policy, size, first):
    """1,000 px are enough under `balanced` and 700 under `thrifty`; with one less the image is sent as it is."""
    assert choose_page(size, policy, "table").ladder[0].size == Size(*first)


@pytest.mark.parametrize(
    ("policy", "size", "tokens"),
    [
        ("balanced", (1200, 3832), 1601),  # one tile is 1119 px long and 350 wide
        ("balanced", (1200, 3850), 3202),  # 349 px
        ("thrifty", (1200, 5371), 1601),  # 250 px
        ("thrifty", (1200, 5395), 3202),  # 249 px
    ],
)
def test_shortest_side_is_resized_to_no_less_than_its_floor(policy, size, tokens):
    """Lines of a long receipt would be unreadable below 350 px, or 250 px under `thrifty`."""
    assert choose_page(size, policy, "formula").ladder[0].tokens == tokens


@pytest.mark.parametrize("policy", RESIZING)
@pytest.mark.parametrize("size", [(600, 200), (650, 240), (561, 100), (100, 690)])
def test_image_smaller_than_the_floor_keeps_its_size(policy, size):
    """It is sent at scale 1, though a smaller one would be cheaper."""
    choice = choose_page(size, policy, "table")
    assert (choice.action, choice.ladder[0].size, choice.scale) == ("send", Size(*size), 1.0)


@pytest.mark.parametrize(
    ("name", "size", "rungs"),
    [
        ("formula", (2480, 3508), [1601, 3202, 6404]),
        ("formula", (1280, 720), [1601, 3202]),
        ("table", (900, 2100), [3202, 6404]),
        ("table", (1280, 720), [6404]),
        ("qwen3", (4032, 3024), [2961, 5923, 11846]),
        ("qwen2", (4032, 3024), [3888, 7777, 15554]),
        ("kimi", (4032, 3024), [1036, 2072, 4144]),
        ("flat:280", (4032, 3024), [280]),
    ],
)
def test_ladder_has_the_rungs_of_its_rule(name, size, rungs):
    """Tile rules have 1601, 3202 and 6404; patch rules 25, 50 and 100 % of the image's own tokens; a flat rule has one rung."""
    assert [step.rung for step in choose_page(size, "balanced", name).ladder] == rungs


@pytest.mark.parametrize("name", [*NAMES, "flat:280"])
@pytest.mark.parametrize("size", [(4032, 3024), (600, 400), (3000, 500)])
def test_faithful_has_one_rung(name, size):
    """The first image is the whole one, so there is no rung to climb to."""
    tokens = get_rule(name).tokens(Size(*size))
    assert [(step.rung, step.tokens) for step in choose_page(size, "faithful", name).ladder] == [(tokens, tokens)]


@given(size=sizes, name=names)
def test_faithful_sends_the_tokens_of_the_whole_image(size, name):
    """It never resizes below the size that the model sees."""
    choice = choose_page(size, "faithful", name)
    assert choice.action in {"send", "shrink"}
    assert choice.ladder[0].tokens == get_rule(name).tokens(size)
    assert choice.ladder[0].size == get_rule(name).native(size)


@given(size=sizes, name=names, policy=st.sampled_from(list(FLOORS)))
def test_step_has_the_tokens_of_its_rule_and_at_most_those_of_its_rung(size, name, policy):
    ladder = choose_page(size, policy, name).ladder
    assert all(step.tokens <= step.rung for step in ladder)
    assert [step.tokens for step in ladder] == [get_rule(name).tokens(step.size) for step in ladder]


@given(size=sizes, name=names, policy=st.sampled_from(list(FLOORS)))
def test_ladder_never_enlarges_the_image(size, name, policy):
    ladder = choose_page(size, policy, name).ladder
    assert all(step.size.width <= size.width and step.size.height <= size.height for step in ladder)


@given(size=sizes, name=names, policy=st.sampled_from(RESIZING))
def test_resized_image_is_not_below_the_floor(size, name, policy):
    """An image cheaper than the whole one has the policy's least longest and shortest sides, or the image's own."""
    floor = FLOORS[policy]
    cheaper = choose_page(size, policy, name).ladder[:-1]
    assert all(step.size.longest >= min(floor.longest, size.longest) for step in cheaper)
    assert all(step.size.shortest >= min(floor.shortest, size.shortest) for step in cheaper)


@given(size=sizes, name=names, policy=st.sampled_from(RESIZING))
def test_ladder_ends_at_the_whole_image(size, name, policy):
    """The last image has the size that the model sees, and its own tokens."""
    last = choose_page(size, policy, name).ladder[-1]
    assert (last.size, last.tokens) == (get_rule(name).native(size), get_rule(name).tokens(size))


@given(size=sizes, name=st.sampled_from(PATCH_RULES), policy=st.sampled_from(RESIZING))
def test_each_rung_has_more_tokens_than_the_one_below(size, name, policy):
    tokens = [step.tokens for step in choose_page(size, policy, name).ladder]
    assert tokens == sorted(set(tokens))


@given(size=sizes, name=names, policy=st.sampled_from(list(FLOORS)))
def test_action_tells_whether_size_and_tokens_change(size, name, policy):
    """`send` keeps both, `shrink` keeps the tokens, `resize` lowers them."""
    choice = choose_page(size, policy, name)
    same_size = choice.ladder[0].size == size
    cheaper = choice.ladder[0].tokens < get_rule(name).tokens(size)
    assert (choice.action, same_size, cheaper) in {
        ("send", True, False),
        ("shrink", False, False),
        ("resize", False, True),
    }


def test_costs_of_a_page_are_those_of_its_first_step():
    assert choose_page((4032, 3024)).costs.expected == 1601


@pytest.mark.parametrize(("size", "scale"), [((500, 400), 1.0), ((2238, 1000), 0.5), ((4480, 4480), 0.25)])
def test_scale_is_the_share_of_the_longest_side(size, scale):
    """1 is the image as it is."""
    assert choose_page(size).scale == pytest.approx(scale, abs=0.001)


@pytest.mark.parametrize("kind", sorted(REJECT_REASONS))
def test_image_with_a_problem_is_rejected_with_its_kind(kind):
    """It has no ladder, no scale and no cost."""
    billed = BilledPage(Found("a.jpg"), problem=Problem(kind, "bill", "why"))
    choice = Plan("balanced", get_rule("table"), price_per_token).page(billed)
    assert choice == PlannedPage(billed, "reject", kind)
    assert (choice.ladder, choice.scale, choice.costs) == ((), None, Costs())


def test_one_rejected_page_rejects_its_document():
    """The document has the problem of its first rejected page."""
    problem = Problem("empty", "bill", "why")
    rejected = Plan("balanced", get_rule("table"), price_per_token).page(BilledPage(Found("b.jpg"), problem=problem))
    assert Planned("a.jpg", (choose_page((500, 400)), rejected)).problem == problem


def test_all_pages_of_a_document_climb_together():
    """A page with a shorter ladder stays at its last step."""
    planned = Planned("a.jpg", (choose_page((2480, 3508)), choose_page((500, 400))))
    tokens = [[step.tokens for step in planned.steps(rung)] for rung in range(planned.rungs)]
    assert tokens == [[1601, 1601], [3202, 1601], [6404, 1601]]


def test_costs_of_a_document_are_the_sum_of_its_pages():
    assert Planned("a.jpg", (choose_page((2480, 3508)), choose_page((500, 400)))).costs.expected == 3202


def choose_for_address(uri, size=(500, 400), address=None, header=None, **options):
    """The action and the reason for an image at this address."""
    found = Found(uri, address=address and SecretStr(address))
    billed = BilledPage(found, header or Header(Size(*size), "JPEG", 1, 1))
    choice = Plan("balanced", get_rule("formula"), price_per_token, **options).page(billed)
    return choice.action, choice.reason


SIGNED = "https://store.example/a.jpg?X-Amz-Signature=5e1f"


@pytest.mark.parametrize("size", [(500, 400), (4032, 3024)])
def test_url_is_passed_on_with_send_urls(size):
    """An image of any size is passed on, as the server fetches it as it is."""
    assert choose_for_address("https://store.example/a.jpg", size, send_urls=True) == ("url", "passed_on")
    assert choose_for_address("https://store.example/a.jpg", size)[0] != "url"


@pytest.mark.parametrize(("uri", "address"), [("https://store.example/a.jpg", SIGNED), ("s3://store/a.jpg", None)])
def test_signed_url_is_passed_on_only_if_the_image_needs_no_change(uri, address):
    """An image that is cheaper when resized, or that must be turned, is fetched."""
    turned = Header(Size(500, 400), "JPEG", 1, 6)
    assert choose_for_address(uri, address=address, send_urls=True) == ("url", "passed_on")
    assert choose_for_address(uri, (2480, 3508), address, send_urls=True) == ("resize", "cheaper")
    assert choose_for_address(uri, address=address, header=turned, send_urls=True) == ("send", "fits")


def test_file_is_never_passed_on():
    """No server can read it."""
    assert choose_for_address("/in/a.jpg", send_urls=True) == ("send", "fits")


def test_url_has_one_rung_with_the_tokens_of_the_whole_image():
    """It is not resized, so there is no rung to climb to."""
    found = BilledPage(Found("https://store.example/a.jpg"), Header(Size(2480, 3508), "JPEG", 1, 1))
    choice = Plan("balanced", get_rule("formula"), price_per_token, send_urls=True).page(found)
    assert choice.ladder == (LadderStep(6404, Size(2480, 3508), 6404),)


def test_video_is_passed_on_with_the_configured_tokens():
    """It has no size, and no rule bills it."""
    choice = Plan("balanced", get_rule("formula"), price_per_token, video_tokens=900).page(
        BilledPage(Found("a.mp4", video=True))
    )
    assert (choice.action, choice.reason, choice.ladder) == ("url", "passed_on", (LadderStep(0, UNSEEN, 900),))


def test_only_the_first_page_has_the_costs_of_the_text():
    """A document is one call with any number of pages."""
    pages = [BilledPage(Found(name), Header(Size(500, 400), "JPEG", 1, 1)) for name in "ab"]
    planner = Plan("balanced", get_rule("formula"), lambda step, *, first: Costs(expected=Decimal(first)))
    assert [page.costs.expected for page in planner.document(pages)] == [1, 0]


@pytest.mark.parametrize(
    ("ladder", "name", "size", "action", "tokens", "rescue"),
    [
        (Ladder(rule="table", budgets=(1601, 6404)), "table", (900, 2100), "resize", [1601, 6404], False),
        (Ladder(rule="table", budgets=(1601, 3202)), "table", (900, 2100), "resize", [1601, 3202, 6404], True),
        (Ladder(rule="table", budgets=(1601, 3202)), "table", (500, 400), "send", [1601], False),
        (Ladder(rule="qwen3", shares=(0.25, 0.5)), "qwen3", (2000, 2000), "resize", [902, 1851, 3846], True),
        (Ladder(rule="qwen3", shares=(1,)), "qwen3", (2000, 2000), "send", [3846], False),
        (Ladder(rule="qwen3", budgets=(1,)), "qwen3", (2000, 2000), "send", [3846], False),
    ],
)
def test_stored_ladder_replaces_that_of_the_policy(ladder, name, size, action, tokens, rescue):
    """Floors do not apply; below a ladder that ends early, the whole image is a step for refused answers only."""
    billed = BilledPage(Found("a.jpg"), Header(Size(*size), "JPEG", 1, 1))
    choice = Plan("balanced", get_rule(name), price_per_token, ladder=ladder).page(billed)
    assert (choice.action, [step.tokens for step in choice.ladder], choice.rescue) == (action, tokens, rescue)
    assert choice.faithful_tokens == get_rule(name).tokens(Size(*size))
    planned = Planned("a", (choice,))
    assert (planned.rungs, planned.doubt_rungs) == (len(tokens), len(tokens) - rescue)
