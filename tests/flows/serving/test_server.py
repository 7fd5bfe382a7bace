"""The environment of the Prefect server's clients."""

import pytest

from flows.serving.server import bypass_proxy


@pytest.mark.parametrize(
    ("environ", "exempt"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "example.org"}, "example.org,127.0.0.1,localhost"),
        ({"NO_PROXY": "localhost", "HTTP_PROXY": "http://proxy:1"}, "localhost,127.0.0.1"),
    ],
)
def test_bypass_proxy_exempts_this_machine(environ, exempt):
    """Both spellings of the variable add this machine once to the hosts that were exempt before."""
    bypass_proxy(environ)
    assert environ["NO_PROXY"] == environ["no_proxy"] == exempt
