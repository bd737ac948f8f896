"""The matrix: every test of this folder runs over placement x backend x mode.

`AP_TEST_PLACEMENTS` and `AP_TEST_BACKENDS` (comma-separated) choose; the default is what needs nothing installed but
the current LangGraph server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.placements import BACKENDS, PLACEMENTS, Place, exists, place
from tests.e2e.world import MODES, World


def chosen(variable: str, default: tuple[str, ...]) -> list[str]:
    given = os.environ.get(variable)
    return list(default) if not given else given.split(",")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Multiply a test by the matrix, place by place, so that each is set up once."""
    only = _marked(metafunc, "on") or BACKENDS
    if "spot" in metafunc.fixturenames:
        spots = [
            (placement, backend)
            for placement in chosen("AP_TEST_PLACEMENTS", PLACEMENTS)
            for backend in chosen("AP_TEST_BACKENDS", ("langgraph", "agent-protocol"))
            if exists(placement, backend) and backend in only
        ]
        metafunc.parametrize("spot", spots, ids=["/".join(spot) for spot in spots], scope="session")
    if "mode" in metafunc.fixturenames:
        modes = _marked(metafunc, "modes") or MODES
        metafunc.parametrize("mode", modes, ids=[mode.name.lower() for mode in modes])


def _marked(metafunc: pytest.Metafunc, name: str) -> tuple[Any, ...]:
    """What a test says of itself: `@pytest.mark.on("aegra")`, `@pytest.mark.modes(Mode.WAIT)`."""
    marker = metafunc.definition.get_closest_marker(name)
    return () if marker is None else marker.args


@pytest.fixture(scope="session")
def places() -> Iterator[dict[tuple[str, str], Place]]:
    """The shims in their places, each set up when it is first asked for."""
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
    with World(places[spot], *spot) as made:
        yield made


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that are about none of the chosen backends, rather than skip them."""
    empty = [item for item in items if "NOTSET" in item.nodeid]
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
