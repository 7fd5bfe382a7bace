"""request.py: tuning requests that are refused."""

import pytest

from extractors.core.errors import ConfigurationError
from extractors.run.tune.request import TruthFile, TuneRequest


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"target": 0.0}, "target 0.0"), ({"target": 1.0}, "target 1.0"), ({"apply": True, "from_rows": True}, "--apply")],
)
def test_request_refuses_a_target_outside_0_and_1_and_apply_from_rows(fields, words):
    with pytest.raises(ConfigurationError, match=words):
        TuneRequest(TruthFile("truth.jsonl"), **fields)
