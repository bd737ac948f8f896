"""One origin and one of each proxy for the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.differential.origin import Origin, running_origin
from tests.differential.proxies import PEERS, SIDECAR, Proxy, need_peers, running


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    with running_origin() as origin:
        yield origin


@pytest.fixture(scope="session")
def sidecar(origin: Origin) -> Iterator[Proxy]:
    with running(SIDECAR, origin.door()) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def proxies(origin: Origin, sidecar: Proxy) -> Iterator[list[Proxy]]:
    """The sidecar and its peers."""
    need_peers()
    with ExitStack() as stack:
        yield [sidecar, *(stack.enter_context(running(name, origin.door())) for name in PEERS)]
