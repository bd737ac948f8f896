"""The suite's matrix: every test over subjects and modes; `AP_TEST_SUBJECTS` chooses (`all`, or names)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ap_resume_shim.core.protocol import Mode
from tests.families.driver import Driver
from tests.families.subjects import chosen
from tests.families.world import World, world_of

_WORLDS: dict[str, World] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Multiply a test by the subjects that can show its scenario, and by the modes."""
    if "subject" in metafunc.fixturenames:
        shows, having = _marked(metafunc, "shows"), _marked(metafunc, "having")
        kinds = [kind for kind in chosen() if shows <= kind.shows and having <= kind.has()]
        metafunc.parametrize("subject", kinds, ids=[kind.name for kind in kinds], scope="session")
    if "mode" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("modes")
        modes = list(Mode) if marker is None else marker.args
        metafunc.parametrize("mode", modes, ids=[mode.name.lower() for mode in modes])


def _marked(metafunc: pytest.Metafunc, name: str) -> set[str]:
    """What a test says that a subject needs."""
    marker = metafunc.definition.get_closest_marker(name)
    return set() if marker is None else set(marker.args)


@pytest.fixture(scope="session")
def worlds() -> Iterator[ExitStack]:
    """The servers, each started when it is first asked for."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def world(subject: type[Driver], worlds: ExitStack) -> World:
    """A client in front of one shim, which is in front of one real server."""
    if subject.name not in _WORLDS:
        _WORLDS[subject.name] = worlds.enter_context(world_of(subject))
    return _WORLDS[subject.name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that are about none of the chosen subjects, rather than skip them."""
    empty = [item for item in items if "NOTSET" in item.nodeid]
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
