"""The suite's matrix: every test over subjects and modes; `AP_TEST_SUBJECTS` chooses (`all`, or names)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ap_resume_shim import Questions, ResumeShim, ReverseProxy
from ap_resume_shim.sidecar.reserved import ReservedPaths
from tests.families.subjects import chosen
from tests.servers.apps.py.tap import Tap
from tests.servers.run import running
from tests.support.driver import Driver
from tests.support.matrix import leave_out_empty, marked, multiply_by_modes
from tests.support.serving import serving
from tests.support.world import Place, World

_WORLDS: dict[str, World] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Multiply a test by the subjects that can show its scenario, and by the modes."""
    if "subject" in metafunc.fixturenames:
        shows, having = set(marked(metafunc, "shows")), set(marked(metafunc, "having"))
        kinds = [kind for kind in chosen() if shows <= kind.shows and having <= kind.has()]
        metafunc.parametrize("subject", kinds, ids=[kind.name for kind in kinds], scope="session")
    multiply_by_modes(metafunc)


pytest_collection_modifyitems = leave_out_empty


@pytest.fixture(scope="session")
def worlds() -> Iterator[ExitStack]:
    """The servers, each started when it is first used."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def world(subject: type[Driver], worlds: ExitStack) -> World:
    """A client in front of one shim, which is in front of one real server."""
    if subject.name not in _WORLDS:
        place = worlds.enter_context(_place(subject))
        _WORLDS[subject.name] = worlds.enter_context(World(place, subject))
    return _WORLDS[subject.name]


@contextmanager
def _place(kind: type[Driver]) -> Iterator[Place]:
    with running(kind.server) as server:
        tap = Tap(ReverseProxy(server))
        shim = ResumeShim(tap, kind.backend, options=kind.options, resume_at=kind.resume_at)
        questions = Questions(shim, prefix="/-/questions")
        with serving(ReservedPaths(shim, "/-", {"questions": questions, "questions/": questions})) as url:
            yield Place(url, lambda: list(tap.seen), server)
