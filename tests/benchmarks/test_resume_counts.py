"""What one resume makes the process do: tasks, JSON parsers and pointers, which are counted and not timed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ap_resume_shim import ResumeShim
from ap_resume_shim.core import json_pointer, shape_errors
from ap_resume_shim.core.protocol import Mode
from benchmarks.driver import Client, Loop
from tests.recordings.apps import call
from tests.support.agent import METADATA, PROTOCOL, VALUES, Agent, says

RESUMES: dict[str, Callable[[Client], Awaitable[None]]] = {
    "background": lambda client: client.resumes(1),
    "stream": lambda client: client.resume_events(1),
}
TASKS = 8
PARSED = ["/input/command/resume"]
"""The only pointer that a resume parses: the place of the answer in the request."""


def during(resume: Callable[[Client], Awaitable[None]], begin: Callable[[Loop], None]) -> None:
    """Run a resume to its end, call `begin`, and run another one: the first of a process also makes connections."""
    loop = Loop()

    async def run() -> None:
        client = Client(loop)
        for prepare in (lambda _: None, begin):
            prepare(loop)
            await resume(client)
            while running := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(running)

    loop.run_until_complete(run())
    loop.close()


class Tasks(Counter[str]):
    """A task factory that counts the tasks, by the names of their coroutines."""

    def __call__(self, loop: asyncio.AbstractEventLoop, work: Any, /, **options: Any) -> asyncio.Task[Any]:
        self[work.__qualname__] += 1
        return asyncio.Task(work, loop=loop, **options)


@pytest.mark.parametrize("mode", RESUMES)
def test_a_resume_makes_no_more_tasks_than_it_did(mode: str) -> None:
    made = Tasks()
    during(RESUMES[mode], lambda loop: loop.set_task_factory(made))
    assert 0 < made.total() <= TASKS, made


@pytest.mark.parametrize("mode", RESUMES)
def test_a_resume_makes_no_json_parser_or_writer(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def begin(_: Loop) -> None:
        for kind in (json.JSONDecoder, json.JSONEncoder):
            monkeypatch.setattr(kind, "__init__", lambda self, **_: made.append(self))

    during(RESUMES[mode], begin)
    assert made == []


@pytest.mark.parametrize("mode", RESUMES)
def test_a_resume_wraps_no_method_of_its_dialect(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped: list[object] = []
    during(RESUMES[mode], lambda _: monkeypatch.setattr(shape_errors, "_wrapped", wrapped.append))
    assert wrapped == []


@pytest.mark.parametrize("mode", RESUMES)
def test_a_resume_parses_no_pointer_into_a_response(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parts = json_pointer.parts

    def counted(pointer: str) -> list[str]:
        parsed.append(pointer)
        return parts(pointer)

    during(RESUMES[mode], lambda _: monkeypatch.setattr(json_pointer, "parts", counted))
    assert parsed == PARSED


def tasks_in_process(chunks: int) -> int:
    """The number of tasks that a streamed resume makes in the server's process, if its stream has so many chunks."""
    made = Tasks()

    async def run() -> None:
        events: list[bytes | float] = [VALUES, 0.0] * chunks
        shim = ResumeShim(Agent(says(METADATA, *events)), PROTOCOL)
        asyncio.get_running_loop().set_task_factory(made)
        heard = await call(shim, "PATCH", Mode.STREAM.route, {}, b'{"thread_id": "t", "input": "yes"}')
        assert b"".join(heard.chunks).count(VALUES) == chunks

    asyncio.run(run())
    return made.total()


def tasks_through_the_sidecar(chunks: int) -> int:
    """The same for a stream that passes through the sidecar."""
    made = Tasks()
    during(lambda client: client.resume_events(chunks), lambda loop: loop.set_task_factory(made))
    return made.total()


@pytest.mark.parametrize("tasks", [tasks_in_process, tasks_through_the_sidecar])
def test_a_chunk_of_a_resumes_stream_makes_no_task(tasks: Callable[[int], int]) -> None:
    assert 0 < tasks(10) == tasks(30)
