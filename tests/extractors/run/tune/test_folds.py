"""folds.py: documents are split into folds of nearly equal size."""

from hypothesis import given
from hypothesis import strategies as st

from extractors.run.tune.folds import FOLDS, split_documents

NAMES = st.sets(st.text(max_size=5), max_size=40)


@given(NAMES)
def test_each_document_is_in_one_fold_and_folds_are_of_nearly_equal_size(names):
    folds = split_documents(names)
    assert sorted(name for fold in folds for name in fold) == sorted(names)
    assert len(folds) == min(FOLDS, len(names))
    assert {len(fold) for fold in folds} <= {len(names) // FOLDS, len(names) // FOLDS + 1}


@given(NAMES)
def test_folds_do_not_depend_on_the_order_of_the_documents(names):
    assert split_documents(sorted(names)) == split_documents(sorted(names, reverse=True))
