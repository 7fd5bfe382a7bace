"""plan: the choice for one page and its reason, policy by policy and rule by rule, and what every ladder promises."""

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


def dollars(step, *, first):
    """A price by which a token is a dollar."""
    return Costs(Decimal(0), Decimal(step.tokens), Decimal(0))


def page(size, policy="balanced", name="formula"):
    """The choice for a page of this size."""
    return Plan(policy, get_rule(name), dollars).page(BilledPage(Found("a.jpg"), Header(Size(*size), "JPEG", 1, 1)))


# policy, rule, size -> action, reason, rung, sent size, tokens
CHOICES = [
    # Within one tile or one budget there is nothing to gain.
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
    # One tile would be too narrow (1119 px of 3000 leave 261 of 700), two are all that is seen.
    ("balanced", "formula", (700, 3000), "shrink", "native", 3202, (523, 2240), 3202),
    # Larger than what is seen: shrunk for free, under every policy.
    ("balanced", "table", (4032, 3024), "shrink", "native", 6404, (2240, 1680), 6404),
    ("balanced", "mllama", (2480, 3508), "shrink", "native", 6404, (791, 1120), 6404),
    ("balanced", "openai", (4032, 3024), "shrink", "native", 765, (1024, 768), 765),
    ("faithful", "formula", (4032, 3024), "shrink", "native", 6404, (2240, 1680), 6404),
    ("faithful", "table", (2241, 2241), "shrink", "native", 6404, (2240, 2240), 6404),
    ("faithful", "kimi", (4032, 3024), "shrink", "native", 4144, (2069, 1551), 4144),
    # Faithful pays for every pixel that is seen.
    ("faithful", "formula", (1280, 720), "send", "fits", 3202, (1280, 720), 3202),
    ("faithful", "table", (1280, 720), "send", "fits", 6404, (1280, 720), 6404),
    ("faithful", "qwen3", (4032, 3024), "send", "fits", 11846, (4032, 3024), 11846),
    ("faithful", "flat:280", (9000, 9000), "send", "fits", 280, (9000, 9000), 280),
]


@pytest.mark.parametrize(("policy", "name", "size", "action", "reason", "rung", "sent", "tokens"), CHOICES)
def test_every_choice_has_its_reason(policy, name, size, action, reason, rung, sent, tokens):
    """The action, why, the budget it stands on, the picture that is sent and what that is billed."""
    chosen = page(size, policy, name)
    assert (chosen.action, chosen.reason) == (action, reason)
    assert chosen.ladder[0] == LadderStep(rung, Size(*sent), tokens)


@pytest.mark.parametrize(
    ("policy", "size", "first"),
    [
        ("balanced", (1000, 561), (1000, 561)),  # one tile less high, it would be 999 px long
        ("balanced", (1001, 561), (1000, 560)),
        ("thrifty", (700, 561), (700, 561)),
        ("thrifty", (701, 561), (700, 560)),
    ],
)
def test_the_floor_of_the_longest_side_is_sharp(policy, size, first):
    """1,000 px are enough under `balanced`, 700 under `thrifty`; one less keeps the whole picture."""
    assert page(size, policy, "table").ladder[0].size == Size(*first)


@pytest.mark.parametrize(
    ("policy", "size", "tokens"),
    [
        ("balanced", (1200, 3832), 1601),  # one tile is 1119 px long and 350 wide
        ("balanced", (1200, 3850), 3202),  # 349 px
        ("thrifty", (1200, 5371), 1601),  # 250 px
        ("thrifty", (1200, 5395), 3202),  # 249 px
    ],
)
def test_the_floor_of_the_shortest_side_is_sharp(policy, size, tokens):
    """A long receipt is not made so narrow that its lines cannot be read."""
    assert page(size, policy, "formula").ladder[0].tokens == tokens


@pytest.mark.parametrize("policy", RESIZING)
@pytest.mark.parametrize("size", [(600, 200), (650, 240), (561, 100), (100, 690)])
def test_an_image_smaller_than_the_floor_keeps_its_size(policy, size):
    """What is small already is sent at scale 1, whatever a smaller one would save."""
    chosen = page(size, policy, "table")
    assert (chosen.action, chosen.ladder[0].size, chosen.scale) == ("send", Size(*size), 1.0)


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
def test_a_ladder_holds_the_rungs_of_its_rule(name, size, rungs):
    """Tile rules climb 1601, 3202, 6404; patch rules 25, 50 and 100 % of the image's own bill; flat has one rung."""
    assert [step.rung for step in page(size, "balanced", name).ladder] == rungs


@pytest.mark.parametrize("name", [*NAMES, "flat:280"])
@pytest.mark.parametrize("size", [(4032, 3024), (600, 400), (3000, 500)])
def test_faithful_has_one_rung(name, size):
    """Under `faithful` there is nothing to climb to: the first picture is the whole one."""
    own = get_rule(name).tokens(Size(*size))
    assert [(step.rung, step.tokens) for step in page(size, "faithful", name).ladder] == [(own, own)]


@given(size=sizes, name=names)
def test_faithful_pays_the_image_s_own_bill(size, name):
    """`faithful` never resizes: what is sent is billed what the image is billed."""
    chosen = page(size, "faithful", name)
    assert chosen.action in {"send", "shrink"}
    assert chosen.ladder[0].tokens == get_rule(name).tokens(size)
    assert chosen.ladder[0].size == get_rule(name).native(size)


@given(size=sizes, name=names, policy=st.sampled_from(list(FLOORS)))
def test_a_step_is_within_its_rung_and_billed_by_its_rule(size, name, policy):
    """No picture of a ladder costs more than its budget, and its tokens are what the rule counts for it."""
    ladder = page(size, policy, name).ladder
    assert all(step.tokens <= step.rung for step in ladder)
    assert [step.tokens for step in ladder] == [get_rule(name).tokens(step.size) for step in ladder]


@given(size=sizes, name=names, policy=st.sampled_from(list(FLOORS)))
def test_nothing_is_ever_enlarged(size, name, policy):
    """Every picture of a ladder is at most as wide and as high as the image."""
    ladder = page(size, policy, name).ladder
    assert all(step.size.width <= size.width and step.size.height <= size.height for step in ladder)


@given(size=sizes, name=names, policy=st.sampled_from(RESIZING))
def test_no_resized_picture_is_under_the_floor(size, name, policy):
    """Whatever is cheaper than the whole image has the policy's least longest and shortest side, or the image's own."""
    floor = FLOORS[policy]
    cheaper = page(size, policy, name).ladder[:-1]
    assert all(step.size.longest >= min(floor.longest, size.longest) for step in cheaper)
    assert all(step.size.shortest >= min(floor.shortest, size.shortest) for step in cheaper)


@given(size=sizes, name=names, policy=st.sampled_from(RESIZING))
def test_a_ladder_ends_at_the_whole_image(size, name, policy):
    """The last picture is the image as far as it is seen, at its own bill."""
    last = page(size, policy, name).ladder[-1]
    assert (last.size, last.tokens) == (get_rule(name).native(size), get_rule(name).tokens(size))


@given(size=sizes, name=st.sampled_from(PATCH_RULES), policy=st.sampled_from(RESIZING))
def test_every_rung_buys_more(size, name, policy):
    """Climbing always pays for a larger picture, never for the same one again."""
    tokens = [step.tokens for step in page(size, policy, name).ladder]
    assert tokens == sorted(set(tokens))


@given(size=sizes, name=names, policy=st.sampled_from(list(FLOORS)))
def test_the_action_says_what_happens_to_the_picture(size, name, policy):
    """`send` keeps the size, `shrink` the bill and not the size, `resize` makes the bill smaller."""
    chosen = page(size, policy, name)
    kept = chosen.ladder[0].size == size
    cheaper = chosen.ladder[0].tokens < get_rule(name).tokens(size)
    assert (chosen.action, kept, cheaper) in {
        ("send", True, False),
        ("shrink", False, False),
        ("resize", False, True),
    }


def test_the_picture_planned_first_is_priced():
    """A page's costs are those of the first step of its ladder."""
    assert page((4032, 3024)).costs.expected == 1601


@pytest.mark.parametrize(("size", "scale"), [((500, 400), 1.0), ((2238, 1000), 0.5), ((4480, 4480), 0.25)])
def test_the_scale_is_a_share_of_the_longest_side(size, scale):
    """1 is the image as it is."""
    assert page(size).scale == pytest.approx(scale, abs=0.001)


@pytest.mark.parametrize("kind", sorted(REJECT_REASONS))
def test_a_flawed_image_is_rejected_for_its_flaw(kind):
    """The reason is the flaw's kind; there is no ladder, no scale and no cost."""
    billed = BilledPage(Found("a.jpg"), problem=Problem(kind, "bill", "why"))
    chosen = Plan("balanced", get_rule("table"), dollars).page(billed)
    assert chosen == PlannedPage(billed, "reject", kind)
    assert (chosen.ladder, chosen.scale, chosen.costs) == ((), None, Costs())


def test_one_rejected_page_rejects_its_document():
    """The document's flaw is that of its first flawed page."""
    flaw = Problem("empty", "bill", "why")
    flawed = Plan("balanced", get_rule("table"), dollars).page(BilledPage(Found("b.jpg"), problem=flaw))
    assert Planned("a.jpg", (page((500, 400)), flawed)).problem == flaw


def test_a_document_climbs_whole():
    """At each rung every page sends the picture of that rung, or its last one where its ladder is shorter."""
    planned = Planned("a.jpg", (page((2480, 3508)), page((500, 400))))
    tokens = [[step.tokens for step in planned.steps(rung)] for rung in range(planned.rungs)]
    assert tokens == [[1601, 1601], [3202, 1601], [6404, 1601]]


def test_a_document_costs_what_its_pages_cost():
    """The document's estimate is the sum of its pages'."""
    assert Planned("a.jpg", (page((2480, 3508)), page((500, 400)))).costs.expected == 3202


def at(uri, size=(500, 400), address=None, header=None, **options):
    """The choice for an image at this address."""
    found = Found(uri, address=address and SecretStr(address))
    billed = BilledPage(found, header or Header(Size(*size), "JPEG", 1, 1))
    chosen = Plan("balanced", get_rule("formula"), dollars, **options).page(billed)
    return chosen.action, chosen.reason


SIGNED = "https://store.example/a.jpg?X-Amz-Signature=5e1f"


@pytest.mark.parametrize("size", [(500, 400), (4032, 3024)])
def test_a_url_is_passed_on_where_that_is_asked_for(size):
    """Whatever its size: the server fetches it as it is."""
    assert at("https://store.example/a.jpg", size, send_urls=True) == ("url", "passed_on")
    assert at("https://store.example/a.jpg", size)[0] != "url"


@pytest.mark.parametrize(("uri", "address"), [("https://store.example/a.jpg", SIGNED), ("s3://store/a.jpg", None)])
def test_what_needs_a_signature_is_passed_on_only_where_nothing_is_to_be_done_to_it(uri, address):
    """A picture that fewer tokens can pay for is fetched and resized; so is one that must be turned."""
    turned = Header(Size(500, 400), "JPEG", 1, 6)
    assert at(uri, address=address, send_urls=True) == ("url", "passed_on")
    assert at(uri, (2480, 3508), address, send_urls=True) == ("resize", "cheaper")
    assert at(uri, address=address, header=turned, send_urls=True) == ("send", "fits")


def test_a_file_is_never_passed_on():
    """No server can read it."""
    assert at("/in/a.jpg", send_urls=True) == ("send", "fits")


def test_a_url_has_one_rung_and_the_bill_of_the_whole_image():
    """Nothing is resized, so there is nowhere to climb."""
    found = BilledPage(Found("https://store.example/a.jpg"), Header(Size(2480, 3508), "JPEG", 1, 1))
    chosen = Plan("balanced", get_rule("formula"), dollars, send_urls=True).page(found)
    assert chosen.ladder == (LadderStep(6404, Size(2480, 3508), 6404),)


def test_a_video_is_passed_on_with_the_tokens_that_are_expected_of_it():
    """It has no size, and no rule that bills it."""
    chosen = Plan("balanced", get_rule("formula"), dollars, video_tokens=900).page(
        BilledPage(Found("a.mp4", video=True))
    )
    assert (chosen.action, chosen.reason, chosen.ladder) == ("url", "passed_on", (LadderStep(0, UNSEEN, 900),))


def test_only_the_first_page_bears_the_text():
    """A document is asked about once, whatever the number of its pages."""
    pages = [BilledPage(Found(name), Header(Size(500, 400), "JPEG", 1, 1)) for name in "ab"]
    plan = Plan("balanced", get_rule("formula"), lambda step, *, first: Costs(expected=Decimal(first)))
    assert [each.costs.expected for each in plan.document(pages)] == [1, 0]


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
    """Whatever the floors; where it ends below the whole image, that is the step for refused answers alone."""
    billed = BilledPage(Found("a.jpg"), Header(Size(*size), "JPEG", 1, 1))
    chosen = Plan("balanced", get_rule(name), dollars, ladder=ladder).page(billed)
    assert (chosen.action, [step.tokens for step in chosen.ladder], chosen.rescue) == (action, tokens, rescue)
    assert chosen.faithful_tokens == get_rule(name).tokens(Size(*size))
    planned = Planned("a", (chosen,))
    assert (planned.rungs, planned.doubt_rungs) == (len(tokens), len(tokens) - rescue)
