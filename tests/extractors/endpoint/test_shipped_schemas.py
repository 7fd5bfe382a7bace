"""The echo reader and the shipped schemas: validation accepts the instance of each wire schema."""

import pytest

from extractors.core.schema import list_shipped, load
from extractors.endpoint.fill.echo import build_instance


@pytest.mark.parametrize("name", list_shipped())
def test_echo_of_each_shipped_schema_passes_its_validators(name):
    schema = load(name)
    assert isinstance(schema.model.model_validate(build_instance(schema.wire)), schema.model)
