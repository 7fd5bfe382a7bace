"""label_next.py: which documents are labelled next, and how each was drawn."""

from hypothesis import given
from hypothesis import strategies as st

from extractors.run.tune.label_next import label_next

NAMES = [f"{number}.jpg" for number in range(200)]
CONFIDENCES = {name: number / 200 for number, name in enumerate(NAMES)}
LABELS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["random", "doubtful"]), max_size=60)


def names(chosen, draw):
    return [each.document for each in chosen if each.draw == draw]


def test_doubtful_documents_are_those_of_least_confidence():
    chosen = label_next(CONFIDENCES, {"0.jpg": "random"}, random=0, doubtful=3)
    assert names(chosen, "doubtful") == ["1.jpg", "2.jpg", "3.jpg"]


def test_random_documents_do_not_depend_on_confidence():
    reverse = {name: 1 - confidence for name, confidence in CONFIDENCES.items()}
    assert names(label_next(CONFIDENCES, {}, random=20, doubtful=5), "random") == names(
        label_next(reverse, {}, random=20, doubtful=5), "random"
    )


def test_document_labelled_as_doubtful_is_random_from_its_turn_on():
    first, second, *_ = names(label_next(CONFIDENCES, {}, random=3, doubtful=0), "random")
    chosen = label_next(CONFIDENCES, {first: "doubtful"}, random=1, doubtful=0)
    assert [(each.document, each.labelled) for each in chosen] == [(first, True), (second, False)]


def test_unknown_confidence_is_not_doubtful():
    chosen = label_next({"a.jpg": None, "b.jpg": 0.9}, {}, random=0, doubtful=1)
    assert names(chosen, "doubtful") == ["b.jpg"]


def test_more_than_there_is_gives_all():
    chosen = label_next({"a.jpg": None, "b.jpg": 0.9}, {}, random=9, doubtful=9)
    assert sorted(names(chosen, "random")) == ["a.jpg", "b.jpg"]


@given(LABELS, st.integers(0, 30), st.integers(0, 30))
def test_new_labels_are_as_many_as_wanted_and_each_document_comes_once(labelled, random, doubtful):
    chosen = label_next(CONFIDENCES, labelled, random=random, doubtful=doubtful)
    fresh = [each for each in chosen if not each.labelled]
    assert len({each.document for each in chosen}) == len(chosen)
    assert len(names(fresh, "random")) == random
    assert len(names(fresh, "doubtful")) == doubtful
    assert all(labelled.get(each.document, "") == ("doubtful" if each.labelled else "") for each in chosen)


@given(st.integers(1, 50), st.integers(1, 50))
def test_random_sample_grows_at_its_end(first, more):
    before = names(label_next(CONFIDENCES, {}, random=first, doubtful=0), "random")
    after = names(label_next(CONFIDENCES, dict.fromkeys(before, "random"), random=more, doubtful=0), "random")
    assert before + after == names(label_next(CONFIDENCES, {}, random=first + more, doubtful=0), "random")
