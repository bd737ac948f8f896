"""The sidecars and clients that run, each started when it is first used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar

import pytest

from tests.clients.client import Client
from tests.clients.place import Place, guarding
from tests.clients.program import Program, program

T = TypeVar("T")


class Running:
    """What was started, by name."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._started: dict[Any, Any] = {}

    def get(self, name: Any, start: Callable[[], AbstractContextManager[T]]) -> T:
        """Start something, or return it if it runs."""
        if name not in self._started:
            self._started[name] = self._stack.enter_context(start())
        started: T = self._started[name]
        return started


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    with ExitStack() as stack:
        yield Running(stack)


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Client:
    made: Client = request.param
    return made


@pytest.fixture
def place(client: Client, running: Running) -> Place:
    """A sidecar in front of the client's server."""
    return running.get((client.server, client.options), lambda: guarding(client.server, *client.options))


@pytest.fixture
def run(client: Client, running: Running) -> Program:
    """The client's process."""
    return running.get(client.program, lambda: program(client.program))
