"""`tilewise endpoint`: its errors are held by golden files, its answers by the tests of the endpoint itself."""

import inspect

from extractors.core import tiles
from flows.commands.endpoint import endpoint


def test_default_bill_rule_of_the_endpoint_is_a_bill_rule():
    assert tiles.get_rule(inspect.signature(endpoint).parameters["bill"].default).name == "formula"
