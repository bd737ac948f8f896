"""The matrix: every test of this folder runs over placement x backend x mode.

`AP_TEST_PLACEMENTS` and `AP_TEST_BACKENDS` (comma-separated) choose; the default is what needs nothing installed but
the current LangGraph server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.drivers import DRIVERS
from tests.e2e.placements import BACKENDS, PLACEMENTS, exists, place
from tests.support.matrix import chosen, leave_out_empty, marked, multiply_by_modes
from tests.support.world import Place, World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Multiply a test by the matrix, place by place, so that each is set up once."""
    only, placed = marked(metafunc, "on") or BACKENDS, marked(metafunc, "placed") or PLACEMENTS
    if "spot" in metafunc.fixturenames:
        spots = [
            (placement, backend)
            for placement in chosen("AP_TEST_PLACEMENTS", PLACEMENTS)
            for backend in chosen("AP_TEST_BACKENDS", ("langgraph", "agent-protocol"))
            if exists(placement, backend) and backend in only and placement in placed
        ]
        metafunc.parametrize("spot", spots, ids=["/".join(spot) for spot in spots], scope="session")
    multiply_by_modes(metafunc)


pytest_collection_modifyitems = leave_out_empty


@pytest.fixture(scope="session")
def places() -> Iterator[dict[tuple[str, str], Place]]:
    """The shims in their places, each set up when it is first used."""
    with ExitStack() as stack:
        yield _Places(stack)


class _Places(dict[tuple[str, str], Place]):
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __missing__(self, spot: tuple[str, str]) -> Place:
        self[spot] = self._stack.enter_context(place(*spot))
        return self[spot]


@pytest.fixture
def world(spot: tuple[str, str], places: dict[tuple[str, str], Place]) -> Iterator[World]:
    """A client in front of one shim."""
    with World(places[spot], DRIVERS[spot[1]]) as made:
        yield made
