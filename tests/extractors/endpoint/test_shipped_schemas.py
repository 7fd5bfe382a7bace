"""The echo and the shipped schemas: what is asked for on the wire is what the gate accepts."""

import pytest

from extractors.core.schema import list_shipped, load
from extractors.endpoint.fill.echo import build_instance


@pytest.mark.parametrize("name", list_shipped())
def test_the_echo_of_every_shipped_schema_is_accepted(name):
    """A minimal instance of the JSON schema passes the schema's own validators, and fits its columns."""
    schema = load(name)
    assert isinstance(schema.model.model_validate(build_instance(schema.wire)), schema.model)
