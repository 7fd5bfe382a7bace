"""What a tuning is asked for."""

import pytest

from extractors.core.errors import ConfigurationError
from extractors.run.tune.request import TruthFile, TuneRequest


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"target": 0.0}, "target 0.0"), ({"target": 1.0}, "target 1.0"), ({"apply": True, "from_rows": True}, "--apply")],
)
def test_request_refuses_what_cannot_be_done(fields, named):
    """A target that is no share between 0 and 1, and storing what is not tried."""
    with pytest.raises(ConfigurationError, match=named):
        TuneRequest(TruthFile("truth.jsonl"), **fields)
