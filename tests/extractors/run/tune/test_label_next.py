"""label_next.py: which documents are labelled next, and how each was drawn."""

from hypothesis import given
from hypothesis import strategies as st

from extractors.run.tune.label_next import label_next

NAMES = [f"{number}.jpg" for number in range(400)]
CONFIDENCES = {name: number / 400 for number, name in enumerate(NAMES)}
LABELS = st.sets(st.sampled_from(NAMES), max_size=60)


def list_names(chosen, draw):
    return [document.document for document in chosen if document.draw == draw]


def test_doubtful_documents_are_those_of_least_confidence_in_a_reserved_quarter():
    doubtful = list_names(label_next(CONFIDENCES, (), random=0, doubtful=400), "doubtful")
    assert 60 <= len(doubtful) <= 140
    assert doubtful == sorted(doubtful, key=CONFIDENCES.get)
    first = list_names(label_next(CONFIDENCES, doubtful[:2], random=0, doubtful=3), "doubtful")
    assert first == doubtful[2:5]


def test_random_documents_do_not_depend_on_confidence_or_on_doubtful_labels():
    """A random sample without the doubtful documents would have too few errors."""
    reverse = {name: 1 - confidence for name, confidence in CONFIDENCES.items()}
    doubtful = list_names(label_next(CONFIDENCES, (), random=0, doubtful=30), "doubtful")
    samples = [
        list_names(label_next(*arguments, random=20, doubtful=5), "random")
        for arguments in ((CONFIDENCES, ()), (reverse, ()), (CONFIDENCES, doubtful))
    ]
    assert samples[0] == samples[1] == samples[2]


def test_documents_of_unknown_confidence_are_the_last_doubtful_ones():
    some_unknown = CONFIDENCES | dict.fromkeys(NAMES[::2])
    chosen = label_next(some_unknown, (), random=0, doubtful=400)
    numbers = [document.confidence for document in chosen if document.confidence is not None]
    assert 0 < len(numbers) < len(chosen)
    assert [document.confidence for document in chosen] == sorted(numbers) + [None] * (len(chosen) - len(numbers))


def test_more_labels_than_documents_gives_all_documents():
    assert {document.document for document in label_next(CONFIDENCES, (), random=900, doubtful=900)} == set(NAMES)


@given(LABELS, st.integers(0, 30), st.integers(0, 30))
def test_new_labels_are_as_many_as_requested_and_distinct(labelled, random, doubtful):
    chosen = label_next(CONFIDENCES, labelled, random=random, doubtful=doubtful)
    assert (len(list_names(chosen, "random")), len(list_names(chosen, "doubtful"))) == (random, doubtful)
    assert len({document.document for document in chosen}) == len(chosen)
    assert not labelled & {document.document for document in chosen}


@given(st.integers(1, 50), st.integers(1, 50))
def test_random_sample_grows_at_its_end(first, more):
    before = list_names(label_next(CONFIDENCES, (), random=first, doubtful=0), "random")
    after = list_names(label_next(CONFIDENCES, before, random=more, doubtful=0), "random")
    assert before + after == list_names(label_next(CONFIDENCES, (), random=first + more, doubtful=0), "random")
