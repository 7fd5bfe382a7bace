"""The command `endpoint`: golden files hold its errors, and the tests of the endpoint its answers."""

import inspect

from extractors.core import tiles
from flows.commands.endpoint import endpoint


def test_default_bill_rule_of_the_endpoint_is_a_bill_rule():
    assert tiles.get_rule(inspect.signature(endpoint).parameters["bill"].default).name == "formula"
