"""The shell's tests: real sockets where behaviour depends on the server, plain ASGI calls where it does not."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
