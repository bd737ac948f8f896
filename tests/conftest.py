"""What holds for all tests."""

import pytest
from hypothesis import HealthCheck, settings

# A busy machine makes slow examples: that says nothing of the code.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
