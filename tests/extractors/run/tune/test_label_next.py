"""label_next.py: which documents are labelled next, and how each was drawn."""

from hypothesis import given
from hypothesis import strategies as st

from extractors.run.tune.label_next import label_next

NAMES = [f"{number}.jpg" for number in range(400)]
CONFIDENCES = {name: number / 400 for number, name in enumerate(NAMES)}
LABELS = st.sets(st.sampled_from(NAMES), max_size=60)


def names(chosen, draw):
    return [document.document for document in chosen if document.draw == draw]


def test_doubtful_documents_are_those_of_least_confidence_in_the_quarter_set_apart():
    everything = names(label_next(CONFIDENCES, (), random=0, doubtful=400), "doubtful")
    assert 60 <= len(everything) <= 140
    assert everything == sorted(everything, key=CONFIDENCES.get)
    first = names(label_next(CONFIDENCES, everything[:2], random=0, doubtful=3), "doubtful")
    assert first == everything[2:5]


def test_random_documents_do_not_depend_on_confidence_or_on_doubtful_labels():
    """A sample without the documents that were doubtful would be too good."""
    reverse = {name: 1 - confidence for name, confidence in CONFIDENCES.items()}
    doubtful = names(label_next(CONFIDENCES, (), random=0, doubtful=30), "doubtful")
    drawn = [
        names(label_next(*given, random=20, doubtful=5), "random")
        for given in ((CONFIDENCES, ()), (reverse, ()), (CONFIDENCES, doubtful))
    ]
    assert drawn[0] == drawn[1] == drawn[2]


def test_unknown_confidence_is_not_doubtful():
    unknown = dict.fromkeys(NAMES) | {"sure": 0.9}
    everything = [
        document.confidence
        for document in label_next(
            unknown | CONFIDENCES | {"x": None, "y": None, "z": None}, (), random=0, doubtful=500
        )
    ]
    known = [confidence for confidence in everything if confidence is not None]
    assert everything == [*sorted(known), *[None] * (len(everything) - len(known))]


def test_more_than_there_is_gives_all():
    assert {document.document for document in label_next(CONFIDENCES, (), random=900, doubtful=900)} == set(NAMES)


@given(LABELS, st.integers(0, 30), st.integers(0, 30))
def test_new_labels_are_as_many_as_wanted_and_each_document_comes_once(labelled, random, doubtful):
    chosen = label_next(CONFIDENCES, labelled, random=random, doubtful=doubtful)
    assert (len(names(chosen, "random")), len(names(chosen, "doubtful"))) == (random, doubtful)
    assert len({document.document for document in chosen}) == len(chosen)
    assert not labelled & {document.document for document in chosen}


@given(st.integers(1, 50), st.integers(1, 50))
def test_random_sample_grows_at_its_end(first, more):
    before = names(label_next(CONFIDENCES, (), random=first, doubtful=0), "random")
    after = names(label_next(CONFIDENCES, before, random=more, doubtful=0), "random")
    assert before + after == names(label_next(CONFIDENCES, (), random=first + more, doubtful=0), "random")
