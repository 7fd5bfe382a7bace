"""What every test shares."""

import pytest


@pytest.fixture
def anyio_backend():
    """Async tests run on asyncio, the loop that the engine is written for."""
    return "asyncio"
